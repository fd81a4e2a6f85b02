"""Scores of the search with rapidity-mass matrices: trainings, anomaly regions, and what they gain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.anomaly.rmm_autoencoder import RMMAutoencoder, cell_inputs
from femtobarn.data import Sample, from_memory
from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError
from femtobarn.physics.rapidity_mass import ATLAS_PAIRS, ATLAS_TYPES, LONGITUDINAL, cells
from femtobarn.recipes.rmm_samples import MASSES, Events
from femtobarn.recipes.run import Run
from femtobarn.statistics.significance import asimov

__all__ = [
    "TRAIN",
    "VALID",
    "Background",
    "Gain",
    "as_sample",
    "background_of",
    "cells",
    "cut",
    "gain",
    "judged",
    "scored",
    "shortest",
]

Array = NDArray[np.float64]
TRAIN, VALID = (0, 1), (1, 2)
"""Folds: one tenth of the events is learnt, another one stops the training; the others are searched."""
CHUNK = 5_000
STRENGTH = 2.0
"""Significance s/sqrt(b) that a signal is given in its mass window before any cut on the score."""
FEWEST = 3.0
"""Effective simulated events below which a background is not known, and a gain has only a lower limit."""


class Background(NamedTuple):
    """The background searched: all its sources together.

    Attributes:
        masses: (N, 9) GeV.
        weight: (N,) pb; each source's weights add up to its whole cross-section.
        source: (N,) the place of its source.
        scalar_sum: (N,) GeV: the transverse momenta of all objects and the missing one.
    """

    masses: NDArray[np.float32]
    weight: Array
    source: NDArray[np.int64]
    scalar_sum: Array


class Gain(NamedTuple):
    """What a cut makes of the significance of a signal in its mass window.

    Attributes:
        efficiency, efficiency_error: of the cut for the signal in the window.
        background: pb that pass, in the window.
        effective: simulated events behind it.
        ratio, error: significance after the cut over that before; NaN where the background is not known.
        lower_limit: of the ratio, at about 95 %, where it is not.
    """

    efficiency: float
    efficiency_error: float
    background: float
    effective: float
    ratio: float
    error: float
    lower_limit: float | None


def judged(events: Events) -> NDArray[np.bool_]:
    """Which events are searched: neither learnt nor used to stop the training."""
    return events.fold >= VALID[1]


def background_of(cocktail: Mapping[str, Events]) -> Background:
    """All sources together, without what was learnt from."""
    masses, weight, source, scalar = [], [], [], []
    for place, events in enumerate(cocktail.values()):
        kept = events.take(judged(events))
        masses.append(kept.masses)
        weight.append(kept.weight * (events.weight.sum() / max(kept.weight.sum(), 1e-300)))
        source.append(np.full(len(kept.weight), place))
        scalar.append(scalar_sum(kept))
    return Background(np.concatenate(masses), np.concatenate(weight), np.concatenate(source),
                      np.concatenate(scalar))  # fmt: skip


def scalar_sum(events: Events) -> Array:
    """Transverse momenta (N,) of all objects and the missing one: what a score is to beat."""
    total = ak.to_numpy(events.rows.met).astype(np.float64)
    for kind in ("jets", "bjets", "muons", "electrons", "photons"):
        total = total + ak.to_numpy(ak.sum(events.rows[kind].pt, axis=1))
    return np.asarray(total)


def as_sample(inputs: NDArray[np.float32], weight: Array) -> Sample:
    """Cells (N, C) as a sample with the fields that `cell_inputs` names."""
    columns = np.ascontiguousarray((inputs * _factors()).T)
    fields = {f"x{k + 1}": column for k, column in enumerate(columns)}
    return from_memory(ak.zip(fields | {"weight": weight}, depth_limit=1))


def _factors() -> NDArray[np.float32]:
    """What the cells (C,) are multiplied by: `LONGITUDINAL` for the rapidities, else they outweigh masses."""
    row, column = np.nonzero(cells(ATLAS_TYPES, ATLAS_PAIRS))
    return np.where(row > column, LONGITUDINAL, 1.0).astype(np.float32)


def scored(run: Run, seed: int, epochs: int, files: Mapping[str, Path], cocktail: Mapping[str, Events],
           signals: Mapping[str, Events]) -> Path:  # fmt: skip
    """Train on the cocktail and score all that was not learnt from: a folder of `model` and NAME.npy.

    The files say which events these are.
    """
    method = RMMAutoencoder()
    training = method.default_training().with_(seed=seed, epochs=epochs)

    def build(path: Path) -> None:
        train, valid = (learnt(cocktail, folds) for folds in (TRAIN, VALID))
        method.fit(
            train, valid, inputs=cell_inputs(int(cells(ATLAS_TYPES, ATLAS_PAIRS).sum())), training=training
        )
        with atomic(path) as folder:
            method.save(folder / "model")
            for name, events in {**cocktail, **signals}.items():
                some = events.take(judged(events))
                np.save(folder / f"{name}.npy", losses(method, some))

    key = {"files": sorted(file.name for file in files.values()),
           "training": training.model_dump(mode="json", exclude={"progress"})}  # fmt: skip
    code = ["learn", "anomaly.rmm_autoencoder", __name__]
    return run.cached(f"autoencoder {seed}", key, build, code=code)


def learnt(cocktail: Mapping[str, Events], folds: tuple[int, int]) -> Sample:
    """The events of some folds of all sources, whose mean weight is one.

    Raises:
        InputError: when there are none.
    """
    parts = [events.take((events.fold >= folds[0]) & (events.fold < folds[1]))
             for events in cocktail.values()]  # fmt: skip
    weight = np.concatenate([part.weight for part in parts])
    if not weight.sum() > 0:
        raise InputError("the cocktail has no events of positive weight to learn from: simulate more")
    inputs = np.concatenate([part.inputs() for part in parts])
    return as_sample(inputs, weight / weight.mean())


def losses(method: RMMAutoencoder, events: Events) -> Array:
    """Scores (N,) of events, some thousands at a time."""
    parts = [np.zeros(0)]
    for first in range(0, len(events.weight), CHUNK):
        part = slice(first, first + CHUNK)
        rows = Events(events.rows[part], events.weight[part], events.fold[part], events.masses[part])
        score = method.score(as_sample(rows.inputs(), rows.weight))[f"{method.name}_score"]
        parts.append(ak.to_numpy(score).astype(np.float64))
    return np.concatenate(parts)


def cut(score: Array, weight: Array, size: float) -> float:
    """The score above which events of a cross-section `size`, in the units of the weights, are left.

    Raises:
        InputError: when the score is the same for all events, or all of them are less than `size`.
    """
    if not np.ptp(score) > 0:
        raise InputError("the score is the same for all events, so that no cut on it tells them apart")
    order = np.argsort(-score, kind="stable")
    above = np.cumsum(weight[order])
    if above[-1] < size:
        raise InputError(f"all events together have {above[-1]:.3g} pb, less than a region of {size:g} pb")
    return float(score[order[np.searchsorted(above, size)]])


def shortest(values: NDArray[np.float32], share: float = 0.5) -> tuple[float, float]:
    """The shortest interval that holds a share of the values above zero: the mass window of a signal.

    Raises:
        InputError: when hardly a value is above zero.
    """
    ordered = np.sort(values[values > 0])
    count = max(2, round(share * len(ordered)))
    if len(ordered) < 2 * count - 1 or len(ordered) < 4:
        raise InputError(
            f"{len(ordered)} events with both objects are too few to find the window of a signal"
        )
    width = ordered[count - 1 :] - ordered[: len(ordered) - count + 1]
    first = int(width.argmin())
    return float(ordered[first]), float(ordered[first + count - 1])


def gain(mass: str, window: tuple[float, float], signal: tuple[Events, Array], background: Background,
         score: Array, threshold: float, luminosity: float) -> Gain:  # fmt: skip
    """What a cut on a score gains for a signal of s/sqrt(b) = `STRENGTH` before it, in its mass window.

    Args:
        mass: the pair mass looked at, one of `MASSES`.
        window: in GeV.
        signal: its events and their scores.
        background: all of it.
        score: (N,) of the background.
        threshold: of the score.
        luminosity: 1/pb.
    """
    place = MASSES.index(mass)
    in_window = [
        (m >= window[0]) & (m <= window[1]) for m in (signal[0].masses[:, place], background.masses[:, place])
    ]
    seen = max(int(in_window[0].sum()), 1)
    share = float((signal[1][in_window[0]] > threshold).sum()) / seen
    share_error = float(np.sqrt(max(share * (1 - share), 1 / seen) / seen))
    everything = background.weight[in_window[1]] * luminosity
    passed = everything[score[in_window[1]] > threshold]
    before, total, variance = float(everything.sum()), float(passed.sum()), float((passed**2).sum())
    strength = STRENGTH * float(np.sqrt(before))
    effective = total**2 / variance if variance > 0 else 0.0
    z, z_error = _significance(strength, before, 0.0, float((everything**2).sum()))
    if effective >= FEWEST:
        after, error = _significance(strength * share, total, (strength * share_error) ** 2, variance)
        ratio = after / z
        error = float(np.hypot(error / z, ratio * z_error / z))
        return Gain(share, share_error, total / luminosity, effective, ratio, error, None)
    # No more than three events on average where none was seen: three of the weights of those that pass.
    others = background.weight[score > threshold] * luminosity
    most = total + FEWEST * float(others.mean() if len(others) else everything.mean())
    limit = _significance(max(share - 1.64 * share_error, 0.0) * strength, most, 0.0, 0.0)[0] / z
    return Gain(share, share_error, total / luminosity, effective, np.nan, np.nan, limit)


def _significance(s: float, b: float, var_s: float, var_b: float) -> tuple[float, float]:
    """Asimov significance and its error."""
    found = asimov(s, b, var_s, var_b)
    return float(found.value), float(found.error)
