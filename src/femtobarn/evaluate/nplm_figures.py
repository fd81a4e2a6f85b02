"""Figures of a likelihood-ratio test that was learnt: its statistic, its power, the ratio it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import chi2

from femtobarn.evaluate.style import METHOD_COLOURS, Caption, Line, canvas, figure_style, headline

__all__ = ["null_figure", "power_figure", "ratio_figure"]

Array = NDArray[np.float64]


def null_figure(
    calibration: Array, test: Array, deviations: Mapping[str, Array], caption: Caption, title: str
) -> Figure:
    """Distributions of t without a deviation, the chi-squared of their mean, and with deviations."""
    top = 1.05 * max(float(np.quantile(values, 0.98)) for values in (calibration, *deviations.values()))
    edges = np.linspace(min(0.0, float(calibration.min())), top, 36)
    width = edges[1] - edges[0]
    with figure_style():
        figure, (axes,) = canvas()
        axes.hist(calibration, edges.tolist(), density=True, color="0.8", label="calibration")
        content = np.histogram(test, edges)[0]
        some = content > 0
        scale = 1 / (len(test) * width)
        axes.errorbar(
            (edges[1:] + edges[:-1])[some] / 2, content[some] * scale, np.sqrt(content[some]) * scale,
            fmt="o", color="black", markersize=4, label="independent",
        )  # fmt: skip
        t = np.linspace(max(edges[0], 1e-3), top, 300)
        dof = float(calibration.mean())
        axes.plot(
            t, chi2.pdf(t, dof), color=METHOD_COLOURS[3], linewidth=1.5, label=rf"$\chi^2$, mean {dof:.1f}"
        )
        for (name, values), colour in zip(deviations.items(), METHOD_COLOURS[1:], strict=False):
            axes.hist(
                values, edges.tolist(), density=True, histtype="step", color=colour, linewidth=1.6, label=name
            )
        axes.axvline(float(np.quantile(calibration, 0.95)), color="0.3", linestyle=":", linewidth=1.2)
        axes.set_xlim(edges[0], top)
        axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
        axes.set_xlabel(f"$t$, {title}")
        axes.set_ylabel("Density")
        axes.legend(loc="upper right", fontsize=13)
        headline(axes, caption)
    return figure


def power_figure(
    strengths: Array, curves: Mapping[str, Sequence[tuple[float, float]]], lines: Mapping[str, Line],
    caption: Caption, name: str,
) -> Figure:  # fmt: skip
    """Power at a false-alarm rate of 5 % against the events of a deviation."""
    with figure_style():
        figure, (axes,) = canvas()
        for method, points in curves.items():
            value, error = np.array(points).T
            line = lines[method]
            axes.errorbar(strengths, value, error, marker=line.marker, color=line.colour, linestyle=line.dash,
                          label=line.label, elinewidth=1.3)  # fmt: skip
        axes.axhline(0.05, color="0.7", linewidth=1, zorder=0)
        axes.set_ylim(0, 1.38)
        axes.set_xlim(0, 1.06 * strengths[-1])
        axes.set_xlabel(f"Events of the {name}")
        axes.set_ylabel("Power at 5 % false alarms")
        axes.legend(loc="upper left")
        headline(axes, caption)
    return figure


def ratio_figure(
    x: Array, learnt: Array, truth: Array, data: Array, expected: float, caption: Caption, name: str
) -> Figure:
    """The learnt ratio of data to reference exp(-x), the true one, and the data in bins."""
    edges = np.linspace(x[0], x[-1], 31)
    mean = expected * -np.diff(np.exp(-edges))
    counts = np.histogram(data, edges)[0]
    some = counts > 0
    with figure_style():
        figure, (axes,) = canvas()
        axes.errorbar(
            ((edges[1:] + edges[:-1]) / 2)[some], (counts / mean)[some], (np.sqrt(counts) / mean)[some],
            fmt=".", color="0.6", elinewidth=1, label="data",
        )  # fmt: skip
        axes.plot(x, truth, color=METHOD_COLOURS[1], linestyle=(0, (4, 2)), label=f"truth, {name}")
        axes.plot(x, learnt, color=METHOD_COLOURS[2], label="kernel")
        axes.axhline(1, color="0.8", linewidth=1, zorder=0)
        axes.set_ylim(
            0, 1.5 * max(float(learnt.max()), min(float(truth.max()), 3 * float(learnt.max())), 1.5)
        )
        axes.set_xlim(x[0], x[-1])
        axes.set_xlabel("$x$")
        axes.set_ylabel("Data / reference")
        axes.legend(loc="upper left")
        headline(axes, caption)
    return figure
