"""Pieces that figures are drawn from: bands, points with error bars, histograms by flavour, limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from femtobarn.evaluate.metrics import Estimate, Floats, Rejection
from femtobarn.evaluate.style import FLAVOURS, Line, log_axis

__all__ = ["FEWEST", "band", "by_flavour", "central", "known", "levels", "points", "ratio_limits", "span"]

FEWEST = 30


def known(result: Rejection) -> Rejection:
    """A curve of rejections against rising efficiency without its beginning, where errors are above 40 %."""
    poor = np.logical_or.accumulate(~(result.error < 0.4 * result.value)[::-1])[::-1]
    return Rejection(
        np.where(poor, np.nan, result.value), np.where(poor, np.nan, result.error), result.lower_limit
    )


def band(axes: Axes, x: Floats, y: Floats, relative: Floats, line: Line) -> None:
    """A curve with a band of one standard deviation, symmetric in the logarithm as the panel is."""
    axes.fill_between(
        x, y * np.exp(-relative), y * np.exp(relative), color=line.colour, alpha=0.22, linewidth=0
    )
    axes.plot(x, y, color=line.colour, linestyle=line.dash, label=line.label)


def points(axes: Axes, edges: Floats, values: Estimate | Rejection, line: Line, shift: float) -> None:
    """Error bars at bin centres, moved by `shift` bin widths so that methods do not hide each other."""
    width = np.diff(edges)
    centre = edges[:-1] + width * (0.5 + shift)
    reach = [centre - edges[:-1], edges[1:] - centre]
    error: Any = values.error
    if isinstance(values, Rejection):
        relative = values.error / values.value
        error = values.value * np.stack([1 - np.exp(-relative), np.exp(relative) - 1])
        none = np.isnan(values.value) & ~np.isnan(values.lower_limit)
        limit = values.lower_limit[none]
        axes.errorbar(
            centre[none], limit, [np.zeros_like(limit), limit], xerr=[side[none] for side in reach],
            lolims=True, fmt="none", color=line.colour, elinewidth=1.4,
        )  # fmt: skip
    axes.errorbar(
        centre, values.value, error, xerr=reach, fmt=line.marker, color=line.colour, label=line.label,
        elinewidth=1.4,
    )  # fmt: skip


def by_flavour(
    axes: Axes,
    values: Floats,
    flavour: NDArray[np.str_],
    edges: Floats,
    weights: ArrayLike | None,
    lines: Mapping[str, Line] = FLAVOURS,
) -> tuple[float, float]:
    """Draw a histogram of unit area per flavour; returns the lowest and highest content above zero.

    The outer bins hold what lies beyond. A flavour with fewer than `FEWEST` entries is left out.
    """
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    inside = np.clip(values, edges[0], np.nextafter(edges[-1], edges[0]))
    shown = []
    for name, line in lines.items():
        which = flavour == name
        if which.sum() < FEWEST or weight[which].sum() <= 0:
            continue
        content = np.histogram(inside[which], edges, weights=weight[which])[0]
        error = np.sqrt(np.histogram(inside[which], edges, weights=weight[which] ** 2)[0])
        norm = content.sum() * np.diff(edges)
        axes.stairs(
            (content + error) / norm, edges, baseline=np.maximum((content - error) / norm, 1e-12), fill=True,
            color=line.colour, alpha=0.2, linewidth=0,
        )  # fmt: skip
        axes.stairs(
            np.where(content > 0, content, np.nan) / norm, edges, baseline=None, color=line.colour,
            linestyle=line.dash, linewidth=1.8, label=line.label,
        )  # fmt: skip
        shown.append(content / norm)
    heights = np.concatenate(shown) if shown else np.ones(1)
    return (float(heights[heights > 0].min()), float(heights.max())) if (heights > 0).any() else (0.1, 1.0)


def central(values: Floats, outside: float) -> tuple[float, float]:
    """The range that leaves out a fraction `outside` on either side."""
    low, high = (float(edge) for edge in np.quantile(values, [outside, 1 - outside]))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def levels(values: Estimate | Rejection) -> Floats:
    """Where the points of a panel stand: values, and the limits that replace them."""
    if isinstance(values, Rejection):
        height: Floats = np.where(np.isnan(values.value), values.lower_limit, values.value)
        return height
    return values.value


def span(curves: Sequence[Floats]) -> tuple[float, float]:
    """The lowest and highest positive finite number of all curves; (1, 10) when there is none."""
    numbers = np.concatenate([curve[np.isfinite(curve) & (curve > 0)] for curve in curves])
    return (float(numbers.min()), float(numbers.max())) if len(numbers) else (1.0, 10.0)


def ratio_limits(axes: Axes, ratios: Sequence[Floats]) -> None:
    """Limits for a ratio panel that hold all curves, logarithmic when they span more than a factor of 4."""
    low, high = span(ratios)
    if high / low > 4:
        log_axis(axes, "y", low / 1.3, high * 1.3)
    else:
        margin = 0.12 * max(high - low, 0.1)
        axes.set_ylim(low - margin, high + margin)
