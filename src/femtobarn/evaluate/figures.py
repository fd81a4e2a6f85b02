"""The figures of a report page, one function each: numbers in, a matplotlib figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from femtobarn.evaluate.discriminants import Frontier
from femtobarn.evaluate.metrics import Estimate, Floats, Rejection, Reliability, Survival, rejection
from femtobarn.evaluate.style import FLAVOURS, Caption, Line, canvas, figure_style, headline

__all__ = [
    "binned_figure",
    "confusion_figure",
    "distribution_grid",
    "frontier_figure",
    "loss_figure",
    "origin_auc_figure",
    "origin_roc_figure",
    "rejection_figure",
    "reliability_figure",
    "score_figure",
]


def rejection_figure(
    curves: Mapping[str, tuple[Survival, Survival]],
    lines: Mapping[str, Line],
    caption: Caption,
    *,
    signal: str = "$b$-jet",
    background: str = "Light-jet",
    efficiencies: tuple[float, float] = (0.5, 1.0),
    marks: Sequence[float] = (),
) -> Figure:
    """Background rejection against signal efficiency, with statistical bands, and the ratio to the first method.

    Args:
        curves: signal and background `Survival` of each method, the reference first.
        lines: colour and label of each method.
        efficiencies: range of the signal efficiency shown.
        marks: working points, drawn as faint vertical lines.
    """
    at = np.linspace(*efficiencies, 101)
    results = {name: rejection(true, false, at) for name, (true, false) in curves.items()}
    compared = len(results) > 1
    with figure_style():
        figure, axes = canvas(
            2 if compared else 1, size=(6.0, 6.6 if compared else 5.0), sharex=True,
            height_ratios=(2.2, 1) if compared else (1,),
        )  # fmt: skip
        reference = next(iter(results))
        for name, result in results.items():
            _band(axes[0], at, result.value, result.error, lines[name])
            if compared:
                ratio = result.value / results[reference].value
                _band(axes[1], at, ratio, ratio * result.error / result.value, lines[name])
        for panel in axes:
            for mark in marks:
                panel.axvline(mark, color="0.82", linewidth=1, zorder=0)
        axes[0].set_yscale("log")
        axes[0].set_ylim(bottom=1)
        axes[0].set_ylabel(f"{background} rejection")
        axes[0].legend(loc="upper right")
        if compared:
            _limits_from(axes[1], [results[name].value / results[reference].value for name in results])
            axes[1].set_ylabel(f"Ratio to {lines[reference].label}")
        axes[-1].set_xlabel(f"{signal} efficiency")
        axes[-1].set_xlim(*efficiencies)
        headline(axes[0], caption)
    return figure


def score_figure(
    score: ArrayLike,
    flavour: NDArray[np.str_],
    caption: Caption,
    *,
    label: str = "$D_b$",
    weights: ArrayLike | None = None,
    cuts: Mapping[str, float] | None = None,
    bins: int = 60,
) -> Figure:
    """Distribution of a score for each flavour, each of unit area, with statistical bands; `cuts` are marked."""
    values = np.asarray(score, dtype=np.float64)
    edges = np.linspace(*_central(values, 0.001), bins + 1)
    with figure_style():
        figure, (axes,) = canvas()
        _by_flavour(axes, values, flavour, edges, weights)
        top = axes.get_ylim()[1]
        axes.set_yscale("log")
        axes.set_ylim(top * 2e-4, top * 6)
        for name, cut in (cuts or {}).items():
            axes.axvline(cut, color="0.6", linewidth=1, zorder=0)
            axes.text(cut, top * 1.15, name, rotation=90, ha="right", va="bottom", fontsize=12, color="0.35")
        axes.set_xlabel(label)
        axes.set_ylabel("Normalised to unit area")
        axes.legend(loc="upper left", ncols=2)
        headline(axes, caption)
    return figure


def frontier_figure(
    scans: Mapping[str, Frontier],
    lines: Mapping[str, Line],
    caption: Caption,
    *,
    own: Mapping[str, float],
    common: float,
    efficiency: float,
) -> Figure:
    """c- against light-rejection at one b-efficiency as f_c varies; each tagger's own f_c and the common one marked."""
    with figure_style():
        figure, (axes,) = canvas()
        for name, scan in scans.items():
            line = lines[name]
            axes.plot(scan.light.value, scan.c.value, color=line.colour, linestyle=line.dash, label=line.label)
            for fraction, marker, filled in ((own[name], "*", True), (common, "o", False)):
                x, y = (np.interp(fraction, scan.f_c, part.value) for part in (scan.light, scan.c))
                face = line.colour if filled else "white"
                axes.plot(x, y, marker, color=line.colour, markerfacecolor=face, markersize=13 if filled else 8)
        axes.plot([], [], "*", color="0.3", markersize=13, label="own $f_c$")
        axes.plot([], [], "o", color="0.3", markerfacecolor="white", markersize=8, label=f"$f_c$ = {common:g}")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("Light-jet rejection")
        axes.set_ylabel("$c$-jet rejection")
        axes.legend(loc="best", title=rf"$\varepsilon_b$ = {efficiency:.0%}".replace("%", r"$\,$%"))
        headline(axes, caption)
    return figure


