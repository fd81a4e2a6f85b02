"""What is in the signal region and not beside it: classification without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from femtobarn.anomaly.regions import Window, ensemble, mass_place, mean_of, region_inputs, regions_of
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.errors import InputError
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.learn.trees import Trees

__all__ = ["CWoLa"]


@method
class CWoLa(Scorer):
    """CWoLa hunting [1708.02949; 1805.02664]: boosted trees tell the signal region from the sidebands.

    Two mixtures of the same background and different shares of signal are told apart best by what tells
    signal from background. It asks for features that do not depend on the mass. No event is scored by trees
    that learnt it: events are dealt into `folds` by their mass's digits, which are a number of their own, and
    each fold is scored by trees of the others.

    Attributes:
        mass: feature that defines the regions and is not learnt from.
        window: of the signal region; the default is that of a toy, give your own.
        folds: of the cross-validation.
        members: classifiers averaged, for each fold.
        trees: of each, at most.
        share: of the events on which each grows; the others stop it.
        seed: of what is drawn.
    """

    trains_network: ClassVar[bool] = False
    contract_exempt: ClassVar[dict[str, str]] = {
        "weight_two": "trees count events, and random shares are drawn event by event"
    }

    mass: str = Field(default="mass", pattern=r"^\w+$")
    window: Window = (-0.5, 0.5)
    folds: int = Field(default=5, ge=2)
    members: PositiveInt = 4
    trees: PositiveInt = 100
    share: float = Field(default=0.5, gt=0, lt=1)
    seed: int = Field(default=1, ge=0)

    def default_inputs(self) -> Inputs:
        """See `regions.region_inputs`."""
        return region_inputs(self.mass)

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Grow the trees on data, both regions in one sample.

        Raises:
            InputError: when a region has hardly any events; when a feature is not there or not finite.
        """
        inputs = inputs or self.default_inputs()
        data = regions_of(train, inputs, self.mass, self.window, self.name)
        self.inputs = inputs
        features, fold = self._features(data.values)
        seed = training.seed if training else self.seed
        self.members_of = [
            ensemble(
                (features[fold != k], data.inside[fold != k].astype(np.int64), data.weights[fold != k]),
                self.members, self.trees, self.share, seed + 1000 * k,
            )
            for k in range(self.folds)
        ]  # fmt: skip
        return self

    def score_batch(self, batch: Batch) -> ak.Array:
        """`cwola_score`, the probability that an event of its features is in the signal region."""
        features, fold = self._features(batch.event.numpy())
        score = np.zeros(len(features), dtype=np.float32)
        for k, members in enumerate(self.members_of):
            score[fold == k] = mean_of(members, features[fold == k])
        return self.records({"score": score})

    def state(self) -> dict[str, NDArray[Any]]:
        """The trees of each member of each fold as the bytes of an ONNX file."""
        return {
            f"onnx.{k}.{number}": np.frombuffer(trees.model, dtype=np.uint8)
            for k, members in enumerate(self.members_of)
            for number, trees in enumerate(members)
        }

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when the trees read another number of features, or are of other folds.
        """
        if len(state) != self.folds * self.members:
            raise InputError(f"these trees do not fit '{self.name}': they are {len(state)}, not those of "
                             f"{self.folds} folds of {self.members}")  # fmt: skip
        self.members_of = [
            [Trees(state[f"onnx.{k}.{number}"].tobytes()) for number in range(self.members)]
            for k in range(self.folds)
        ]
        expected = len(self.fitted_inputs.event) - 1
        found = {trees.features for members in self.members_of for trees in members}
        if found != {expected}:
            raise InputError(
                f"these trees do not fit '{self.name}': they read {found} features, not {expected}"
            )

    def _features(self, values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Features without the mass (N, F - 1), and the fold of each event (N,)."""
        place = mass_place(self.fitted_inputs, self.mass, self.name)
        digits = np.ascontiguousarray(values[:, place], dtype=np.float32).view(np.uint32).astype(np.uint64)
        mixed = (digits * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
        return np.delete(values, place, axis=1), (mixed % np.uint64(self.folds)).astype(np.int64)
