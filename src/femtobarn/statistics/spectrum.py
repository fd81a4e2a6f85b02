"""A spectrum: counts in the bins of a mass, read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from femtobarn.errors import InputError

__all__ = ["Spectrum", "read_spectrum"]

Array = NDArray[np.float64]


class Spectrum(NamedTuple):
    """Bin edges (B+1,) and counts (B,), which may be sums of weights; empty bins are data like any other."""

    edges: Array
    counts: Array
    name: str = "the spectrum"

    @classmethod
    def of(cls, edges: ArrayLike, counts: ArrayLike, name: str = "the spectrum") -> Spectrum:
        """A spectrum that a Poisson likelihood can be written for.

        Raises:
            InputError: when edges do not rise, there is not one count per bin, a count is negative or no
                number, or all are zero.
        """
        edges, counts = np.asarray(edges, dtype=np.float64), np.asarray(counts, dtype=np.float64)
        if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0):
            raise InputError(f"{name}: bin edges must rise from one to the next")
        if counts.shape != (len(edges) - 1,):
            raise InputError(
                f"{name}: {len(edges)} edges make {len(edges) - 1} bins, but there are {counts.size} counts"
            )
        bad = np.flatnonzero(~(np.isfinite(counts) & (counts >= 0)))
        if len(bad):
            where = f"bin {bad[0]} ({edges[bad[0]]:g} to {edges[bad[0] + 1]:g})"
            raise InputError(
                f"{name}: {where} holds {counts[bad[0]]:g}, but a count must be zero or more; "
                "merge bins until no sum of weights is negative"
            )
        if not counts.any():
            raise InputError(f"{name}: all {len(counts)} bins are empty, nothing can be fitted")
        return cls(edges, counts, name)

    @classmethod
    def fill(cls, values: ArrayLike, edges: ArrayLike, weights: ArrayLike | None = None,
             name: str = "the spectrum") -> Spectrum:  # fmt: skip
        """Sums of weights of events in bins; what lies outside is left out."""
        return cls.of(edges, np.histogram(np.asarray(values), np.asarray(edges), weights=weights)[0], name)


def read_spectrum(path: str | Path, low: str = "mjj_low_GeV", high: str = "mjj_high_GeV",
                  counts: str = "events") -> Spectrum:  # fmt: skip
    """A spectrum from a CSV file with a row per bin: columns of its lower and upper edge and its count.

    Raises:
        InputError: when the file or a column is not there, bins do not join, or counts cannot be fitted.
    """
    try:
        table: Any = np.genfromtxt(path, delimiter=",", names=True, dtype=np.float64)
    except OSError:
        raise InputError(f"{path}: there is no such file") from None
    known = table.dtype.names or ()
    for column in (low, high, counts):
        if column not in known:
            raise InputError(f"{path}: no column '{column}', only {', '.join(known) or 'unnamed ones'}")
    table = {column: np.atleast_1d(table[column]) for column in (low, high, counts)}
    gaps = np.flatnonzero(table[low][1:] != table[high][:-1])
    if len(gaps):
        raise InputError(
            f"{path}: bin {gaps[0]} ends at {table[high][gaps[0]]:g} but the next begins at "
            f"{table[low][gaps[0] + 1]:g}; the bins must join"
        )
    return Spectrum.of(np.r_[table[low], table[high][-1]], table[counts], str(path))
