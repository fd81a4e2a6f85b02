"""What every recipe shares: settings at four scales, stages that cache, units that resume, one timing table.

A recipe is a function of its settings and a `Run`:

    @recipe(scales={"smoke": MySettings(events=100), "quick": MySettings()})
    def my_system(settings: MySettings, run: Run) -> Result:
        path = run.cached("simulate", key, lambda path: simulate("ttbar", 100, path), code=["simulation"])
        ...
"""

from __future__ import annotations

import ast
import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple

import torch
import yaml
from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError, closest
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Result
from femtobarn.learn.config import merged, parse
from femtobarn.progress import CONSOLE
from femtobarn.workers import follow_parent

__all__ = ["Recipe", "Run", "Scale", "Settings", "Unit", "recipe"]

Scale = Literal["smoke", "quick", "standard", "full"]


class Settings(BaseModel):
    """Base of every recipe's settings: frozen, and a misspelt key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Unit(NamedTuple):
    """The part of a long recipe that runs alone: one method with one training seed."""

    method: str
    seed: int

    @classmethod
    def parse(cls, text: str) -> Unit:
        """`"gn1:2"` -> `Unit("gn1", 2)`.

        Raises:
            InputError: for any other form.
        """
        method, _, seed = text.partition(":")
        if not method or not seed.isdigit():
            raise InputError(f"--only {text}: expected METHOD:SEED, for example gn1:1")
        return cls(method, int(seed))

    def __str__(self) -> str:
        return f"{self.method}-{self.seed}"


@dataclass(frozen=True)
class Recipe:
    """A published system that anyone can repeat: a function, and its settings at each scale."""

    name: str
    function: Callable[[Any, Run], Result]
    scales: dict[str, Settings]

    @property
    def summary(self) -> str:
        """The first line of the recipe's docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]

    def settings(self, scale: str, changes: dict[str, Any]) -> Settings:
        """The settings of `scale` with `changes` ("training.epochs": 3) merged in before they are parsed.

        Raises:
            InputError: for a scale, a key or a value that does not exist.
        """
        if scale not in self.scales:
            raise InputError(f"{self.name} has no scale '{scale}'{closest(scale, self.scales)}")
        base = self.scales[scale]
        return parse(type(base), merged(base.model_dump(), changes), f"--set for {self.name}")

    def __call__(self, settings: Any, run: Run) -> Result:
        return self.function(settings, run)


def recipe(scales: dict[str, Any]) -> Callable[[Callable[[Any, Run], Result]], Recipe]:
    """Make a function of (settings, run) a recipe of the same name, with its settings at each scale."""

    def wrap(function: Callable[[Any, Run], Result]) -> Recipe:
        return Recipe(function.__name__.replace("_", "-"), function, scales)

    return wrap


