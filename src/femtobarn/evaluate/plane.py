"""Figures of teaching pages: what a classifier says all over a plane, how a number changes along an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from femtobarn.evaluate.drawing import span
from femtobarn.evaluate.metrics import Estimate, Floats
from femtobarn.evaluate.style import Caption, Line, canvas, figure_style, headline, log_axis

__all__ = ["Guide", "Plane", "curves_figure", "plane_figure", "trend_figure"]


class Plane(NamedTuple):
    """A square grid of points: `size` along each axis, from `low` to `high` on both."""

    low: float
    high: float
    size: int = 161

    @property
    def points(self) -> Floats:
        """(size * size, 2), the first coordinate running fastest."""
        axis = np.linspace(self.low, self.high, self.size)
        return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


class Guide(NamedTuple):
    """A thin line that theory draws: values y (N,) at x (N,); without a label it is not in the legend."""

    label: str
    x: Floats
    y: Floats
    dash: Any = (0, (2, 2))


def plane_figure(
    answer: Floats,
    plane: Plane,
    caption: Caption,
    *,
    best: Floats | None = None,
    events: tuple[Floats, NDArray[np.bool_]] | None = None,
    axes_labels: tuple[str, str] = ("$x_1$", "$x_2$"),
    large: bool = False,
) -> Figure:
    """An answer between 0 and 1 as colour, its boundary at 1/2 as a line, the best boundary dashed.

    Args:
        answer: (size * size,) at the points of the plane.
        plane: where.
        caption: above the figure.
        best: answer of the best classifier, whose boundary is drawn.
        events: points (N, 2) and which are signal (N,): filled and open circles.
        axes_labels: of the axes.
        large: draw the events as large as the corners of a truth table.
    """
    axis = np.linspace(plane.low, plane.high, plane.size)
    grid = np.asarray(answer, dtype=np.float64).reshape(plane.size, plane.size)
    with figure_style():
        figure, (axes,) = canvas((3.35,), width=4.4, left=0.8)
        axes.imshow(
            grid, origin="lower", extent=(plane.low, plane.high, plane.low, plane.high), cmap="RdBu_r",
            vmin=0, vmax=1, aspect="auto", interpolation="nearest", alpha=0.75,
        )  # fmt: skip
        for values, dash, width in ((grid, "-", 2.2), (best, "--", 1.5)):
            if values is None:
                continue
            shaped = values.reshape(plane.size, plane.size)
            if shaped.min() < 0.5 - 1e-9 and shaped.max() > 0.5 + 1e-9:  # a flat answer has no boundary
                axes.contour(axis, axis, shaped, [0.5], colors="black", linestyles=dash, linewidths=width)
        if events is not None:
            size, edge = (90, 1.2) if large else (7, 0.4)
            for which, face in ((True, "#8b0000"), (False, "white")):
                x = events[0][events[1] == which]
                axes.scatter(
                    x[:, 0], x[:, 1], s=size, facecolor=face, edgecolor="#222222", linewidth=edge, zorder=3
                )
        axes.set_xlim(plane.low, plane.high)
        axes.set_ylim(plane.low, plane.high)
        for one in (axes.xaxis, axes.yaxis):
            one.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.set_xlabel(axes_labels[0])
        axes.set_ylabel(axes_labels[1])
        headline(axes, caption)
    return figure


def trend_figure(
    x: Floats,
    curves: Mapping[str, Estimate],
    lines: Mapping[str, Line],
    caption: Caption,
    *,
    variable: str,
    quantity: str,
    logarithmic: tuple[bool, bool] = (True, True),
    guides: Sequence[Guide] = (),
    limits: tuple[float, float] | None = None,
    height: float = 3.9,
) -> Figure:
    """A quantity of several methods along an axis, with error bars, and what theory says as thin lines.

    Args:
        x: (N,) where it was measured.
        curves: values and errors (N,) of each method.
        lines: colour, dash, marker and label of each.
        caption: above the figure.
        variable, quantity: labels of the axes.
        logarithmic: which of the axes are.
        guides: of theory.
        limits: of the vertical axis, None: by the values.
        height: of the panel, inches.
    """
    labels = [lines[name].label for name in curves] + [guide.label for guide in guides if guide.label]
    columns = 2 if max(map(len, labels)) <= 20 else 1
    rows = -(-len(labels) // columns)
    with figure_style():
        figure, (axes,) = canvas((height + 0.27 * rows,))
        for name, curve in curves.items():
            line = lines[name]
            axes.errorbar(x, curve.value, curve.error, fmt=line.marker, color=line.colour, elinewidth=1.3,
                          linestyle=line.dash, linewidth=1.5, label=line.label)  # fmt: skip
        for guide in guides:
            label = guide.label or "_nolegend_"
            axes.plot(guide.x, guide.y, color="0.45", linestyle=guide.dash, linewidth=1.3, label=label)
        share = 0.27 * rows / (height + 0.27 * rows) + 0.03  # of the panel, for the legend
        if limits is not None:
            low, high = limits
        elif logarithmic[1]:
            low, high = span([*(curve.value for curve in curves.values()), *(guide.y for guide in guides)])
            low, high = low / 1.7, high * 1.5
        else:
            values = np.concatenate([curve.value for curve in curves.values()])
            margin = 0.06 * float(np.nanmax(values) - np.nanmin(values) + 1e-9)
            low, high = float(np.nanmin(values)) - margin, float(np.nanmax(values)) + margin
        if logarithmic[1]:
            log_axis(axes, "y", low, high * (high / low) ** (share / (1 - share)))
        else:
            top = high + (high - low) * share / (1 - share)
            axes.set_ylim(low, top)
            axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= high + 1e-9])
            axes.set_ylim(low, top)
        if logarithmic[0]:
            log_axis(axes, "x", float(x.min()) / 1.25, float(x.max()) * 1.25)
        else:
            axes.set_xlim(float(x.min() - 0.04 * np.ptp(x)), float(x.max() + 0.04 * np.ptp(x)))
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=bool((x == np.round(x)).all())))
        axes.set_xlabel(variable)
        axes.set_ylabel(quantity)
        axes.legend(loc="upper left", ncols=columns, columnspacing=1, fontsize=12.5, labelspacing=0.3)
        headline(axes, caption)
    return figure


def curves_figure(
    x: Floats,
    curves: Mapping[str, Floats],
    lines: Mapping[str, Line],
    caption: Caption,
    *,
    labels: tuple[str, str],
) -> Figure:
    """Functions y(x) one over the other: a target first, and what was fitted to it."""
    values = np.concatenate(list(curves.values()))
    margin = 0.08 * float(np.ptp(values))
    with figure_style():
        figure, (axes,) = canvas((3.0,), width=4.6)
        for name, y in curves.items():
            line = lines[name]
            axes.plot(x, y, color=line.colour, linestyle=line.dash, label=line.label,
                      linewidth=3.5 if name == next(iter(curves)) else 1.8)  # fmt: skip
        axes.set_xlim(float(x.min()), float(x.max()))
        axes.set_ylim(values.min() - margin, values.max() + margin + 0.35 * np.ptp(values))
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.legend(loc="upper left", ncols=2, fontsize=12.5, columnspacing=1)
        headline(axes, caption)
    return figure
