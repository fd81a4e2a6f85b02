"""What a flavour tagger is judged by: rejections at working points, areas, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from femtobarn.evaluate.discriminants import frontier, own_fraction
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.metrics import Estimate, Floats, auc, rejection, rejection_ratio, reliability
from femtobarn.evaluate.result import At, Metric
from femtobarn.evaluate.track_metrics import origin_metrics, vertex_metrics

__all__ = ["WORKING_POINTS", "choose_fraction", "flavour_metrics"]

WORKING_POINTS = (0.60, 0.70, 0.77, 0.85)


def choose_fraction(jets: Jets, scores: FlavourScores, efficiency: float = 0.70) -> float:
    """A tagger's own f_c: the largest geometric mean of c- and light-rejection. Use validation jets."""
    return own_fraction(frontier(scores.probabilities, jets.flavour, efficiency, jets.weights))


def flavour_metrics(
    jets: Jets,
    scores: Sequence[FlavourScores],
    *,
    sample: str,
    own: Mapping[str, float],
    common: float = 0.05,
    working_points: Sequence[float] = WORKING_POINTS,
    f_b: float = 0.2,
    c_efficiency: float = 0.25,
) -> list[Metric]:
    """Everything a flavour tagger is judged by, for each tagger.

    Rejections are given at each tagger's own f_c and at the common one; their ratios to the first tagger
    too. Of taggers that classify tracks: AUCs of the origins. Of those that find vertices: efficiency,
    purity and fakes.

    Args:
        sample: name of the sample in the metrics.
        own: f_c of each tagger by name, chosen on other jets (`choose_fraction`).
        common: f_c for all.
        working_points: b-efficiencies.
        f_b, c_efficiency: for c-tagging.
    """
    metrics: list[Metric] = []
    first = scores[0]
    for tagger in scores:
        for choice, f_c in (("own", own[tagger.name]), ("common", common)):
            at: At = {"f_c": f_c, "f_c_choice": choice}
            score = tagger.discriminant_b(f_c)
            baseline = first.discriminant_b(own[first.name] if choice == "own" else common)
            metrics += _areas(jets, tagger, score, at, sample)
            metrics += _rejections(jets, tagger, score, at, sample, working_points)
            if tagger is not first:
                relative: At = {**at, "relative_to": first.name}
                metrics += _ratios(jets, tagger, (score, baseline), relative, sample, working_points)
        metrics += _charm(jets, tagger, sample, f_b, c_efficiency)
        metrics += _calibration(jets, tagger, sample)
        if tagger.origins is not None:
            metrics += origin_metrics(jets, tagger, sample)
        if tagger.vertex is not None:
            metrics += vertex_metrics(jets, tagger, sample)
    return metrics


def _rejections(
    jets: Jets, tagger: FlavourScores, score: Floats, at: At, sample: str, points: Sequence[float]
) -> list[Metric]:
    metrics = []
    signal = jets.survival(score, "b")
    backgrounds = {"c": "c_rejection", "u": "light_rejection", "tau": "tau_rejection"}
    for flavour, name in backgrounds.items():
        if not (jets.flavour == flavour).any():
            continue
        result = rejection(signal, jets.survival(score, flavour), points)
        for point, value, error, limit in zip(points, *result, strict=True):
            where: At = {"b_efficiency": point, **at}
            metrics.append(tagger.metric(name, where, sample, Estimate(value, error), float(limit)))
    return metrics


def _ratios(
    jets: Jets,
    tagger: FlavourScores,
    scores: tuple[Floats, Floats],
    at: At,
    sample: str,
    points: Sequence[float],
) -> list[Metric]:
    metrics = []
    for flavour, name in (("c", "c_rejection_ratio"), ("u", "light_rejection_ratio")):
        for point in points:
            ratio = rejection_ratio(scores, jets.flavour == "b", jets.flavour == flavour, point, jets.weights)
            metrics.append(tagger.metric(name, {"b_efficiency": point, **at}, sample, ratio))
    return metrics


def _areas(jets: Jets, tagger: FlavourScores, score: Floats, at: At, sample: str) -> list[Metric]:
    metrics = []
    for background, name in (("c", "c"), ("u", "light")):
        use = (jets.flavour == "b") | (jets.flavour == background)
        area = auc(score[use], jets.flavour[use] == "b", jets.weights[use])
        metrics.append(tagger.metric("auc", {"signal": "b", "background": name, **at}, sample, area))
    return metrics


def _charm(jets: Jets, tagger: FlavourScores, sample: str, f_b: float, efficiency: float) -> list[Metric]:
    score = tagger.discriminant_c(f_b)
    signal = jets.survival(score, "c")
    metrics = []
    for flavour, name in (("b", "b_rejection"), ("u", "light_rejection")):
        result = rejection(signal, jets.survival(score, flavour), efficiency)
        at: At = {"c_efficiency": efficiency, "f_b": f_b}
        value = Estimate(result.value, result.error)
        metrics.append(tagger.metric(name, at, sample, value, float(result.lower_limit)))
    return metrics


def _calibration(jets: Jets, tagger: FlavourScores, sample: str) -> list[Metric]:
    known = jets.flavour != ""
    metrics = []
    for flavour, probability in tagger.probabilities.items():
        curve = reliability(probability[known], jets.flavour[known] == flavour, jets.weights[known])
        value = Estimate(np.asarray(curve.calibration_error), np.asarray(np.nan))
        metrics.append(tagger.metric("calibration_error", {"class": flavour}, sample, value))
    return metrics
