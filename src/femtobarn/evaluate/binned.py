"""Efficiency and rejection against a variable such as pT, at one cut or at one mistag rate per bin."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from femtobarn.evaluate.metrics import Estimate, Floats, Rejection, Survival

__all__ = ["efficiency_at_mistag", "efficiency_in_bins", "rejection_in_bins"]


def efficiency_in_bins(
    passing: ArrayLike, variable: ArrayLike, edges: ArrayLike, weights: ArrayLike | None = None
) -> Estimate:
    """Weighted fraction of `passing` (N,) bool in bins [edge, next edge); NaN in an empty bin."""
    value, error, _ = _in_bins(passing, variable, edges, weights)
    return Estimate(value, error)


def rejection_in_bins(
    passing: ArrayLike, variable: ArrayLike, edges: ArrayLike, weights: ArrayLike | None = None
) -> Rejection:
    """1/efficiency in bins; NaN with a lower limit at 95 % CL where none passes (NaN too in an empty bin)."""
    value, error, count = _in_bins(passing, variable, edges, weights)
    passed = np.where(value > 0, value, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        limit = np.where(count > 0, 1 / (1 - 0.05 ** (1 / count)), np.nan)
    return Rejection(1 / passed, error / passed**2, limit)


def _in_bins(
    passing: ArrayLike, variable: ArrayLike, edges: ArrayLike, weights: ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    """Efficiency, its error and the effective count per bin."""
    passed = np.asarray(passing, dtype=bool)
    weight = np.ones(len(passed)) if weights is None else np.asarray(weights, dtype=np.float64)
    bounds = np.asarray(edges, dtype=np.float64)
    bin_of = np.digitize(np.asarray(variable), bounds) - 1
    inside = (bin_of >= 0) & (bin_of < len(bounds) - 1)
    bin_of, passed, weight = bin_of[inside], passed[inside], weight[inside]
    bins = len(bounds) - 1
    total = np.bincount(bin_of, weight, minlength=bins)
    squares = np.bincount(bin_of, weight**2, minlength=bins)
    total = np.where(total > 0, total, np.nan)
    value = np.bincount(bin_of, weight * passed, minlength=bins) / total
    squares_passed = np.bincount(bin_of, weight**2 * passed, minlength=bins)
    variance = (1 - 2 * value) * squares_passed + value**2 * squares
    count = total**2 / np.where(squares > 0, squares, np.nan)
    return value, np.sqrt(np.maximum(variance, 0)) / total, count


def efficiency_at_mistag(
    score: ArrayLike,
    is_signal: ArrayLike,
    is_background: ArrayLike,
    variable: ArrayLike,
    edges: ArrayLike,
    mistag: float = 0.01,
    weights: ArrayLike | None = None,
    minimum: int = 5,
) -> Estimate:
    """Signal efficiency in bins, each bin cut so that its background efficiency is `mistag`.

    The error adds the binomial one of the signal and that of the threshold, which the finite background
    leaves uncertain. A bin in which fewer than `minimum` effective background entries would pass is NaN.
    """
    scores, values = np.asarray(score, dtype=np.float64), np.asarray(variable)
    signal, background = np.asarray(is_signal, dtype=bool), np.asarray(is_background, dtype=bool)
    weight = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    bounds = np.asarray(edges, dtype=np.float64)
    result = np.full((2, len(bounds) - 1), np.nan)
    for index, (low, high) in enumerate(pairwise(bounds)):
        inside = (values >= low) & (values < high)
        kept, removed = inside & signal, inside & background
        if weight[kept].sum() <= 0 or weight[removed].sum() <= 0:
            continue
        false = Survival(scores[removed], weight[removed], "background")
        if false.effective_count * mistag < minimum:
            continue
        true = Survival(scores[kept], weight[kept], "signal")
        threshold = false.threshold(mistag)
        efficiency = true.efficiency(threshold)
        shift = float(false.efficiency(threshold).error)
        looser, tighter = true.efficiency(false.threshold([mistag + shift, max(mistag - shift, 0)])).value
        result[:, index] = efficiency.value, np.hypot(efficiency.error, (looser - tighter) / 2)
    return Estimate(result[0], result[1])
