"""How our figures look: mplhep's style, colours for all eyes, SVG that is the same every time."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
import mplhep
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

__all__ = [
    "FLAVOURS",
    "Caption",
    "Line",
    "canvas",
    "figure_style",
    "headline",
    "lines_for",
    "log_axis",
    "to_svg",
]

# Sizes are chosen so that a figure 6 inches wide stays readable when it fills a phone's 360 pixels.
SETTINGS: dict[str, Any] = {
    **mplhep.style.ATLAS,
    "font.size": 15,
    "axes.labelsize": 17,
    "axes.labelpad": 6,
    "axes.titlesize": 15,
    "axes.linewidth": 1.1,
    "axes.axisbelow": True,
    "axes.autolimit_mode": "data",
    "axes.formatter.limits": (-4, 6),
    "axes.formatter.use_mathtext": False,  # plain tick labels draw three times faster
    "axes.unicode_minus": True,
    "xtick.labelsize": 14.5,
    "ytick.labelsize": 14.5,
    "xtick.major.size": 7,
    "xtick.major.pad": 6,
    "ytick.major.pad": 5,
    "ytick.major.size": 7,
    "xtick.minor.size": 3.5,
    "ytick.minor.size": 3.5,
    "legend.fontsize": 14,
    "legend.frameon": False,
    "legend.title_fontsize": 14,
    "legend.borderpad": 0.3,
    "legend.handlelength": 1.9,
    "lines.linewidth": 2.0,
    "lines.markersize": 6,
    "svg.fonttype": "path",
    "path.simplify_threshold": 0.3,
}


class Line(NamedTuple):
    """Colour, line style and marker of a method or a flavour, and the name the reader sees."""

    colour: str
    dash: Any
    marker: str
    label: str


# Okabe and Ito, as in mplhep's ATLAS style.
FLAVOURS = {
    "b": Line("#0072b2", "-", "o", "$b$-jets"),
    "c": Line("#d55e00", (0, (5, 1.5)), "s", "$c$-jets"),
    "u": Line("#009e73", (0, (4, 1.2, 1, 1.2)), "^", "light-jets"),
    "tau": Line("#aa4499", (0, (1, 1)), "D", r"$\tau$-jets"),
}

# Petroff's accessible sequence (2107.02270); the first method is the baseline, grey and dashed.
METHOD_COLOURS = ["#5c6370", "#e76300", "#3f90da", "#bd1f01", "#832db6", "#a96b59", "#b9ac70", "#92dadd"]
METHOD_DASHES: list[Any] = [
    (0, (5, 1.5)), (0, (4, 1.2, 1, 1.2)), "-", (0, (1, 1)), (0, (8, 2)), (0, (2, 1)), "-", "-",
]  # fmt: skip
METHOD_MARKERS = ["s", "^", "o", "D", "v", "P", "X", "*"]


def lines_for(methods: Sequence[str], labels: dict[str, str] | None = None) -> dict[str, Line]:
    """Colour, line and marker of each method by its place; the first is the baseline, grey and dashed."""
    places = [0, 2] if len(methods) == 2 else [2] if len(methods) == 1 else range(len(methods))
    return {
        name: Line(
            METHOD_COLOURS[place % 8],
            METHOD_DASHES[place % 8],
            METHOD_MARKERS[place % 8],
            (labels or {}).get(name, name),
        )
        for name, place in zip(methods, places, strict=True)
    }


class Caption(NamedTuple):
    """What stands above every figure: who made the sample, and what it is."""

    source: str = "femtobarn simulation"
    sample: str = ""


@contextmanager
def figure_style() -> Iterator[None]:
    """Our matplotlib settings while figures are drawn and written, the reader's own ones afterwards."""
    with mpl.rc_context(SETTINGS):  # type: ignore[arg-type]  # its stub wants a literal of every key
        yield


def log_axis(axes: Axes, which: str, low: float, high: float) -> None:
    """A logarithmic axis from `low` to `high`, labelled 1, 10, 100; if it is short 1, 2, 5, 10."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(low, high)
    if high / low < 60:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(_power))
    axis.set_minor_formatter(NullFormatter())


def _power(value: float, _: int) -> str:
    return (
        f"{value:g}" if 1e-3 < value < 5e3 else f"$\\mathrm{{10}}^{{\\mathrm{{{round(math.log10(value))}}}}}$"
    )


def canvas(
    heights: Sequence[float] = (3.6,), width: float = 6.0, left: float = 0.95, bottom: float = 0.78
) -> tuple[Figure, list[Axes]]:
    """A figure with panels one below the other that share the horizontal axis; use within `figure_style()`.

    Margins are fixed: figures stand in line on a page, and draw twice as fast as with a layout engine.

    Args:
        heights: of the panels, inches.
        width, left, bottom: of the figure and of its margins, inches.
    """
    top, right, gap = 0.64, 0.25, 0.14
    total = top + sum(heights) + gap * (len(heights) - 1) + bottom
    figure = Figure(figsize=(width, total))
    axes: list[Axes] = []
    above = total - top
    for height in heights:
        above -= height
        box = (left / width, above / total, (width - left - right) / width, height / total)
        axes.append(figure.add_axes(box, sharex=axes[0] if axes else None))
        axes[-1].yaxis.set_label_coords((0.3 - left) / (width - left - right), 1)
        axes[-1].tick_params(labelbottom=len(axes) == len(heights))
        above -= gap
    return figure, axes


def headline(axes: Axes, caption: Caption) -> None:
    """Write the caption above the axes: source in bold italics, the sample below it."""
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
    above = 24 if caption.sample else 6
    axes.annotate(
        caption.source, (0, 1), (0, above), fontsize=15, fontweight="bold", fontstyle="italic", **place
    )
    if caption.sample:
        # The style's fonts have no radical for mathtext, but a plain root sign.
        sample = caption.sample.replace(r"$\sqrt{s}$", "√$s$")
        axes.annotate(sample, (0, 1), (0, 6), fontsize=13.5, **place)


def legend_columns(labels: Sequence[str]) -> int:
    """How many legend entries fit beside each other in a figure six inches wide."""
    longest = max((len(label) for label in labels), default=1)
    return max(1, min(3, len(labels), 36 // (longest + 4)))


def to_svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element: no date, the same bytes every time, identifiers of its own by `name`.

    Text is drawn as paths, so that it looks the same where the fonts are missing.
    """
    buffer = io.StringIO()
    with figure_style(), mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(
        r' id="(?:figure|axes|patch|line2d|text|xtick|ytick|matplotlib\.axis|legend)_\d+"', "", text
    )
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' (?:d|x|y|points)="[^"]*"|translate\([^)]*\)', _short_numbers, text)
    return re.sub(r"\n\s*", "\n", text)


def _short_numbers(found: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point: what nobody sees is half of the file."""
    return re.sub(r"(\.\d{2})\d+", r"\1", found[0])
