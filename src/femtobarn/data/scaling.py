"""Means and widths of features, fitted on the training split, stored in the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from femtobarn.data.inputs import Feature, Inputs
from femtobarn.data.ragged import Batch

__all__ = ["Moments", "Scaling", "ScalingFit", "transformed"]


class Moments(BaseModel):
    """Mean and standard deviation of each feature, in the order of the features."""

    model_config = ConfigDict(extra="forbid")
    mean: list[float]
    std: list[float]


class Scaling(BaseModel):
    """What standardising needs: `(transformed(x) - mean) / std`, for every feature.

    Features that are not standardised have mean 0 and std 1, so that the formula holds for all. A constant
    feature has std 1. Pydantic: goes to and comes from JSON or YAML as it is.
    """

    model_config = ConfigDict(extra="forbid")
    event: Moments
    collections: dict[str, Moments]


def transformed(values: NDArray[np.floating], features: Sequence[Feature]) -> NDArray[np.floating]:
    """Values (T, F) after each feature's transform (log, asinh or tanh of value / scale) and clip."""
    if all(feature.transform == "none" and feature.clip is None for feature in features):
        return values
    result = values.copy()
    for position, feature in enumerate(features):
        column = result[:, position]
        if feature.transform == "log":
            with np.errstate(divide="ignore"):  # a zero is left to the clip
                column = np.log(column / feature.scale)
        elif feature.transform == "asinh":
            column = np.arcsinh(column / feature.scale)
        elif feature.transform == "tanh":
            column = np.tanh(column / feature.scale)
        if feature.clip is not None:
            column = np.clip(column, *feature.clip)
        result[:, position] = column
    return result


class ScalingFit:
    """Scaling of a stream of batches, in one pass and double precision (Chan, Golub, LeVeque 1979).

    Each event, and each of its tokens, counts with the magnitude of its weight: scaling conditions a
    network's input, and a signed sum could leave a feature without a width.
    """

    def __init__(self, inputs: Inputs) -> None:
        self._features = {"": inputs.event_features}
        self._features |= {name: inputs.collection_features(name) for name in inputs.collections}
        self._sums = {name: _Sums(len(features)) for name, features in self._features.items()}

    def add(self, batch: Batch) -> None:
        """Count a batch of raw values in."""
        weights = np.abs(batch.weights.numpy().astype(np.float64))
        self._sums[""].add(self._transformed("", batch.event.numpy()), weights)
        for name, ragged in batch.collections.items():
            tokens = np.repeat(weights, ragged.lengths.numpy())
            self._sums[name].add(self._transformed(name, ragged.values.numpy()), tokens)

    def _transformed(self, name: str, values: NDArray[np.float32]) -> NDArray[np.floating]:
        return transformed(values, self._features[name]).astype(np.float64)

    def result(self) -> Scaling:
        """The scaling of all that was added."""
        moments = {name: sums.moments(self._features[name]) for name, sums in self._sums.items()}
        return Scaling(event=moments.pop(""), collections=moments)


class _Sums:
    def __init__(self, features: int) -> None:
        self.total = 0.0
        self.mean = np.zeros(features)
        self.squares = np.zeros(features)

    def add(self, values: NDArray[np.floating], weights: NDArray[np.float64]) -> None:
        total = float(weights.sum())
        if total == 0.0:
            return
        mean = weights @ values / total
        squares = weights @ np.square(values - mean)
        shift = mean - self.mean
        self.squares += squares + shift**2 * (self.total * total / (self.total + total))
        self.mean += shift * (total / (self.total + total))
        self.total += total

    def moments(self, features: Sequence[Feature]) -> Moments:
        scaled = np.array([feature.standardise for feature in features], dtype=bool)
        variance = self.squares / self.total if self.total else np.zeros_like(self.squares)
        # Rounding leaves a constant feature a variance of order 1e-32 of its mean squared.
        constant = variance <= 1e-14 * np.square(self.mean)
        std = np.where(scaled & ~constant, np.sqrt(variance), 1.0)
        return Moments(mean=np.where(scaled, self.mean, 0.0).tolist(), std=std.tolist())
