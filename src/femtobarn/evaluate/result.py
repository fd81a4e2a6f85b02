"""`Result`: what a run measured, as JSON with its command, seed, versions, machine and times."""

from __future__ import annotations

import csv
import json
import math
import os
import platform
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_serializer
from pydantic import SerializerFunctionWrapHandler as Wrapped

from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError

__all__ = ["Metric", "Reference", "Result", "combine", "environment", "read_references", "with_references"]

PACKAGES = (
    "femtobarn numpy awkward torch lightning-fabric scikit-learn scipy h5py uproot pythia8mc fastjet "
    "matplotlib mplhep"
).split()
At = dict[str, float | int | str]


class Metric(BaseModel):
    """One measured number: what (`name`), where (`at`), of which `method` on which `sample`.

    `value` is the mean over `seeds`, `error` its statistical standard deviation (from the size of the test
    sample), `error_seed` the sample standard deviation over seeds (None for one seed); `reference` is the
    published value and `source` where it is published. A number that does not exist is None, never NaN or
    infinity: then `lower_limit` (95 % CL) or `note` says what is known instead; both are written only where
    there is something to say.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    at: At = Field(default_factory=dict)
    method: str
    sample: str
    value: float | None
    error: float | None = None
    error_seed: float | None = None
    seeds: list[int] = Field(default_factory=list)
    reference: float | None = None
    source: str | None = None
    lower_limit: float | None = None
    note: str | None = None

    @field_validator("value", "error", "error_seed", "reference", "lower_limit", mode="before")
    @classmethod
    def _finite(cls, number: Any) -> float | None:
        return None if number is None or not math.isfinite(float(number)) else float(number)

    @model_serializer(mode="wrap")
    def _without_empty_remarks(self, handler: Wrapped) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        return {
            key: value
            for key, value in written.items()
            if value is not None or key not in ("lower_limit", "note")
        }

    @property
    def key(self) -> tuple[Any, ...]:
        """What is measured, hashable; a tagger's own f_c may differ from seed to seed and is left out."""
        own = self.at.get("f_c_choice") == "own"
        at = tuple(sorted((name, value) for name, value in self.at.items() if not (own and name == "f_c")))
        return (self.name, at, self.method, self.sample)