def binned_figure(
    panels: Mapping[str, Mapping[str, Estimate | Rejection]],
    edges: ArrayLike,
    lines: Mapping[str, Line],
    caption: Caption,
    *,
    variable: str = "Jet $p_T$ [GeV]",
    title: str = "",
) -> Figure:
    """Efficiencies or rejections in bins of a variable, a panel each (label -> method -> values), with error bars.

    A bin of a rejection in which no background passes shows its lower limit as an arrow.
    """
    bounds = np.asarray(edges, dtype=np.float64)
    with figure_style():
        figure, axes = canvas(len(panels), size=(6.0, 2.2 + 2.6 * len(panels)), sharex=True)
        for panel, (label, methods) in zip(axes, panels.items(), strict=True):
            rejections = any(isinstance(values, Rejection) for values in methods.values())
            for place, (name, values) in enumerate(methods.items()):
                _points(panel, bounds, values, lines[name], (place - (len(methods) - 1) / 2) * 0.08)
            if rejections:
                panel.set_yscale("log")
            else:
                panel.set_ylim(0, None)
            panel.margins(y=0.12)
            panel.set_ylabel(label)
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].legend(handles, labels, loc="best", ncols=min(len(labels), 2), title=title or None)
        axes[-1].set_xlabel(variable)
        axes[-1].set_xlim(bounds[0], bounds[-1])
        headline(axes[0], caption)
    return figure


def confusion_figure(matrix: ArrayLike, classes: Sequence[str], caption: Caption, *, title: str = "") -> Figure:
    """Fraction of each true class (rows) in each predicted one (columns), with the numbers in the cells."""
    values = np.asarray(matrix)
    size = len(classes)
    with figure_style():
        figure, (axes,) = canvas(size=(6.0, 5.2) if size <= 4 else (6.6, 6.2))
        axes.imshow(np.nan_to_num(values), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for row in range(size):
            for column in range(size):
                text = "–" if np.isnan(values[row, column]) else f"{values[row, column]:.2f}"
                colour = "white" if values[row, column] > 0.55 else "black"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=17 if size <= 4 else 12)
        axes.set_xticks(range(size), classes, rotation=0 if size <= 4 else 40, ha="center" if size <= 4 else "right")
        axes.set_yticks(range(size), classes)
        axes.tick_params(which="both", length=0)
        axes.minorticks_off()
        axes.set_xlabel("Predicted" + (f" by {title}" if title else ""))
        axes.set_ylabel("True")
        headline(axes, caption)
    return figure


def origin_auc_figure(
    areas: Mapping[str, Estimate], means: Mapping[str, float], classes: Sequence[str], lines: Mapping[str, Line],
    caption: Caption,
) -> Figure:  # fmt: skip
    """One-vs-rest AUC of each track origin, a row each, for each method that classifies tracks."""
    with figure_style():
        figure, (axes,) = canvas(size=(6.0, 1.9 + 0.48 * len(classes)))
        for place, (name, area) in enumerate(areas.items()):
            line = lines[name]
            shift = (place - (len(areas) - 1) / 2) * 0.22
            axes.errorbar(
                area.value, np.arange(len(classes)) + shift, xerr=area.error, fmt=line.marker, color=line.colour,
                label=f"{line.label}, mean {means[name]:.3f}", capsize=0,
            )  # fmt: skip
            axes.axvline(means[name], color=line.colour, linestyle=line.dash, linewidth=1.2, zorder=0)
        axes.set_yticks(range(len(classes)), classes)
        axes.tick_params(axis="y", which="minor", left=False, right=False)
        axes.set_ylim(len(classes) - 0.4, -0.6)
        lowest = np.nanmin([np.nanmin(area.value) for area in areas.values()])
        axes.set_xlim(min(0.79, np.floor(20 * lowest - 0.3) / 20), 1.0)
        axes.grid(axis="x", color="0.9")
        axes.set_xlabel("Track-origin AUC, one against the rest")
        axes.legend(loc="lower left")
        headline(axes, caption)
    return figure


