"""Between pyhf's JSON and the differentiable twin."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from femtobarn.errors import InputError, closest
from femtobarn.statistics.twin import FREE, NORMAL, POISSON, Data, Parameters, Twin

__all__ = ["read_twin", "write_twin"]

Spec = dict[str, Any]
KINDS = ("histosys", "lumi", "normfactor", "normsys", "shapefactor", "shapesys", "staterror")
INTERPOLATED: Spec = {"start": 0.0, "lower": -5.0, "upper": 5.0, "fixed": False, "constraint": NORMAL,
                      "sigma": 1.0, "tau": 1.0, "aux": 0.0}  # fmt: skip
FACTOR: Spec = {"start": 1.0, "lower": 0.0, "upper": 10.0, "fixed": False, "constraint": FREE,
                "sigma": 1.0, "tau": 1.0, "aux": 1.0}  # fmt: skip


def read_twin(spec: Spec, measurement: str | None = None) -> tuple[Twin, Data]:
    """The twin of a pyhf workspace, and its observed data.

    Args:
        spec: a workspace that follows pyhf's schema (`statistics.published.checked` says so).
        measurement: name; None: the first.

    Raises:
        InputError: for a measurement or a modifier that does not exist, a normalisation not above zero, or
            one name for parameters of several kinds or numbers of bins.
    """
    config = _measurement(spec, measurement)["config"]
    reader = _Reader(_staterrors(spec))
    for channel in spec["channels"]:
        reader.channel(channel)
    for entry in config.get("parameters", []):
        reader.configure(entry)
    twin = reader.twin(spec, config["poi"])
    observed = {entry["name"]: entry["data"] for entry in spec["observations"]}
    main = [number for channel in spec["channels"] for number in observed[channel["name"]]]
    return twin, Data(_floats(main), twin.parameters.aux)


def write_twin(twin: Twin) -> Spec:
    """The workspace with the twin's yields, shapes and normalisations in it."""
    spec = copy.deepcopy(twin.spec)
    nominal = iter(twin.nominal.tolist())
    up, down = iter(twin.shape_up.tolist()), iter(twin.shape_down.tolist())
    high, low = iter(twin.norm_up.tolist()), iter(twin.norm_down.tolist())
    for _, sample in _samples(spec):
        sample["data"] = [next(nominal) for _ in sample["data"]]
        for modifier in sample["modifiers"]:
            if modifier["type"] == "normsys":
                factors = [(next(high), next(low)) for _ in sample["data"]]
                modifier["data"] = dict(zip(("hi", "lo"), factors[0], strict=True))
            elif modifier["type"] == "histosys":
                modifier["data"] = {
                    "hi_data": [number + next(up) for number in sample["data"]],
                    "lo_data": [number - next(down) for number in sample["data"]],
                }
    return spec


