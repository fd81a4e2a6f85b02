"""Where the vertices of a tagger's groups of tracks are: distances from where the b-hadrons decayed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import awkward as ak
import numpy as np

from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.metrics import Estimate, Floats
from femtobarn.evaluate.result import At, Metric
from femtobarn.evaluate.track_metrics import heavy_and_primary
from femtobarn.evaluate.vertexing import secondary_tracks
from femtobarn.physics.track_groups import READ, fit_groups

__all__ = ["DECAY", "lxy_residuals", "position_metrics", "resolution_in_bins", "vertices_can_be_fitted"]

DECAY = "HadronConeExclTruthLabelLxy"
"""Field of the true distance, across the beam, at which the jet's b-hadron decayed (mm)."""
CENTRAL = 0.683


def vertices_can_be_fitted(jets: Jets, tagger: FlavourScores) -> bool:
    """Whether the tagger finds vertices and the jets know what `lxy_residuals` reads."""
    rows = jets.rows
    inner = [f"tracks.{name}" for name in rows.tracks.fields] if "tracks" in rows.fields else []
    return tagger.vertex is not None and {DECAY, "pt", *READ} <= {*rows.fields, *inner}


def lxy_residuals(jets: Jets, tagger: FlavourScores) -> tuple[Floats, Floats, Floats]:
    """Of each b-jet with an inclusive vertex of two or more tracks: fitted minus true distance, pT, weight.

    The vertex is that of all tracks in secondary vertices, see `track_metrics.b_vertices`, fitted as one; the
    truth (mm) is where the b-hadron decayed. Tracks of the c-hadron, which flies on, pull it outwards.
    """
    chosen = np.flatnonzero(jets.flavour == "b")
    assert tagger.vertex is not None
    rows, vertex = jets.rows[chosen], tagger.vertex[chosen]
    inside = secondary_tracks(vertex, *heavy_and_primary(tagger, chosen))
    fitted = fit_groups(rows, ak.where(inside, 0, -1))
    there = ak.to_numpy(ak.num(fitted)) > 0
    residual = ak.to_numpy(ak.flatten(fitted.Lxy)) - ak.to_numpy(rows[DECAY])[there]
    return residual, ak.to_numpy(rows.pt)[there].astype(np.float64), jets.weights[chosen][there]


def resolution_in_bins(
    residual: Floats, variable: Floats, weights: Floats, edges: Sequence[float]
) -> tuple[Estimate, Estimate]:
    """Median of residuals, and half the width of their central 68.3 %, in bins [edge, next edge).

    Errors are those of order statistics: the quantiles one binomial standard deviation below and above.
    """
    median, width = (np.full((2, len(edges) - 1), np.nan) for _ in range(2))
    low, high = (1 - CENTRAL) / 2, (1 + CENTRAL) / 2
    for place, (first, last) in enumerate(pairwise(edges)):
        mine = (variable >= first) & (variable < last)
        total = weights[mine].sum()
        if mine.sum() < 10 or total <= 0:
            continue
        size = total**2 / (weights[mine] ** 2).sum()
        centre, below, above = (_quantile(residual[mine], weights[mine], q, size) for q in (0.5, low, high))
        median[:, place] = centre
        # Both ends come from the same residuals: correlated by sqrt of the odds of either.
        share = low / high
        error = np.sqrt(max(below[1] ** 2 + above[1] ** 2 - 2 * share * below[1] * above[1], 0.0)) / 2
        width[:, place] = (above[0] - below[0]) / 2, error
    return Estimate(median[0], median[1]), Estimate(width[0], width[1])


def position_metrics(jets: Jets, tagger: FlavourScores, sample: str) -> list[Metric]:
    """`vertex_lxy_bias` and `vertex_lxy_resolution` (mm) of all b-jets with a vertex, and of those above 100
    GeV; none where the jets lack what is read."""
    if not vertices_can_be_fitted(jets, tagger):
        return []
    residual, pt, weights = lxy_residuals(jets, tagger)
    metrics = []
    for least in (0.0, 100.0):
        at: At = {"kind": "inclusive", **({"pt_min": least} if least else {})}
        both = resolution_in_bins(residual, pt, weights, [least, np.inf])
        for name, values in zip(("vertex_lxy_bias", "vertex_lxy_resolution"), both, strict=True):
            value = Estimate(values.value[0], values.error[0])
            metrics.append(tagger.metric(name, at, sample, value))
    return metrics


def _quantile(values: Floats, weights: Floats, share: float, size: float) -> tuple[float, float]:
    """A quantile of weighted values and its error, for an effective number of values."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    step = np.sqrt(share * (1 - share) / size)
    shares = np.clip([share - step, share, share + step], 0, 1)
    low, centre, high = np.interp(shares, np.maximum.accumulate(reached), values[order])
    return float(centre), float(high - low) / 2
