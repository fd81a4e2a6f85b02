"""`Report`: one self-contained HTML page with tables and figures, readable on a phone."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from femtobarn.data.atomic import atomic
from femtobarn.evaluate.numbers import duration, rounded
from femtobarn.evaluate.result import Result
from femtobarn.evaluate.style import to_svg

__all__ = ["Cell", "Report", "slug"]


class Cell(NamedTuple):
    """A table cell with a small second line, such as the published value; `strong` makes it bold."""

    text: str
    note: str = ""
    strong: bool = False


class Report:
    """A page, filled in reading order: the answer first, then figures, then how it was made.

    >>> report = Report("GN1 on simulated ttbar", "1.0 M jets")
    >>> report.table(["method", "light-rejection"], [["GN1", "433 ± 12"]], "At 70 % b-efficiency.")
    >>> report.section("Figures")
    >>> report.figure(figure, "Rejection against efficiency.", name="roc")
    >>> report.write("report.html")
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title, self.subtitle = title, subtitle
        self.blocks: list[dict[str, Any]] = []
        self.figures: dict[str, str] = {}
        self.sections: list[tuple[str, str]] = []

    def section(self, title: str, *, folded: bool = False) -> None:
        """Begin a section; a folded one shows its contents on a click."""
        anchor = slug(title)
        self.sections.append((anchor, title))
        self.blocks.append(
            {"kind": "section", "title": title, "anchor": anchor, "folded": folded, "blocks": []}
        )

    def text(self, text: str) -> None:
        """Paragraphs, separated by blank lines; `code` and **bold** as in Markdown."""
        for paragraph in re.split(r"\n\s*\n", text.strip()):
            marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(paragraph)))
            self._add({"kind": "text", "text": Markup(re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", marked))})

    def table(self, columns: Sequence[Any], rows: Sequence[Sequence[Any]], caption: str = "") -> None:
        """A table of text, numbers (shown with three digits) or `Cell`; a row of one cell is a heading."""
        cells = [[_cell(entry) for entry in row] for row in rows]
        self._add(
            {
                "kind": "table",
                "columns": [_cell(column) for column in columns],
                "rows": cells,
                "caption": caption,
            }
        )

    def figure(self, figure: Figure, caption: str, name: str | None = None, *, small: bool = False) -> None:
        """A figure, drawn as SVG; neighbours stand side by side where there is room, `small` ones more."""
        name = name or f"figure-{len(self.figures) + 1}"
        same = [known for known in self.figures if known == name or known.startswith(f"{name}-")]
        name = f"{name}-{len(same) + 1}" if same else name
        self.figures[name] = to_svg(figure, name)
        svg = re.sub(
            r'<svg[^>]*?viewBox="([^"]+)"[^>]*>',
            r'<svg viewBox="\1" role="img">',
            self.figures[name],
            count=1,
        )
        self._add({"kind": "figure", "svg": Markup(svg), "caption": caption, "name": name, "small": small})

    def code(self, text: str) -> None:
        """Text as it is, in a fixed-width face: settings, a command."""
        self._add({"kind": "code", "text": text.strip("\n")})

    def provenance(self, result: Result, settings: str = "") -> None:
        """How it was made: command, times, sizes, versions, machine and, if given, the settings."""
        self.section("How it was made")
        self.code(result.command)
        if result.seconds:
            times = [[stage, duration(seconds)] for stage, seconds in added_up(result.seconds).items()]
            self.table(
                ["stage", "time"],
                [*times, [Cell("all stages", "", True), duration(sum(result.seconds.values()))]],
            )
        if result.sizes:
            self.table(["sample", "entries"], [[name, f"{size:,}"] for name, size in result.sizes.items()])
        if settings:
            self.section("Settings", folded=True)
            self.code(settings)
        self.section("Versions and machine", folded=True)
        facts = {
            "started": result.started.isoformat(),
            "seed": result.seed,
            **result.machine,
            **result.versions,
        }
        self.table(["", ""], [[name, str(value)] for name, value in facts.items()])

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the page, whole or not at all."""
        page = _template().render(
            title=self.title, subtitle=self.subtitle, blocks=_grouped(self.blocks), sections=self.sections
        )
        with atomic(Path(path)) as temporary:
            temporary.write_text(page, encoding="utf-8")

    def show(self, console: Console) -> None:
        """Print the answer, all that stands before the first section, in a terminal."""
        console.print(f"[bold]{self.title}[/], {self.subtitle}")
        for block in self.blocks:
            if block["kind"] == "text":
                console.print(unescape(re.sub(r"<[^>]+>", "", str(block["text"]))))
            elif block["kind"] == "table":
                console.print(_terminal_table(block))
            elif block["kind"] == "section":
                break

    def save_figures(self, folder: str | os.PathLike[str]) -> list[str]:
        """Write every figure as `NAME.svg` into `folder`, for talks; returns the file names."""
        names = []
        for name, svg in self.figures.items():
            with atomic(Path(folder) / f"{name}.svg") as temporary:
                temporary.write_text('<?xml version="1.0" encoding="utf-8"?>\n' + svg, encoding="utf-8")
            names.append(f"{name}.svg")
        return names

    def _add(self, block: dict[str, Any]) -> None:
        blocks = (
            self.blocks[-1]["blocks"] if self.blocks and self.blocks[-1]["kind"] == "section" else self.blocks
        )
        blocks.append(block)


def slug(text: str) -> str:
    """Text as an anchor or a file name: `"Z': against jet pT"` -> `z-against-jet-pt`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def added_up(seconds: Mapping[str, float], most: int = 60) -> dict[str, float]:
    """Times by stage; of more than `most`, those whose names differ only in numbers at the end are added."""
    if len(seconds) <= most:
        return dict(seconds)
    short = {stage: re.sub(r"([\s-]+(seed )?\d+)+$", "", stage) for stage in seconds}
    counts = Counter(short.values())
    sums: dict[str, float] = {}
    for stage, time in seconds.items():
        many = counts[short[stage]]
        name = f"{short[stage]} ({many} times)" if many > 1 else stage
        sums[name] = sums.get(name, 0.0) + time
    return sums


def _terminal_table(block: dict[str, Any]) -> Table:
    """A table of the page for the terminal, notes in brackets behind the numbers."""
    table = Table(box=SIMPLE_HEAD, caption=block["caption"], caption_justify="left")
    for number, cell in enumerate(block["columns"]):
        table.add_column(
            "\n".join(filter(None, (cell.text, cell.note))), justify="right" if number else "left"
        )
    for row in block["rows"]:
        if len(row) == 1:
            table.add_section()
        table.add_row(*(f"{cell.text} [dim]({cell.note})[/]" if cell.note else cell.text for cell in row))
    return table


def _cell(entry: Any) -> Cell:
    if isinstance(entry, Cell):
        return entry
    if isinstance(entry, float):
        return Cell(rounded(entry))
    return Cell("–" if entry is None else str(entry))


def _grouped(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures one after the other become one block `figures`, laid out side by side; tables likewise."""
    grouped: list[dict[str, Any]] = []
    for block in blocks:
        if block["kind"] == "section":
            block = {**block, "blocks": _grouped(block["blocks"])}
        elif block["kind"] in ("figure", "table"):
            group = {"kind": f"{block['kind']}s", "small": block.get("small", False), "members": [block]}
            if grouped and (grouped[-1]["kind"], grouped[-1].get("small")) == (group["kind"], group["small"]):
                grouped[-1]["members"].append(block)
                continue
            block = group
        grouped.append(block)
    return grouped


def _template() -> Any:
    loader = PackageLoader("femtobarn.evaluate", ".")
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("report.html.j2")
