"""The bump hunt: the window of a spectrum that holds the least probable excess [Choudalakis, 1101.0390].

All windows of all pseudo-experiments are done together. The count of a window is a difference of cumulative
sums. In pseudo-experiments the exact probability is needed only where it may be the smallest: with
r = sign(n - b) sqrt(2 (n ln(n/b) - n + b)) the probability of n or more is at least that of a normal deviate
above r [Zubkov, Serov, Theory Probab. Appl. 57 (2013) 539], so a window whose r is below what the best one
has already reached is left out without an approximation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammainc, ndtri

from femtobarn.errors import InputError
from femtobarn.statistics.tails import Tail, tail_probability

__all__ = ["Hunt", "Windows", "hunt", "local_p", "pseudo_experiments", "strongest", "windows"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Refit = Callable[[Array], Array]
BLOCK = 500
"""Pseudo-experiments at once: small enough for the processor's cache."""
SMALLEST = 1e-300


class Windows(NamedTuple):
    """First bin and first bin beyond of W windows, narrow ones first."""

    low: Index
    high: Index


class Hunt(NamedTuple):
    """What a bump hunt found.

    Attributes:
        p: (W,) local p-value of each window of the data.
        windows: the W windows.
        low, high: first bin, and first bin beyond, of the best window.
        excess: counts above the background there.
        local_p: the smallest.
        local_p_systematic: of that window, with the background's uncertainty; equal without one.
        toys: (T,) test statistic -ln(smallest p) of pseudo-experiments.
        tail: global p-value, its error, and how it was found.
    """

    p: Array
    windows: Windows
    low: int
    high: int
    excess: float
    local_p: float
    local_p_systematic: float
    toys: Array
    tail: Tail

    @property
    def local_significance(self) -> float:
        """In normal standard deviations."""
        return float(-ndtri(self.local_p))

    @property
    def global_significance(self) -> float:
        """In normal standard deviations, 0 at least."""
        return max(0.0, float(-ndtri(self.tail.p)))


