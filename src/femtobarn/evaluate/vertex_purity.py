"""Vertices of two taggers at one purity: the efficiency of the one at working points as pure as the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.metrics import Estimate, Floats
from femtobarn.evaluate.numbers import shown_metric
from femtobarn.evaluate.result import At, Metric
from femtobarn.evaluate.style import Caption, canvas, figure_style, headline, lines_for
from femtobarn.evaluate.track_metrics import b_vertices

__all__ = ["PurityScan", "equal_purity", "purity_figure", "purity_metrics", "purity_rows", "scan_purity"]

LEVELS = np.linspace(0.02, 0.98, 49)
"""Probabilities above which the surest track of a vertex must be from heavy flavour."""
USUAL = 24
"""That of 0.5, by which vertices are judged elsewhere."""
GROUPS, REPLICAS = 200, 400


class PurityScan(NamedTuple):
    """Inclusive b-vertices of one tagger at its K working points, summed over G groups of jets.

    Attributes:
        tagger: whose.
        found, true: (K, G) weights of the true vertices that are found, and of all.
        pure, matched: (K, G) weights of the reconstructed vertices that find one, times their purity, and
            plain.
    """

    tagger: FlavourScores
    found: Floats
    true: Floats
    pure: Floats
    matched: Floats

    def rates(self, counts: Floats) -> tuple[Floats, Floats]:
        """Efficiency and purity, each (R, K), when groups count `counts` (R, G) times."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found, true, pure, matched = (counts @ sums.T for sums in self[1:])
            return found / true, pure / matched


def scan_purity(jets: Jets, tagger: FlavourScores) -> PurityScan:
    """The working points of a tagger's vertices in b-jets.

    A tagger that classifies tracks has one for each of `LEVELS`, see `b_vertices`, any other only one. Groups
    are of jets that follow each other, so that those of a collision are mostly in one.
    """
    points = []
    for level in LEVELS if tagger.origins is not None else LEVELS[:1]:
        v, rows = b_vertices(jets, tagger, "inclusive", float(level))
        group, weights = np.arange(len(rows)) * GROUPS // max(len(rows), 1), jets.weights[rows]
        good = v.reco_jet[v.matched]
        sums = ((v.truth_jet, v.found), (v.truth_jet, 1.0), (good, v.purity[v.matched]), (good, 1.0))
        points.append([np.bincount(group[jet], weights[jet] * x, GROUPS) for jet, x in sums])
    return PurityScan(tagger, *np.array(points).transpose(1, 0, 2))


def equal_purity(scan: PurityScan, other: PurityScan) -> Estimate:
    """The highest efficiency of a tagger at working points at least as pure as the other's only one.

    In a line between working points; NaN if none is pure enough. The error is that of a bootstrap of the
    groups of jets, which both share, and so knows that of the purity to be reached.
    """
    draws = np.random.default_rng(1).multinomial(GROUPS, np.full(GROUPS, 1 / GROUPS), REPLICAS)
    counts = np.concatenate([np.ones((1, GROUPS)), draws])
    target = other.rates(counts)[1][:, 0]
    best = np.array([_best(*row) for row in zip(*scan.rates(counts), target, strict=True)])
    return Estimate(best[0], np.nanstd(best[1:], ddof=1) if np.isfinite(best[0]) else np.asarray(np.nan))


def _best(efficiency: Floats, purity: Floats, target: float) -> float:
    """The largest efficiency on the line through the working points whose purity is the target or more."""
    enough = purity >= target
    values = [*efficiency[enough]]
    for k in np.flatnonzero(enough[1:] != enough[:-1]):
        share = (target - purity[k]) / (purity[k + 1] - purity[k])
        values.append(efficiency[k] + share * (efficiency[k + 1] - efficiency[k]))
    return float(max(values, default=np.nan))


def purity_metrics(scans: Sequence[PurityScan], sample: str, pt_min: float) -> list[Metric]:
    """`vertex_efficiency` of every tagger that has a choice, at the purity of every one that has not.

    Args:
        scans: of the same jets.
        sample: their name.
        pt_min: above which they are (GeV).
    """
    metrics = []
    for other in (scan for scan in scans if len(scan.found) == 1):
        at: At = {"kind": "inclusive", "pt_min": pt_min, "purity": other.tagger.name}
        for scan in (scan for scan in scans if len(scan.found) > 1):
            value = equal_purity(scan, other)
            metrics.append(scan.tagger.metric("vertex_efficiency", at, sample, value))
    return metrics


def purity_rows(
    metrics: Sequence[Metric], labels: Mapping[str, str], pt_min: float
) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: each tagger without a choice, its purity and efficiency, the others' at that purity.

    Args:
        metrics: of one sample: of `purity_metrics` and of `vertex_metrics`.
        labels: how to call each method.
        pt_min: of the jets (GeV).
    """
    here = {"kind": "inclusive", "pt_min": pt_min}
    found = {(m.name, m.method, m.at.get("purity")): m for m in metrics if here.items() <= m.at.items()}
    others = [name for name in labels if any(key[2] == name for key in found)]
    scanned = [name for name in labels if any(key[1] == name and key[2] for key in found)]
    columns = ["vertices of", "purity", "efficiency", *(f"{labels[name]} at this purity" for name in scanned)]
    rows = []
    for other in others:
        own = [found.get((name, other, None)) for name in ("vertex_purity", "vertex_efficiency")]
        cells = [*own, *(found.get(("vertex_efficiency", name, other)) for name in scanned)]
        rows.append([labels[other], *(shown_metric(m) if m else "–" for m in cells)])
    return columns, rows


def purity_figure(scans: Sequence[PurityScan], caption: Caption) -> Figure:
    """Efficiency against purity: lines for taggers with a choice, the usual one marked; points for others."""
    once = np.ones((1, GROUPS))
    lines = lines_for([scan.tagger.name for scan in scans], {s.tagger.name: s.tagger.label for s in scans})
    with figure_style():
        figure, (axes,) = canvas((3.9,))
        for scan in scans:
            line = lines[scan.tagger.name]
            (efficiency,), (purity,) = scan.rates(once)
            if len(efficiency) > 1:
                axes.plot(purity, efficiency, color=line.colour, label=line.label)
            point = min(USUAL, len(efficiency) - 1)
            axes.plot(
                purity[point], efficiency[point], line.marker, color=line.colour, markersize=9,
                label=line.label if len(efficiency) == 1 else None,
            )  # fmt: skip
        axes.margins(0.06)
        axes.set_xlabel("Purity of the vertices")
        axes.set_ylabel("Inclusive $b$-vertex efficiency")
        axes.legend(loc="best")
        headline(axes, caption)
    return figure
