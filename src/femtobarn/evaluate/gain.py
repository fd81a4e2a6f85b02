"""What each method gains over the first: a ratio with errors, analysis by analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from femtobarn.evaluate.result import Metric, Result
from femtobarn.evaluate.style import METHOD_COLOURS, METHOD_MARKERS, Caption, canvas, figure_style, headline

__all__ = ["gain_figure"]


def gain_figure(
    result: Result,
    name: str,
    analyses: Mapping[str, str],
    labels: Mapping[str, str],
    caption: Caption,
    *,
    quantity: str,
) -> Figure:
    """A metric of every method (horizontally), in one colour per analysis; bars are statistical errors and
    the spread of the seeds added in quadrature, dashed lines what was published.

    Args:
        result: with metrics `name` at `channel`.
        name: of the metric.
        analyses: channel -> what the reader sees.
        labels: method -> what the reader sees, in order.
        caption: above the figure.
        quantity: vertical axis.
    """
    with figure_style():
        figure, (axes,) = canvas((3.4,), width=7.2, bottom=1.25)
        place = np.arange(len(labels), dtype=np.float64)
        width = 0.6 / max(len(analyses), 1)
        high = 1.0
        for number, (channel, shown) in enumerate(analyses.items()):
            colour = METHOD_COLOURS[(number + 1) % len(METHOD_COLOURS)]
            found = [result.find(name, method, channel=channel) for method in labels]
            values, errors = _numbers(found)
            shift = place + (number - (len(analyses) - 1) / 2) * width
            axes.errorbar(shift, values, errors, fmt=METHOD_MARKERS[number % 8], color=colour, label=shown,
                          elinewidth=1.5)  # fmt: skip
            high = max(high, float(np.nanmax(values + np.nan_to_num(errors))))
            published = [metric.reference for metric in found if metric is not None and metric.reference]
            for reference in published[:1]:
                axes.axhline(reference, color=colour, linestyle="--", linewidth=1.2)
                high = max(high, reference)
        axes.axhline(1.0, color="0.5", linewidth=1)
        axes.set_xticks(place, list(labels.values()), rotation=30, ha="right", rotation_mode="anchor")
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
        axes.set_ylim(0.6, 1 + 1.45 * (high - 1))
        axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.set_ylabel(quantity)
        axes.legend(loc="upper left", ncols=2)
        headline(axes, caption)
    return figure


def _numbers(found: Sequence[Metric | None]) -> tuple[np.ndarray, np.ndarray]:
    values = [np.nan if metric is None or metric.value is None else metric.value for metric in found]
    errors = [
        0.0 if metric is None else np.hypot(metric.error or 0.0, metric.error_seed or 0.0) for metric in found
    ]
    return np.array(values), np.array(errors)
