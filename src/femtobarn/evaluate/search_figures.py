"""Figures of searches by a cut on a score: what it makes significant, and what it does to the spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from femtobarn.evaluate.style import Caption, Line, canvas, figure_style, headline

__all__ = ["passing_figure", "significance_figure", "toys_figure"]

Array = NDArray[np.float64]


def significance_figure(
    ratios: Sequence[float], heights: Mapping[str, Array], lines: Mapping[str, Line], caption: Caption,
    plain: Array, ylabel: str = "Strongest bump, local [σ]",
) -> Figure:  # fmt: skip
    """The strongest bump after the cut (R,) against signal over background (R,) in per cent, by method.

    `plain` (R,) is s/sqrt(b) in the signal region before any cut, drawn dotted.
    """
    shift = 0.012 * (max(ratios) - min(ratios) or 1) * 100
    with figure_style():
        figure, (axes,) = canvas((4.4,))
        x = 100 * np.asarray(ratios)
        for k, (name, height) in enumerate(heights.items()):
            line = lines[name]
            axes.plot(x + shift * (k - len(heights) / 2), height, color=line.colour, linestyle=line.dash,
                      marker=line.marker, linewidth=1.5, label=line.label)  # fmt: skip
        axes.plot(x, plain, color="0.4", linestyle=":", label="s/√b before")
        highest = max(float(np.max(height)) for height in (*heights.values(), plain))
        axes.set_ylim(0, 1.55 * highest)
        axes.set_xlim(x.min() - 100 * 0.06 * np.ptp(ratios), x.max() + 100 * 0.06 * np.ptp(ratios))
        axes.set_xlabel("S/B in the signal region [%]")
        axes.set_ylabel(ylabel)
        axes.legend(loc="upper left", ncols=2, fontsize=12.5)
        headline(axes, caption)
    return figure


def passing_figure(
    edges: Array, mass: Array, passed: Mapping[str, NDArray[np.bool_]], lines: Mapping[str, Line],
    window: tuple[float, float], caption: Caption, efficiency: float,
) -> Figure:  # fmt: skip
    """The share of background events that pass the cut, over its mean, against their mass (N,), by method."""
    total = np.histogram(mass, edges)[0]
    centre = np.sqrt(edges[1:] * edges[:-1])
    step = (edges[1:] / edges[:-1]).min() ** (0.6 / max(len(passed), 1))
    highest = 2.0
    with figure_style():
        figure, (axes,) = canvas((4.2,))
        axes.axvspan(*window, color="0.93", zorder=0)
        for k, (name, which) in enumerate(passed.items()):
            count, line = np.histogram(mass[which], edges)[0], lines[name]
            scale = max(which.mean(), 1e-12) * np.maximum(total, 1)
            height, error = count / scale, np.sqrt(np.maximum(count, 1)) / scale
            shown = total * efficiency >= 3
            x = centre * step ** (k - len(passed) / 2)
            axes.errorbar(x[shown], height[shown], error[shown], color=line.colour, fmt=line.marker,
                          markersize=4, elinewidth=1, label=line.label)  # fmt: skip
            highest = max(highest, float((height + error)[shown].max(initial=0)))
        axes.axhline(1, color="0.5", linewidth=1, linestyle=":")
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0, 1.4 * min(highest, 6.0))
        axes.set_xlabel(r"$m_{JJ}$ [TeV]")
        axes.set_ylabel("Efficiency over its mean")
        axes.legend(loc="upper left", ncols=2, fontsize=12.5)
        headline(axes, caption)
    return figure


def toys_figure(
    toys: Mapping[str, Array], seen: Mapping[str, float], lines: Mapping[str, Line], caption: Caption
) -> Figure:
    """The strongest bump of each pseudo-experiment without a signal, by method; a cross is the data's own."""
    with figure_style():
        figure, (axes,) = canvas((3.6,), bottom=1.25)
        for k, (name, height) in enumerate(toys.items()):
            line = lines[name]
            spread = np.linspace(-0.25, 0.25, max(len(height), 1))[: len(height)]
            axes.plot(k + spread, np.sort(height), line.marker, color=line.colour, markersize=4)
            axes.plot(k, seen[name], "x", color="black", markersize=10, markeredgewidth=2)
        axes.set_xlim(-0.6, len(toys) - 0.4)
        axes.set_xticks(range(len(toys)), [lines[name].label for name in toys], rotation=30, ha="right")
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
        highest = max([*seen.values(), *(float(t.max(initial=0)) for t in toys.values())])
        axes.set_ylim(0, 1.2 * highest)
        axes.set_ylabel("Strongest bump, local [σ]")
        headline(axes, caption)
    return figure
