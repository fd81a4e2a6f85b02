"""Weighted efficiencies, thresholds, rejections, ROC and AUC, each with its statistical error.

Everything rests on `Survival`, the weighted fraction of a class of jets (or events, or tracks) above a
threshold. Weights may be negative, as generators give them. With sum_p the sum over those that pass and W
the sum of all weights, the efficiency is e = sum_p w / W with the variance
[(1 - 2e) sum_p w^2 + e^2 sum w^2] / W^2, which is the binomial e(1 - e)/N when all weights are equal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from femtobarn.errors import InputError
from femtobarn.statistics.estimate import Estimate

__all__ = [
    "Confusion",
    "Estimate",
    "Rejection",
    "Reliability",
    "Survival",
    "auc",
    "auc_difference",
    "confusion",
    "one_vs_rest_auc",
    "rejection",
    "rejection_ratio",
    "reliability",
    "roc",
    "weighted_mean",
]

Floats = NDArray[np.float64]

CONFIDENCE = 0.95


class Rejection(NamedTuple):
    """Background rejections 1/efficiency: never infinite.

    Where no background passes, `value` and `error` are NaN. `lower_limit` is, everywhere, the rejection
    that a sample of this effective size excludes at 95 % CL if none passes: 1 / (1 - 0.05^(1/N_eff)),
    about N_eff/3.
    """

    value: Floats
    error: Floats
    lower_limit: Floats


class Survival:
    """The weighted fraction of a sample with a score at or above a threshold.

    Args:
        scores: (N,) finite.
        weights: (N,) finite, any sign, of positive sum; None: all one.
        name: what the sample is called in messages.

    Raises:
        InputError: when there is nothing, something is not finite, or the weights sum to zero or less.
    """

    def __init__(self, scores: ArrayLike, weights: ArrayLike | None = None, name: str = "sample") -> None:
        values, weight = _finite(scores, weights, name)
        order = np.argsort(-values, kind="stable")
        values, weight = values[order], weight[order]
        last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # of each group of equal scores
        self.levels: Floats = values[last]
        self._above = np.concatenate([[0.0], np.cumsum(weight)[last]])
        self._above_squared = np.concatenate([[0.0], np.cumsum(weight**2)[last]])
        self.total = float(self._above[-1])
        if self.total <= 0:
            raise InputError(
                f"{name}: the weights sum to {self.total:.3g}, not to more than zero: check the weight field"
            )

    @property
    def effective_count(self) -> float:
        """(sum w)^2 / sum w^2, the number of unweighted entries of equal statistical power."""
        return float(self.total**2 / self._above_squared[-1])

    def efficiency(self, thresholds: ArrayLike) -> Estimate:
        """The weighted fraction with score >= threshold."""
        index = np.searchsorted(-self.levels, -np.asarray(thresholds, dtype=np.float64), side="right")
        value = self._above[index] / self.total
        variance = (1 - 2 * value) * self._above_squared[index] + value**2 * self._above_squared[-1]
        return Estimate(value, np.sqrt(np.maximum(variance, 0)) / self.total)

    def threshold(self, efficiencies: ArrayLike) -> Floats:
        """The highest score at which the efficiency reaches each of `efficiencies`.

        Of equal scores all pass, so the efficiency there may be higher than asked for.
        """
        reached = np.maximum.accumulate(self._above[1:]) / self.total
        index = np.searchsorted(reached, np.asarray(efficiencies, dtype=np.float64) - 1e-12, side="left")
        return self.levels[np.minimum(index, len(self.levels) - 1)]


def _finite(scores: ArrayLike, weights: ArrayLike | None, name: str) -> tuple[Floats, Floats]:
    values = np.asarray(scores, dtype=np.float64)
    weight = np.ones_like(values) if weights is None else np.asarray(weights, dtype=np.float64)
    if values.ndim != 1 or values.shape != weight.shape:
        raise InputError(
            f"{name}: scores of shape {values.shape} and weights of shape {weight.shape} do not match"
        )
    if not len(values):
        raise InputError(f"{name}: no entries, nothing to evaluate: check the label and the selection")
    for what, array in (("score", values), ("weight", weight)):
        if not np.isfinite(array).all():
            row = int(np.argmin(np.isfinite(array)))
            raise InputError(
                f"{name}: the {what} of entry {row} is {array[row]}: only finite numbers can be evaluated"
            )
    return values, weight


def rejection(signal: Survival, background: Survival, efficiencies: ArrayLike) -> Rejection:
    """1 / (background efficiency) at the thresholds of given signal efficiencies.

    The error adds two parts: the binomial one of the background, and that of the threshold, which the
    finite signal sample leaves uncertain by its efficiency error s: half the change of the background
    efficiency from e-s to e+s.
    """
    at = np.asarray(efficiencies, dtype=np.float64)
    thresholds = signal.threshold(at)
    value, error = background.efficiency(thresholds)
    shift = signal.efficiency(thresholds).error
    looser = background.efficiency(signal.threshold(np.minimum(at + shift, 1))).value
    tighter = background.efficiency(signal.threshold(np.maximum(at - shift, 0))).value
    error = np.hypot(error, (looser - tighter) / 2)
    passing = np.where(value > 0, value, np.nan)
    limit = 1 / (1 - (1 - CONFIDENCE) ** (1 / background.effective_count))
    return Rejection(1 / passing, error / passing**2, np.full_like(value, limit))


def rejection_ratio(
    scores: tuple[ArrayLike, ArrayLike],
    is_signal: ArrayLike,
    is_background: ArrayLike,
    efficiency: float,
    weights: ArrayLike | None = None,
) -> Estimate:
    """By how much the first of two scores rejects more background than the second, on the same jets.

    The jets both reject or both keep do not contribute to the error: with influence f = p1/e1 - p2/e2 of each
    background jet, Var(ln ratio) = sum w^2 f^2 / W^2, and likewise for the signal through the two thresholds.

    Args:
        scores: two arrays (N,).
        is_signal: (N,) bool.
        is_background: (N,) bool.
        efficiency: the signal efficiency of both.
        weights: (N,) or None.
    """
    signal, background = np.asarray(is_signal, dtype=bool), np.asarray(is_background, dtype=bool)
    weight = np.ones(len(signal)) if weights is None else np.asarray(weights, dtype=np.float64)
    efficiencies, on_signal, on_background = [], [], []
    for score in (np.asarray(scores[0], dtype=np.float64), np.asarray(scores[1], dtype=np.float64)):
        kept, removed = (
            Survival(score[signal], weight[signal], "signal"),
            Survival(score[background], weight[background], "background"),
        )
        threshold = kept.threshold(efficiency)
        passing = float(removed.efficiency(threshold).value)
        if passing <= 0:
            return Estimate(np.asarray(np.nan), np.asarray(np.nan))
        step = max(float(kept.efficiency(threshold).error), 1e-3)
        ends = kept.threshold([min(efficiency + step, 1), max(efficiency - step, 0)])
        slope = float(-np.diff(removed.efficiency(ends).value)[0]) / (2 * step * passing)
        efficiencies.append(passing)
        on_background.append((score[background] >= threshold) / passing)
        on_signal.append(slope * ((score[signal] >= threshold) - efficiency))
    variance = sum(
        float((weight[which] ** 2 * (first - second) ** 2).sum() / weight[which].sum() ** 2)
        for which, (first, second) in ((background, on_background), (signal, on_signal))
    )
    ratio = efficiencies[1] / efficiencies[0]
    return Estimate(np.asarray(ratio), np.asarray(ratio * np.sqrt(variance)))


def roc(signal: Survival, background: Survival) -> tuple[Floats, Floats, Floats]:
    """Background efficiency, signal efficiency and threshold at every distinct score, from tight to loose.

    Starts at (0, 0) with threshold infinity, as `sklearn.metrics.roc_curve` does.
    """
    thresholds = np.concatenate([[np.inf], np.union1d(signal.levels, background.levels)[::-1]])
    return background.efficiency(thresholds).value, signal.efficiency(thresholds).value, thresholds


def weighted_mean(values: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
    """Weighted mean with the variance sum w^2 (x - mean)^2 / W^2; NaN for no entries."""
    value = np.asarray(values, dtype=np.float64)
    weight = np.ones_like(value) if weights is None else np.asarray(weights, dtype=np.float64)
    total = weight.sum()
    if not len(value) or total <= 0:
        return Estimate(np.asarray(np.nan), np.asarray(np.nan))
    mean = (weight * value).sum() / total
    return Estimate(np.asarray(mean), np.asarray(np.sqrt((weight**2 * (value - mean) ** 2).sum()) / total))


def auc(scores: ArrayLike, is_signal: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
    """Area under the ROC curve: the weighted probability that a signal entry scores higher (ties count half).

    The error is that of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 837, 1988): the spread of each
    entry's rank among the other class, weighted.
    """
    return _auc(*_placements(scores, is_signal, weights))


def auc_difference(
    scores: tuple[ArrayLike, ArrayLike], is_signal: ArrayLike, weights: ArrayLike | None = None
) -> Estimate:
    """By how much the AUC of the first of two scores is larger than that of the second, on the same entries.

    What both make of an entry alike does not contribute to the error [DeLong et al., as in `auc`]: of two
    good classifiers the difference is known far better than either.
    """
    (below, above, *rest), (other_below, other_above, *_) = (
        _placements(score, is_signal, weights) for score in scores
    )
    return _auc(below - other_below, above - other_above, *rest)


def _placements(
    scores: ArrayLike, is_signal: ArrayLike, weights: ArrayLike | None
) -> tuple[Floats, Floats, Floats, Floats]:
    """Per signal entry the fraction of background below it, per background entry that of signal above it.

    And the weights of both, scaled to sum to one.
    """
    values, weight = _finite(scores, weights, "AUC")
    signal = np.asarray(is_signal, dtype=bool)
    if signal.all() or not signal.any():
        raise InputError("AUC: one class only, nothing to compare: check the label")
    w_signal, w_background = weight[signal], weight[~signal]
    below = _fraction_below(values[signal], values[~signal], w_background)
    above = 1 - _fraction_below(values[~signal], values[signal], w_signal)
    return below, above, w_signal / w_signal.sum(), w_background / w_background.sum()


def _auc(below: Floats, above: Floats, w_signal: Floats, w_background: Floats) -> Estimate:
    """Mean placement, with the spread of both classes' placements as error."""
    area = float((w_signal * below).sum())
    variance = (w_signal**2 * (below - area) ** 2).sum() + (w_background**2 * (above - area) ** 2).sum()
    return Estimate(np.asarray(area), np.asarray(np.sqrt(variance)))


