"""Projective likelihood: one density per feature and class, multiplied."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat
from scipy.ndimage import gaussian_filter1d
from scipy.special import ndtri

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
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training

__all__ = ["Likelihood"]

Floats = NDArray[np.float64]

GRID = np.linspace(-4.5, 4.5, 361)
"""Where densities are kept, in standard deviations."""
KNOTS = ndtri(np.linspace(0, 1, 402)[1:-1])
"""Where the map of a feature to a normal distribution is kept."""
SMALLEST = 1e-4
"""No density is less than this share of that of all classes: no feature alone says more."""


@method
class Likelihood(Classifier):
    r"""Product of the densities of the features [naive Bayes; TMVA users guide, physics/0703039, ch. 8.2].

    $$ L = \frac{s}{s + b}, \quad s = \prod_i p_s(x_i), \quad b = \prod_i p_b(x_i) $$

    and likewise for more classes, which count as equally frequent. The product is the best answer there is if
    the features of a class are independent. If they are not, `decorrelate` first multiplies them by the
    inverse square root of their covariance S within the classes, x' = S^(-1/2) x: of features that are
    Gaussian with one covariance this makes independent ones; of others it removes what is linear.

    Densities are Gaussian kernel estimates. Since a ratio of densities does not notice a monotonic map, each
    feature is mapped beforehand so that all events together are normally distributed: one width of the
    kernel then suits peaks and tails.

    Attributes:
        decorrelate: whether the features are decorrelated first.
        smoothing: width of the kernel, in standard deviations of the mapped feature. It does not shrink by
            itself as the sample grows.
    """

    trains_network: ClassVar[bool] = False
    label: ClassVar[str] = "class"

    decorrelate: bool = False
    smoothing: PositiveFloat = 0.15

    def default_inputs(self) -> Inputs:
        """See `textbook.textbook_inputs`."""
        return textbook_inputs()

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """The densities of `train`.

        Raises:
            InputError: when a class has no weight, when a feature is constant, not there or not finite, or,
                with `decorrelate`, when features are linearly dependent.
        """
        self.inputs = inputs or self.default_inputs()
        values, labels, weights = events_of(train, self.inputs, self.label, self.name)
        values = varying_features(values, self.inputs, train)
        classes = len(self.classes)
        share = balanced(labels, weights, classes)
        self.rotation = np.eye(values.shape[1])
        if self.decorrelate:
            self.rotation = self._whitening(values, labels, share, train.name)
        values = values @ self.rotation
        magnitude = balanced(labels, np.abs(weights), classes)
        at = np.linspace(0, 1, len(KNOTS) + 2)[1:-1]
        self.knots = np.stack([quantiles(column, magnitude, at) for column in values.T])
        mapped = self._mapped(values)
        density = np.stack(
            [[smooth(column[labels == k], share[labels == k], self.smoothing) for column in mapped.T]
             for k in range(classes)]
        )  # fmt: skip
        density = np.maximum(density, 0)
        self.log_density = np.log(density + SMALLEST * density.mean(axis=0) + 1e-30)
        return self

    def predict_batch(self, batch: Batch) -> ak.Array:
        """`likelihood_p<class>` per event."""
        values = transformed(batch.event.numpy().astype(np.float64), self.fitted_inputs.event_features)
        mapped = self._mapped(values @ self.rotation)
        logs = np.stack(
            [sum(np.interp(x, GRID, table) for x, table in zip(mapped.T, tables, strict=True))
             for tables in self.log_density],
            axis=1,
        )  # fmt: skip
        odds = np.exp(logs - logs.max(axis=1, keepdims=True, initial=-np.inf))
        return self.probabilities((odds / odds.sum(axis=1, keepdims=True)).astype(np.float32))

    def state(self) -> dict[str, NDArray[Any]]:
        """`rotation` (F, F), `knots` (F, K) of the maps, `log_density` (classes, F, G) on the grid."""
        return {"rotation": self.rotation, "knots": self.knots, "log_density": self.log_density}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when it is of other features or classes.
        """
        expected = (len(self.classes), len(self.fitted_inputs.event), len(GRID))
        if state["log_density"].shape != expected:
            raise InputError(f"these densities do not fit '{self.name}': expected {expected}")
        self.rotation, self.knots = state["rotation"], state["knots"]
        self.log_density = state["log_density"]

    def _whitening(self, values: Floats, labels: NDArray[np.int64], share: Floats, where: str) -> Floats:
        """S^(-1/2) of the covariance within the classes: symmetric, the one that turns the features least."""
        within = np.zeros((values.shape[1], values.shape[1]))
        for k in range(len(self.classes)):
            own, p = values[labels == k], share[labels == k]
            centred = own - p @ own
            within += (p[:, None] * centred).T @ centred / len(self.classes)
        scale = np.sqrt(np.abs(np.diag(within)))
        widths, axes = np.linalg.eigh(within / np.outer(scale, scale))
        if not widths[0] > 1e-10:
            raise InputError(
                f"{where}: the features of '{self.name}' are linearly dependent: leave one out or set "
                "decorrelate: false"
            )
        # In units of each feature's width, so that the answer does not depend on the units.
        return np.asarray((axes / np.sqrt(widths)) @ axes.T / scale[:, None])

    def _mapped(self, values: Floats) -> Floats:
        """Features (N, F) so that the training events, all classes together, are normally distributed.

        Beyond the outermost knots the map goes on with the slope between the last two.
        """
        result = np.empty_like(values)
        for i, knots in enumerate(self.knots):
            known, first, count = np.unique(knots, return_index=True, return_counts=True)
            z = KNOTS[first + (count - 1) // 2]  # of equal knots the one in the middle
            result[:, i] = np.interp(values[:, i], known, z)
            for end, inner, beyond in ((0, 1, values[:, i] < known[0]), (-1, -2, values[:, i] > known[-1])):
                if len(known) > 1:
                    slope = (z[end] - z[inner]) / (known[end] - known[inner])
                    result[beyond, i] += slope * (values[beyond, i] - known[end])
        return np.clip(result, GRID[0], GRID[-1])


def smooth(values: Floats, weights: Floats, width: float) -> Floats:
    """Gaussian kernel estimate of a density on `GRID`, of unit integral."""
    step = GRID[1] - GRID[0]
    place = np.clip((values - GRID[0]) / step, 0, len(GRID) - 1)
    left = np.minimum(place.astype(np.int64), len(GRID) - 2)
    part = place - left  # each weight is shared by the two nearest points
    counts = np.bincount(left, weights * (1 - part), minlength=len(GRID))
    counts += np.bincount(left + 1, weights * part, minlength=len(GRID))
    smoothed = gaussian_filter1d(counts, width / step, mode="constant", truncate=6)
    return np.asarray(smoothed / step, dtype=np.float64)