@dataclass
class Run:
    """One run of a recipe: where it writes, what it remembers, how long each stage took.

    Attributes:
        out: folder of the report page, the result and the models.
        cache: folder of samples and other stages, shared by all runs and found again by the hash of their
            settings and of the code that makes them.
        workers: processes at once.
        only: a single unit to run, None for all.
        seconds: wall time of each stage when it was made, in this run or an earlier one.
        report: the page, once there is one.
    """

    recipe: str
    scale: str
    out: Path
    seed: int = 1
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    only: Unit | None = None
    command: str = ""
    cache: Path = field(default_factory=lambda: Path(os.environ.get("FEMTOBARN_CACHE") or "runs/cache"))
    started: float = field(default_factory=time.time)
    seconds: dict[str, float] = field(default_factory=dict)
    report: Report | None = None

    def cached(self, name: str, key: dict[str, Any], build: Callable[[Path], object], *, code: Sequence[str],
               suffix: str = "") -> Path:  # fmt: skip
        """The path of a stage's product, built by `build(path)` unless an equal one is there.

        Equal means: the same `key` (settings, as JSON) and the same code in the modules or subpackages `code`
        and in whatever of femtobarn these import; but in `evaluate` only if `code` names it, since nothing
        that is simulated or trained depends on how it is measured and drawn. `build` must write whole or not
        at all; if it resumes by itself, an interrupted stage goes on where it was. Of several processes that
        want the same stage one builds it, and the others wait.
        """
        digest = hashlib.sha256(
            json.dumps([name, key, code_version(*code)], sort_keys=True).encode()
        ).hexdigest()
        path = self.cache / f"{name.replace(' ', '-')}-{digest[:12]}{suffix}"
        if path.exists() and _note(path).exists():
            return self._noted(path)
        self.cache.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if path.exists() and _note(path).exists():  # another process made it meanwhile
                return self._noted(path)
            with self.stage(name):
                build(path)
            with atomic(_note(path)) as temporary:
                temporary.write_text(json.dumps({"stage": name, "key": key, "seconds": self.seconds[name]}))
        return path

    def part(self, result: Result) -> Result:
        """Write the result of the one unit that was asked for below `out/parts`."""
        result.write(self.out / "parts" / f"{self.recipe}-{self.scale}-{self.only}.json")
        return result

    def finish(self, report: Report, result: Result, settings: Settings) -> Result:
        """Write the page, its figures and the result into `out`, with times, settings and provenance."""
        result.seconds = self.seconds
        figures = report.save_figures(self.out / "figures")
        result.artifacts = [*result.artifacts, "report.html", *(f"figures/{name}" for name in figures)]
        report.provenance(result, yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))
        report.write(self.out / "report.html")
        result.write(self.out / "result.json")
        self.report = report
        return result

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, and say when it starts and ends."""
        CONSOLE.print(f"[bold]{name}[/] ...")
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)
        CONSOLE.print(f"[bold]{name}[/] took {self.seconds[name]:.0f} s")

    def map(self, function: Callable[[Unit], Path], units: Sequence[Unit], parallel: int = 1) -> list[Path]:
        """`function(unit)` for each unit, `parallel` at once in processes that share the cores."""
        if parallel == 1 or len(units) == 1:
            return [function(unit) for unit in units]
        threads = max(1, (os.cpu_count() or 1) // parallel)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(parallel, context, initializer=_worker, initargs=(threads,)) as pool:
            paths = list(pool.map(function, units))
        return [self._noted(path) for path in paths]

    def _noted(self, path: Path) -> Path:
        """Take over the time that a stage of another process took."""
        note = json.loads(_note(path).read_text())
        self.seconds[note["stage"]] = note["seconds"]
        return path


def _worker(threads: int) -> None:
    """A training among others: its share of the cores, and no life of its own."""
    follow_parent()
    torch.set_num_threads(threads)


def _note(path: Path) -> Path:
    """The file beside a stage's product that says what it is and how long it took."""
    return path.with_name(path.name + ".json")


_PARSER = Lock()
"""CPython's `ast.parse` counts its depth for all threads together: two at once raise SystemError."""


@cache
def code_version(*modules: str) -> str:
    """Hash of what modules of femtobarn, and all of ours that they import, do: comments do not count."""
    digest = hashlib.sha256()
    for name, tree in sorted(_imported(modules).items()):
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                node.body = node.body[1:]
        digest.update(f"{name}{ast.dump(tree)}".encode())
    return digest.hexdigest()[:16]


def _imported(modules: Sequence[str]) -> dict[str, ast.Module]:
    """Syntax trees of modules (a package: all of it) and of what they import of femtobarn, by name."""
    trees: dict[str, ast.Module] = {}
    waiting = [f"femtobarn.{module.removeprefix('femtobarn.')}" for module in modules]
    while waiting:
        name = waiting.pop()
        spec = find_spec(name)
        if name in trees or spec is None or spec.origin is None:
            continue
        with _PARSER:
            trees[name] = ast.parse(Path(spec.origin).read_text())
        if name in map("femtobarn.{}".format, modules) and spec.submodule_search_locations:
            waiting += [f"{name}.{file.stem}" for file in Path(spec.origin).parent.glob("[!_]*.py")]
        for node in ast.walk(trees[name]):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "femtobarn":
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                found = [module for module in inner if _is_module(module)]
                found = found if len(found) == len(inner) else [*found, str(node.module)]
                waiting += [module for module in found if _shows(name) or not _shows(module)]
    return trees


def _shows(module: str) -> bool:
    """Whether a module measures or draws."""
    return module.startswith("femtobarn.evaluate")


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
