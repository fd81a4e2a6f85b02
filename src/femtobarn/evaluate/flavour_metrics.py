"""What a flavour tagger is judged by: rejections at working points, areas, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import awkward as ak
import numpy as np

from femtobarn.evaluate.binned import efficiency_at_mistag
from femtobarn.evaluate.discriminants import frontier, own_fraction
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.metrics import Estimate, Floats, auc, rejection, rejection_ratio, reliability
from femtobarn.evaluate.result import At, Metric
from femtobarn.evaluate.track_metrics import origin_metrics, vertex_metrics

__all__ = ["MISTAG", "WORKING_POINTS", "choose_fraction", "flavour_metrics", "mistag_metrics", "pt_bins"]

WORKING_POINTS = (0.60, 0.70, 0.77, 0.85)
MISTAG = 0.01
"""Light-jet mistag at which efficiencies in bins of pT are compared."""


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


def mistag_metrics(
    jets: Jets, tagger: FlavourScores, sample: str, common: float = 0.05, mistag: float = MISTAG
) -> list[Metric]:
    """`b_efficiency` in bins of jet pT (GeV, `pt_min` to `pt_max`), each bin cut at one `light_mistag`.

    A bin with too few light-jets to set the cut is left out, see `binned.efficiency_at_mistag`.
    """
    score, edges = tagger.discriminant_b(common), pt_bins(jets)
    b, light = jets.flavour == "b", jets.flavour == "u"
    binned = efficiency_at_mistag(score, b, light, ak.to_numpy(jets.rows.pt), edges, mistag, jets.weights)
    metrics = []
    for (low, high), value, error in zip(pairwise(edges), *binned, strict=True):
        if np.isfinite(value):
            at: At = {"light_mistag": mistag, "pt_min": low, "pt_max": high, "f_c": common}
            metrics.append(tagger.metric("b_efficiency", at, sample, Estimate(value, error)))
    return metrics


def pt_bins(jets: Jets) -> Floats:
    """Edges of three to nine bins of pT with as many b-jets each, and about a thousand light-jets or more."""
    pt = ak.to_numpy(jets.rows.pt)[jets.flavour == "b"].astype(np.float64)
    bins = int(np.clip((jets.flavour == "u").sum() / 1000, 3, 9))
    steps = np.quantile(pt, [0.0, *np.arange(1, bins) / bins, 0.998])
    width = np.where(steps < 250, 5.0, 25.0)
    edges: Floats = np.unique(np.round(steps / width) * width)
    return edges if len(edges) > 1 else np.array([edges[0] - 5.0, edges[0] + 5.0])


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
