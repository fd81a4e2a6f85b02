"""The figures of a report page, one function each: numbers in, a matplotlib figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from femtobarn.evaluate.discriminants import Frontier
from femtobarn.evaluate.drawing import band, by_flavour, central, known, levels, points, ratio_limits, span
from femtobarn.evaluate.metrics import Estimate, Floats, Rejection, Reliability, Survival, rejection
from femtobarn.evaluate.numbers import percent
from femtobarn.evaluate.style import Caption, Line, canvas, figure_style, headline, legend_columns, log_axis

__all__ = [
    "binned_figure",
    "confusion_figure",
    "distribution_figure",
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
    """Background rejection against signal efficiency with statistical bands, and its ratio to the first.

    A curve begins where about six background jets pass: with fewer it says nothing.

    Args:
        curves: signal and background `Survival` of each method, the reference first.
        lines: colour and label of each method.
        efficiencies: range of the signal efficiency shown.
        marks: working points, drawn as faint vertical lines.
    """
    at = np.linspace(*efficiencies, 101)
    results = {name: known(rejection(true, false, at)) for name, (true, false) in curves.items()}
    reference = next(iter(results))
    compared = len(results) > 1
    with figure_style():
        if compared:
            figure, axes = canvas((3.5, 1.6))
            ratios = {name: result.value / results[reference].value for name, result in results.items()}
            for name, ratio in ratios.items():
                band(axes[1], at, ratio, results[name].error / results[name].value, lines[name])
            ratio_limits(axes[1], list(ratios.values()))
            axes[1].set_ylabel(f"Ratio to {lines[reference].label}")
        else:
            figure, axes = canvas()
        for name, result in results.items():
            band(axes[0], at, result.value, result.error / result.value, lines[name])
        for panel in axes:
            for mark in marks:
                panel.axvline(mark, color="0.85", linewidth=1, zorder=0)
        log_axis(axes[0], "y", 1, 2 * span([result.value for result in results.values()])[1] ** 1.3)
        axes[0].set_ylabel(f"{background} rejection")
        many: dict[str, Any] = {"ncols": 2, "fontsize": 12, "columnspacing": 1} if len(results) > 6 else {}
        axes[0].legend(loc="upper right", **many)
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
    cuts: Sequence[float] = (),
    cuts_label: str = "",
) -> Figure:
    """Distribution of a score for each flavour, of unit area, with statistical bands; `cuts` are marked."""
    values = np.asarray(score, dtype=np.float64)
    lowest = values == values.min()  # many equal ones say "no score", often far from all others
    edges = np.linspace(*central(values[~lowest] if 0.001 < lowest.mean() < 1 else values, 0.001), 51)
    with figure_style():
        figure, (axes,) = canvas()
        low, high = by_flavour(axes, values, flavour, edges, weights)
        log_axis(axes, "y", max(low, high * 1e-5) / 2, high * 60)
        for number, cut in enumerate(cuts):
            axes.axvline(
                cut, ymax=0.72, color="0.55", linewidth=1, zorder=0, label="" if number else cuts_label
            )
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel(label)
        axes.set_ylabel("Normalised to unit area")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", ncols=2)
        headline(axes, caption)
    return figure


def distribution_figure(
    values: NDArray[Any],
    flavour: NDArray[np.str_],
    caption: Caption,
    *,
    label: str,
    weights: ArrayLike | None = None,
    logarithmic: bool = False,
) -> Figure:
    """Distribution of a variable by flavour, each of unit area; small, to stand in a grid."""
    numbers = np.asarray(values, dtype=np.float64)
    low, high = central(numbers, 0.003)
    whole = np.issubdtype(values.dtype, np.integer) and high - low < 60
    edges = np.arange(np.floor(low) - 0.5, np.ceil(high) + 1.5) if whole else np.linspace(low, high, 41)
    with figure_style():
        figure, (axes,) = canvas((2.6,), width=4.6)
        bottom, top = by_flavour(axes, numbers, flavour, edges, weights)
        if logarithmic:
            log_axis(axes, "y", max(bottom, top * 1e-5) / 2, top * 12)
        else:
            axes.set_ylim(0, top * 1.45)
        axes.set_xlim(edges[0], edges[-1])
        if whole:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.tick_params(axis="x", which="minor", bottom=False, top=False)
        axes.set_xlabel(label)
        axes.set_ylabel("Normalised")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper right", ncols=2, fontsize=12.5, columnspacing=1)
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
    """c- against light-rejection at one b-efficiency as f_c varies, own and common f_c marked."""
    with figure_style():
        figure, (axes,) = canvas()
        for name, scan in scans.items():
            line = lines[name]
            axes.plot(
                scan.light.value, scan.c.value, color=line.colour, linestyle=line.dash, label=line.label
            )
            for fraction, marker, filled in ((own[name], "*", True), (common, "o", False)):
                x, y = (np.interp(fraction, scan.f_c, part.value) for part in (scan.light, scan.c))
                face = line.colour if filled else "white"
                axes.plot(
                    x, y, marker, color=line.colour, markerfacecolor=face, markersize=13 if filled else 7
                )
        axes.plot([], [], "*", color="0.3", markersize=13, label="own $f_c$")
        axes.plot(
            [], [], "o", color="0.3", markerfacecolor="white", markersize=7, label=f"$f_c$ = {common:g}"
        )
        for which, attribute in (("x", "light"), ("y", "c")):
            low, high = span([getattr(scan, attribute).value for scan in scans.values()])
            log_axis(axes, which, low / 1.2, high * (1.2 if which == "x" else 1.6 * (high / low) ** 0.3))
        axes.set_xlabel("Light-jet rejection")
        axes.set_ylabel("$c$-jet rejection")
        axes.legend(
            loc="upper right", title=rf"$\varepsilon_b$ = {percent(efficiency)}", alignment="left", ncols=2
        )
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
    """Efficiencies or rejections in bins, with error bars; a panel each: label -> method -> values.

    A bin of a rejection in which no background passes shows its lower limit as an arrow.
    """
    bounds = np.asarray(edges, dtype=np.float64)
    shown = next(iter(panels.values()))
    columns = legend_columns([lines[name].label for name in shown])
    rows = -(-len(shown) // columns) + bool(title)
    inches = [3.6] if len(panels) == 1 else [1.8 + 0.26 * rows, *[1.8] * (len(panels) - 1)]
    with figure_style():
        figure, axes = canvas(inches)
        for number, (panel, (label, methods)) in enumerate(zip(axes, panels.items(), strict=True)):
            for place, (name, values) in enumerate(methods.items()):
                shift = (place - (len(methods) - 1) / 2) * min(0.09, 0.9 / len(methods))
                points(panel, bounds, values, lines[name], shift)
            legend = 0.08 + (0 if number else 0.26 * rows / inches[0])  # share of the panel's height
            if any(isinstance(values, Rejection) for values in methods.values()):
                low, high = span([levels(values) for values in methods.values()])
                log_axis(panel, "y", low / 2, 2 * high * (4 * high / low) ** (legend / (1 - legend)))
            else:
                tops = [values.value + np.nan_to_num(values.error) for values in methods.values()]
                top = max(float(np.nanmax(np.nan_to_num(tops))), 1e-3)
                panel.set_ylim(0, top / (1 - legend))
                panel.set_yticks([tick for tick in panel.get_yticks() if tick <= max(1, top)])
                panel.set_ylim(0, top / (1 - legend))
            panel.set_ylabel(label)
        axes[0].legend(
            loc="upper left", ncols=columns, columnspacing=1, title=title or None, alignment="left"
        )
        axes[-1].set_xlabel(variable)
        axes[-1].set_xlim(bounds[0], bounds[-1])
        headline(axes[0], caption)
    return figure


def confusion_figure(
    matrix: ArrayLike, classes: Sequence[str], caption: Caption, *, title: str = ""
) -> Figure:
    """Fraction of each true class (rows) in each predicted one (columns), with the numbers in the cells."""
    values = np.asarray(matrix)
    size = len(classes)
    with figure_style():
        figure, (axes,) = canvas((3.7,), left=1.25) if size <= 4 else canvas((4.1,), left=1.85, bottom=1.55)
        axes.imshow(np.nan_to_num(values), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for row in range(size):
            for column in range(size):
                text = "–" if np.isnan(values[row, column]) else f"{values[row, column]:.2f}"
                colour = "white" if values[row, column] > 0.55 else "black"
                axes.text(
                    column,
                    row,
                    text,
                    ha="center",
                    va="center",
                    color=colour,
                    fontsize=17 if size <= 4 else 12,
                )
        axes.set_xticks(
            range(size), classes, rotation=0 if size <= 4 else 40, ha="center" if size <= 4 else "right"
        )
        axes.set_yticks(range(size), classes)
        axes.tick_params(which="both", length=0)
        axes.minorticks_off()
        axes.set_xlabel("Predicted" + (f" by {title}" if title else ""), loc="center")
        axes.set_ylabel("True", loc="center")
        axes.yaxis.set_label_coords(axes.yaxis.get_label().get_position()[0], 0.5)
        headline(axes, caption)
    return figure


def origin_auc_figure(
    areas: Mapping[str, Estimate], means: Mapping[str, float], classes: Mapping[str, Sequence[str]],
    lines: Mapping[str, Line], caption: Caption,
) -> Figure:  # fmt: skip
    """One-vs-rest AUC of each track origin, a row each, for each method, whose classes are its own."""
    rows = list(dict.fromkeys(name for own in classes.values() for name in own))
    with figure_style():
        figure, (axes,) = canvas((0.45 * len(rows) + 0.3 * len(areas),), left=1.6)
        for place, (name, area) in enumerate(areas.items()):
            line = lines[name]
            shift = (place - (len(areas) - 1) / 2) * 0.22
            y = [rows.index(own) + shift for own in classes[name]]
            axes.errorbar(
                area.value, y, xerr=area.error, fmt=line.marker, color=line.colour, capsize=0,
                label=f"{line.label}, mean {means[name]:.3f}",
            )  # fmt: skip
            axes.axvline(means[name], color=line.colour, linestyle=line.dash, linewidth=1.2, zorder=0)
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(axis="y", which="minor", left=False, right=False)
        axes.set_ylim(len(rows) - 0.4 + 0.6 * len(areas), -0.6)  # room for the legend
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
    dashes = 2 * ["-", (0, (5, 1.5)), (0, (4, 1.2, 1, 1.2)), (0, (1, 1))]
    grid = np.concatenate([[0], np.geomspace(1e-4, 1, 200)])
    with figure_style():
        figure, (axes,) = canvas((4.6,))
        for (name, (false, true, area)), colour, dash in zip(curves.items(), colours, dashes, strict=False):
            axes.plot(
                grid, np.interp(grid, false, true), color=colour, linestyle=dash, label=f"{name} ({area:.3f})"
            )
        log_axis(axes, "x", 1e-3, 1)
        axes.set_ylim(0, 1.45)
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.set_xlabel("Fraction of other tracks")
        axes.set_ylabel("Fraction of tracks of this origin")
        axes.legend(loc="upper left", title="origin (AUC)", fontsize=12.5, alignment="left", ncols=2)
        headline(axes, caption)
    return figure


def reliability_figure(
    curves: Mapping[str, Reliability], lines: Mapping[str, Line], caption: Caption, *, of: str
) -> Figure:
    """Observed fraction against predicted probability, with the share of jets per bin below."""
    with figure_style():
        figure, axes = canvas((3.5, 1.3))
        axes[0].plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=":")
        for name, curve in curves.items():
            line = lines[name]
            axes[0].errorbar(
                curve.predicted, curve.observed, curve.error, color=line.colour, linestyle=line.dash,
                marker=line.marker, linewidth=1.4, label=f"{line.label}, ECE {curve.calibration_error:.3f}",
            )  # fmt: skip
            axes[1].plot(
                curve.predicted, curve.share, color=line.colour, linestyle=line.dash, marker=line.marker
            )
        axes[0].set_ylabel(f"Observed fraction of {of}")
        axes[0].set_ylim(0, 1)
        axes[0].legend(loc="lower right", fontsize=13)
        low, high = span([curve.share for curve in curves.values()])
        log_axis(axes[1], "y", low / 2, high * 2)
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
        figure, axes = canvas([1.8] * len(tasks))
        for panel, task in zip(axes, tasks, strict=True):
            for split, line in (("train", Line("#5c6370", (0, (5, 1.5)), "s", "training")),
                                ("valid", Line("#3f90da", "-", "o", "validation"))):  # fmt: skip
                losses = [epoch.get(f"{split}_{task}", np.nan) for epoch in history]
                marker = line.marker if len(epochs) <= 30 else ""
                panel.plot(
                    epochs, losses, color=line.colour, linestyle=line.dash, marker=marker, label=line.label
                )
            panel.set_ylabel(f"Loss: {task}")
            panel.yaxis.set_major_locator(MaxNLocator(5))
        axes[0].legend(loc="upper right", title=title or None, alignment="left")
        axes[-1].set_xlabel("Epoch")
        axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[-1].tick_params(axis="x", which="minor", bottom=False, top=False)
        headline(axes[0], caption)
    return figure
