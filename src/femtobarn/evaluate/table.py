"""`femtobarn table`: our figures beside the papers', from the folder of results."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from femtobarn.errors import InputError
from femtobarn.evaluate.numbers import percent, rounded, shown_metric
from femtobarn.evaluate.result import At, Metric, Result

__all__ = ["markdown_table", "measured_scales", "print_table", "table_rows"]

COLUMNS = ("recipe", "sample", "quantity", "method", "ours", "paper", "source")
SCALES = ("smoke", "quick", "standard", "full")
PERCENT = ("b_efficiency", "c_efficiency")


def measured_scales(folder: str | Path = "results") -> dict[str, list[str]]:
    """The scales at which each recipe has a result in `folder`; empty when there is no such folder."""
    scales: dict[str, list[str]] = defaultdict(list)
    for result in _results(Path(folder)) if Path(folder).is_dir() else []:
        scales[result.recipe].append(result.scale)
    return dict(scales)


def table_rows(folder: str | Path) -> list[dict[str, str]]:
    """A row per number that is published for one of the methods; all numbers of a result without such.

    Of a recipe the largest scale measured is taken, of a tagger's rejections those at the common f_c.

    Raises:
        InputError: when the folder is not there, or a file in it is not a result.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: there is no such folder of results: run a recipe first")
    rows = []
    for result in _largest(_results(Path(folder))):
        chosen = [metric for metric in result.metrics if metric.at.get("f_c_choice", "common") == "common"]
        published = {_what(metric) for metric in chosen if metric.reference is not None}
        for metric in (m for m in chosen if not published or _what(m) in published):
            rows.append(
                {
                    "recipe": f"{result.recipe} ({result.scale})",
                    "sample": metric.sample,
                    "quantity": _quantity(metric),
                    "name": metric.name.replace("_", " "),
                    "where": _where_shown(metric),
                    "method": metric.method,
                    "ours": shown_metric(metric),
                    "paper": "" if metric.reference is None else rounded(metric.reference),
                    "source": metric.source or "",
                }
            )
    return rows


def markdown_table(folder: str | Path) -> str:
    """Tables per recipe as Markdown, for the README, published numbers in brackets.

    A column per method and a row per quantity; of more than six methods a row per method, sample by sample;
    of one method, of which nothing is published, a column per quantity and a row per place of measurement.
    """
    recipes: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in table_rows(folder):
        recipes[row["recipe"]].append(row)
    lines: list[str] = []
    for recipe, rows in recipes.items():
        methods = list(dict.fromkeys(row["method"] for row in rows))
        what = list(dict.fromkeys((row["sample"], row["quantity"]) for row in rows))
        cells: dict[tuple[str, str, str], str] = defaultdict(str)
        for row in rows:
            paper = f" ({row['paper']})" if row["paper"] else ""
            cells[row["sample"], row["quantity"], row["method"]] = row["ours"] + paper
        lines += [f"**{recipe}**", ""]
        if len(methods) == 1 and not any(row["paper"] for row in rows):
            names = list(dict.fromkeys(row["name"] for row in rows))
            at = list(dict.fromkeys((row["sample"], row["where"]) for row in rows))
            found = {(row["sample"], row["where"], row["name"]): row["ours"] for row in rows}
            head = ["sample", "at", *names]
            lines += _markdown([head, *([*one, *(found.get((*one, n), "") for n in names)] for one in at)])
        elif len(methods) <= 6:
            head = ["sample", "quantity", *methods]
            lines += _markdown([head, *([*one, *(cells[*one, m] for m in methods)] for one in what)])
        else:
            for sample in dict.fromkeys(sample for sample, _ in what):
                quantities = [quantity for other, quantity in what if other == sample]
                body = [[m, *(cells[sample, quantity, m] for quantity in quantities)] for m in methods]
                lines += _markdown([[sample, *quantities], *(row for row in body if any(row[1:]))])
        sources = sorted({row["source"] for row in rows if row["source"]})
        lines += [f"In brackets: {', '.join(sources)}.", ""] if sources else []
    return "\n".join(lines)


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, the first row its head, and an empty one."""
    head, *body = (_markdown_row(row) for row in rows)
    return [head, "|" + "---|" * len(rows[0]), *body, ""]


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def print_table(folder: str | Path, form: Literal["terminal", "markdown", "json"] = "terminal") -> None:
    """Print the table on stdout."""
    rows = table_rows(folder)
    if form == "json":
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif form == "markdown":
        print(markdown_table(folder))
    else:
        table = Table(*COLUMNS, box=None)
        last = ""
        for row in rows:
            shown = {**row, "recipe": row["recipe"] if row["recipe"] != last else ""}
            table.add_row(*(shown[column] for column in COLUMNS))
            last = row["recipe"]
        Console().print(table)


def _results(folder: Path) -> list[Result]:
    return [Result.read(path) for path in sorted(folder.glob("*.json"))]


def _largest(results: list[Result]) -> list[Result]:
    """Of each recipe the result of the largest scale."""
    best: dict[str, Result] = {}
    for result in results:
        if result.recipe not in best or _size(result) > _size(best[result.recipe]):
            best[result.recipe] = result
    return list(best.values())


def _size(result: Result) -> int:
    return SCALES.index(result.scale) if result.scale in SCALES else -1


def _what(metric: Metric) -> tuple[str, str, str]:
    """What is measured and where, whatever the method."""
    return metric.name, metric.sample, _quantity(metric)


def _quantity(metric: Metric) -> str:
    where = _where_shown(metric)
    return metric.name.replace("_", " ") + (f" {where}" if where else "")


def _where_shown(metric: Metric) -> str:
    return _where({name: value for name, value in metric.at.items() if name not in ("f_c", "f_c_choice")})


def _where(at: At) -> str:
    """`at 70 % b-efficiency, exclusive`, `b, pt 20-35`."""
    parts = []
    for name, value in at.items():
        if name == "pt_min" and "pt_max" in at:
            parts.append(f"pt {value:g}-{at['pt_max']:g}")
        elif name == "pt_max" and "pt_min" in at:
            continue
        elif name in PERCENT:
            parts.append(f"at {percent(float(value))} {name.replace('_', '-')}")
        elif isinstance(value, str):
            parts.append(value)
        else:
            parts.append(f"{name.replace('_', ' ')} {value:g}")
    return ", ".join(parts)
