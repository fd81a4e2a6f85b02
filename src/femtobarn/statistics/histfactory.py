"""Binned models as a physicist writes them: channels of processes with systematic uncertainties.

    >>> vh = Process("VH", h_vh, signal=True)
    >>> z = Process("Z+jets", h_z, free=True, systematics=[Systematic("jet energy", h_z_up, h_z_down)])
    >>> top = Process("ttbar", h_top, systematics=[Systematic("ttbar cross-section", 0.06)])
    >>> spec = workspace([Channel("2 leptons", [vh, z, top], data=h_data)], luminosity=0.01)

The workspace is pyhf's JSON [HistFactory, CERN-OPEN-2012-016]: anybody's tools read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from hist import Hist
from numpy.typing import NDArray

from femtobarn.errors import InputError

__all__ = ["Channel", "Process", "Systematic", "Template", "workspace"]

Floats = NDArray[np.float64]
Template: TypeAlias = Any
"""A `hist.Hist` of one axis with weight storage, or plain yields, which then have no statistical error."""


@dataclass(frozen=True)
class Systematic:
    """One source of uncertainty; the same name means the same source wherever it stands.

    Attributes:
        name: of the source.
        up: a number: the relative change of the yield at +1 standard deviation; a template: the yields there.
        down: the same at -1; None: 1/(1 + up) for a number, the mirror image for a template.
    """

    name: str
    up: Any
    down: Any = None


@dataclass(frozen=True)
class Process:
    """What one process contributes to a channel.

    Attributes:
        name: a process of one name may be in several channels.
        template: expected events per bin.
        systematics: that change it.
        signal: scaled by the signal strength mu.
        free: its normalisation is fitted, one factor for all channels.
        luminosity: scales with the integrated luminosity; False for what was estimated in data.
        counted: its statistical errors are those of counted events, one Poisson constraint per bin
            (`shapesys`), instead of part of the channel's common ones (`staterror`).
    """

    name: str
    template: Template
    systematics: Sequence[Systematic] = ()
    signal: bool = False
    free: bool = False
    luminosity: bool = True
    counted: bool = False


@dataclass(frozen=True)
class Channel:
    """A region of selected events: its processes and, once looked at, its data."""

    name: str
    processes: Sequence[Process]
    data: Template | None = None


def workspace(
    channels: Sequence[Channel], *, luminosity: float = 0.0, statistics: bool = True
) -> dict[str, Any]:
    """The channels as a pyhf workspace with the parameter of interest `mu`.

    The limited size of the simulation enters as one factor per bin and channel (Barlow-Beeston lite). A shape
    uncertainty is split into its change of the normalisation, exponential in the nuisance parameter, and the
    rest, so that yields stay positive. A channel without data gets its expectation with mu = 1 instead.

    Args:
        channels: with different names.
        luminosity: relative uncertainty.
        statistics: whether the statistical errors of the templates enter.

    Raises:
        InputError: for an empty template, a bin below zero, a bin without background, templates of different
            binnings, names met twice, or no signal.
    """
    _distinct([channel.name for channel in channels], "channels")
    if not any(process.signal for channel in channels for process in channel.processes):
        raise InputError("no process is marked as signal: give one `signal=True`")
    specs, observations = [], []
    for channel in channels:
        samples = _samples(channel, luminosity, statistics)
        specs.append({"name": channel.name, "samples": samples})
        total = np.sum([sample["data"] for sample in samples], axis=0)
        data = (
            total
            if channel.data is None
            else _read(channel.data, f"the data of '{channel.name}'", len(total))[0]
        )
        observations.append({"name": channel.name, "data": data.tolist()})
    most = _most(specs, observations)
    parameters: list[dict[str, Any]] = [{"name": "mu", "bounds": [[0.0, most]], "inits": [1.0]}]
    if luminosity:
        width = max(0.0, 1 - 5 * luminosity), 1 + 5 * luminosity
        parameters.append({"name": "lumi", "auxdata": [1.0], "sigmas": [luminosity], "inits": [1.0],
                           "bounds": [list(width)]})  # fmt: skip
    measurement = {"name": "measurement", "config": {"poi": "mu", "parameters": parameters}}
    return {
        "channels": specs,
        "observations": observations,
        "measurements": [measurement],
        "version": "1.0.0",
    }


def _most(channels: list[dict[str, Any]], observations: list[dict[str, Any]]) -> float:
    """Upper bound of mu: 100, or more, up to 10^4, where the signal is so small that a fit may get there.

    With s, b and n events in each bin, mu is about sum s (n - b) / b over sum s^2 / b; twice this and twenty
    standard deviations are allowed.
    """
    pull, information, seen = 0.0, 0.0, 0.0
    for channel, observation in zip(channels, observations, strict=True):
        signal, background = (
            sum(np.array(sample["data"]) for sample in channel["samples"] if _is_signal(sample) == which)
            for which in (True, False)
        )
        data = np.array(observation["data"])
        pull += float(np.sum(signal * (data - background) / background))
        information += float(np.sum(signal**2 / background))
        seen += float(np.sum(signal**2 / np.maximum(background, data)))
    return float(np.clip(2 * abs(pull) / information + 20 / seen**0.5, 100.0, 1e4))


def _is_signal(sample: dict[str, Any]) -> bool:
    return any(
        (modifier["name"], modifier["type"]) == ("mu", "normfactor") for modifier in sample["modifiers"]
    )


def _samples(channel: Channel, luminosity: float, statistics: bool) -> list[dict[str, Any]]:
    """The processes of a channel, checked, with their modifiers."""
    _distinct([process.name for process in channel.processes], f"processes of '{channel.name}'")
    samples: list[dict[str, Any]] = []
    background: Any = 0.0
    bins: int | None = None
    for process in channel.processes:
        what = f"the template of '{process.name}' in '{channel.name}'"
        yields, variances = _read(process.template, what, bins)
        bins = len(yields)
        background = background + (0.0 if process.signal else yields)
        modifiers: list[dict[str, Any]] = []
        if process.signal:
            modifiers.append({"name": "mu", "type": "normfactor", "data": None})
        if process.free:
            modifiers.append({"name": f"norm {process.name}", "type": "normfactor", "data": None})
        if luminosity and process.luminosity and not process.free:
            modifiers.append({"name": "lumi", "type": "lumi", "data": None})
        _distinct([systematic.name for systematic in process.systematics], f"systematics of {what}")
        for systematic in process.systematics:
            modifiers += _variation(systematic, yields, what)
        if statistics and variances.any():
            kind, name = ("shapesys", f"{process.name} {channel.name}") if process.counted else (
                "staterror", channel.name)  # fmt: skip
            modifiers.append(
                {"name": f"statistics {name}", "type": kind, "data": np.sqrt(variances).tolist()}
            )
        samples.append({"name": process.name, "data": yields.tolist(), "modifiers": modifiers})
    empty = np.flatnonzero(np.atleast_1d(background) <= 0)
    if len(empty):
        raise InputError(
            f"no background is expected in bin {empty[0]} of '{channel.name}': merge it with its neighbour "
            "(`score_edges` chooses bins that hold enough)"
        )
    return samples


def _variation(systematic: Systematic, yields: Floats, what: str) -> list[dict[str, Any]]:
    """A `normsys` and, for templates, a `histosys` of one source."""
    name, up, down = systematic.name, systematic.up, systematic.down
    if isinstance(up, Real):
        high = 1 + float(up)
        low = (1 / high if high else 0.0) if down is None else 1 + float(down)
        if not (high > 0 and low > 0):
            raise InputError(f"systematic '{name}' of {what} leaves less than nothing: it must be above -1")
        return [{"name": name, "type": "normsys", "data": {"hi": high, "lo": low}}]
    above = _read(up, f"'{name}' up of {what}", len(yields))[0]
    mirrored = np.maximum(2 * yields - above, 0.0) if down is None else down
    below = _read(mirrored, f"'{name}' down of {what}", len(yields))[0]
    high, low = above.sum() / yields.sum(), below.sum() / yields.sum()
    modifiers = [{"name": name, "type": "normsys", "data": {"hi": high, "lo": low}}]
    shapes = {"hi_data": (above / high).tolist(), "lo_data": (below / low).tolist()}
    if any(not np.allclose(shape, yields, rtol=1e-6) for shape in shapes.values()):
        modifiers.append({"name": name, "type": "histosys", "data": shapes})
    return modifiers


def _read(template: Template, what: str, bins: int | None) -> tuple[Floats, Floats]:
    """Yields and variances of a template, checked."""
    if isinstance(template, Hist):
        if template.ndim != 1:
            raise InputError(f"{what} has {template.ndim} axes: a template has one")
        values, variances = template.values(), template.variances()
        if variances is None:
            raise InputError(
                f"{what} does not know its sum of squared weights: fill it with storage.Weight()"
            )
    else:
        try:
            values = np.atleast_1d(np.asarray(template, dtype=np.float64))
        except (TypeError, ValueError):
            raise InputError(f"{what} is not a histogram or a list of numbers") from None
        if values.ndim != 1:
            raise InputError(f"{what} has {values.ndim} axes: a template has one")
        variances = np.zeros_like(values)
    values = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if bins is not None and len(values) != bins:
        raise InputError(
            f"{what} has {len(values)} bins where {bins} were expected: use one binning per channel"
        )
    if not np.isfinite(values).all():
        raise InputError(f"{what} holds a number that is not finite: check the weights")
    if (values < 0).any():
        first = int(np.argmax(values < 0))
        raise InputError(
            f"{what} holds {values[first]:.3g} events in bin {first}: the weights there sum to less than "
            "zero; merge it with its neighbour or simulate more"
        )
    if not what.startswith("the data") and values.sum() <= 0:
        raise InputError(f"{what} is empty: check the selection, or leave the process out")
    return values, np.asarray(variances, dtype=np.float64)


def _distinct(names: Sequence[str], what: str) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"two {what} are called '{min(twice)}': names must differ")
