"""How a number grows with the size of the training sample: a power law, and where it meets another's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from femtobarn.evaluate.metrics import Estimate, Floats
from femtobarn.evaluate.style import Caption, Line, canvas, figure_style, headline, log_axis

__all__ = ["PowerLaw", "scaling_figure"]


class PowerLaw(NamedTuple):
    """y = exp(offset) x^slope, with the covariance (2, 2) of (slope, offset)."""

    slope: float
    offset: float
    covariance: Floats

    @classmethod
    def fit(cls, x: Floats, y: Estimate) -> PowerLaw:
        """Least squares in the logarithms, points weighted by their relative errors; two points at least."""
        weights = y.value / y.error
        design = np.stack([np.log(x), np.ones(len(x))], axis=1) * weights[:, None]
        covariance = np.linalg.inv(design.T @ design)
        slope, offset = covariance @ design.T @ (np.log(y.value) * weights)
        return cls(float(slope), float(offset), covariance.astype(np.float64))

    def __call__(self, x: Floats) -> Estimate:
        """Value and error at x."""
        log_x = np.log(x)
        variance = (
            self.covariance[0, 0] * log_x**2 + 2 * self.covariance[0, 1] * log_x + self.covariance[1, 1]
        )
        value = np.exp(self.slope * log_x + self.offset)
        return Estimate(value, value * np.sqrt(variance))

    def reaches(self, value: float) -> float:
        """The x at which it takes a value; infinite where it does not grow, or beyond 1e26."""
        log_x = (np.log(value) - self.offset) / self.slope if self.slope > 0 else np.inf
        return float(np.exp(log_x)) if log_x < 60 else np.inf


def scaling_figure(
    x: Floats,
    curves: Mapping[str, Estimate],
    lines: Mapping[str, Line],
    caption: Caption,
    *,
    quantity: str,
    ratio: Estimate,
    law: PowerLaw,
    published: float,
) -> Figure:
    """A quantity of several methods against the number of training jets; below, the ratio of two of them.

    Args:
        x: (N,) training jets.
        curves: the quantity of each method at each x.
        lines: colour and label of each method.
        caption: above the figure.
        quantity: label of the upper panel.
        ratio: of two methods at each x.
        law: fitted to it, drawn as far as where it meets `published`, but no further than 1000 times x.
        published: ratio, a dashed line.
    """
    end = float(np.clip(1.5 * law.reaches(published), 3 * x[-1], 1000 * x[-1]))
    along = np.geomspace(x[0], end, 200)
    with figure_style():
        figure, (top, bottom) = canvas((3.2, 2.2))
        for name, curve in curves.items():
            top.errorbar(x, curve.value, curve.error, fmt=lines[name].marker, color=lines[name].colour,
                         label=lines[name].label, elinewidth=1.4)  # fmt: skip
            top.plot(x, curve.value, color=lines[name].colour, linestyle=lines[name].dash, linewidth=1)
        values = np.concatenate([curve.value for curve in curves.values()])
        log_axis(top, "y", values.min() / 1.6, values.max() * 4)
        top.set_ylabel(quantity)
        top.legend(loc="upper right")
        fitted = law(along)
        bottom.fill_between(along, fitted.value - fitted.error, fitted.value + fitted.error, color="0.6",
                            alpha=0.3, linewidth=0)  # fmt: skip
        bottom.plot(along, fitted.value, color="0.4", linewidth=1.2, label="power law")
        bottom.errorbar(x, ratio.value, ratio.error, fmt="o", color="black", elinewidth=1.4)
        bottom.axhline(published, color="black", linestyle="--", linewidth=1.2, label="published")
        shown = np.append(ratio.value, published)
        bottom.set_ylim(0.9 * shown.min(), 1.25 * shown.max())
        bottom.set_ylabel("Ratio")
        bottom.legend(loc="lower right", ncols=2)
        log_axis(bottom, "x", x[0] / 1.3, end)
        bottom.set_xlabel("Jets trained on")
        headline(top, caption)
    return figure
