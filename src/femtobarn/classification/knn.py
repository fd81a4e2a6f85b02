"""The k nearest neighbours: an event is what those around it are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import awkward as ak
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import PositiveInt
from sklearn.neighbors import NearestNeighbors

from femtobarn.classification.textbook import balanced, events_of, textbook_inputs, varying_features
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.data.scaling import transformed
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training

__all__ = ["KNN", "Neighbours"]

Floats = NDArray[np.float64]

TREE = 7
"""Features up to which a k-d tree finds neighbours faster than looking at all events."""


@method
class KNN(Classifier):
    """Share of each class among the k nearest training events [Fix, Hodges 1951; Cover, Hart 1967].

    Distances are Euclidean in features of unit width. Events count with their weight, each class with the
    same sum; a class whose weights among the neighbours sum to less than zero counts zero there. As the
    sample grows without end, one neighbour is wrong at most twice as often as the best classifier there is.

    Attributes:
        k: neighbours asked.
    """

    trains_network: ClassVar[bool] = False
    label: ClassVar[str] = "class"
    contract_exempt: ClassVar[dict[str, str]] = {
        "weight_two": "the k nearest events are k, whatever each of them weighs; an event twice is two"
    }

    k: PositiveInt = 5

    def default_inputs(self) -> Inputs:
        """See `textbook.textbook_inputs`."""
        return textbook_inputs()

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Remember `train`.

        Raises:
            InputError: when a class has no weight, when a feature is constant, not there or not finite, or
                when there are fewer than k events.
        """
        self.inputs = inputs or self.default_inputs()
        values, labels, weights = events_of(train, self.inputs, self.label, self.name)
        values = varying_features(values, self.inputs, train)
        if len(values) < self.k:
            raise InputError(f"{train.name}: {len(values)} events, '{self.name}' asks {self.k} neighbours")
        self.events = values
        self.votes = np.eye(len(self.classes))[labels] * balanced(labels, weights, len(self.classes))[:, None]
        self.neighbours = Neighbours(values)
        return self

    def predict_batch(self, batch: Batch) -> ak.Array:
        """`knn_p<class>` per event."""
        values = transformed(batch.event.numpy().astype(np.float64), self.fitted_inputs.event_features)
        votes = np.maximum(self.votes[self.neighbours.of(values, self.k)].sum(axis=1), 0)
        total = votes.sum(axis=1, keepdims=True)
        undecided = np.full_like(votes, 1 / votes.shape[1])
        share = np.divide(votes, total, out=undecided, where=total > 0)
        return self.probabilities(share.astype(np.float32))

    def state(self) -> dict[str, NDArray[Any]]:
        """The training events: `events` (N, F) and their weighted `votes` (N, classes)."""
        return {"events": self.events, "votes": self.votes}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when it is of other features or classes.
        """
        found = (state["votes"].shape[1], state["events"].shape[1])
        if found != (len(self.classes), len(self.fitted_inputs.event)):
            raise InputError(
                f"these events do not fit '{self.name}': {found[0]} classes, {found[1]} features"
            )
        self.events, self.votes = state["events"], state["votes"]
        self.neighbours = Neighbours(self.events)


class Neighbours:
    """Finds the nearest of the events (N, F), distances measured in standard deviations of each feature."""

    def __init__(self, events: Floats) -> None:
        self._mean, self._width = events.mean(axis=0), events.std(axis=0)
        algorithm = "kd_tree" if events.shape[1] <= TREE else "brute"
        self._search = NearestNeighbors(algorithm=algorithm).fit((events - self._mean) / self._width)

    def of(self, points: ArrayLike, k: int) -> NDArray[np.int64]:
        """Rows of the k events nearest to each of the points (M, F): (M, k), nearest first."""
        scaled = (np.asarray(points, dtype=np.float64) - self._mean) / self._width
        if not len(scaled):
            return np.empty((0, k), dtype=np.int64)
        return np.asarray(self._search.kneighbors(scaled, k, return_distance=False))

    def mean(self, targets: ArrayLike, points: ArrayLike, k: int, weights: ArrayLike | None = None) -> Floats:
        """Regression: weighted mean of the targets (N,) of the k nearest events, at each point: (M,).

        NaN where their weights (N,), of any sign, do not sum to more than zero.
        """
        target = np.asarray(targets, dtype=np.float64)
        weight = np.ones_like(target) if weights is None else np.asarray(weights, dtype=np.float64)
        near = self.of(points, k)
        total = weight[near].sum(axis=1)
        total = np.where(total > 0, total, np.nan)
        return np.asarray((weight * target)[near].sum(axis=1) / total)
