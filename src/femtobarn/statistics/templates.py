"""Binned probability templates of classes, filled with weighted entries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

__all__ = ["fill", "log_probability"]

Array = NDArray[np.float64]


def fill(label: NDArray[np.int64], cell: NDArray[np.int64], weight: Array, shape: tuple[int, ...]) -> Array:
    """Sums of weights (classes, *axes) of entries (N,) by class label and flat cell of the axes.

    Args:
        label: (N,) the class, below zero: not used.
        cell: (N,) index into the flattened axes.
        weight: (N,).
        shape: classes, then the bins of each axis.
    """
    cells = int(np.prod(shape[1:]))
    known = label >= 0
    counts = np.bincount(label[known] * cells + cell[known], weight[known], minlength=shape[0] * cells)
    return counts.astype(np.float64).reshape(shape)


def log_probability(
    counts: Array, smooth: Sequence[int] = (), width: float = 0.8, spread: float = 1e-3, given: int = 0
) -> Array:
    """Logarithms of probabilities per cell, of every class, from sums of weights.

    Args:
        counts: (classes, *axes).
        smooth: axes smoothed by a Gaussian, counted from 1.
        width: of the Gaussian, in bins.
        spread: fraction of each class spread evenly over its cells: a cell that only some classes reach must
            not decide alone. A class without entries is all spread.
        given: axes after the classes that are conditions: probabilities add up to one for each of their bins.
    """
    positive = counts.clip(min=0.0)
    if smooth:
        positive = gaussian_filter(positive, width, axes=tuple(smooth))
    inner = tuple(range(1 + given, counts.ndim))
    cells = int(np.prod(counts.shape[1 + given :]))
    total = positive.sum(axis=inner, keepdims=True)
    share = np.where(total > 0, positive / np.where(total > 0, total, 1.0), 1 / cells)
    return np.asarray(np.log((1 - spread) * share + spread / cells))