def _fraction_below(points: Floats, values: Floats, weights: Floats) -> Floats:
    """The weighted fraction of `values` below each point, equal ones counted half."""
    order = np.argsort(values, kind="stable")
    ordered, sums = values[order], np.concatenate([[0.0], np.cumsum(weights[order])])
    left, right = np.searchsorted(ordered, points, "left"), np.searchsorted(ordered, points, "right")
    fraction: Floats = (sums[left] + sums[right]) / (2 * sums[-1])
    return fraction


def one_vs_rest_auc(
    probabilities: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> tuple[Estimate, Estimate, Estimate]:
    """AUC of each class against all others, their mean, and their mean weighted by class frequency.

    Args:
        probabilities: (N, C).
        labels: (N,) int; entries below zero are left out.
        weights: (N,) or None.

    Returns:
        per class (C,), NaN for a class without entries (left out of the means); mean; frequency-weighted
        mean. The errors of the means neglect the correlation between classes.
    """
    scores, label = np.asarray(probabilities), np.asarray(labels)
    weight = np.ones(len(label)) if weights is None else np.asarray(weights, dtype=np.float64)
    known = label >= 0
    scores, label, weight = scores[known], label[known], weight[known]
    classes = scores.shape[1]
    present = np.isin(np.arange(classes), label) & (not (label == label[:1]).all() if len(label) else False)
    each = [
        auc(scores[:, code], label == code, weight)
        if present[code]
        else Estimate(np.array(np.nan), np.array(np.nan))
        for code in range(classes)
    ]
    values = np.array([float(estimate.value) for estimate in each])
    errors = np.array([float(estimate.error) for estimate in each])
    share = np.bincount(label, weight, minlength=classes)[:classes]
    means = []
    for fraction in (
        present / max(present.sum(), 1),
        np.where(present, share, 0) / max(share[present].sum(), 1e-300),
    ):
        used = fraction[present]
        means.append(
            Estimate(
                np.asarray((used * values[present]).sum() if present.any() else np.nan),
                np.asarray(np.sqrt((used**2 * errors[present] ** 2).sum()) if present.any() else np.nan),
            )
        )
    return Estimate(values, errors), means[0], means[1]


class Confusion(NamedTuple):
    """Weighted fraction of each true class (rows) predicted as each class (columns); rows add up to one."""

    value: Floats
    error: Floats


def confusion(
    truth: ArrayLike, predicted: ArrayLike, classes: int, weights: ArrayLike | None = None
) -> Confusion:
    """The confusion matrix (C, C) of integer labels; a row of a class without entries is NaN."""
    true, guess = np.asarray(truth), np.asarray(predicted)
    weight = np.ones(len(true)) if weights is None else np.asarray(weights, dtype=np.float64)
    cell = true * classes + guess
    sums = np.bincount(cell, weight, minlength=classes**2).reshape(classes, classes)
    squares = np.bincount(cell, weight**2, minlength=classes**2).reshape(classes, classes)
    total = sums.sum(axis=1, keepdims=True)
    total = np.where(total > 0, total, np.nan)
    value = sums / total
    variance = (1 - 2 * value) * squares + value**2 * squares.sum(axis=1, keepdims=True)
    return Confusion(value, np.sqrt(np.maximum(variance, 0)) / total)


class Reliability(NamedTuple):
    """Is a probability true? Per bin of it: its mean, the observed fraction, the share of jets.

    `calibration_error` is the expected calibration error, sum over bins of share * |observed - predicted|.
    """

    predicted: Floats
    observed: Floats
    error: Floats
    share: Floats
    calibration_error: float


def reliability(
    probability: ArrayLike, is_class: ArrayLike, weights: ArrayLike | None = None, bins: int = 20
) -> Reliability:
    """The calibration curve of one class' probability in equal bins of [0, 1]; empty ones are left out."""
    values, weight = _finite(probability, weights, "reliability")
    hit = np.asarray(is_class, dtype=np.float64)
    bin_of = np.clip((values * bins).astype(np.int64), 0, bins - 1)
    total = np.bincount(bin_of, weight, minlength=bins)
    filled = total > 0
    total = total[filled]
    predicted = np.bincount(bin_of, weight * values, minlength=bins)[filled] / total
    passing = np.bincount(bin_of, weight * hit, minlength=bins)[filled]
    observed = passing / total
    squares = np.bincount(bin_of, weight**2, minlength=bins)[filled]
    squares_hit = np.bincount(bin_of, weight**2 * hit, minlength=bins)[filled]
    variance = (1 - 2 * observed) * squares_hit + observed**2 * squares
    share = total / total.sum()
    calibration_error = float((share * np.abs(observed - predicted)).sum())
    return Reliability(
        predicted, observed, np.sqrt(np.maximum(variance, 0)) / total, share, calibration_error
    )
