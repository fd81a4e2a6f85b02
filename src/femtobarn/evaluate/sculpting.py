"""Does a cut shape the spectrum of a mass? Jensen-Shannon distances, and what they cost in significance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import jensenshannon

from femtobarn.evaluate.metrics import Estimate
from femtobarn.evaluate.style import Caption, Line, canvas, figure_style, headline

__all__ = ["Point", "Sculpting", "sculpting", "shapes_figure", "trade_figure"]

Array = NDArray[np.float64]


class Sculpting(NamedTuple):
    """Jensen-Shannon distance (base 2, 0 to 1) of a spectrum after a cut from that before.

    Attributes:
        distance: as measured; the events left are few, and make it differ from zero whatever the cut.
        error: of it, by bootstrap.
        chance: mean distance of cuts at random that keep the same share.
        spread: standard deviation of these.
        highest: below which 95 % of them lie.
    """

    distance: float
    error: float
    chance: float
    spread: float
    highest: float


def sculpting(
    mass: ArrayLike, passed: ArrayLike, edges: ArrayLike, weights: ArrayLike | None = None,
    repetitions: int = 200, seed: int = 1,
) -> Sculpting:  # fmt: skip
    """What a cut does to background.

    Args:
        mass: (N,) of background events; those outside the edges do not count.
        passed: (N,) bool, the cut.
        edges: of the bins.
        weights: (N,), negative ones too; a bin whose sum is below zero counts as empty.
        repetitions: bootstrap samples, and cuts at random.
        seed: of both.
    """
    bins = np.asarray(edges, dtype=np.float64)
    value, kept = np.asarray(mass, dtype=np.float64), np.asarray(passed, dtype=bool)
    weight = np.ones(len(value)) if weights is None else np.asarray(weights, dtype=np.float64)
    inside = (value >= bins[0]) & (value <= bins[-1])
    value, kept, weight = value[inside], kept[inside], weight[inside]
    place = np.minimum(np.searchsorted(bins, value, side="right") - 1, len(bins) - 2)

    def distance(which: NDArray[np.bool_], of: Array) -> float:
        before = np.maximum(np.bincount(place, of, len(bins) - 1), 0)
        after = np.maximum(np.bincount(place[which], of[which], len(bins) - 1), 0)
        if after.sum() <= 0 or before.sum() <= 0:
            return float("nan")
        return float(jensenshannon(after, before, base=2))

    rng = np.random.default_rng(seed)
    again = [distance(kept, weight * rng.poisson(1.0, len(weight))) for _ in range(repetitions)]
    chance = [distance(rng.permutation(kept), weight) for _ in range(repetitions)]
    return Sculpting(
        distance(kept, weight), float(np.nanstd(again)), float(np.nanmean(chance)),
        float(np.nanstd(chance)), float(np.nanquantile(chance, 0.95)),
    )  # fmt: skip


def shapes_figure(
    edges: Array, mass: Array, passed: Mapping[str, NDArray[np.bool_]], lines: Mapping[str, Line],
    caption: Caption, xlabel: str = r"$m_{JJ}$ [TeV]", window: tuple[float, float] | None = None,
    weights: Array | None = None,
) -> Figure:  # fmt: skip
    """Spectra of unit area before (filled) and after cuts (N,), and below the ratio of after to before."""
    width = np.diff(edges)
    weight = np.ones(len(mass)) if weights is None else weights
    total = np.histogram(mass, edges, weights=weight)[0]
    share = total / total.sum()
    centre = 0.5 * (edges[1:] + edges[:-1])
    highest = 1.5
    with figure_style():
        figure, (top, bottom) = canvas((3.4, 1.9))
        top.stairs(share / width, edges, fill=True, color="0.85", label="before")
        for k, (name, which) in enumerate(passed.items()):
            count, squares = (np.histogram(mass[which], edges, weights=weight[which] ** k)[0] for k in (1, 2))
            norm, line = count.sum() or 1.0, lines[name]
            one = squares.sum() / norm  # of the weight of an event: an empty bin has the error of one
            top.stairs(count / norm / width, edges, color=line.colour, linestyle=line.dash, linewidth=1.8,
                       label=line.label)  # fmt: skip
            ratio, error = (
                x / norm / np.where(share > 0, share, np.nan)
                for x in (count, np.sqrt(np.where(squares > 0, squares, one**2)))
            )
            x = centre + width * 0.12 * (k - (len(passed) - 1) / 2)
            bottom.errorbar(x, ratio, error, color=line.colour, fmt=line.marker, markersize=4, elinewidth=1)
            highest = max(highest, float(np.nanmax(ratio + error)))
        bottom.axhline(1, color="0.5", linewidth=1, linestyle=":")
        for axes in (top, bottom):
            if window:
                axes.axvspan(*window, color="0.6", alpha=0.12, linewidth=0, zorder=0)
        top.set_xlim(edges[0], edges[-1])
        top.set_ylim(0, 1.3 * top.dataLim.ymax)  # the legend's room
        top.yaxis.set_major_locator(MaxNLocator(4))
        bottom.set_ylim(0, 1.08 * highest)
        bottom.set_xlabel(xlabel)
        top.set_ylabel("Normalised to unit area")
        bottom.set_ylabel("After / before")
        top.legend(loc="upper right", fontsize=12.5)
        headline(top, caption)
    return figure


class Point(NamedTuple):
    """A method in `trade_figure`: which score, what was done to it, a text, its distance and SIC kept."""

    score: str
    remedy: str
    text: str
    distance: Estimate
    kept: Estimate


def trade_figure(
    points: Sequence[Point], scores: Mapping[str, Line], remedies: Mapping[str, str], caption: Caption, *,
    limit: float, kept: float, chance: tuple[float, float],
) -> Figure:  # fmt: skip
    """SIC kept against Jensen-Shannon distance; what is asked for lies in the green corner.

    Args:
        points: the methods.
        scores: colour and name of each score.
        remedies: marker by what is done to it; without a remedy markers are open.
        caption: above the figure.
        limit: distance asked for.
        kept: share of the SIC asked for.
        chance: distance of cuts at random, mean and standard deviation, drawn as a grey band.
    """
    farthest = max([limit, *(float(one.distance.value + one.distance.error) for one in points)])
    ends = [float(one.kept.value + sign * one.kept.error) for one in points for sign in (-1, 1)]
    low, high = max(min([kept, *ends]) - 0.1, 0.0), max([1.0, *ends])
    with figure_style():
        figure, (axes,) = canvas((4.6,))
        axes.fill_between([0, limit], kept, 10 * high, color="#009e73", alpha=0.13, linewidth=0)
        near = max(chance[0] - chance[1], 0), chance[0] + chance[1]
        axes.axvspan(*near, color="0.5", alpha=0.18, linewidth=0)
        for one in points:
            line = scores[one.score]
            place = float(one.distance.value), float(one.kept.value)
            axes.errorbar(
                *place, float(one.kept.error), float(one.distance.error), color=line.colour, elinewidth=1.2,
                fmt=remedies[one.remedy], markerfacecolor=line.colour if one.remedy else "white",
            )  # fmt: skip
            axes.annotate(one.text, place, (6, -13), fontsize=11, textcoords="offset points",
                          color=line.colour)  # fmt: skip
        for line in scores.values():
            axes.plot([], [], color=line.colour, linewidth=5, label=line.label)
        for remedy, marker in remedies.items():
            axes.plot([], [], marker, color="0.3", markerfacecolor="0.3" if remedy else "white",
                      label=remedy or "as it is")  # fmt: skip
        axes.axhline(1, color="0.5", linewidth=1, linestyle=":")
        axes.set_xlim(0, 1.1 * farthest)
        axes.set_ylim(low, high + 0.35 * (high - low))
        axes.set_xlabel("Jensen-Shannon distance")
        axes.set_ylabel("SIC over that of the score as it is")
        axes.legend(loc="upper right", ncols=2, fontsize=12.5)
        headline(axes, caption)
    return figure
