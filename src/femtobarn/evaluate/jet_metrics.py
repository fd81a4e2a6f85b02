"""How well jets of many classes are told apart, as JetClass measures it [2202.03772]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from femtobarn.data.splits import fold_of
from femtobarn.evaluate.metrics import Rejection, Survival, auc, rejection, weighted_mean
from femtobarn.statistics.estimate import Estimate

__all__ = ["accuracy", "accuracy_gain", "background_rejection", "one_vs_one_auc"]

Floats = NDArray[np.float64]
Labels = NDArray[np.integer]
GROUPS = 10


def accuracy(probabilities: Floats, labels: Labels, weights: Floats) -> Estimate:
    """Fraction of jets (N,) whose class is the most probable of (N, C)."""
    return weighted_mean(probabilities.argmax(axis=1) == labels, weights)


def accuracy_gain(before: list[Floats], after: list[Floats], labels: Labels, weights: Floats) -> Estimate:
    """By how much one tagger is more accurate than another on the same jets.

    Each is given as what its trainings say, (N, C) each. The error has the spread of the jets, from which
    what both judge alike drops out, and that of the trainings of each; where one was trained once, that of
    the other's stands for its own.
    """
    right = [np.stack([p.argmax(axis=1) == labels for p in said]) for said in (before, after)]
    gain = weighted_mean(right[1].mean(axis=0) - right[0].mean(axis=0), weights)
    variance = float(gain.error) ** 2
    accuracies = [np.average(one, axis=1, weights=weights) for one in right]
    spread = [float(np.var(one, ddof=1)) for one in accuracies if len(one) > 1]
    for one in accuracies:
        if spread:
            variance += (float(np.var(one, ddof=1)) if len(one) > 1 else spread[0]) / len(one)
    return Estimate(gain.value, np.asarray(np.sqrt(variance)))


def one_vs_one_auc(probabilities: Floats, labels: Labels, weights: Floats) -> Estimate:
    """Mean over all ordered pairs of classes of the AUC between the two, by the probability of the first.

    The error is a jackknife's over ten groups of jets, since the pairs share jets.
    """
    group = fold_of("jackknife", 0, 0, 0, np.arange(len(labels)))
    parts = [_mean_auc(probabilities[use], labels[use], weights[use])
             for use in (group != k for k in range(GROUPS))]  # fmt: skip
    spread = np.sqrt((GROUPS - 1) * np.var(parts))
    return Estimate(np.asarray(_mean_auc(probabilities, labels, weights)), np.asarray(spread))


def _mean_auc(probabilities: Floats, labels: Labels, weights: Floats) -> float:
    areas = []
    for first in range(probabilities.shape[1]):
        for second in range(probabilities.shape[1]):
            if first != second:
                use = (labels == first) | (labels == second)
                area = auc(probabilities[use, first], labels[use] == first, weights[use])
                areas.append(float(area.value))
    return float(np.mean(areas))


def background_rejection(
    probabilities: Floats, labels: Labels, weights: Floats, signal: int, background: int, efficiency: float
) -> Rejection:
    """1 / background efficiency at a signal efficiency of cuts on p_S / (p_S + p_B) [2202.03772]."""
    both = probabilities[:, signal] + probabilities[:, background]
    score = probabilities[:, signal] / np.maximum(both, 1e-30)
    true, false = labels == signal, labels == background
    return rejection(
        Survival(score[true], weights[true], "signal"),
        Survival(score[false], weights[false], "background"),
        efficiency,
    )
