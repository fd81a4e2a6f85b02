"""The tables of the flavour-tagging page: ours beside the papers', the answer in a sentence before them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from femtobarn.evaluate.numbers import percent, shown, shown_metric
from femtobarn.evaluate.report import Cell, Report
from femtobarn.evaluate.result import Metric

__all__ = ["flavour_tables", "rejection_table", "verdict"]

REJECTIONS = {
    "light_rejection": ("Light-jet rejection", "light"),
    "c_rejection": ("c-jet rejection", "c"),
}
"""Title of each, and what it rejects."""


def verdict(
    metrics: Sequence[Metric], labels: Mapping[str, str], sample: str, efficiency: float = 0.70
) -> str:
    """The answer in a sentence: what the best method gains over the first at one b-efficiency.

    Best is the largest product of c- and light-rejection; all at the common f_c. The error takes the two
    methods as independent, which is cautious: they are judged by the same jets. Empty where a number is
    missing.
    """
    wanted = {"b_efficiency": efficiency, "f_c_choice": "common"}
    found = {
        (m.name, m.method): m
        for m in metrics
        if m.sample == sample and wanted.items() <= m.at.items() and m.value
    }
    names = {"light_rejection": "light-jets", "c_rejection": "c-jets"}
    judged = [method for method in labels if all((name, method) in found for name in names)]
    first = next(iter(labels), "")
    if len(judged) < 2 or first not in judged:
        return ""
    best = max(judged, key=lambda method: math.prod(found[name, method].value or 0 for name in names))
    if best == first:
        return f"At {percent(efficiency)} b-efficiency none rejects more than {labels[first]}."
    gains = []
    for name, jets in names.items():
        top, bottom = found[name, best], found[name, first]
        ratio = (top.value or 0) / (bottom.value or 1)
        parts = [part / (m.value or 1) for m in (top, bottom) for part in (m.error or 0, m.error_seed or 0)]
        gains.append(f"**{shown(ratio, ratio * math.hypot(*parts))}** times the {jets}")
    return (
        f"At {percent(efficiency)} b-efficiency and f_c = {found['c_rejection', best].at['f_c']:g} for both, "
        f"{labels[best]} rejects {' and '.join(gains)} that {labels[first]} rejects."
    )


def flavour_tables(report: Report, metrics: Sequence[Metric], labels: Mapping[str, str], sample: str) -> None:
    """Rejections, origins and vertices of every method beside the published ones.

    Args:
        metrics: of `flavour_metrics`, perhaps combined over seeds and with references.
        labels: how to call each method, in the order of the rows.
        sample: whose metrics.
    """
    mine = [metric for metric in metrics if metric.sample == sample]
    for choice in ("common", "own"):
        chosen = [m for m in mine if m.at.get("f_c_choice") == choice]
        fractions = {m.method: float(m.at["f_c"]) for m in chosen}
        if choice == "own":
            names = {
                name: Cell(label, f"f_c = {fractions.get(name, math.nan):.3g}")
                for name, label in labels.items()
            }
            caption = "Each tagger at its own f_c, chosen on the validation jets."
        else:
            names = {name: Cell(label) for name, label in labels.items()}
            caption = (
                f"All taggers at f_c = {next(iter(fractions.values()), math.nan):g}. {_explanation(mine)}"
            )
        rejection_table(report, chosen, names, caption)
    _track_table(report, mine, labels)


def rejection_table(
    report: Report, metrics: Sequence[Metric], names: Mapping[str, Cell], caption: str
) -> None:
    """Light- and c-rejection: a row per method, a column per b-efficiency, and the area under the curve.

    Args:
        metrics: of one sample and one choice of f_c.
        names: how to call each method, in the order of the rows.
        caption: below the table.
    """
    points = sorted({float(m.at["b_efficiency"]) for m in metrics if m.name in REJECTIONS})
    rows: list[list[Any]] = []
    for name, (title, background) in REJECTIONS.items():
        rows.append([title])
        found = {
            (m.method, m.at.get("b_efficiency")): m
            for m in metrics
            if m.name == name or (m.name == "auc" and m.at.get("background") == background)
        }
        for method, label in names.items():
            rows.append([label, *(_cell(found.get((method, point))) for point in (*points, None))])
    columns = [Cell("b-efficiency"), *(Cell(percent(point)) for point in points), Cell("AUC")]
    report.table(columns, rows, caption)


def _track_table(report: Report, metrics: Sequence[Metric], labels: Mapping[str, str]) -> None:
    wanted: list[tuple[str, str, str, dict[str, Any]]] = [
        ("Track origin", "AUC, mean of classes", "origin_auc_mean", {}),
        ("Track origin", "AUC, weighted by frequency", "origin_auc_weighted", {}),
    ]
    for kind, title in (
        ("exclusive", "exclusive"), ("inclusive", "inclusive"), ("by_origin", "by the origin of tracks")
    ):  # fmt: skip
        group = f"Vertices in b-jets, {title}"
        wanted.append((group, "efficiency", "vertex_efficiency", {"kind": kind}))
        if kind != "exclusive":
            above = {"kind": kind, "pt_min": 100.0}
            wanted.append((group, "for pT > 100 GeV", "vertex_efficiency", above))
        wanted.append((group, "purity", "vertex_purity", {"kind": kind}))
        wanted.append((group, "fake rate", "vertex_fake_rate", {"kind": kind}))
    found = [
        (group, title, {m.method: m for m in metrics if m.name == name and m.at == at})
        for group, title, name, at in wanted
    ]
    shown_methods = [method for method in labels if any(method in row for _, _, row in found)]
    rows: list[list[Any]] = []
    for group, title, row in found:
        if row:
            rows += [] if [group] in rows else [[group]]
            rows.append([title, *(_cell(row.get(method)) for method in shown_methods)])
    if rows:
        report.table([Cell(""), *(Cell(labels[method]) for method in shown_methods)], rows, VERTEX_CAPTION)


VERTEX_CAPTION = (
    "A vertex is found if a reconstructed one holds at least 65 % of its tracks and is at least 50 % pure; "
    "one of a single track, if it is that track alone. Exclusive: each decay vertex by itself; inclusive: "
    "all tracks of the b-decay chain as one; by origin: the tracks more likely from heavy flavour than not."
)


def _cell(metric: Metric | None) -> Cell:
    if metric is None:
        return Cell("–")
    return Cell(
        shown_metric(metric), f"paper {metric.reference:g}" if metric.reference is not None else "", True
    )


def _explanation(metrics: Sequence[Metric]) -> str:
    seeds = max((len(metric.seeds) for metric in metrics), default=0)
    text = "Errors are one standard deviation from the number of test jets"
    text += f" and the spread over {seeds} trainings, added in quadrature." if seeds > 1 else "."
    sources = sorted({metric.source.removesuffix(" (curve)") for metric in metrics if metric.source})
    if sources:
        text += (
            f" Paper: {'; '.join(sources)}, on the collaboration's own simulation: goals for ratios and "
            "orderings, not for absolute values."
        )
    return text