def origin_roc_figure(curves: Mapping[str, tuple[Floats, Floats, float]], caption: Caption) -> Figure:
    """ROC of each track origin: (false positive rate, efficiency, area) by class."""
    colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999"]
    dashes = ["-", (0, (5, 1.5)), (0, (4, 1.2, 1, 1.2)), (0, (1, 1)), "-", (0, (5, 1.5)), (0, (4, 1.2, 1, 1.2)), (0, (1, 1))]
    grid = np.concatenate([[0], np.geomspace(1e-4, 1, 200)])
    with figure_style():
        figure, (axes,) = canvas(size=(6.0, 5.4))
        for (name, (false, true, area)), colour, dash in zip(curves.items(), colours, dashes, strict=False):
            axes.plot(grid, np.interp(grid, false, true), color=colour, linestyle=dash, label=f"{name} ({area:.3f})")
        axes.set_xscale("log")
        axes.set_xlim(1e-3, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("Fraction of other tracks")
        axes.set_ylabel("Fraction of tracks of this origin")
        axes.legend(loc="best", title="origin (AUC)", fontsize=12.5)
        headline(axes, caption)
    return figure


def reliability_figure(curves: Mapping[str, Reliability], lines: Mapping[str, Line], caption: Caption, *, of: str) -> Figure:
    """Observed fraction against predicted probability, with the share of jets per bin below."""
    with figure_style():
        figure, axes = canvas(2, size=(6.0, 6.2), sharex=True, height_ratios=(2.6, 1))
        axes[0].plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=":")
        for name, curve in curves.items():
            line = lines[name]
            axes[0].errorbar(
                curve.predicted, curve.observed, curve.error, color=line.colour, linestyle=line.dash, marker=line.marker,
                linewidth=1.4, label=f"{line.label}, ECE {curve.calibration_error:.3f}",
            )  # fmt: skip
            axes[1].plot(curve.predicted, curve.share, color=line.colour, linestyle=line.dash, marker=line.marker)
        axes[0].set_ylabel(f"Observed fraction of {of}")
        axes[0].set_ylim(0, 1)
        axes[0].legend(loc="upper left")
        axes[1].set_yscale("log")
        axes[1].set_ylabel("Share of jets")
        axes[1].set_xlim(0, 1)
        axes[1].set_xlabel(f"Predicted probability of {of}")
        headline(axes[0], caption)
    return figure


def loss_figure(history: Sequence[Mapping[str, float]], caption: Caption, *, title: str = "") -> Figure:
    """Loss of each task per epoch in training and validation, a panel each.

    Args:
        history: one entry per epoch with `train_<task>` and `valid_<task>`, as a fitted method keeps it.
    """
    tasks = [key.removeprefix("train_") for key in history[0] if key.startswith("train_")]
    if len(tasks) == 2 and "total" in tasks:
        tasks.remove("total")
    epochs = np.arange(1, len(history) + 1)
    with figure_style():
        figure, axes = canvas(len(tasks), size=(6.0, 1.9 + 2.1 * len(tasks)), sharex=True)
        for panel, task in zip(axes, tasks, strict=True):
            for split, line in (("train", Line("#5c6370", (0, (5, 1.5)), "s", "training")),
                                ("valid", Line("#3f90da", "-", "o", "validation"))):  # fmt: skip
                losses = [epoch.get(f"{split}_{task}", np.nan) for epoch in history]
                marker = line.marker if len(epochs) <= 30 else ""
                panel.plot(epochs, losses, color=line.colour, linestyle=line.dash, marker=marker, label=line.label)
            panel.set_ylabel(f"Loss: {task}")
            panel.yaxis.set_major_locator(MaxNLocator(5))
        axes[0].legend(loc="upper right", title=title or None)
        axes[-1].set_xlabel("Epoch")
        axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[-1].tick_params(axis="x", which="minor", bottom=False, top=False)
        headline(axes[0], caption)
    return figure


