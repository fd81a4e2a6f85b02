"""Pictures side by side in one logarithmic scale: mean jet images, Lund planes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from femtobarn.evaluate.style import Caption, figure_style, headline

__all__ = ["pictures_figure"]

Array = NDArray[np.float64]
DECADES = 4


def pictures_figure(
    pictures: Mapping[str, Array], extent: tuple[float, float, float, float], xlabel: str, ylabel: str,
    caption: Caption,
) -> Figure:  # fmt: skip
    """Pictures (rows from below, columns) by title, from black to bright over four decades.

    `extent` is left, right, bottom, top of all.
    """
    highest = max(float(picture.max()) for picture in pictures.values()) or 1.0
    norm = LogNorm(highest * 10.0**-DECADES, highest)
    with figure_style():
        width, side = 1.0 + 3.0 * len(pictures), 2.8
        figure = Figure(figsize=(width, side + 1.5))
        for k, (title, picture) in enumerate(pictures.items()):
            axes = figure.add_axes((
                (0.85 + 3.0 * k) / width, 0.75 / (side + 1.5), side / width, side / (side + 1.5),
            ))  # fmt: skip
            seen = np.maximum(picture, highest * 10.0**-DECADES)
            axes.imshow(seen, norm=norm, cmap="inferno", origin="lower", extent=extent, aspect="auto",
                        interpolation="nearest")  # fmt: skip
            axes.text(0.95, 0.93, title, transform=axes.transAxes, color="white", ha="right", va="top")
            axes.set_xlabel(xlabel)
            axes.tick_params(color="white", which="both", labelleft=k == 0)
            if k == 0:
                axes.set_ylabel(ylabel)
                headline(axes, caption)
    return figure
