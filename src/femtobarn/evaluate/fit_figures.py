"""The figures of a binned fit: stacks before and after, pulls, impacts, limits, toys against asymptotics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import chi2

from femtobarn.evaluate.metrics import Floats
from femtobarn.evaluate.style import METHOD_COLOURS, Caption, canvas, figure_style, headline, log_axis
from femtobarn.statistics.inference import Fit, Limit
from femtobarn.statistics.postfit import ChannelYields, Impact

__all__ = ["impact_figure", "limit_figure", "pull_figure", "stack_figure", "toy_figure"]

GREEN, YELLOW = "#7fc97f", "#ffe680"
UP, DOWN = METHOD_COLOURS[1], METHOD_COLOURS[2]
STACK = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581",
         "#92dadd"]  # fmt: skip
SIGNAL = "#000000"


def stack_figure(
    channel: ChannelYields,
    caption: Caption,
    *,
    edges: Sequence[float] | None = None,
    label: str = "Bin",
    signals: Sequence[str] = (),
    note: str = "",
    logarithmic: bool = False,
) -> Figure:
    """Processes on top of each other with the error of their sum, data, and data over the sum.

    Args:
        channel: yields of one channel, before or after a fit.
        edges: of the bins; None: bins of equal width, numbered.
        label: of the horizontal axis.
        signals: processes stacked last, in outline.
        note: above the legend, such as `After the fit`.
        logarithmic: vertical axis.
    """
    bounds = np.asarray(
        edges if edges is not None else np.arange(len(channel.total) + 1) + 0.5, dtype=np.float64
    )
    centres, half = (bounds[1:] + bounds[:-1]) / 2, np.diff(bounds) / 2
    backgrounds = sorted(
        (n for n in channel.processes if n not in signals), key=lambda n: channel.processes[n].sum()
    )
    shown = {name: STACK[k % len(STACK)] for k, name in enumerate(reversed(backgrounds))}
    with figure_style():
        figure, (top, bottom) = canvas((3.5, 1.4))
        base, handles = np.zeros_like(channel.total), dict[str, Any]()
        for name in (*backgrounds, *(n for n in channel.processes if n in signals)):
            above = base + channel.processes[name]
            colour = shown.get(name, SIGNAL)
            outline = name in signals
            top.stairs(above, bounds, baseline=base, fill=not outline, color=colour, linewidth=1.6,
                       hatch="////" if outline else None)  # fmt: skip
            handles[name] = Patch(facecolor="white" if outline else colour, edgecolor=colour,
                                  hatch="////" if outline else None, label=_short(name, 20))  # fmt: skip
            base = above
        _hatched(top, bounds, channel.total, channel.error)
        low, high = _poisson(channel.data)
        points: dict[str, Any] = {"fmt": "o", "color": "black", "elinewidth": 1.4}
        top.errorbar(centres, channel.data, [channel.data - low, high - channel.data], half, **points)
        handles["Data"] = Line2D([], [], marker="o", color="black", label="Data")
        handles["Uncertainty"] = Patch(facecolor="none", edgecolor="0.4", hatch="xxxx", label="Uncertainty")
        order = ["Data", *(n for n in handles if n in signals), *reversed(backgrounds), "Uncertainty"]
        most = max(float(high.max()), float((channel.total + channel.error).max()))
        rows = (len(order) + 2) // 3
        if logarithmic:
            floor = max(0.3 * float(channel.total.min()), 1e-3)
            log_axis(top, "y", floor, most * (most / floor) ** (0.25 + 0.12 * rows))
        else:
            top.set_ylim(0, most * (1.2 + 0.12 * rows))
        legend = top.legend(handles=[handles[n] for n in order], loc="upper right", ncols=3, fontsize=11.5,
                            columnspacing=0.9, handlelength=1.3, title=note or None)  # fmt: skip
        legend.set_alignment("right")
        top.set_ylabel("Events")
        sum_ = np.where(channel.total > 0, channel.total, np.nan)
        _hatched(bottom, bounds, np.ones_like(sum_), channel.error / sum_)
        bottom.axhline(1, color="black", linewidth=1)
        ratio = [(channel.data - low) / sum_, (high - channel.data) / sum_]
        bottom.errorbar(centres, channel.data / sum_, ratio, half, **points)
        ends = np.stack([channel.data / sum_ - ratio[0], channel.data / sum_ + ratio[1]]) - 1
        reach = max(np.nanmax(np.abs(ends)), np.nanmax(channel.error / sum_))
        reach = float(np.clip(1.15 * reach, 0.2, 1.0))
        bottom.set_ylim(1 - reach, 1 + reach)
        bottom.set_ylabel("Data / sum")
        bottom.set_xlabel(label)
        bottom.set_xlim(bounds[0], bounds[-1])
        if edges is None:
            bottom.set_xticks(centres, [f"{k + 1}" for k in range(len(centres))])
            bottom.tick_params(axis="x", which="minor", bottom=False, top=False)
        headline(top, caption)
    return figure


def pull_figure(
    fitted: Fit, caption: Caption, *, most: int = 25, labels: Mapping[str, str] | None = None
) -> Figure:
    """(fitted - measured) / prior of the constrained parameters, with what is left of their errors.

    Args:
        fitted: the fit.
        most: parameters shown, those furthest from where they were first.
        labels: what the reader sees instead of names.
    """
    constrained = [k for k in range(len(fitted.names)) if np.isfinite(fitted.pulls[k])]
    strange = np.hypot(fitted.pulls, 1 - fitted.constraints)
    chosen = sorted(constrained, key=lambda k: -strange[k])[:most][::-1]
    with figure_style():
        figure, (axes,) = _ranking(len(chosen))
        height = np.arange(len(chosen))
        axes.axvspan(-2, 2, color=YELLOW, linewidth=0, zorder=0)
        axes.axvspan(-1, 1, color=GREEN, linewidth=0, zorder=0)
        axes.axvline(0, color="0.4", linewidth=1, linestyle="--", zorder=1)
        axes.errorbar(fitted.pulls[chosen], height, xerr=fitted.constraints[chosen], fmt="o", color="black",
                      elinewidth=1.4)  # fmt: skip
        _names(axes, [fitted.names[k] for k in chosen], labels)
        reach = max(
            2.2, 1.1 * float(np.max(np.abs(fitted.pulls[chosen]) + fitted.constraints[chosen], initial=0))
        )
        axes.set_xlim(-reach, reach)
        axes.set_xlabel(r"$(\hat{\theta} - \theta_0)\;/\;\Delta\theta$")
        _title(axes, caption)
    return figure


def impact_figure(
    impacts: Sequence[Impact], caption: Caption, *, most: int = 15, labels: Mapping[str, str] | None = None
) -> Figure:
    """The nuisance parameters that move mu most: bars by how much, points where the fit has put them.

    Args:
        impacts: the largest first.
        most: parameters shown.
        labels: what the reader sees instead of names.
    """
    chosen = list(impacts[:most])[::-1]
    height = np.arange(len(chosen))
    with figure_style():
        figure, (axes,) = _ranking(len(chosen), above=1.05)
        for colour, after, before in ((UP, "up", "prior_up"), (DOWN, "down", "prior_down")):
            shift = [np.nan_to_num(getattr(i, before)) for i in chosen]
            axes.barh(height, shift, 0.8, color="none", edgecolor=colour, linewidth=1.2, zorder=2)
            axes.barh(height, [getattr(i, after) for i in chosen], 0.8, color=colour, alpha=0.85, zorder=3)
        sizes = [abs(value) for i in chosen for value in (i.up, i.down, i.prior_up, i.prior_down)]
        reach = 1.15 * float(np.nanmax([*sizes, 1e-9]))
        axes.set_xlim(-reach, reach)
        axes.set_xlabel(r"$\Delta\mu$ (bars)")
        _names(axes, [i.name for i in chosen], labels)
        pulls = axes.twiny()
        pulls.set_zorder(axes.get_zorder() + 1)
        pulls.patch.set_visible(False)
        pulls.errorbar([i.pull for i in chosen], height, xerr=[i.constraint for i in chosen], fmt="o",
                       color="black", elinewidth=1.4)  # fmt: skip
        for edge in (-1, 1):
            pulls.axvline(edge, color="0.5", linewidth=1, linestyle=":", zorder=0)
        pulls.set_xlim(-2.2, 2.2)
        pulls.set_xlabel(r"$(\hat{\theta} - \theta_0)\;/\;\Delta\theta$ (points)", labelpad=8)
        pulls.xaxis.set_label_coords(1.0, 1 + 0.42 / axes.get_position().height / figure.get_figheight())
        axes.tick_params(axis="x", which="both", top=False)
        pulls.tick_params(axis="x", which="both", bottom=False)
        keys = [Patch(facecolor=UP, label=r"$+1\sigma$"), Patch(facecolor=DOWN, label=r"$-1\sigma$"),
                Patch(facecolor="none", edgecolor="0.4", label="before the fit")]  # fmt: skip
        _title(axes, caption, above=0.82)
        figure.legend(handles=keys, loc="lower left", fontsize=11.5, borderaxespad=0.2)
    return figure


def limit_figure(
    limits: Mapping[str, Limit], caption: Caption, *, quantity: str = r"95 % CL upper limit on $\mu$"
) -> Figure:
    """Observed and expected limits of several signals with bands of one and two standard deviations."""
    height = np.arange(len(limits))[::-1]
    expected = np.array([limit.expected for limit in limits.values()])
    observed = np.array([limit.observed for limit in limits.values()])
    with figure_style():
        figure, (axes,) = _ranking(len(limits))
        for colour, low, high in ((YELLOW, 0, 4), (GREEN, 1, 3)):
            axes.barh(
                height, expected[:, high] - expected[:, low], 0.7, expected[:, low], color=colour, zorder=1
            )
        for y, median, seen in zip(height, expected[:, 2], observed, strict=True):
            axes.plot([median] * 2, [y - 0.35, y + 0.35], color="black", linestyle=(0, (3, 1.5)), zorder=2)
            axes.plot([seen], [y], "o", color="black", zorder=3)
        everything = np.append(expected, observed)
        log_axis(axes, "x", float(everything.min()) / 1.6, float(everything.max()) * 1.6)
        axes.axvline(1, color=METHOD_COLOURS[3], linewidth=1.2, zorder=1)
        axes.set_yticks(height, [_short(name) for name in limits], fontsize=12.5)
        axes.set_ylim(-0.7, len(limits) - 0.3)
        axes.tick_params(axis="y", which="both", left=False, right=False)
        axes.set_xlabel(quantity)
        keys = [Line2D([], [], marker="o", color="black", linestyle="none", label="observed"),
                Line2D([], [], color="black", linestyle=(0, (3, 1.5)), label="expected"),
                Patch(color=GREEN, label=r"$\pm 1\sigma$"),
                Patch(color=YELLOW, label=r"$\pm 2\sigma$")]  # fmt: skip
        figure.legend(
            handles=keys, loc="lower left", ncols=2, fontsize=12, columnspacing=1, borderaxespad=0.2
        )
        _title(axes, caption)
    return figure


def toy_figure(
    statistics: Mapping[str, Floats], seen: float, caption: Caption, *, label: str = "$q_0$"
) -> Figure:
    """Test statistics of toys against half a chi-squared of one degree of freedom, and what was seen.

    Args:
        statistics: (N,) of each set of toys; the asymptotic curve belongs to the first.
        seen: the data's.
        label: of the test statistic.
    """
    top = max(1.1 * seen, max(float(np.quantile(values, 0.999)) for values in statistics.values()), 4.0)
    edges = np.linspace(0, top, 41)
    with figure_style():
        figure, (axes,) = canvas()
        for (name, values), colour in zip(
            statistics.items(), (METHOD_COLOURS[2], METHOD_COLOURS[1]), strict=False
        ):
            fraction = np.histogram(values, edges)[0] / len(values)
            error = np.sqrt(fraction / len(values))
            centres = (edges[1:] + edges[:-1]) / 2
            some = fraction > 0
            axes.errorbar(
                centres[some], fraction[some], error[some], fmt="o", color=colour, markersize=4, label=name
            )
        half = np.diff(chi2.cdf(edges, 1)) / 2
        half[0] += 0.5
        axes.stairs(half, edges, baseline=None, color="black", linewidth=1.4, label="asymptotic")
        axes.axvline(seen, color=METHOD_COLOURS[3], linestyle="--", linewidth=1.4, label="data")
        least = 0.3 / max(len(values) for values in statistics.values())
        log_axis(axes, "y", least, 5)
        axes.set_xlim(0, top)
        axes.set_xlabel(label)
        axes.set_ylabel("Fraction of toys")
        axes.legend(loc="upper right")
        headline(axes, caption)
    return figure


def _hatched(axes: Axes, bounds: Floats, middle: Floats, error: Floats) -> None:
    axes.stairs(middle + error, bounds, baseline=middle - error, fill=True, color="none", hatch="xxxx",
                edgecolor="0.4", linewidth=0)  # fmt: skip


def _poisson(counts: Floats) -> tuple[Floats, Floats]:
    """Central 68 % interval of the mean behind counts [Garwood 1936]; expected counts need not be whole."""
    alpha = 0.3173
    low = np.where(counts > 0, chi2.ppf(alpha / 2, 2 * np.maximum(counts, 1e-9)) / 2, 0.0)
    return low, np.asarray(chi2.ppf(1 - alpha / 2, 2 * (counts + 1)) / 2)


def _ranking(rows: int, above: float = 0.0) -> tuple[Figure, list[Axes]]:
    """Axes for one parameter a row, with room for names on the left, for a legend below them, and above."""
    figure, axes = canvas((max(1.0, 0.27 * rows) + above,), width=7.0, left=2.75, bottom=0.95)
    if above:
        box, total = axes[0].get_position(), figure.get_figheight()
        axes[0].set_position((box.x0, box.y0, box.width, box.height - above / total))
    return figure, axes


def _title(axes: Axes, caption: Caption, above: float = 0.0) -> None:
    """The headline, from above the names on, `above` inches over the axes."""
    words: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
    axes.annotate(caption.source, (0, 1), (-150, 72 * above + 24), fontsize=15, fontweight="bold",
                  fontstyle="italic", **words)  # fmt: skip
    axes.annotate(caption.sample, (0, 1), (-150, 72 * above + 6), fontsize=13.5, **words)


def _names(axes: Axes, names: Sequence[str], labels: Mapping[str, str] | None) -> None:
    axes.set_yticks(
        np.arange(len(names)), [_short((labels or {}).get(name, name)) for name in names], fontsize=12.5
    )
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.tick_params(axis="y", which="both", left=False, right=False)


def _short(name: str, most: int = 26) -> str:
    """A name that fits beside the axes; dollars and underscores are text here."""
    name = name.replace("_", " ").replace("$", "")
    return name if len(name) <= most else f"{name[: most - 9]}…{name[-8:]}"
