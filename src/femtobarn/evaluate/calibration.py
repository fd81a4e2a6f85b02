"""Figures of a calibration: scale factors against pT, and pulls."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm

from femtobarn.evaluate.style import Caption, canvas, figure_style, headline

__all__ = ["pull_figure", "scale_factor_figure"]

Array = NDArray[np.float64]


def scale_factor_figure(
    edges: Array,
    value: Array,
    statistical: Array,
    total: Array,
    truth: Array,
    caption: Caption,
    *,
    label: str,
) -> Figure:
    """Scale factors (B,) with bars of the statistical and boxes of the total error, and the true ones."""
    centre, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    with figure_style():
        figure, (axes,) = canvas()
        axes.bar(
            centre, 2 * total, 2 * half, value - total, color="#3f90da", alpha=0.3, label="stat. + syst."
        )
        axes.errorbar(
            centre,
            value,
            statistical,
            xerr=half,
            fmt="o",
            color="black",
            label="measured (stat.)",
            elinewidth=1.4,
        )
        axes.stairs(truth, edges, baseline=None, color="#bd1f01", linewidth=1.8, label="true")
        axes.axhline(1, color="0.6", linewidth=1, zorder=0)
        low, high = (value - total).min(), (value + total).max()
        axes.set_ylim(min(low, 0.95) - 0.05, max(high, 1.05) + 0.6 * (max(high, 1.05) - min(low, 0.95)))
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel("Jet $p_T$ [GeV]")
        axes.set_ylabel(label)
        axes.legend(loc="upper left", ncols=2, columnspacing=1)
        headline(axes, caption)
    return figure


def pull_figure(pulls: Mapping[str, Array], caption: Caption) -> Figure:
    """Distributions of pulls by what their error is, with mean and width, beside the unit Gaussian."""
    edges = np.linspace(-4, 4, 33)
    along = np.linspace(-4, 4, 200)
    styles = [("#e76300", (0, (5, 1.5))), ("#3f90da", "-")]
    with figure_style():
        figure, (axes,) = canvas()
        top = 0.4
        for (name, values), (colour, dash) in zip(pulls.items(), styles, strict=False):
            density = np.histogram(np.clip(values, -3.99, 3.99), edges, density=True)[0]
            label = f"{name}: {values.mean():.2f}, {values.std(ddof=1):.2f}"
            axes.stairs(density, edges, color=colour, linestyle=dash, linewidth=1.8, label=label)
            top = max(top, float(density.max()))
        axes.plot(along, norm.pdf(along), color="black", linewidth=1.2, label="unit Gaussian")
        axes.set_ylim(0, 1.5 * top)
        axes.set_xlim(-4, 4)
        axes.set_xlabel("(Measured − true) / error")
        axes.set_ylabel("Density")
        axes.legend(loc="upper left", title="error: mean, width", alignment="left")
        headline(axes, caption)
    return figure
