"""Index arithmetic on flat arrays that hold variable-length groups (events, jets)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["cross_pairs", "offsets_of", "pairs", "ramp", "sums"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def offsets_of(counts: Index) -> Index:
    """0 and the running sum of the counts."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def ramp(counts: Index) -> Index:
    """0..c-1 for every count c, concatenated."""
    offsets = offsets_of(counts)
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)


def pairs(counts: Index) -> tuple[Index, Index]:
    """Flat indices (i, j), i < j, of all pairs within each group."""
    within = ramp(counts)
    total = len(within)
    later = np.repeat(np.arange(total), within)
    earlier = np.repeat(np.arange(total) - within, within) + ramp(within)
    return earlier, later


def cross_pairs(counts_a: Index, counts_b: Index) -> tuple[Index, Index]:
    """Flat indices (i, j) of all pairs of an a and a b of the same group, ordered by i."""
    partners = np.repeat(counts_b, counts_a)
    first = np.repeat(np.arange(len(partners)), partners)
    start = np.repeat(np.repeat(offsets_of(counts_b)[:-1], counts_a), partners)
    return first, start + ramp(partners)


def sums(group: Index, values: NDArray[Any], count: int) -> Array:
    """Sum of values (N, ...) over the members of each group: (count, ...), zero for groups without any."""
    if values.ndim == 1:
        return np.asarray(np.bincount(group, values, minlength=count), dtype=np.float64)
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
    columns = np.stack([sums(group, column, count) for column in flat.T], axis=1)
    return columns.reshape(count, *values.shape[1:])
