"""Parametrised b-tagging of whole events: the tags, scale factors as weights, and tags by weights alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.errors import InputError
from femtobarn.physics.groups import offsets_of, pairs, sums
from femtobarn.simulation.detector import BTagSettings
from femtobarn.simulation.rows import FLAVOURS

__all__ = ["btag_weights", "tag_columns", "tag_efficiency", "truth_tagged", "working_point"]

LABELS = {"bjets": 5, "cjets": 4, "ujets": 0, "taujets": 15}
Array = NDArray[np.float64]


def working_point(draw: Array, efficiency: Array) -> NDArray[np.int8]:
    """How many of the nested working points a jet passes, whose efficiencies are the columns, falling."""
    passed: NDArray[np.int8] = np.sum(draw[:, None] < efficiency, axis=1).astype(np.int8)
    return passed


def tag_efficiency(pt: Array, label: NDArray[Any], settings: BTagSettings) -> Array:
    """Probability (jets, working points) that a jet of a label (5, 4, 15, 0) is b-tagged."""

    def shapes(pt: Array) -> Array:
        bottom = np.tanh(0.003 * pt) * 30 / (1 + 0.086 * pt)
        charm = np.tanh(0.02 * pt) / (1 + 0.0034 * pt)
        return np.stack([bottom, charm, 1 + 0.00365 * pt])

    relative = shapes(pt) / shapes(np.array([settings.shape_pt]))
    bottom = np.outer(relative[0], settings.efficiency)
    charm = np.outer(relative[1], 1 / np.array(settings.c_rejection))
    light = np.outer(relative[2], 1 / np.array(settings.light_rejection))
    name = np.asarray(label)[:, None]
    chosen = np.select([name == 5, (name == 4) | (name == 15)], [bottom, charm], light)
    return np.asarray(np.clip(chosen, 0, 1))


def tag_columns(draw: Array, efficiency: Array, settings: BTagSettings) -> dict[str, NDArray[np.int8]]:
    """How many working points each jet passes, `btag`, and whether it passes each, `btag70` and so on."""
    passed = working_point(draw, efficiency)
    points = [round(100 * point) for point in settings.efficiency]
    return {"btag": passed} | {
        f"btag{point}": (passed > place).astype(np.int8) for place, point in enumerate(points)
    }


def btag_weights(
    rows: ak.Array,
    point: int,
    scale: dict[str, float],
    settings: BTagSettings | None = None,
    pt_min: float = 20.0,
) -> Array:
    """Weights (events,) that turn the sample into one whose tagging efficiencies are scaled.

    A jet that passes gets the scale, one that fails (1 - scale efficiency)/(1 - efficiency).

    Args:
        rows: whole events.
        point: the working point in per cent, 70.
        scale: factor of the efficiency by flavour, such as {"bjets": 0.98, "ujets": 1.1}.
        settings: those the sample was made with.
        pt_min: of the jets that are looked at, GeV.

    Raises:
        InputError: for a working point or a flavour that there is not.
    """
    settings = settings or BTagSettings()
    if unknown := set(scale) - set(LABELS):
        raise InputError(f"there is no flavour '{min(unknown)}'; there is: {', '.join(LABELS)}")
    tags = _tags(rows, point, settings, pt_min)
    factor = np.array([scale.get(name, 1.0) for name in FLAVOURS])[tags.flavour]
    factor = np.minimum(factor, 1 / np.maximum(tags.efficiency, 1e-9))
    failed = (1 - factor * tags.efficiency) / np.maximum(1 - tags.efficiency, 1e-9)
    weight = np.where(tags.passed, factor, failed)
    weight = np.where(tags.looked_at, weight, 1.0)
    return np.asarray(ak.prod(ak.unflatten(weight, tags.counts), axis=1), dtype=np.float64)


def truth_tagged(
    rows: ak.Array,
    point: int,
    tags: int = 2,
    settings: BTagSettings | None = None,
    pt_min: float = 20.0,
    seed: int = 1,
) -> ak.Array:
    """Events with exactly so many tags, by their probability instead of by chance.

    Every event that can have them is kept, with `mcEventWeight` and `crossSectionWeight` multiplied by the
    probability that exactly `tags` of its jets are tagged; which ones is drawn. Light jets, of which one in a
    thousand is tagged, so give many events of small weight instead of a few of large.

    Args:
        rows: whole events.
        point: the working point in per cent, 70.
        tags: 1 or 2.
        settings: those the sample was made with.
        pt_min: of the jets that are looked at, GeV.
        seed: of the draw.

    Raises:
        InputError: for a working point that there is not, or other numbers of tags.
    """
    settings = settings or BTagSettings()
    if tags not in (1, 2):
        raise InputError(f"events with {tags} tags cannot be made; give 1 or 2")
    now = _tags(rows, point, settings, pt_min)
    rng = np.random.default_rng(seed)
    efficiency = np.where(now.looked_at, np.minimum(now.efficiency, 1 - 1e-6), 0.0)
    odds = efficiency / (1 - efficiency)
    event = np.repeat(np.arange(len(rows)), now.counts)
    none = np.exp(sums(event, np.log1p(-efficiency), len(rows)))
    first, second = pairs(now.counts) if tags == 2 else (np.arange(len(odds)),) * 2
    # Choices event by event, each as likely as its odds.
    order = np.argsort(event[first], kind="stable")
    first, second = first[order], second[order]
    chance = odds[first] * odds[second] if tags == 2 else odds
    probability = none * sums(event[first], chance, len(rows))
    offsets = offsets_of(np.bincount(event[first], minlength=len(rows)))
    running = np.concatenate([[0.0], np.cumsum(chance)])
    draw = rng.random(len(rows))
    wanted = running[offsets[:-1]] + draw * (running[offsets[1:]] - running[offsets[:-1]])
    kept = np.flatnonzero(probability > 0)
    chosen = np.clip(np.searchsorted(running, wanted, side="right") - 1, offsets[:-1], offsets[1:] - 1)[kept]
    passed = np.zeros(len(odds), dtype=bool)
    passed[first[chosen]] = passed[second[chosen]] = True
    spread = rng.random(len(odds))
    score = np.where(passed, spread * efficiency, efficiency + spread * (1 - efficiency))
    every = tag_efficiency(now.pt, now.label, settings) * now.looked_at[:, None]
    jets = rows.jets
    for name, column in tag_columns(score, every, settings).items():
        jets = ak.with_field(jets, ak.unflatten(column, now.counts), name)
    result = ak.with_field(rows, jets, "jets")
    for name in {"mcEventWeight", "crossSectionWeight"} & set(rows.fields):
        weight = ak.to_numpy(rows[name]) * probability
        result = ak.with_field(result, weight.astype(np.float32), name)
    return result[kept]


class Tags(NamedTuple):
    """Of flat jets: how many each event has, which are looked at, pass, and how likely."""

    counts: NDArray[np.int64]
    pt: Array
    flavour: NDArray[Any]
    label: NDArray[np.int64]
    efficiency: Array
    passed: NDArray[np.bool_]
    looked_at: NDArray[np.bool_]


def _tags(rows: ak.Array, point: int, settings: BTagSettings, pt_min: float) -> Tags:
    points = [round(100 * efficiency) for efficiency in settings.efficiency]
    if point not in points:
        raise InputError(f"there is no working point {point}; there is: {', '.join(map(str, points))}")
    jets = ak.flatten(rows.jets)
    pt, flavour = ak.to_numpy(jets.pt).astype(np.float64), ak.to_numpy(jets.flavour_label)
    label = np.array([LABELS[name] for name in FLAVOURS])[flavour]
    return Tags(
        counts=ak.to_numpy(ak.num(rows.jets)).astype(np.int64),
        pt=pt,
        flavour=flavour,
        label=label,
        efficiency=tag_efficiency(pt, label, settings)[:, points.index(point)],
        passed=ak.to_numpy(jets[f"btag{point}"]) > 0,
        looked_at=(pt > pt_min) & (np.abs(ak.to_numpy(jets.eta)) < settings.eta_max),
    )