def distribution_grid(
    variables: Mapping[str, tuple[NDArray[Any], NDArray[np.str_], NDArray[np.floating]]], caption: Caption, *,
    logarithmic: Sequence[str] = (), columns: int = 2,
) -> Figure:  # fmt: skip
    """Distributions of several variables by flavour, each of unit area: label -> (values, flavour, weights)."""
    rows = -(-len(variables) // columns)
    with figure_style():
        figure, axes = canvas(rows, columns, size=(4.7 * columns, 3.5 * rows + 0.8))
        for panel, (label, (values, flavour, weights)) in zip(axes, variables.items(), strict=False):
            integer = np.issubdtype(values.dtype, np.integer)
            low, high = _central(np.asarray(values, dtype=np.float64), 0.003)
            edges = np.arange(low - 0.5, high + 1.5) if integer and high - low < 60 else np.linspace(low, high, 51)
            _by_flavour(panel, np.asarray(values, dtype=np.float64), flavour, edges, weights)
            if label in logarithmic:
                panel.set_yscale("log")
            else:
                panel.set_ylim(0, None)
            panel.set_xlabel(label)
        for unused in axes[len(variables) :]:
            unused.remove()
        axes[0].legend(loc="best")
        axes[0].set_ylabel("Normalised")
        headline(axes[0], caption)
    return figure


def _band(axes: Axes, x: Floats, y: Floats, error: Floats, line: Line) -> None:
    axes.fill_between(x, y - error, y + error, color=line.colour, alpha=0.22, linewidth=0)
    axes.plot(x, y, color=line.colour, linestyle=line.dash, label=line.label)


def _points(axes: Axes, edges: Floats, values: Estimate | Rejection, line: Line, shift: float) -> None:
    """Error bars at bin centres, moved by `shift` bin widths so that methods do not hide each other."""
    half = np.diff(edges) / 2
    centre = edges[:-1] + half + 2 * shift * half
    axes.errorbar(
        centre, values.value, values.error, xerr=[half + 2 * shift * half, half - 2 * shift * half], fmt=line.marker,
        color=line.colour, label=line.label, linewidth=1.4, elinewidth=1.4,
    )  # fmt: skip
    if isinstance(values, Rejection):
        none = np.isnan(values.value) & ~np.isnan(values.lower_limit)
        axes.plot(centre[none], values.lower_limit[none], "^", color=line.colour, markerfacecolor="white")


def _by_flavour(
    axes: Axes, values: Floats, flavour: NDArray[np.str_], edges: Floats, weights: ArrayLike | None
) -> None:
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    inside = np.clip(values, edges[0], np.nextafter(edges[-1], edges[0]))
    for name, line in FLAVOURS.items():
        which = flavour == name
        if not which.any():
            continue
        content = np.histogram(inside[which], edges, weights=weight[which])[0]
        error = np.sqrt(np.histogram(inside[which], edges, weights=weight[which] ** 2)[0])
        norm = content.sum() * np.diff(edges)
        axes.stairs(
            (content + error) / norm, edges, baseline=np.maximum((content - error) / norm, 1e-12), fill=True,
            color=line.colour, alpha=0.2, linewidth=0,
        )  # fmt: skip
        axes.stairs(content / norm, edges, color=line.colour, linestyle=line.dash, linewidth=1.8, label=line.label)


def _central(values: Floats, outside: float) -> tuple[float, float]:
    low, high = (float(edge) for edge in np.quantile(values, [outside, 1 - outside]))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _limits_from(axes: Axes, ratios: Sequence[Floats]) -> None:
    """Limits for a ratio panel that hold all curves, logarithmic when they span more than a factor of four."""
    finite = np.concatenate([ratio[np.isfinite(ratio)] for ratio in ratios])
    low, high = (float(edge) for edge in np.quantile(finite, [0.01, 0.99])) if len(finite) else (1.0, 1.0)
    if high / max(low, 1e-9) > 4:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(low / 1.3, high * 1.3)
    else:
        margin = 0.12 * max(high - low, 0.1)
        axes.set_ylim(low - margin, high + margin)
