"""From a classifier's scores to yields: the best threshold, judged on other events, and bins for templates.

Scores (N,), the higher the more like signal; `signal` (N,) says which events are; `weights` (N,) of any sign
scale both to the events expected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from femtobarn.errors import InputError
from femtobarn.statistics.estimate import Estimate
from femtobarn.statistics.significance import Yields, asimov

__all__ = [
    "FigureOfMerit",
    "Scan",
    "best_threshold",
    "held_out_yields",
    "scan",
    "score_edges",
    "yields_above",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
FigureOfMerit = Callable[..., Estimate]
"""`asimov`, `s_over_sqrt_b` or another function of (s, b, var_s, var_b)."""


class Scan(NamedTuple):
    """Yields at or above every distinct score, from the highest to the lowest."""

    thresholds: Floats
    yields: Yields

    @property
    def effective_background(self) -> Floats:
        """(sum w)^2 / sum w^2 of the background that passes: the number of equal events worth as much."""
        b, variance = self.yields.b, self.yields.var_b
        effective: Floats = np.maximum(b, 0.0) ** 2 / np.where(variance > 0, variance, 1.0)
        return effective


def scan(scores: ArrayLike, signal: ArrayLike, weights: ArrayLike | None = None) -> Scan:
    """All thresholds at once: one sort, four running sums.

    Raises:
        InputError: when there are no events, one class only, a number that is not finite, or a class whose
            weights sum to zero or less.
    """
    score, true, weight = _checked(scores, signal, weights)
    order = np.argsort(-score, kind="stable")
    score, true, weight = score[order], true[order], weight[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # of each group of equal scores
    sums = [np.cumsum(np.where(true == which, weight**power, 0.0))[last]
            for power in (1, 2) for which in (True, False)]  # fmt: skip
    return Scan(score[last], Yields(*sums))


def best_threshold(
    scores: ArrayLike,
    signal: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    figure: FigureOfMerit = asimov,
    minimum: float = 10.0,
) -> float:
    """The threshold with the largest figure of merit, with enough background left to believe it.

    What it promises on these events is too good: it chose among fluctuations. Say what it does with
    `yields_above` on other events, or with `held_out_yields`.

    Args:
        scores, signal, weights: (N,).
        figure: of merit.
        minimum: effective number of simulated background events that must pass.

    Raises:
        InputError: for classes as in `scan`, or when no threshold leaves enough background.
    """
    found = scan(scores, signal, weights)
    merit = figure(*found.yields).value
    allowed = (found.effective_background >= minimum) & np.isfinite(merit)
    if not allowed.any():
        most = float(found.effective_background.max())
        raise InputError(
            f"no threshold keeps {minimum:g} effective background events, the most is {most:.1f}: "
            "simulate more background or lower the minimum"
        )
    return float(found.thresholds[np.argmax(np.where(allowed, merit, -np.inf))])


def yields_above(
    scores: ArrayLike, signal: ArrayLike, weights: ArrayLike | None = None, *, threshold: float
) -> Yields:
    """Signal and background with scores at or above a threshold, with their variances.

    Raises:
        InputError: for classes as in `scan`.
    """
    score, true, weight = _checked(scores, signal, weights)
    return _passing(score >= threshold, true, weight)


def held_out_yields(
    scores: ArrayLike,
    signal: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    figure: FigureOfMerit = asimov,
    minimum: float = 10.0,
    parts: int = 2,
    seed: int = 1,
) -> tuple[Yields, Floats]:
    """Yields of the best threshold, where no event helped to choose the threshold that it is judged by.

    Events are dealt into parts at random; the threshold of each part comes from all the others, with weights
    scaled up to the whole sample. Every event is used for the yields, once.

    Args:
        scores, signal, weights, figure, minimum: as in `best_threshold`.
        parts: at least two; more parts leave more events to choose from.
        seed: of the dealing.

    Returns:
        Yields, and the threshold of each part.
    """
    score, true, weight = _checked(scores, signal, weights)
    part = np.random.default_rng(seed).permutation(len(score)) % parts
    passes, thresholds = np.zeros(len(score), dtype=bool), np.empty(parts)
    for number in range(parts):
        here = part == number
        scaled = weight[~here] * parts / (parts - 1)
        thresholds[number] = best_threshold(score[~here], true[~here], scaled, figure=figure, minimum=minimum)
        passes[here] = score[here] >= thresholds[number]
    return _passing(passes, true, weight), thresholds


def score_edges(
    scores: ArrayLike,
    signal: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    bins: int = 10,
    minimum: float = 10.0,
    low: float | None = None,
    high: float | None = None,
) -> Floats:
    """Bin edges of a template: fine where the signal is, and none too empty of simulated background.

    From the highest score down, a bin ends where half of `bins` times its shares of all signal and of all
    background reaches one (the transformation of ATLAS VH(bb), 1409.6212), and where at least `minimum`
    effective background events of positive sum are in it. What is left at the low end joins the last bin.

    Args:
        scores, signal, weights: (N,); not the events that fill the template afterwards, if they are few.
        bins: about as many come out when signal and background overlap little.
        minimum: effective background events per bin.
        low, high: outer edges; None: the lowest and the highest score.

    Returns:
        (bins + 1,) rising edges; a score at an edge belongs to the bin above it.

    Raises:
        InputError: for classes as in `scan`, or when not even one bin has enough background.
    """
    found = scan(scores, signal, weights)
    s, b, _, var_b = found.yields
    starts, begin = [], 0  # index of the lowest score in each bin, from the top; first index of the next
    while begin < len(s):
        before = (s[begin - 1], b[begin - 1], var_b[begin - 1]) if begin else (0.0, 0.0, 0.0)
        inside_s, inside_b, squared = s[begin:] - before[0], b[begin:] - before[1], var_b[begin:] - before[2]
        share = bins / 2 * (inside_s / s[-1] + inside_b / b[-1])
        effective = np.maximum(inside_b, 0.0) ** 2 / np.where(squared > 0, squared, 1.0)
        full = np.flatnonzero((share >= 1 - 1e-9) & (effective >= minimum))
        if not len(full):
            break
        starts.append(begin + int(full[0]))
        begin = starts[-1] + 1
    top = float(found.thresholds[0]) if high is None else high
    bottom = float(found.thresholds[-1]) if low is None else low
    if not starts:
        raise InputError(
            f"no bin can hold {minimum:g} effective background events, all together are "
            f"{found.effective_background[-1]:.1f}: simulate more background or lower the minimum"
        )
    inner = found.thresholds[starts[:-1]][::-1]
    return np.concatenate([[bottom], inner[(inner > bottom) & (inner < top)], [np.nextafter(top, np.inf)]])


def _passing(passes: Bools, true: Bools, weight: Floats) -> Yields:
    sums = [np.sum(weight[passes & (true == which)] ** power) for power in (1, 2) for which in (True, False)]
    return Yields(*(np.asarray(total) for total in sums))


def _checked(scores: ArrayLike, signal: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Bools, Floats]:
    score, true = np.asarray(scores, dtype=np.float64), np.asarray(signal).astype(bool)
    weight = np.ones_like(score) if weights is None else np.asarray(weights, dtype=np.float64)
    if score.ndim != 1 or not score.shape == true.shape == weight.shape:
        raise InputError(
            f"scores {score.shape}, labels {true.shape} and weights {weight.shape} must be of "
            "one dimension and of one length"
        )
    if not len(score):
        raise InputError("no events: check the selection")
    for what, array in (("score", score), ("weight", weight)):
        if not np.isfinite(array).all():
            row = int(np.argmin(np.isfinite(array)))
            raise InputError(f"the {what} of event {row} is {array[row]}: only finite numbers can be used")
    for name, which in (("signal", true), ("background", ~true)):
        if not which.any():
            raise InputError(f"there is no {name} among {len(score)} events: a threshold needs both classes")
        if weight[which].sum() <= 0:
            raise InputError(
                f"the weights of the {name} sum to {weight[which].sum():.3g}, not to more than zero: check "
                "the weight field"
            )
    return score, true, weight
