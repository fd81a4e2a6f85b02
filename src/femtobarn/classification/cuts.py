"""Rectangular cuts, the best of a grid of millions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from sklearn.isotonic import isotonic_regression

from femtobarn.classification.textbook import (
    balanced,
    events_of,
    quantiles,
    textbook_inputs,
    varying_features,
)
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.data.scaling import transformed
from femtobarn.errors import InputError, closest
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.statistics.significance import asimov

__all__ = ["Cuts", "box_sums", "intervals"]

Floats = NDArray[np.float64]
Spans = NDArray[np.int64]
Place = tuple[int, ...]
Side = Literal["above", "below", "between"]

MOST = 200
"""Thresholds of one feature: more would follow the fluctuations of the sample."""


@method
class Cuts(Classifier):
    r"""Events inside a box, low_i < x_i <= high_i for every feature, are called signal.

    Thresholds are quantiles of each feature, and every combination of them is tried: the events are counted
    once in the cells of the grid, and sums over boxes are differences of cumulative sums, so that the time
    hardly depends on the number of events. The best box has the highest expected significance

    $$ Z = \sqrt{2 ((s + b) \ln(1 + s / b) - s)} $$

    [Cowan et al., 1007.1727] of the weights s and b of both classes inside it, or, with an uncertain
    background, what `statistics.significance.asimov` says. From the best box on, tighter and looser ones are
    chosen inside and around each other, with as little background as the grid has at each signal efficiency.
    An event's probability is the share of signal between the two boxes that it lies between; where that
    would rise outwards it is averaged.

    Attributes:
        combinations: of thresholds that are tried, at most; thresholds are given to the features in turn, as
            many as this allows.
        sides: by feature, `above` or `below` a threshold, or `between` two; by default between.
        signal: events of the signal expected before cuts; None: the sum of their weights.
        background: likewise; both or none are given.
        uncertainty: of the background, relative.
        least: share of the background that has to be left: below it a simulation says nothing.
        shells: boxes inside and around each other.
    """

    trains_network: ClassVar[bool] = False
    label: ClassVar[str] = "class"

    combinations: PositiveInt = Field(default=1_000_000, le=10_000_000)
    sides: dict[str, Side] = Field(default_factory=dict)
    signal: PositiveFloat | None = None
    background: PositiveFloat | None = None
    uncertainty: float = Field(default=0.0, ge=0)
    least: float = Field(default=1e-3, gt=0, le=1)
    shells: PositiveInt = 30

    def default_inputs(self) -> Inputs:
        """See `textbook.textbook_inputs`."""
        return textbook_inputs()

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Try all boxes on `train`.

        Raises:
            InputError: when there are not two classes or one has no weight, when a feature is constant, not
                there or not finite, or when `sides` names one that is not read.
        """
        self.inputs = inputs or self.default_inputs()
        names = [feature.name for feature in self.inputs.event_features]
        self._check(names)
        values, labels, weights = events_of(train, self.inputs, self.label, self.name)
        values = varying_features(values, self.inputs, train)
        share = balanced(labels, weights, 2)
        sides = [self.sides.get(name, "between") for name in names]
        counts = thresholds_per_feature(sides, self.combinations)
        magnitude = balanced(labels, np.abs(weights), 2)
        used = np.flatnonzero(counts)
        edges = [
            np.unique(quantiles(values[:, i], magnitude, np.arange(1, counts[i] + 1) / (counts[i] + 1)))
            for i in used
        ]
        spans = [intervals(len(edge), sides[i]) for i, edge in zip(used, edges, strict=True)]
        s, b = (box_sums(values[labels == k][:, used], share[labels == k], edges, spans) for k in (0, 1))
        sums = np.bincount(labels, weights, minlength=2)
        expected = b * (self.background or sums[1])
        z = asimov(s * (self.signal or sums[0]), expected, sigma=self.uncertainty * expected).value
        z = np.where(b >= self.least, z, 0.0)
        best: Place = tuple(int(i) for i in np.unravel_index(np.argmax(z), z.shape))
        self.significance = np.array(z[best])
        steps = np.arange(1, self.shells + 1) / (self.shells + 1)
        tighter = chain(s, b, spans, best, steps[steps < s[best]][::-1], outwards=False)[::-1]
        places = [*tighter, best, *chain(s, b, spans, best, steps[steps > s[best]], outwards=True)]
        self.best = np.array(len(tighter))
        self.boxes = np.tile([-np.inf, np.inf], (len(places), len(names), 1))
        for i, edge, span, which in zip(used, edges, spans, np.array(places).T, strict=True):
            self.boxes[:, i] = np.concatenate([[-np.inf], edge, [np.inf]])[span[which]]
        between = np.diff([[0.0, 0.0], *[(s[place], b[place]) for place in places], [1.0, 1.0]], axis=0)
        between = np.maximum(between, 1e-12)
        total = between.sum(axis=1)
        self.purity = isotonic_regression(between[:, 0] / total, sample_weight=total, increasing=False)
        return self

    def predict_batch(self, batch: Batch) -> ak.Array:
        """`cuts_ps`, `cuts_pb` per event."""
        values = transformed(batch.event.numpy().astype(np.float64), self.fitted_inputs.event_features)
        outside = np.zeros(len(values), dtype=np.int64)
        for low, high in self.boxes.transpose(0, 2, 1):
            outside += ~((values > low) & (values <= high)).all(axis=1)
        signal = self.purity[outside]
        return self.probabilities(np.stack([signal, 1 - signal], axis=1).astype(np.float32))

    def passes(self, values: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Which events (N, F), of raw features, are inside the box of the highest significance."""
        values = transformed(np.asarray(values, dtype=np.float64), self.fitted_inputs.event_features)
        low, high = self.boxes[self.best].T
        return np.asarray(((values > low) & (values <= high)).all(axis=1))

    def state(self) -> dict[str, NDArray[Any]]:
        """`boxes` (B, F, 2) from the inside out, their `purity` (B + 1,), the `best`, its `significance`."""
        return {"boxes": self.boxes, "purity": self.purity, "best": self.best,
                "significance": self.significance}  # fmt: skip

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when it is of other features.
        """
        features = len(self.fitted_inputs.event)
        if state["boxes"].shape[1] != features:
            raise InputError(f"these boxes do not fit '{self.name}': expected {features} features")
        self.boxes, self.purity = state["boxes"], state["purity"]
        self.best, self.significance = state["best"], state["significance"]

    def _check(self, names: list[str]) -> None:
        if len(self.classes) != 2:
            raise InputError(f"'{self.name}' tells signal from background: two classes, not {self.classes}")
        for name in self.sides:
            if name not in names:
                raise InputError(f"'{self.name}': sides of '{name}', which is not read{closest(name, names)}")
        if (self.signal is None) != (self.background is None):
            raise InputError(f"'{self.name}': give both signal and background, or none of them")


def thresholds_per_feature(sides: Sequence[Side], combinations: int) -> list[int]:
    """How many thresholds each feature gets: one more in turn, as long as the combinations allow it."""
    counts = [0] * len(sides)
    grown = True
    while grown:
        grown = False
        for i in range(len(sides)):
            trial = [count + (i == k) for k, count in enumerate(counts)]
            sizes = [n + 1 if side != "between" else (n + 1) * (n + 2) // 2
                     for n, side in zip(trial, sides, strict=True)]  # fmt: skip
            if trial[i] <= MOST and prod(sizes) <= combinations:
                counts, grown = trial, True
    return counts


def intervals(thresholds: int, side: Side) -> Spans:
    """(I, 2) first cell and the cell after the last one, of every interval between `thresholds` edges."""
    cells = np.arange(thresholds + 1)
    if side == "above":
        return np.stack([cells, np.full_like(cells, thresholds + 1)], axis=1)
    if side == "below":
        return np.stack([np.zeros_like(cells), cells + 1], axis=1)
    first, last = np.triu_indices(thresholds + 1)
    return np.stack([first, last + 1], axis=1)


def box_sums(values: Floats, weights: Floats, edges: Sequence[Floats], spans: Sequence[Spans]) -> Floats:
    """Sums of the weights of events in every box, an axis per feature: (I_1, ..., I_F).

    Args:
        values, weights: of the events.
        edges: thresholds of each feature, rising; an event on one lies below it.
        spans: intervals of each feature (`intervals`); a box takes one of each.
    """
    shape = [len(edge) + 1 for edge in edges]
    cell = np.zeros(len(values), dtype=np.int64)
    for column, edge, size in zip(values.T, edges, shape, strict=True):
        cell = cell * size + np.searchsorted(edge, column, side="left")
    sums = np.bincount(cell, weights, minlength=prod(shape)).reshape(shape)
    for axis, span in enumerate(spans):
        before = [(1, 0) if k == axis else (0, 0) for k in range(len(shape))]
        below = np.pad(np.cumsum(sums, axis=axis), before)
        sums = np.take(below, span[:, 1], axis=axis) - np.take(below, span[:, 0], axis=axis)
    return np.asarray(sums, dtype=np.float64)


def chain(
    s: Floats, b: Floats, spans: Sequence[Spans], start: Place, efficiencies: Floats, *, outwards: bool
) -> list[Place]:
    """From a box on, for each signal efficiency the one of least background around (or inside) the last."""
    places = [start]
    for efficiency in efficiencies:
        near = []
        for span, i in zip(spans, places[-1], strict=True):
            around = (span[:, 0] <= span[i, 0]) & (span[:, 1] >= span[i, 1])
            inside = (span[:, 0] >= span[i, 0]) & (span[:, 1] <= span[i, 1])
            near.append(np.flatnonzero(around if outwards else inside))
        block = np.ix_(*near)
        left = np.where(s[block] >= efficiency - 1e-12, b[block], np.inf)
        found = np.unravel_index(np.argmin(left), left.shape)
        place = tuple(int(rows[i]) for rows, i in zip(near, found, strict=True))
        if place != places[-1]:
            places.append(place)
    return places[1:]
