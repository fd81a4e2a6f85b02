"""How improbable is what no pseudo-experiment reached: the tail of a statistic, extrapolated with error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tail", "tail_probability"]

Array = NDArray[np.float64]
FEWEST = 20
"""Pseudo-experiments beyond the observation that are enough to count."""
SHARES = (0.05, 0.02, 0.01)
"""Parts of the pseudo-experiments the tail is fitted to; the first gives the value, the spread an error."""


class Tail(NamedTuple):
    """Probability of a statistic as large as observed or larger.

    Attributes:
        p: the probability.
        low, high: one standard deviation below and above.
        counted: pseudo-experiments that reached it.
        extrapolated: whether they were too few and an exponential was fitted to the tail.
    """

    p: float
    low: float
    high: float
    counted: int
    extrapolated: bool


def tail_probability(toys: Array, observed: float) -> Tail:
    """p = P(t >= observed) from pseudo-experiments, extrapolated where fewer than twenty reached it.

    Counting gives p = k/T with a binomial error. Beyond, the statistic t = -ln(smallest p-value) of many
    windows falls like exp(-t/s) with s near 1: a fraction q of the pseudo-experiments lies above a threshold
    u, the mean excess there is s, and p = q exp(-(t-u)/s). Its logarithm has the variance
    (1-q)/k + ((t-u)/s)^2/k, to which the spread between thresholds is added, since s changes slowly with u.
    """
    size = len(toys)
    counted = int(np.sum(toys >= observed))
    if counted >= min(FEWEST, size):
        p = counted / size
        error = np.sqrt(p * (1 - p) / size)
        return Tail(p, float(max(p - error, 0.0)), float(min(p + error, 1.0)), counted, False)
    ordered = np.sort(toys)[::-1]
    logs = []
    for share in SHARES:
        above = max(FEWEST, round(share * size))
        if above >= size:
            break
        threshold = 0.5 * (ordered[above - 1] + ordered[above])
        scale = float(np.mean(ordered[:above] - threshold))
        reach = (observed - threshold) / scale
        if reach < 0:
            break
        logs.append((np.log(above / size) - reach, np.sqrt((1 - above / size) / above + reach**2 / above)))
    if not logs:
        p = (counted + 1) / (size + 1)
        return Tail(p, 0.0, float(min(1.0, p + np.sqrt(p * (1 - p) / size))), counted, False)
    values = np.array([value for value, _ in logs])
    error = float(np.hypot(logs[0][1], np.max(np.abs(values - values[0]))))
    low, high = np.exp(values[0] - error), np.exp(min(values[0] + error, 0.0))
    return Tail(float(np.exp(values[0])), float(low), float(high), counted, True)
