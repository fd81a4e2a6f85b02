"""Significance improvement: by how much a cut raises s/sqrt(b), SIC = tpr / sqrt(fpr), with its errors.

The false positive rate is what an analyst fixes; the true positive rate at the threshold then has two
errors, the binomial one of the signal and that of the threshold, which the background left above it, N, makes
uncertain by about 1/sqrt(N) of the rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from femtobarn.evaluate.drawing import band, span
from femtobarn.evaluate.metrics import Estimate, Floats, Survival
from femtobarn.evaluate.style import Caption, Line, canvas, figure_style, headline, log_axis

__all__ = [
    "best_improvement",
    "efficiency_at",
    "improvement",
    "improvement_figure",
    "improvement_kept",
    "rate_figure",
]

GRID = 400


def efficiency_at(signal: Survival, background: Survival, rates: ArrayLike) -> Estimate:
    """True positive rate at given false positive rates.

    The threshold is the highest at which the rate is reached; of equal scores all pass, and the rate may then
    be higher than asked for.
    """
    at = np.asarray(rates, dtype=np.float64)
    thresholds = background.threshold(at)
    value, error = signal.efficiency(thresholds)
    shift = background.efficiency(thresholds).error
    looser = signal.efficiency(background.threshold(np.minimum(at + shift, 1))).value
    tighter = signal.efficiency(background.threshold(np.maximum(at - shift, 0))).value
    return Estimate(value, np.hypot(error, (looser - tighter) / 2))


def improvement(signal: Survival, background: Survival, rates: ArrayLike) -> Estimate:
    """SIC at given false positive rates; at those actually reached, where many scores are equal."""
    at = np.asarray(rates, dtype=np.float64)
    reached = background.efficiency(background.threshold(at)).value
    value, error = efficiency_at(signal, background, at)
    root = np.sqrt(np.maximum(reached, at))
    return Estimate(value / root, error / root)


def best_improvement(signal: Survival, background: Survival, fewest: int) -> Estimate:
    """The highest SIC of all cuts that keep at least `fewest` background events (of equal weight).

    A maximum over fluctuations is too high by some of its error: a number at a fixed rate is not.
    """
    rates = np.geomspace(fewest / background.effective_count, 1, GRID)
    values, errors = improvement(signal, background, rates)
    best = int(np.argmax(values))
    return Estimate(values[best], errors[best])


def improvement_kept(
    before: Sequence[tuple[Floats, Floats]], after: Sequence[tuple[Floats, Floats]], rate: float,
    repetitions: int = 200, seed: int = 1,
) -> Estimate:  # fmt: skip
    """SIC of one score over that of another at a false positive rate, the error by bootstrap of the events.

    Args:
        before, after: scores of signal (S,) and background (B,), one pair for each part of the sample that is
            cut on by itself; the same events in both, of equal weight.
        rate: the false positive rate.
        repetitions: bootstrap samples.
        seed: of these.
    """
    rng = np.random.default_rng(seed)
    sizes = [tuple(map(len, pair)) for pair in before]

    def mean(pairs: Sequence[tuple[Floats, Floats]], rows: Sequence[Sequence[Any]]) -> float:
        passing = [
            np.mean(signal[own] > np.quantile(background[other], 1 - rate))
            for (signal, background), (own, other) in zip(pairs, rows, strict=True)
        ]
        return float(np.mean(passing))

    def ratio(rows: Sequence[Sequence[Any]]) -> float:
        base = mean(before, rows)
        return mean(after, rows) / base if base > 0 else np.nan

    again = [ratio([[rng.integers(0, n, n) for n in pair] for pair in sizes]) for _ in range(repetitions)]
    value = ratio([[slice(None)] * 2] * len(sizes))
    return Estimate(np.asarray(value), np.asarray(np.nanstd(again) if np.isfinite(again).any() else np.nan))


def improvement_figure(
    curves: Mapping[str, tuple[Survival, Survival]],
    lines: Mapping[str, Line],
    caption: Caption,
    *,
    fewest: int = 10,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """SIC against the false positive rate with statistical bands, from `fewest` background events on.

    Args:
        curves: signal and background `Survival` of each method.
        lines: colour and label of each method.
        marks: false positive rates drawn as faint vertical lines, with what is written on them.
    """
    rates = _rates(curves, fewest)
    with figure_style():
        figure, (axes,) = canvas((4.2,))
        highest = 1.0
        for name, (signal, background) in curves.items():
            value, error = improvement(signal, background, rates)
            _drawn(axes, rates, Estimate(value, error), lines[name])
            highest = max(highest, float(np.nanmax(value + error)))
        axes.axhline(1, color="0.6", linewidth=1, linestyle=":")
        for text, rate in (marks or {}).items():
            axes.axvline(rate, ymax=0.68, color="0.8", linewidth=1, zorder=0)
            axes.annotate(text, (rate, 0.68), (3, -3), xycoords=("data", "axes fraction"), rotation=90,
                          textcoords="offset points", color="0.5", fontsize=11, va="top")  # fmt: skip
        log_axis(axes, "x", rates[0], 1)
        axes.set_ylim(0, 1.45 * highest)
        axes.set_xlabel("False positive rate")
        axes.set_ylabel("SIC = TPR / √FPR")
        axes.legend(loc="upper right", ncols=2 if len(curves) > 3 else 1, fontsize=12.5)
        headline(axes, caption)
    return figure


def rate_figure(
    curves: Mapping[str, tuple[Survival, Survival]],
    lines: Mapping[str, Line],
    caption: Caption,
    *,
    fewest: int = 10,
) -> Figure:
    """True against false positive rate with statistical bands, both logarithmic; dotted is a coin."""
    rates = _rates(curves, fewest)
    with figure_style():
        figure, (axes,) = canvas((4.2,))
        values = {name: efficiency_at(*pair, rates) for name, pair in curves.items()}
        for name, (value, error) in values.items():
            _drawn(axes, rates, Estimate(value, error), lines[name])
        axes.plot(rates, rates, color="0.6", linewidth=1, linestyle=":")
        low, _ = span([np.where(value > 0, value, np.nan) for value, _ in values.values()])
        log_axis(axes, "x", rates[0], 1)
        log_axis(axes, "y", max(low / 2, rates[0] / 2), 1.5)
        axes.set_xlabel("False positive rate")
        axes.set_ylabel("True positive rate")
        axes.legend(loc="lower right", fontsize=12.5)
        headline(axes, caption)
    return figure


def _drawn(axes: Axes, rates: Floats, values: Estimate, line: Line) -> None:
    """A curve with its band, which is left out where it says nothing: error as large as the value."""
    shown = np.where(values.value > 0, values.value, np.nan)
    relative = values.error / shown
    band(axes, rates, shown, np.where(relative < 1, relative, 0.0), line)


def _rates(curves: Mapping[str, tuple[Survival, Survival]], fewest: int) -> Floats:
    count = min(background.effective_count for _, background in curves.values())
    return np.asarray(np.geomspace(min(fewest / count, 0.5), 1, GRID), dtype=np.float64)
