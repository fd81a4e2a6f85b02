"""Figures of a search in anomalous events: scores and cuts, many spectra, what the regions gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtr

from femtobarn.evaluate.style import METHOD_COLOURS, Caption, Line, canvas, figure_style, headline, log_axis

__all__ = ["Stack", "alarm_figure", "gain_figure", "score_figure", "weighted_spectrum_figure"]

Array = NDArray[np.float64]
RED, BLUE = METHOD_COLOURS[3], METHOD_COLOURS[2]


class Stack(NamedTuple):
    """Scores (N,) and weights (N,) of one part of the background, and its colour and label."""

    score: Array
    weight: Array
    colour: str
    label: str


def score_figure(
    parts: Sequence[Stack], signals: Mapping[str, Array], lines: Mapping[str, Line],
    cuts: Mapping[str, float], caption: Caption, *, variable: str, size: float = 1.0,
) -> Figure:  # fmt: skip
    """Distribution of a score: the background's parts one upon the other, signals, and the cuts.

    Args:
        parts: of the background, weights in pb.
        signals: scores by name; each is drawn for a cross-section `size` in pb after the selection.
        lines: of the signals.
        cuts: score above which a region begins, by its name.
        caption: above.
        variable: name of the score.
        size: see `signals`.
    """
    everything = np.concatenate([part.score for part in parts])
    spread = [np.quantile(everything, 1e-3), everything.max(), *(values.max() for values in signals.values())]
    edges = np.linspace(spread[0], max(spread[1:]) + 0.1, 51)
    with figure_style():
        figure, (axes,) = canvas((4.6,))
        below = np.zeros(50)
        for part in parts:
            height = below + np.histogram(part.score, edges, weights=part.weight)[0]
            axes.stairs(height, edges, baseline=np.maximum(below, 1e-9), fill=True, color=part.colour,
                        alpha=0.55, label=part.label)  # fmt: skip
            below = height
        for name, values in signals.items():
            content = np.histogram(values, edges)[0] * (size / max(len(values), 1))
            line = lines[name]
            axes.stairs(np.where(content > 0, content, np.nan), edges, baseline=None, color=line.colour,
                        linestyle=line.dash, linewidth=1.8, label=line.label)  # fmt: skip
        positive = below[below > 0]
        low, high = max(float(positive.min()) / 2, 1e-5 * float(positive.max())), float(positive.max())
        for name, cut in cuts.items():
            axes.axvline(cut, color="black", linewidth=1.2)
            axes.annotate(name, (cut, 0.66), (-3, 0), xycoords=("data", "axes fraction"), rotation=90,
                          ha="right", va="top", textcoords="offset points", fontsize=12.5)  # fmt: skip
        log_axis(axes, "y", low, high * 10 ** (1.0 + 0.28 * (len(parts) + len(signals))))
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel(variable)
        axes.set_ylabel("Cross-section per bin [pb]")
        axes.legend(loc="upper left", fontsize=12, ncols=2, columnspacing=1)
        headline(axes, caption)
    return figure


def weighted_spectrum_figure(
    edges: Array, simulated: tuple[Array, Array], fit: Array, data: tuple[Array, Array], caption: Caption, *,
    label: str, window: tuple[int, int], note: str, variable: str,
) -> Figure:  # fmt: skip
    """A simulated spectrum with its fit, and below pulls of it and of the data drawn from the fit.

    Args:
        edges: (B+1,) TeV.
        simulated: (B,) cross-section of each bin and its error, fb.
        fit: (B,) to it, fb.
        data: (B,) counts, and what the fit to them expects.
        caption: above.
        label: of the fit.
        window: first bin and first bin beyond of what is marked.
        note: in the lower left corner.
        variable: name of the mass.
    """
    width, centre = np.diff(edges), np.sqrt(edges[1:] * edges[:-1])
    with figure_style():
        figure, (top, bottom) = canvas((3.4, 1.5))
        for panel in (top, bottom):
            panel.axvspan(edges[window[0]], edges[window[1]], color="0.92", zorder=0)
        top.errorbar(centre, simulated[0] / width, simulated[1] / width, fmt="o", color="black",
                     markersize=3.5, elinewidth=1, label="simulation")  # fmt: skip
        top.stairs(fit / width, edges, baseline=None, color=RED, linewidth=1.7, label=label)
        density = fit / width
        log_axis(top, "y", 0.1 * density.min(), 10 * density.max())
        top.set_ylabel("d$\\sigma$/d$m$ [fb/TeV]")
        top.legend(loc="upper right")
        top.text(0.04, 0.05, note, transform=top.transAxes, fontsize=12.5, linespacing=1.35)
        pull = (data[0] - data[1]) / np.sqrt(np.maximum(data[1], 1e-9))
        bottom.stairs(pull, edges, baseline=0, fill=True, color=BLUE, alpha=0.6, label="pseudo-data")
        bottom.plot(centre, (simulated[0] - fit) / simulated[1], "o", color="black", markersize=3)
        bottom.axhline(0, color="0.3", linewidth=0.8)
        bottom.set_ylim(-3.9, 3.9)
        bottom.set_ylabel("Pull")
        log_axis(bottom, "x", edges[0], edges[-1])
        bottom.set_xlabel(variable)
        headline(top, caption)
    return figure


def alarm_figure(
    p: Mapping[str, Mapping[str, float]],
    labels: Mapping[str, str],
    lines: Mapping[str, Line],
    caption: Caption,
) -> Figure:
    """Global p-values by region and mass, beside those of normal standard deviations."""
    with figure_style():
        figure, (axes,) = canvas((3.6,))
        lowest = min((value for some in p.values() for value in some.values()), default=0.1)
        for k, (name, some) in enumerate(p.items()):
            line = lines[name]
            x = [list(labels).index(mass) + 0.14 * (k - (len(p) - 1) / 2) for mass in some]
            axes.plot(x, list(some.values()), line.marker, color=line.colour, label=line.label)
        bottom = min(3e-3, 0.3 * lowest)
        for sigma in (1, 2, 3, 4, 5):
            if (height := float(ndtr(-sigma))) > bottom:
                axes.axhline(height, color="0.8", linewidth=0.9, zorder=0)
                axes.text(len(labels) - 0.42, height, f"{sigma}σ", fontsize=12, va="bottom", ha="right")
        log_axis(axes, "y", bottom, 20)
        axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.set_xticks(range(len(labels)), list(labels.values()))
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
        axes.set_ylabel("Global $p$-value")
        axes.legend(loc="upper left", ncols=2, fontsize=13)
        headline(axes, caption)
    return figure


def gain_figure(
    gains: Mapping[str, Mapping[str, tuple[float, float]]], labels: Sequence[str], lines: Mapping[str, Line],
    caption: Caption,
) -> Figure:  # fmt: skip
    """Significance after a cut over that before it, by cut and by signal, with errors.

    Args:
        gains: value and error by the label of the signal, by cut; limits have the error NaN and are arrows.
        labels: of the signals, in their order from the top.
        lines: of the cuts.
        caption: above.
    """
    values = [value for some in gains.values() for value, _ in some.values() if value > 0]
    low, high = 0.5 * min([*values, 0.5]), 4 * max([*values, 2.0])
    with figure_style():
        figure, (axes,) = canvas((0.62 * len(labels) + 1.2,), width=7.6, left=3.5)
        for k, (name, some) in enumerate(gains.items()):
            line, shift = lines[name], 0.7 * (k - (len(gains) - 1) / 2) / max(len(gains), 1)
            for signal, (value, error) in some.items():
                y = labels.index(signal) + shift
                limit = not np.isfinite(error)
                axes.errorbar(max(value, low), y, xerr=0.25 * value if limit else error, xlolims=limit,
                              fmt=line.marker, color=line.colour, markersize=5, elinewidth=1.2,
                              fillstyle="none" if line.dash == ":" else "full")  # fmt: skip
            axes.plot([], [], line.marker, color=line.colour, label=line.label,
                      fillstyle="none" if line.dash == ":" else "full")  # fmt: skip
        axes.axvline(1, color="0.5", linewidth=1, linestyle=":")
        log_axis(axes, "x", low, high)
        axes.set_ylim(len(labels) - 0.4, -0.6 - 0.45 * len(gains) / 2)
        axes.set_yticks(range(len(labels)), labels, fontsize=12.5)
        axes.tick_params(axis="y", which="both", length=0)
        axes.minorticks_off()
        axes.set_xlabel("Significance after the cut over before")
        axes.legend(loc="upper left", fontsize=12, ncols=2)
        headline(axes, caption)
    return figure
