"""From scores to expected significance: templates, models with systematic uncertainties, bootstrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.recipes.higgs_channels import CHANNELS
from femtobarn.statistics.histfactory import Channel, Process, Systematic, workspace
from femtobarn.statistics.inference import Model, discovery
from femtobarn.statistics.thresholds import score_edges

__all__ = ["ANALYSES", "Scored", "Templates", "model_of", "significances", "templates", "without_empty"]

Floats = NDArray[np.float64]
ANALYSES = {
    "vh": ("vh_0lepton", "vh_1lepton", "vh_2lepton"),
    "gamgam": ("gamgam",),
    "tautau": ("tautau",),
}
"""Channels that are fitted together, as in the table of Nature 560, 41."""
LUMINOSITY, B_TAGGING = 0.01, 0.04
"""Relative uncertainties of all that is simulated; ours, of the size that ATLAS quotes."""

MOST = 1.5
"""Factor by which a variation may change a bin: more is a fluctuation of few simulated events."""


class Scored(NamedTuple):
    """What a method says of each row, by variation: a score, or for cuts whether the row passes."""

    cuts: bool
    values: dict[str, Floats]


class Templates(NamedTuple):
    """Of one half of a channel's events: events by source (S, B), and the ratio to them of all signal and all
    background (2, B) under each variation, up and down."""

    channel: str
    half: int
    edges: Floats
    sources: Floats
    shifts: dict[str, tuple[Floats, Floats]]


def templates(
    settings: Any, channel: str, rows: Mapping[str, ak.Array], scored: Scored, half: int
) -> tuple[Templates, Floats]:
    """Templates of the events of even folds (half 0) or odd ones, in bins chosen on the other half: no event
    helps to choose the bins that it is counted in; and those of bootstrap samples (R, S, B)."""
    here, nominal = CHANNELS[channel], rows["nominal"]
    names = (*here.signal, *here.backgrounds)
    own = {name: ak.to_numpy(rows[name].fold) % 2 == half for name in rows}
    observable = {name: _observable(channel, rows[name], scored, name) for name in rows}
    passes = {name: np.isfinite(values) for name, values in observable.items()}
    weight, label = ak.to_numpy(nominal.expected), ak.to_numpy(nominal.label)
    other = ~own["nominal"] & passes["nominal"]
    if scored.cuts:
        _, low, high, bins = here.mass
        known = other & (label == 1)
        edges = merged(np.linspace(low, high, bins + 1), observable["nominal"][known], weight[known],
                       settings.least)  # fmt: skip
    else:
        edges = score_edges(observable["nominal"][other], label[other] == 0, weight[other],
                            bins=settings.bins, minimum=settings.least)  # fmt: skip
    shape = (len(names), len(edges) - 1)

    def filled(name: str, factor: Floats | None = None) -> Floats:
        table, used = rows[name], own[name] & passes[name]
        weights = ak.to_numpy(table.expected)[used] * (1.0 if factor is None else factor[used])
        place = np.clip(np.searchsorted(edges, observable[name][used], side="right") - 1, 0, shape[1] - 1)
        cell = ak.to_numpy(table.source)[used].astype(np.int64) * shape[1] + place
        counts = np.bincount(cell, weights, minlength=shape[0] * shape[1]).reshape(shape)
        return np.asarray(counts, dtype=np.float64)

    sources = filled("nominal")
    signal = len(here.signal)
    totals = _two(sources, signal)
    shifts: dict[str, tuple[Floats, Floats]] = {}
    for shift in sorted({name[:-3] for name in rows if name != "nominal"}):
        sides = [_two(filled(f"{shift} {side}1"), signal) for side in "+-"]
        up, down = (np.clip(_ratio(side, totals), 1 / MOST, MOST) for side in sides)
        shifts[shift] = (up, down)
    rng = np.random.default_rng(20_181_025)
    replicas = [filled("nominal", rng.poisson(1.0, len(nominal)).astype(np.float64))
                for _ in range(settings.replicas)]  # fmt: skip
    return Templates(channel, half, edges, sources, shifts), np.reshape(replicas, (-1, *shape))


def _ratio(varied: Floats, nominal: Floats) -> Floats:
    """1 where there is nothing to vary."""
    return np.where(nominal > 0, varied / np.where(nominal > 0, nominal, 1.0), 1.0)


def _two(sources: Floats, signal: int) -> Floats:
    return np.stack([sources[:signal].sum(axis=0), sources[signal:].sum(axis=0)])


def _observable(channel: str, rows: ak.Array, scored: Scored, name: str) -> Floats:
    """The score, or for cuts the mass of what passes and is in range; NaN is left out."""
    if not scored.cuts:
        return scored.values[name]
    feature, low, high, _ = CHANNELS[channel].mass
    mass = ak.to_numpy(rows[feature]).astype(np.float64)
    return np.where((scored.values[name] > 0.5) & (mass >= low) & (mass < high), mass, np.nan)


def merged(edges: Floats, values: Floats, weights: Floats, least: float) -> Floats:
    """Bins joined from the left until each holds `least` effective events; what is left joins the last."""
    place = np.searchsorted(edges, values, side="right") - 1
    sums = [np.bincount(place, weights**power, minlength=len(edges) - 1) for power in (1, 2)]
    kept, total, squares = [edges[0]], 0.0, 0.0
    for k in range(len(edges) - 1):
        total, squares = total + sums[0][k], squares + sums[1][k]
        if squares > 0 and total**2 / squares >= least:
            kept.append(edges[k + 1])
            total, squares = 0.0, 0.0
    return np.asarray([*kept[:-1], edges[-1]] if len(kept) > 1 else [edges[0], edges[-1]])


def model_of(settings: Any, made: Sequence[Templates]) -> Model:
    """The channels as one binned model; one name is one source of uncertainty in all of them.

    The size of the simulation is left out, as an experiment makes it as large as it takes; what it does to
    the significance is told by the bootstrap.
    """
    channels = []
    for one in made:
        here = CHANNELS[one.channel]
        processes = []
        for number, name in enumerate((*here.signal, *here.backgrounds)):
            own, signal = one.sources[number], name in here.signal
            if not own.sum() > 0:
                continue
            known = [Systematic(f"norm {name}", settings.uncertainties.get(name, 0.05))]
            if one.channel.startswith("vh"):
                known.append(Systematic("b-tagging", B_TAGGING))
            known += [Systematic(shift, own * up[int(not signal)], own * down[int(not signal)])
                      for shift, (up, down) in one.shifts.items()]  # fmt: skip
            processes.append(Process(name, own, known, signal=signal))
        channels.append(Channel(f"{one.channel} {one.half}", processes))
    return Model.of(workspace(channels, luminosity=LUMINOSITY, statistics=False))


def significances(
    settings: Any,
    rows: Mapping[str, Mapping[str, ak.Array]],
    scored: Mapping[str, Scored],
    analyses: Mapping[str, Sequence[str]],
) -> dict[str, tuple[float, Floats]]:
    """Expected significance of each analysis, and those of bootstrap samples (R,) that all methods share."""
    made = {
        channel: [templates(settings, channel, rows[channel], own, half) for half in (0, 1)]
        for channel, own in scored.items()
    }
    found = {}
    for name, channels in analyses.items():
        halves = [half for channel in channels for half in made[channel]]
        z = expected(settings, [nominal for nominal, _ in halves])
        spread = [
            expected(settings, [nominal._replace(sources=replicas[r]) for nominal, replicas in halves])
            for r in range(settings.replicas)
        ]
        found[name] = (z, np.array(spread))
    return found


def expected(settings: Any, made: Sequence[Templates]) -> float:
    """Median significance if the signal is there; bins that a bootstrap sample left empty are joined to their
    neighbours."""
    model = model_of(settings, [without_empty(one) for one in made])
    return discovery(model, model.asimov(mu=1.0)).z


def without_empty(one: Templates) -> Templates:
    """The same, bins without background joined to their left neighbours, a first one to its right."""
    background = one.sources[len(CHANNELS[one.channel].signal) :].sum(axis=0)
    if (background > 0).all():
        return one
    group = np.maximum(np.cumsum(background > 0) - 1, 0)
    start = np.searchsorted(group, np.arange(group[-1] + 1))
    nominal = _two(one.sources, len(CHANNELS[one.channel].signal))
    total = np.add.reduceat(nominal, start, axis=1)
    shifts = {}
    for name, sides in one.shifts.items():
        joined = [np.add.reduceat(nominal * side, start, axis=1) for side in sides]
        up, down = (_ratio(side, total) for side in joined)
        shifts[name] = (up, down)
    return one._replace(
        edges=one.edges[np.append(start, -1)],
        sources=np.add.reduceat(one.sources, start, axis=1),
        shifts=shifts,
    )