class _Reader:
    """Parameters, cells and what changes them, as they are met."""

    def __init__(self, staterrors: dict[str, list[float]]) -> None:
        self.staterrors = staterrors
        self.place: dict[str, tuple[int, int]] = {}  # first index and number of parameters of each name
        self.kinds: dict[str, tuple[int | None, float, int]] = {}  # size, start and constraint of each name
        self.names: list[str] = []
        self.columns: dict[str, list[Any]] = {column: [] for column in FACTOR}
        self.bins: list[tuple[str, int]] = []
        self.rows: list[tuple[str, str]] = []
        self.bin: list[int] = []
        self.row: list[int] = []
        self.nominal: list[float] = []
        self.factors: list[list[int]] = []
        self.shapes: list[tuple[int, int, float, float]] = []  # parameter, cell, up, down
        self.norms: list[tuple[int, int, float, float]] = []

    def channel(self, channel: Spec) -> None:
        begin, size = len(self.bins), len(channel["samples"][0]["data"])
        self.bins += [(channel["name"], k) for k in range(size)]
        for sample in channel["samples"]:
            self.bin += range(begin, begin + size)
            self.row += [len(self.rows)] * size
            self.factors += [[] for _ in range(size)]
            for modifier in sample["modifiers"]:
                self.modifier(modifier, sample["data"], f"{sample['name']} in {channel['name']}")
            self.nominal += sample["data"]
            self.rows.append((channel["name"], sample["name"]))

    def modifier(self, modifier: Spec, yields: list[float], where: str) -> None:
        """Enter one modifier of the cells that come next."""
        kind, name, data = modifier["type"], modifier["name"], modifier["data"]
        cells = range(len(self.nominal), len(self.nominal) + len(yields))
        if kind == "normsys":
            if min(data["hi"], data["lo"]) <= 0:
                raise InputError(f"normsys '{name}' of {where} has a factor that is not above zero")
            index = self.parameter(name, INTERPOLATED)
            self.norms += [(index, cell, data["hi"], data["lo"]) for cell in cells]
        elif kind == "histosys":
            index = self.parameter(name, INTERPOLATED)
            pieces = zip(cells, yields, data["hi_data"], data["lo_data"], strict=True)
            self.shapes += [(index, cell, high - middle, middle - low) for cell, middle, high, low in pieces]
        elif kind in ("normfactor", "lumi"):
            constraint = NORMAL if kind == "lumi" else FREE
            index = self.parameter(name, {**FACTOR, "constraint": constraint})
            for cell in cells:
                self.factors[cell].append(index)
        else:
            index = self.parameter(name, self.per_bin(kind, name, data, yields), len(yields))
            for k, cell in enumerate(cells):
                self.factors[cell].append(index + k)

    def per_bin(self, kind: str, name: str, data: list[float], yields: list[float]) -> Spec:
        """Properties of parameters of which each bin has its own."""
        if kind == "shapefactor":
            return FACTOR
        if kind == "staterror":
            sigma = self.staterrors[name]
            fixed = [value == 0 for value in sigma]
            sigma = [value or 1.0 for value in sigma]
            return {**FACTOR, "lower": 1e-10, "constraint": NORMAL, "sigma": sigma, "fixed": fixed}
        if kind == "shapesys":
            pieces = list(zip(yields, data, strict=True))
            known = [number > 0 and error > 0 for number, error in pieces]
            tau = [(n / e) ** 2 if good else 1.0 for (n, e), good in zip(pieces, known, strict=True)]
            fixed = [not good for good in known]
            return {**FACTOR, "lower": 1e-10, "constraint": POISSON, "tau": tau, "fixed": fixed}
        raise InputError(f"modifier '{name}' is of type '{kind}'{closest(kind, KINDS)}")

    def parameter(self, name: str, values: Spec, size: int | None = None) -> int:
        """Index of the (first) parameter of a name, entered if it is new."""
        kind = size, values["start"], values["constraint"]
        if self.kinds.setdefault(name, kind) != kind:
            raise InputError(
                f"modifiers called '{name}' are of different kinds or numbers of bins: one name is one "
                "parameter"
            )
        if name not in self.place:
            self.place[name] = len(self.names), size or 1
            self.names += [name] if size is None else [f"{name}[{k}]" for k in range(size)]
            for column, value in values.items():
                self.columns[column] += value if isinstance(value, list) else [value] * (size or 1)
        return self.place[name][0]

    def configure(self, entry: Spec) -> None:
        """What a measurement says of one parameter."""
        if entry["name"] not in self.place:
            return
        begin, size = self.place[entry["name"]]
        inside = slice(begin, begin + size)
        for key in ("inits", "auxdata", "sigmas", "bounds"):
            if len(entry.get(key, [0] * size)) != size:
                raise InputError(
                    f"the measurement gives '{entry['name']}' {len(entry[key])} {key}, not {size}"
                )
        if any(low > high for low, high in entry.get("bounds", [])):
            raise InputError(
                f"the measurement gives '{entry['name']}' bounds of which the lower is above the upper"
            )
        for key, column in (("inits", "start"), ("auxdata", "aux"), ("sigmas", "sigma")):
            if key in entry:
                self.columns[column][inside] = entry[key]
        if "bounds" in entry:
            self.columns["lower"][inside] = [low for low, _ in entry["bounds"]]
            self.columns["upper"][inside] = [high for _, high in entry["bounds"]]
        if "fixed" in entry:
            self.columns["fixed"][inside] = [entry["fixed"]] * size

    def twin(self, spec: Spec, poi: str) -> Twin:
        if poi not in self.names:
            raise InputError(f"the parameter of interest '{poi}' scales nothing{closest(poi, self.names)}")
        kinds = {"fixed": torch.bool, "constraint": torch.int64}
        columns = {name: torch.tensor(column, dtype=kinds.get(name, torch.float64))
                   for name, column in self.columns.items()}  # fmt: skip
        count, width = len(self.names), max(len(entries) for entries in self.factors)
        padded = [entries + [count] * (width - len(entries)) for entries in self.factors]
        shapes, norms = _columns(self.shapes), _columns(self.norms)
        return Twin(
            Parameters(names=tuple(self.names), **columns), self.names.index(poi), spec, tuple(self.rows),
            tuple(self.bins), torch.tensor(self.bin), torch.tensor(self.row), _floats(self.nominal),
            torch.tensor(padded), *shapes, *norms,
        )  # fmt: skip


def _staterrors(spec: Spec) -> dict[str, list[float]]:
    """Relative error of each bin of each staterror: all processes that have it together."""
    nominal: dict[str, Tensor] = {}
    variance: dict[str, Tensor] = {}
    for _, sample in _samples(spec):
        for modifier in sample["modifiers"]:
            if modifier["type"] == "staterror":
                name, yields = modifier["name"], _floats(sample["data"])
                if len(nominal.get(name, yields)) != len(yields):
                    raise InputError(f"staterrors called '{name}' have different numbers of bins")
                nominal[name] = nominal.get(name, torch.zeros_like(yields)) + yields
                variance[name] = variance.get(name, torch.zeros_like(yields)) + _floats(modifier["data"]) ** 2
    return {
        name: torch.where(total > 0, variance[name].sqrt() / total.clamp(min=1e-300), 0.0).tolist()
        for name, total in nominal.items()
    }


def _measurement(spec: Spec, name: str | None) -> Spec:
    measurements = {entry["name"]: entry for entry in spec["measurements"]}
    if name is not None and name not in measurements:
        raise InputError(f"there is no measurement '{name}'{closest(name, measurements)}")
    found: Spec = measurements[name] if name is not None else spec["measurements"][0]
    return found


def _samples(spec: Spec) -> Iterator[tuple[Spec, Spec]]:
    return ((channel, sample) for channel in spec["channels"] for sample in channel["samples"])


def _columns(entries: list[tuple[int, int, float, float]]) -> list[Tensor]:
    """Parameters, cells, and the two numbers of each entry."""
    columns = zip(*entries, strict=True) if entries else ((), (), (), ())
    kinds = (torch.int64, torch.int64, torch.float64, torch.float64)
    return [torch.tensor(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)]


def _floats(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
