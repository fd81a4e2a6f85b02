"""Figures of one number that grows step by step, and of what more events are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from femtobarn.evaluate.drawing import central
from femtobarn.evaluate.result import Metric
from femtobarn.evaluate.style import Caption, canvas, figure_style, headline, log_axis

__all__ = ["Known", "distributions_figure", "rows_figure", "steps_figure"]


class Known(NamedTuple):
    """A published number: whose, how much, of how many training rows, where."""

    method: str
    value: float
    rows: int
    source: str


def steps_figure(metrics: Sequence[Metric], labels: Sequence[str], caption: Caption) -> Figure:
    """The AUC of each step with its statistical error, the gain over the step before written above it."""
    values = np.array([m.value for m in metrics], dtype=np.float64)
    errors = np.array([m.error or 0.0 for m in metrics])
    with figure_style():
        figure, (axes,) = canvas((3.4,), bottom=1.25)
        axes.errorbar(np.arange(len(values)), values, errors, fmt="o", color="#3f90da", elinewidth=1.4)
        axes.step(np.arange(len(values)), values, where="mid", color="#3f90da", linewidth=0.8, alpha=0.5)
        for k, (value, gain) in enumerate(zip(values[1:], np.diff(values), strict=True), 1):
            axes.annotate(f"{gain:+.3f}", (k, value + errors[k]), (0, 5), textcoords="offset points",
                          ha="center", fontsize=12)  # fmt: skip
        reach = np.ptp(values) + errors.max()
        axes.set_ylim(values.min() - 0.15 * reach, values.max() + 0.25 * reach)
        axes.set_xlim(-0.6, len(values) - 0.4)
        axes.set_xticks(range(len(values)), labels, rotation=30, ha="right")
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
        axes.set_ylabel("AUC")
        headline(axes, caption)
    return figure


def rows_figure(ours: Metric, rows: int, known: Sequence[Known], caption: Caption) -> Figure:
    """Our AUC and published ones against the number of rows trained on."""
    with figure_style():
        figure, (axes,) = canvas()
        axes.errorbar(
            [rows], [ours.value or 0], [ours.error or 0], fmt="o", color="#3f90da", label="Ours, best"
        )
        for one, marker in zip(known, "sDv^PX" * len(known), strict=False):
            axes.plot(
                [one.rows], [one.value], marker, color="#5c6370", markerfacecolor="none", label=one.method
            )
        every = [ours.value or 0, *(one.value for one in known)]
        axes.set_ylim(min(every) - 0.03, max(every) + 0.02)
        log_axis(axes, "x", rows / 5, max([rows, *(one.rows for one in known)]) * 5)
        axes.set_xlabel("Rows trained on")
        axes.set_ylabel("AUC")
        axes.legend(loc="upper left")
        headline(axes, caption)
    return figure


def distributions_figure(
    values: ArrayLike, is_signal: ArrayLike, label: str, caption: Caption, weights: ArrayLike | None = None
) -> Figure:
    """A quantity's distribution in signal and background, each of unit area, with statistical bands."""
    value, signal = np.asarray(values, dtype=np.float64), np.asarray(is_signal, dtype=bool)
    weight = np.ones(len(value)) if weights is None else np.asarray(weights, dtype=np.float64)
    edges = np.linspace(*central(value, 0.005), 41)
    highest = 0.0
    with figure_style():
        figure, (axes,) = canvas()
        for which, colour, dash, name in (
            (~signal, "#5c6370", (0, (5, 1.5)), "Background"), (signal, "#bd1f01", "-", "Signal")
        ):  # fmt: skip
            content = np.histogram(value[which], edges, weights=weight[which])[0]
            error = np.sqrt(np.histogram(value[which], edges, weights=weight[which] ** 2)[0])
            norm = (content.sum() or 1.0) * np.diff(edges)
            low, high = content - error, content + error
            axes.stairs(
                high / norm, edges, baseline=low / norm, fill=True, color=colour, alpha=0.2, linewidth=0
            )
            axes.stairs(content / norm, edges, color=colour, linestyle=dash, linewidth=1.8, label=name)
            highest = max(highest, float((high / norm).max()))
        axes.set_ylim(0, 1.25 * highest)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel(label)
        axes.set_ylabel("Normalised to unit area")
        axes.legend(loc="upper right")
        headline(axes, caption)
    return figure