def windows(bins: int, narrowest: int = 2, widest: int | None = None) -> Windows:
    """All windows of a width between two numbers of bins, by default 2 and half the spectrum.

    Raises:
        InputError: when none fits in.
    """
    widest = max(narrowest, bins // 2) if widest is None else widest
    if not 1 <= narrowest <= min(widest, bins):
        raise InputError(f"windows of {narrowest} to {widest} bins do not fit into {bins} bins")
    low = [np.arange(bins - width + 1) for width in range(narrowest, min(widest, bins) + 1)]
    width = np.repeat(np.arange(narrowest, narrowest + len(low)), [len(part) for part in low])
    starts = np.concatenate(low)
    return Windows(starts, starts + width)


def local_p(counts: Array, expected: Array, where: Windows, shifts: Array | None = None) -> Array:
    """Probability (..., W) of the count of each window or a higher one; 1 where there is no excess.

    Args:
        counts, expected: (..., B).
        where: the windows.
        shifts: (K, B) independent changes of the expectation by one standard deviation. With them the
            expectation is averaged over a gamma distribution of its mean and variance, which makes the count
            negative-binomial.
    """
    n, b = _in_windows(counts, where), _in_windows(expected, where)
    excess = n > b
    if shifts is None:
        p = gammainc(np.where(excess, n, 1.0), b)
    else:
        variance = np.maximum((_in_windows(shifts, where) ** 2).sum(axis=0), 1e-12 * b**2)
        shape = b**2 / variance
        p = betainc(np.where(excess, n, 1.0), shape, b / (shape + b))
    return np.asarray(np.where(excess, np.maximum(p, SMALLEST), 1.0))


def strongest(counts: Array, expected: Array, where: Windows) -> tuple[Array, Index]:
    """The smallest local p-value (T,) of each of T spectra of whole counts, and its window (T,).

    Args:
        counts: (T, B), whole numbers.
        expected: (B,) for all of them or (T, B).
        where: the windows.
    """
    size = len(counts)
    smallest, window = np.ones(size), np.zeros(size, dtype=np.int64)
    # Spectra run along the last axis, so that windows are slices and all arithmetic is on long rows.
    for first in range(0, size, BLOCK):
        rows = slice(first, first + BLOCK)
        own = expected[rows].T if expected.ndim == 2 else expected[:, None]
        n, b = _windowed(counts[rows].T, where), np.maximum(_windowed(own, where), SMALLEST)
        r2 = np.maximum(n, 1.0)
        np.divide(r2, b, out=r2)
        np.log(r2, out=r2)
        r2 *= n
        r2 -= n
        r2 += b
        r2 *= np.where(n > b, 2.0, 0.0)  # r^2 of excesses, 0 elsewhere
        best, column = r2.argmax(axis=0), np.arange(n.shape[1])
        wide = np.broadcast_to(b, n.shape)
        found = np.where(
            r2[best, column] > 0, gammainc(np.maximum(n[best, column], 1.0), wide[best, column]), 1.0
        )
        rival = r2 >= np.square(np.maximum(-ndtri(found), 0.0))
        rival[best, column] = False
        rival &= r2 > 0
        which, toy = np.nonzero(rival)
        p = gammainc(n[which, toy], wide[which, toy])
        order = np.argsort(-p)  # the smallest is written last
        better = order[p[order] < found[toy[order]]]
        found[toy[better]], best[toy[better]] = p[better], which[better]
        smallest[rows], window[rows] = found, best
    return np.maximum(smallest, SMALLEST), window


def pseudo_experiments(
    expected: Array, number: int, rng: np.random.Generator, shifts: Array | None = None
) -> Array:
    """Counts (T, B) drawn from the expectation (B,), itself drawn within its uncertainty `shifts` (K, B)."""
    mean = np.broadcast_to(expected, (number, len(expected)))
    if shifts is not None:
        mean = np.maximum(mean + rng.normal(size=(number, len(shifts))) @ shifts, 0.0)
    return rng.poisson(mean).astype(np.float64)


def hunt(
    counts: Array,
    expected: Array,
    where: Windows,
    *,
    toys: int = 10_000,
    refit: Refit | None = None,
    shifts: Array | None = None,
    rng: np.random.Generator | None = None,
) -> Hunt:
    """Hunt for a bump, and ask how often the background alone makes one as strong anywhere.

    Args:
        counts: (B,) the data.
        expected: (B,) the background.
        where: the windows looked at.
        toys: pseudo-experiments.
        refit: estimates the background (T, B) of each of T pseudo-experiments, as was done for the data.
            None: the background is known.
        shifts: (K, B) systematic changes of the background by one standard deviation, drawn afresh in each
            pseudo-experiment; what a refit absorbs does no harm.
        rng: for the pseudo-experiments.

    Raises:
        InputError: when the background is negative somewhere, nothing of it is expected in one of the
            windows, or it has another number of bins than the data.
    """
    _check(counts, expected, where)
    p = local_p(counts, expected, where)
    best = int(p.argmin())
    only = Windows(where.low[best : best + 1], where.high[best : best + 1])
    pseudo = pseudo_experiments(expected, toys, rng or np.random.default_rng(), shifts)
    smallest, _ = strongest(pseudo, expected if refit is None else refit(pseudo), where)
    statistic = -np.log(smallest)
    return Hunt(
        p=p,
        windows=where,
        low=int(where.low[best]),
        high=int(where.high[best]),
        excess=float((_in_windows(counts, only) - _in_windows(expected, only))[0]),
        local_p=float(p[best]),
        local_p_systematic=float(local_p(counts, expected, only, shifts)[0]),
        toys=statistic,
        tail=tail_probability(statistic, float(-np.log(p[best]))),
    )


def _check(counts: Array, expected: Array, where: Windows) -> None:
    """Refuse a background that gives some count no probability."""
    if counts.shape != expected.shape:
        raise InputError(f"the data have {counts.size} bins but the background has {expected.size}")
    bad = np.flatnonzero(~(expected >= 0))
    if len(bad):
        raise InputError(f"the background is {expected[bad[0]]:g} in bin {bad[0]}; it must be zero or more")
    empty = np.flatnonzero(_in_windows(expected, where) <= 0)
    if len(empty):
        low, high = where.low[empty[0]], where.high[empty[0]] - 1
        name = f"bin {low}" if low == high else f"bins {low} to {high}"
        raise InputError(
            f"nothing is expected in {name}, so no count there has a probability; "
            "leave empty bins out, take wider windows or fit a smooth function"
        )


def _in_windows(values: Array, where: Windows) -> Array:
    """Sums (..., W) of bins (..., B)."""
    total = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    return np.asarray(total[..., where.high] - total[..., where.low])


def _windowed(values: Array, where: Windows) -> Array:
    """As `_in_windows`, of bins (B, T) to windows (W, T)."""
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    return np.asarray(total[where.high] - total[where.low])