class Reference(BaseModel):
    """A published number beside which ours are put."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    method: str
    value: float
    source: str
    at: At = Field(default_factory=dict)
    sample: str | None = None


class Result(BaseModel):
    """Everything a run measured, in the layout of `results/*.json`."""

    model_config = ConfigDict(extra="forbid")

    recipe: str
    scale: str
    command: str
    seed: int
    versions: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, str | int | float] = Field(default_factory=dict)
    started: datetime
    seconds: dict[str, float] = Field(default_factory=dict)
    sizes: dict[str, int] = Field(default_factory=dict)
    metrics: list[Metric] = Field(default_factory=list)
    artifacts: list[str] = Field(default_factory=list)

    @classmethod
    def start(cls, recipe: str, scale: str, seed: int, command: str | None = None) -> Result:
        """An empty result of now, with machine and versions; the command is by default the one running."""
        versions, machine = environment()
        line = command or " ".join(["femtobarn", *sys.argv[1:]])
        now = datetime.now(UTC).replace(microsecond=0)
        return cls(
            recipe=recipe,
            scale=scale,
            command=line,
            seed=seed,
            versions=versions,
            machine=machine,
            started=now,
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write JSON, whole or not at all."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
        with atomic(Path(path)) as temporary:
            Path(temporary).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Result:
        """Read what `write` wrote.

        Raises:
            InputError: when there is no such file, or it is not a result.
        """
        try:
            return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path}: there is no such file") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise InputError(f"{path}: not a result of femtobarn: {where}: {first['msg']}") from None

    def find(
        self, name: str, method: str, sample: str | None = None, /, **at: float | int | str
    ) -> Metric | None:
        """The first metric with this name and method, of the sample if given, whose `at` holds the rest."""
        for metric in self.metrics:
            same = (metric.name, metric.method) == (name, method) and sample in (None, metric.sample)
            if same and at.items() <= metric.at.items():
                return metric
        return None


def combine(parts: Sequence[Result]) -> Result:
    """One result from parts that measured different methods or seeds on the same test sample.

    Metrics that agree in name, `at`, method and sample become their mean over seeds. Their `error` is the
    mean of the parts' errors, not less: the same test jets are behind all of them. `error_seed` is the
    sample standard deviation. A tagger's own f_c becomes the mean of those used. A number missing in one
    part is missing in the mean; its lower limit is then the lowest value or limit of the parts. Seconds add
    up, sizes must agree (the largest is kept), everything else is the first part's.

    Raises:
        InputError: when there are no parts, or they belong to different recipes or scales.
    """
    if not parts:
        raise InputError("no parts to combine: run at least one unit of the recipe")
    first = parts[0]
    if any((part.recipe, part.scale) != (first.recipe, first.scale) for part in parts):
        raise InputError("parts of different recipes or scales cannot be combined")
    groups: dict[tuple[Any, ...], list[Metric]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    sizes: dict[str, int] = {}
    for part in parts:
        for metric in part.metrics:
            groups[metric.key].append(metric)
        for stage, time in part.seconds.items():
            seconds[stage] += time
        for name, size in part.sizes.items():
            sizes[name] = max(size, sizes.get(name, 0))
    return first.model_copy(
        update={
            "metrics": [_mean(group) for group in groups.values()],
            "seconds": dict(seconds),
            "sizes": sizes,
            "started": min(part.started for part in parts),
            "artifacts": list(dict.fromkeys(name for part in parts for name in part.artifacts)),
        }
    )


def _mean(group: list[Metric]) -> Metric:
    group = list({tuple(metric.seeds): metric for metric in group}.values())  # the same seeds: measured twice
    first = group[0]
    if len(group) == 1:
        return first
    values = [metric.value for metric in group if metric.value is not None]
    errors = [metric.error for metric in group if metric.error is not None]
    if len(values) < len(group):
        known = [metric.value if metric.value is not None else metric.lower_limit for metric in group]
        limits = [number for number in known if number is not None]
        lowest = min(limits) if len(limits) == len(group) else None
        update: dict[str, float | None] = {
            "value": None,
            "error": None,
            "error_seed": None,
            "lower_limit": lowest,
        }
    else:
        update = {
            "value": mean(values),
            "error": mean(errors) if errors else None,
            "error_seed": stdev(values),
        }
    seeds = sorted({seed for metric in group for seed in metric.seeds})
    at = dict(first.at)
    if at.get("f_c_choice") == "own":
        at["f_c"] = mean(float(metric.at["f_c"]) for metric in group)
    return first.model_copy(update={**update, "seeds": seeds, "at": at})


def environment() -> tuple[dict[str, str], dict[str, str | int | float]]:
    """The versions that made a result, and the machine: system, processor, cores, memory in GB."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    if commit := _commit():
        versions["commit"] = commit
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    machine: dict[str, str | int | float] = {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gb": round(memory, 1),
    }
    return versions, machine


def _commit() -> str:
    """The commit of femtobarn's source, with `-dirty` if it was changed since; empty outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def read_references(path: str | os.PathLike[str]) -> list[Reference]:
    """Published numbers from the CSV beside a recipe.

    Columns `name`, `method`, `value`, `source` and, if wanted, `sample`; every other column is an entry of
    `at` (empty: does not matter), numbers read as numbers, e.g.
    `name,method,sample,b_efficiency,value,source`.

    Raises:
        InputError: when the file is not there, or a row lacks a column or its value is no number.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    references = []
    for number, row in enumerate(rows, start=2):
        fixed = {
            name: row.pop(name, None) or None for name in ("name", "method", "value", "source", "sample")
        }
        try:
            references.append(
                Reference.model_validate(
                    {**fixed, "at": {name: _number(text) for name, text in row.items() if text}}
                )
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"{path}, line {number}: column '{first['loc'][0]}': {first['msg']}") from None
    return references


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def with_references(metrics: Iterable[Metric], references: Iterable[Reference]) -> list[Metric]:
    """Put beside each metric the published number of its name, method, sample and (part of its) `at`."""
    known = list(references)
    answer = []
    for metric in metrics:
        for reference in known:
            if (reference.name, reference.method) != (metric.name, metric.method):
                continue
            if reference.sample in (None, metric.sample) and reference.at.items() <= metric.at.items():
                metric = metric.model_copy(update={"reference": reference.value, "source": reference.source})
                break
        answer.append(metric)
    return answer
