"""IP3D+SV1: two likelihoods as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.data.inputs import Inputs, Label
from femtobarn.data.packing import labelled_batches
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training

__all__ = ["IP3DSV1"]

SMALLEST = 1e-30


@method
class IP3DSV1(Classifier):
    r"""Product of the likelihoods of taggers that are taken as independent: sums of log-likelihood ratios.

    $$ p_f \propto \prod_t p_f^{(t)}, \qquad \log\frac{p_b}{p_u} = \sum_t \log\frac{p_b^{(t)}}{p_u^{(t)}} $$

    It reads what the taggers predicted, `ip3d_pb`, ..., `sv1_pu`, as fields of the jets, as any method that
    stands on them does; it has nothing to fit.

    Source: ATLAS, CERN-OPEN-2008-020 and JINST 11 (2016) P04008, where weights of taggers are summed.

    Attributes:
        taggers: whose probabilities are multiplied.
    """

    trains_network: ClassVar[bool] = False

    taggers: tuple[str, ...] = ("ip3d", "sv1")

    def default_inputs(self) -> Inputs:
        """The probabilities of the taggers; b-, c- and light-jets."""
        classes = {"b": ["bjets"], "c": ["cjets"], "u": ["ujets"]}
        return Inputs(
            event=[f"{tagger}_p{flavour}" for tagger in self.taggers for flavour in classes],
            labels={"jet": Label(field="flavour_label", classes=classes)},
            weight="mcEventWeight",
        )

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Read `train` through once, so that missing or broken fields are known before they are needed.

        Raises:
            InputError: when an input is missing or not finite.
        """
        self.inputs = inputs or self.default_inputs()
        for _ in labelled_batches(train, self.inputs):
            pass
        return self

    def predict_batch(self, batch: Batch) -> ak.Array:
        """`ip3d_sv1_pb, ip3d_sv1_pc, ip3d_sv1_pu` per jet."""
        names = [feature.name for feature in self.fitted_inputs.event_features]
        values = np.log(np.maximum(batch.event.numpy().astype(np.float64), SMALLEST))
        logarithm = sum(
            values[:, [names.index(f"{tagger}_p{flavour}") for flavour in self.classes]]
            for tagger in self.taggers
        )
        likelihood = np.exp(logarithm - np.max(logarithm, axis=1, keepdims=True))
        return self.probabilities((likelihood / likelihood.sum(axis=1, keepdims=True)).astype(np.float32))

    def state(self) -> dict[str, NDArray[Any]]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when it is the state of another method.
        """
        if state:
            raise InputError(f"'{self.name}' has no fitted state, and this one has {', '.join(state)}")
