"""Many taggers in the order of their years: rejections at all working points, and what each step gained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.metrics import rejection_ratio
from femtobarn.evaluate.numbers import percent, shown_metric
from femtobarn.evaluate.result import At, Metric
from femtobarn.evaluate.style import Caption, canvas, figure_style, headline, log_axis

__all__ = ["ladder_figure", "step_metrics", "step_rows"]

QUANTITIES = {"light_rejection": "Light-jet rejection", "c_rejection": "$c$-jet rejection"}
LEAST = 1.1
"""Rejection below which a tagger does not tell jets apart."""
COLOURS = ("#e76300", "#3f90da", "#bd1f01", "#832db6")
MARKERS = "o^sD"


def ladder_figure(metrics: Sequence[Metric], labels: Mapping[str, str], caption: Caption) -> Figure:
    """Light- and c-rejection of every method at every b-efficiency; open markers are the published ones.

    An efficiency that a method only reaches by tagging nearly everything has no point.

    Args:
        metrics: of one sample and one choice of f_c.
        labels: how to call each method, in the order of the axis.
        caption: above the figure.
    """
    rejections = [m for m in metrics if m.name in QUANTITIES and "b_efficiency" in m.at]
    points = sorted({float(m.at["b_efficiency"]) for m in rejections})
    place = {name: number for number, name in enumerate(labels)}
    with figure_style():
        figure, panels = canvas((3.6, 3.2), width=10.0, bottom=1.9)
        for axes, (quantity, title) in zip(panels, QUANTITIES.items(), strict=True):
            values = [1.0]
            for number, point in enumerate(points):
                style: dict[str, Any] = {
                    "color": COLOURS[number % 4], "linestyle": "none", "marker": MARKERS[number % 4]
                }  # fmt: skip
                these = [
                    m for m in rejections
                    if m.name == quantity and m.at["b_efficiency"] == point and (m.value or 0) > LEAST
                ]  # fmt: skip
                x = np.array([place[m.method] for m in these]) + 0.08 * (number - (len(points) - 1) / 2)
                y = np.array([m.value for m in these], dtype=np.float64)
                error = [math.hypot(m.error or 0, m.error_seed or 0) for m in these]
                axes.errorbar(x, y, error, elinewidth=1.4, label=percent(point), **style)
                axes.plot(x, y, color=style["color"], linewidth=0.8, alpha=0.5)
                known = [(at, m.reference) for at, m in zip(x, these, strict=True) if m.reference]
                axes.plot(*np.array(known).reshape(-1, 2).T, markerfacecolor="none", alpha=0.6, **style)
                values += [*y, *(reference for _, reference in known)]
            log_axis(axes, "y", 1, max(values) * (8 if axes is panels[0] else 2))
            axes.set_ylabel(title)
            axes.grid(axis="x", color="0.9", linewidth=0.8)
            axes.xaxis.set_minor_locator(NullLocator())
        title = "$b$-efficiency; open markers are published"
        panels[0].legend(loc="upper left", ncols=len(points), title=title, alignment="left")
        panels[-1].set_xticks(list(place.values()), list(labels.values()), rotation=40, ha="right")
        panels[0].set_xlim(-0.6, len(place) - 0.4)
        headline(panels[0], caption)
    return figure


def step_metrics(
    jets: Jets, before: FlavourScores, after: FlavourScores, sample: str, at: At, f_c: float
) -> list[Metric]:
    """By how much one tagger rejects more than another on the same jets, which mostly cancel in the error.

    Args:
        jets: both are judged by.
        before, after: the two; metrics are the second's, over the first's.
        sample: name of the jets in the metrics.
        at: the metrics', with `b_efficiency`.
        f_c: charm fraction in both discriminants.
    """
    found = []
    for background, name in (("u", "light_rejection_ratio"), ("c", "c_rejection_ratio")):
        ratio = rejection_ratio(
            (after.discriminant_b(f_c), before.discriminant_b(f_c)), jets.flavour == "b",
            jets.flavour == background, float(at["b_efficiency"]), jets.weights,
        )  # fmt: skip
        metric = after.metric(name, {**at, "relative_to": before.name}, sample, ratio)
        found.append(metric.model_copy(update={"seeds": sorted({*before.seeds, *after.seeds})}))
    return found


def step_rows(
    metrics: Sequence[Metric], steps: Sequence[tuple[str, str]], labels: Mapping[str, str]
) -> list[list[str]]:
    """A row per step: the two methods, both ratios, and whether light-rejection grew outside its error."""
    rows = []
    for before, after in steps:
        found = {
            m.name: m for m in metrics if m.method == after and m.at.get("relative_to") == before
        }  # fmt: skip
        light = found.get("light_rejection_ratio")
        if light is None or light.value is None:
            continue
        away = (light.value - 1) / max(math.hypot(light.error or 0, light.error_seed or 0), 1e-9)
        says = "rejects more" if away > 1 else "rejects less" if away < -1 else "the same within errors"
        both = [shown_metric(found[name]) for name in ("light_rejection_ratio", "c_rejection_ratio")]
        rows.append([f"{labels[after]} over {labels[before]}", *both, f"{says} ({away:+.1f})"])
    return rows
