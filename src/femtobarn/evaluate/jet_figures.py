"""Figures of jet taggers: what an answer costs, jets as pictures, and what of them is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from femtobarn.evaluate.style import Caption, Line, canvas, figure_style, headline, log_axis
from femtobarn.statistics.estimate import Estimate

__all__ = ["LookedAt", "attention_figure", "cost_figure", "growth_figure", "pictures_figure"]

Floats = NDArray[np.float64]


class LookedAt(NamedTuple):
    """The candidates of a jet: places from its axis, transverse momenta, and shares of the attention."""

    name: str
    deta: Floats
    dphi: Floats
    pt: Floats
    attention: Floats


def cost_figure(
    points: Mapping[str, tuple[float, float, float]],
    lines: Mapping[str, Line],
    caption: Caption,
    *,
    cost: str,
    quantity: str = "Accuracy",
) -> Figure:
    """A quantity against what it costs, on a logarithmic axis: (cost, value, error) by method."""
    x = np.array([point[0] for point in points.values()])
    y = np.array([point[1] for point in points.values()])
    rows = -(-len(points) // 2)
    with figure_style():
        figure, (axes,) = canvas((3.4 + 0.27 * rows,))
        for name, (at, value, error) in points.items():
            line, place = lines[name], list(lines).index(name)
            axes.errorbar(at, value, error, fmt=line.marker, color=line.colour, label=line.label,
                          elinewidth=1.3, markersize=9,
                          markerfacecolor=line.colour if place < 8 else "white")  # fmt: skip
        log_axis(axes, "x", x.min() / 2, x.max() * 2)
        low, high = y.min() - 0.1 * np.ptp(y) - 1e-3, y.max() + 0.1 * np.ptp(y) + 1e-3
        share = 0.27 * rows / (3.4 + 0.27 * rows) + 0.02
        axes.set_ylim(low, low + (high - low) / (1 - share))
        axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= high])
        axes.set_ylim(low, low + (high - low) / (1 - share))
        axes.set_xlabel(cost)
        axes.set_ylabel(quantity)
        axes.legend(loc="upper left", ncols=2, columnspacing=1, fontsize=12, labelspacing=0.3)
        headline(axes, caption)
    return figure


def growth_figure(
    curves: Mapping[str, tuple[Floats, Estimate]],
    lines: Mapping[str, Line],
    caption: Caption,
    *,
    quantity: str = "Accuracy",
) -> Figure:
    """A quantity against the jets trained on, (sizes, values with errors) by method."""
    with figure_style():
        figure, (axes,) = canvas((3.7,))
        for name, (x, y) in curves.items():
            line = lines[name]
            axes.errorbar(x / 1000, y.value, y.error, fmt=line.marker, color=line.colour, linestyle=line.dash,
                          linewidth=1.5, elinewidth=1.3, label=line.label)  # fmt: skip
        every = np.concatenate([x for x, _ in curves.values()]) / 1000
        log_axis(axes, "x", every.min() / 1.3, every.max() * 1.3)
        axes.set_xlabel("Thousand jets trained on")
        axes.set_ylabel(quantity)
        axes.legend(loc="lower right")
        headline(axes, caption)
    return figure


def pictures_figure(
    pictures: Mapping[str, NDArray[np.floating[Any]]], half_width: float, caption: Caption, columns: int = 5
) -> Figure:
    """Average jets by class: shares of transverse momentum in pixels, one colour scale for all."""
    rows = -(-len(pictures) // columns)
    top = max(float(p.max()) for p in pictures.values())
    with figure_style():
        side, width = 1.9, 11.5
        figure = Figure(figsize=(width, 0.75 + rows * (side + 0.42) + 0.55))
        height = figure.get_figheight()
        for k, (name, picture) in enumerate(pictures.items()):
            row, column = divmod(k, columns)
            left, low = 0.75 + column * (side + 0.14), height - 0.85 - (row + 1) * side - row * 0.42
            axes = figure.add_axes((left / width, low / height, side / width, side / height))
            image = axes.imshow(
                np.maximum(picture, 1e-12), origin="lower", extent=(-half_width, half_width) * 2,
                cmap="magma", norm=LogNorm(top * 1e-4, top), interpolation="nearest",
            )  # fmt: skip
            axes.tick_params(which="both", labelsize=11, top=False, right=False, direction="out", length=3,
                             labelleft=column == 0, labelbottom=row == rows - 1)  # fmt: skip
            axes.annotate(name, (0.5, 0.97), xycoords="axes fraction", ha="center", va="top", fontsize=13,
                          color="white")  # fmt: skip
            if k == 0:
                headline(axes, caption)
        bar = figure.add_axes((10.95 / width, 0.55 / height, 0.15 / width, 1 - 1.5 / height))
        figure.colorbar(image, cax=bar)
        bar.tick_params(labelsize=11)
    return figure


def attention_figure(jets: Sequence[LookedAt], caption: Caption, half_width: float = 0.8) -> Figure:
    """Jets side by side: circles as large as momenta, as dark as what a network looks at."""
    with figure_style():
        side, width = 3.3, 11.5
        figure = Figure(figsize=(width, side + 1.55))
        height = figure.get_figheight()
        for column, jet in enumerate(jets):
            left = 0.85 + column * (side + 0.15)
            axes = figure.add_axes((left / width, 0.75 / height, side / width, side / height))
            share = jet.attention / max(jet.attention.max(), 1e-12)
            order = np.argsort(share)
            axes.scatter(jet.deta[order], jet.dphi[order], s=3 + 22 * jet.pt[order] ** 0.5,
                         c=share[order], cmap="viridis_r", vmin=0, vmax=1, edgecolor="0.3",
                         linewidth=0.5)  # fmt: skip
            axes.set_xlim(-half_width, half_width)
            axes.set_ylim(-half_width, half_width)
            axes.annotate(jet.name, (0.03, 0.97), xycoords="axes fraction", va="top", fontsize=15)
            axes.set_xlabel(r"$\Delta\eta$")
            if column == 0:
                axes.set_ylabel(r"$\Delta\phi$")
                headline(axes, caption)
            else:
                axes.tick_params(labelleft=False)
    return figure
