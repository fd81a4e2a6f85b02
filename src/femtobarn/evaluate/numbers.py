"""Numbers as a physicist writes them: as many digits as the error allows."""

from __future__ import annotations

import math

from femtobarn.evaluate.result import Metric

__all__ = ["duration", "percent", "rounded", "shown", "shown_metric"]

MOST_DECIMALS = 4


def rounded(value: float, error: float | None = None) -> str:
    """`value` to the second digit of its error, or to three digits: 1263.4 of error 28.1 -> `1263`."""
    if not math.isfinite(value):
        return "–"
    scale = error if error and math.isfinite(error) else value / 10
    digits = 1 - math.floor(math.log10(abs(scale))) if scale else 0
    digits = min(digits, MOST_DECIMALS) if error or abs(value) >= 1e-3 else min(digits, 8)
    return f"{round(value, digits):.{max(digits, 0)}f}"


def shown(value: float | None, error: float | None = None) -> str:
    """`1263 ± 28`, `0.921 ± 0.002`, or `–` for no value."""
    if value is None or not math.isfinite(value):
        return "–"
    if not error or not math.isfinite(error):
        return rounded(value)
    return f"{rounded(value, error)} ± {rounded(error, error)}"


def shown_metric(metric: Metric) -> str:
    """A metric with its error, statistical and spread of seeds added in quadrature; `> 320` for a limit."""
    if metric.value is None:
        return f"> {rounded(metric.lower_limit)}" if metric.lower_limit is not None else "–"
    return shown(metric.value, math.hypot(metric.error or 0, metric.error_seed or 0))


def percent(fraction: float) -> str:
    """`70 %`, with a space that does not break."""
    return f"{100 * fraction:.3g}\u00a0%"


def duration(seconds: float) -> str:
    """`0.4 s`, `38 s`, `12 min 5 s`, `1 h 52 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
