"""MV2: boosted decision trees on the outputs of low-level taggers [ATL-PHYS-PUB-2015-022]."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.tagging.boosted import exported, grown, restored
from femtobarn.tagging.dl1 import high_level_inputs

__all__ = ["MV2"]


@method
class MV2(Classifier):
    """Boosted decision trees on the outputs of low-level taggers [ATL-PHYS-PUB-2015-022].

    ATLAS trained two classes, b against a mixture of c and light; here the trees give all three
    probabilities, so that the mixture is chosen afterwards by f_c as for every other tagger.

    Attributes:
        trees: boosting iterations, each one tree per flavour.
        learning_rate: by which each tree is shrunk.
        leaves: of a tree, at most.
        fewest: jets in a leaf, at least.
        seed: of what scikit-learn draws.
    """

    trains_network: ClassVar[bool] = False
    contract_exempt: ClassVar[dict[str, str]] = {
        "weight_two": "scikit-learn bins features by numbers of events and counts events in leaves"
    }

    trees: PositiveInt = 300
    learning_rate: float = Field(default=0.08, gt=0)
    leaves: PositiveInt = 31
    fewest: PositiveInt = 50
    seed: int = Field(default=1, ge=0)

    def default_inputs(self) -> Inputs:
        """See `dl1.high_level_inputs`."""
        return high_level_inputs()

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Grow the trees on `train`; a seed in `training` goes before the method's own.

        Raises:
            InputError: when a flavour has no jets, or an input is missing or not finite.
        """
        self.inputs = inputs or self.default_inputs()
        self.ensemble = grown(self, train, lambda batch: batch.event.numpy(), training)
        return self

    def predict_batch(self, batch: Batch) -> ak.Array:
        """`mv2_pb, mv2_pc, mv2_pu` per jet."""
        return self.probabilities(self.ensemble.predict(batch.event.numpy()))

    def state(self) -> dict[str, NDArray[Any]]:
        """The trees as the bytes of an ONNX file."""
        return {"onnx": np.frombuffer(self.ensemble.model, dtype=np.uint8)}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when the trees read another number of features.
        """
        self.ensemble = restored(self, state, len(self.fitted_inputs.event))

    def export(self, path: str | Path) -> Path:
        """See `boosted.exported`."""
        return exported(self, Path(path))
