"""Figures of a search in a spectrum: fit and residuals, windows, pseudo-experiments, limits, tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import chi2

from femtobarn.evaluate.fit_figures import GREEN, YELLOW
from femtobarn.evaluate.style import METHOD_COLOURS, Caption, Line, canvas, figure_style, headline, log_axis
from femtobarn.statistics.bump_hunt import Hunt
from femtobarn.statistics.resonances import Limits, Scan

__all__ = [
    "Estimate",
    "background_figure",
    "hunt_figure",
    "injection_figure",
    "mass_limit_figure",
    "scan_figure",
    "spectrum_figure",
    "tomography_figure",
]

Array = NDArray[np.float64]
RED = METHOD_COLOURS[3]
MASS = "Dijet mass [TeV]"


class Estimate(NamedTuple):
    """Expected counts (B,) and their error (B,)."""

    expected: Array
    error: Array


def spectrum_figure(
    edges: Array, counts: Array, background: Estimate, caption: Caption, *, label: str,
    window: tuple[int, int] | None = None, note: str = "", variable: str = MASS,
) -> Figure:  # fmt: skip
    """Counts per TeV with the fit, and below (data - fit) / sqrt(fit).

    Args:
        edges: (B+1,) TeV.
        counts: (B,).
        background: in each bin.
        label: of the background.
        window: first bin and first bin beyond of what is marked.
        note: a line in the lower left corner.
    """
    width, centre = np.diff(edges), np.sqrt(edges[1:] * edges[:-1])
    low, high = _poisson(counts)
    seen = counts > 0
    with figure_style():
        figure, (top, bottom) = canvas((3.6, 1.5))
        for panel in (top, bottom):
            if window:
                panel.axvspan(edges[window[0]], edges[window[1]], color="0.9", zorder=0)
        top.stairs(background.expected / width, edges, baseline=None, color=RED, linewidth=1.6, label=label)
        bars = np.stack([counts - low, high - counts]) / width
        top.errorbar(centre[seen], (counts / width)[seen], bars[:, seen], fmt="o", color="black",
                     markersize=3.5, elinewidth=1, label="data")  # fmt: skip
        density = background.expected / width
        log_axis(top, "y", 0.2 * density.min(), 8 * density.max())
        top.set_ylabel("Events / TeV")
        top.legend(loc="upper right")
        if note:
            top.text(0.04, 0.05, note, transform=top.transAxes, fontsize=13, linespacing=1.4)
        root = np.sqrt(background.expected)
        error = background.error / root
        bottom.stairs(error, edges, baseline=-error, fill=True, color=METHOD_COLOURS[2], alpha=0.3)
        bottom.stairs(
            (counts - background.expected) / root, edges, baseline=0, fill=True, color=RED, alpha=0.75
        )
        bottom.axhline(0, color="0.3", linewidth=0.8)
        bottom.set_ylim(-3.9, 3.9)
        bottom.set_ylabel(r"Pull")
        _mass_axis(bottom, edges, variable)
        headline(top, caption)
    return figure


def background_figure(
    edges: Array, counts: Array, reference: Estimate, others: Mapping[str, Estimate],
    lines: Mapping[str, Line], caption: Caption, *, label: str, variable: str = MASS,
) -> Figure:  # fmt: skip
    """Other background models less the reference, in units of the statistical error of each bin."""
    centre = np.sqrt(edges[1:] * edges[:-1])
    root = np.sqrt(reference.expected)
    with figure_style():
        figure, (axes,) = canvas()
        axes.stairs(reference.error / root, edges, baseline=-reference.error / root, fill=True, color="0.8",
                    label=f"{label}, error")  # fmt: skip
        axes.plot(centre, (counts - reference.expected) / root, ".", color="0.45", markersize=5, label="data")
        for name, other in others.items():
            line = lines[name]
            axes.plot(centre, (other.expected - reference.expected) / root, color=line.colour,
                      linestyle=line.dash, label=line.label)  # fmt: skip
        axes.set_ylim(-3.5, 5.2)
        axes.set_ylabel("(Model − fit) / √fit")
        axes.legend(loc="upper left", ncols=2, fontsize=12, columnspacing=1)
        _mass_axis(axes, edges, variable)
        headline(axes, caption)
    return figure


def tomography_figure(edges: Array, hunt: Hunt, caption: Caption, *, variable: str = MASS) -> Figure:
    """The local significance of every window with an excess, drawn where it lies; the best in red."""
    with figure_style():
        figure, (axes,) = canvas()
        shown = hunt.p < 0.5
        height = -ndtri(hunt.p[shown])
        low, high = edges[hunt.windows.low[shown]], edges[hunt.windows.high[shown]]
        axes.hlines(height, low, high, color=METHOD_COLOURS[2], linewidth=1.0, alpha=0.65)
        axes.hlines([hunt.local_significance], edges[hunt.low], edges[hunt.high], color=RED, linewidth=3)
        top = max(3.6, 1.25 * hunt.local_significance)
        for sigma in range(1, int(top) + 1):
            axes.axhline(sigma, color="0.85", linewidth=0.8, zorder=0)
        axes.set_ylim(0, top)
        axes.set_ylabel("Local significance")
        _mass_axis(axes, edges, variable)
        headline(axes, caption)
    return figure


def hunt_figure(hunts: Mapping[str, Hunt], lines: Mapping[str, Line], caption: Caption) -> Figure:
    """Fraction of pseudo-experiments whose strongest window is as strong or stronger, and what the data have.

    Beyond the last pseudo-experiments the extrapolation is drawn dotted.
    """
    with figure_style():
        figure, (axes,) = canvas()
        for name, hunt in hunts.items():
            line, size = lines[name], len(hunt.toys)
            ordered = np.sort(hunt.toys)
            survival = 1 - np.arange(size) / size
            axes.step(_sigma(ordered), survival, where="pre", color=line.colour, linestyle=line.dash,
                      label=line.label)  # fmt: skip
            cut = ordered[-max(20, round(0.05 * size))]
            slope = float(np.mean(ordered[ordered >= cut] - cut))
            beyond = np.linspace(cut, ordered[-1] + 4, 50)
            axes.plot(_sigma(beyond), (ordered >= cut).mean() * np.exp(-(beyond - cut) / slope), ":",
                      color=line.colour, linewidth=1.3)  # fmt: skip
            axes.axvline(hunt.local_significance, color=line.colour, linewidth=1, linestyle=line.dash)
        log_axis(axes, "y", 0.2 / max(len(hunt.toys) for hunt in hunts.values()), 4)
        axes.set_xlim(0, 5.5)
        axes.set_xlabel("Local significance of the strongest window")
        axes.set_ylabel("Global $p$-value")
        axes.legend(loc="lower left", fontsize=13)
        headline(axes, caption)
    return figure


def scan_figure(mass: Array, scans: Mapping[str, Scan], lines: Mapping[str, Line], caption: Caption, *,
                spurious: bool = False, variable: str = MASS) -> Figure:  # fmt: skip
    """Significance of Gaussian signals against their mass, or spurious signals over the error of a fit."""
    with figure_style():
        figure, (axes,) = canvas()
        for name, scan in scans.items():
            height = scan.strength / scan.error if spurious else scan.significance
            axes.plot(
                mass, height, color=lines[name].colour, linestyle=lines[name].dash, label=lines[name].label
            )
        axes.axhline(0, color="0.3", linewidth=0.8)
        if spurious:
            axes.axhspan(-0.5, 0.5, color="0.92", zorder=0)
        lowest, highest = axes.get_ylim()
        reach = max(abs(lowest), abs(highest), 1.0 if spurious else 3.0)
        axes.set_ylim(-1.1 * reach, 1.9 * reach)
        axes.set_ylabel("Spurious signal / error" if spurious else "Local significance")
        axes.legend(loc="upper left", ncols=2)
        axes.set_xlim(mass[0], mass[-1])
        axes.set_xlabel(variable.replace("Dijet mass", "Signal mass"))
        headline(axes, caption)
    return figure


def mass_limit_figure(
    mass: Array, limits: Limits, caption: Caption, *, quantity: str, note: str = "", scale: float = 1.0,
    limits_of_axis: tuple[float, float] | None = None, variable: str = "Signal mass [TeV]",
) -> Figure:  # fmt: skip
    """Observed and expected limits against mass, with bands of one and two standard deviations.

    Args:
        mass: (H,) TeV.
        limits: in events.
        quantity: of the vertical axis.
        note: in the lower left corner.
        scale: factor from events to `quantity`.
        limits_of_axis: of the vertical axis, to compare several figures.
    """
    expected, observed = limits.expected * scale, limits.observed * scale
    with figure_style():
        figure, (axes,) = canvas()
        axes.fill_between(mass, expected[0], expected[4], color=YELLOW, linewidth=0, label=r"$\pm 2\sigma$")
        axes.fill_between(mass, expected[1], expected[3], color=GREEN, linewidth=0, label=r"$\pm 1\sigma$")
        axes.plot(mass, expected[2], color="black", linestyle=(0, (4, 2)), linewidth=1.4, label="expected")
        axes.plot(mass, observed, color="black", linewidth=2, label="observed")
        low, high = limits_of_axis or (0.5 * min(expected.min(), observed.min()), 2 * expected.max())
        log_axis(axes, "y", low, high)
        axes.set_xlim(mass[0], mass[-1])
        axes.set_xlabel(variable)
        axes.set_ylabel(quantity)
        handles, names = axes.get_legend_handles_labels()
        order = [3, 2, 1, 0]
        axes.legend([handles[k] for k in order], [names[k] for k in order], loc="upper right")
        if note:
            axes.text(0.05, 0.07, note, transform=axes.transAxes, fontsize=14)
        headline(axes, caption)
    return figure


def injection_figure(
    put: Sequence[Array],
    found: Sequence[Array],
    error: Sequence[Array],
    lines: Sequence[Line],
    caption: Caption,
) -> Figure:
    """Signals measured against signals put in, both in units of the error of the fit without one."""
    with figure_style():
        figure, (axes,) = canvas()
        top = max(float(np.max(values)) for values in put) * 1.1
        axes.plot([0, top], [0, top], color="0.6", linewidth=1)
        for x, y, spread, line in zip(put, found, error, lines, strict=True):
            axes.errorbar(x, y, spread, fmt=line.marker, color=line.colour, label=line.label)
        axes.set_xlim(-0.05 * top, top)
        axes.set_ylim(-0.15 * top, 1.15 * top)
        axes.set_xlabel("Signal put in [standard deviations]")
        axes.set_ylabel("Signal found")
        axes.legend(loc="upper left")
        headline(axes, caption)
    return figure


def _sigma(t: Array) -> Array:
    """Significance of a p-value exp(-t), at least 0."""
    return np.asarray(np.maximum(-ndtri(np.exp(-np.maximum(t, -np.log(ndtr(0.0))))), 0.0))


def _poisson(counts: Array) -> tuple[Array, Array]:
    """Central 68 % interval of the mean behind counts [Garwood 1936]."""
    alpha = 0.3173
    low = np.where(counts > 0, chi2.ppf(alpha / 2, 2 * np.maximum(counts, 1e-9)) / 2, 0.0)
    return low, np.asarray(chi2.ppf(1 - alpha / 2, 2 * (counts + 1)) / 2)


def _mass_axis(axes: Axes, edges: Array, variable: str) -> None:
    """A logarithmic mass axis whose ticks are whole TeV where there are some."""
    axes.set_xscale("log")
    axes.set_xlim(edges[0], edges[-1])
    ticks: Any = [t for t in (0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 6, 8, 10) if edges[0] <= t <= edges[-1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(variable)
