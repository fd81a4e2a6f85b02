"""Minimum-bias collisions: pools made once, from which pile-up and overlaid events are drawn."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import fields
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.groups import offsets_of, ramp
from femtobarn.physics.truth import PILEUP
from femtobarn.simulation.collisions import Collisions, collisions_of
from femtobarn.simulation.detector import EventSettings
from femtobarn.simulation.particles import Particles
from femtobarn.simulation.pythia import generate
from femtobarn.simulation.settings import PileupSettings, SimulationSettings

__all__ = ["POOL_BLOCK", "draw_collisions", "draw_tracks", "pool_block", "pool_folder"]

POOL_BLOCK = 500
"""Collisions per block: part of what a pool's seed means, so it never changes."""
_STREAMS = ("train", "valid", "test")
_FLOATS = ("charge", "px", "py", "pz", "energy", "x", "y", "z", "decay_x", "decay_y", "decay_z")


def pool_folder(settings: SimulationSettings | EventSettings) -> Path:
    """Where the pools of these settings are kept: `$FEMTOBARN_CACHE`, else the user's cache folder."""
    root = os.environ.get("FEMTOBARN_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "femtobarn"
    )
    shape = f"{settings.sqrt_s} {settings.calorimeter.eta_max} {settings.pileup.model_dump_json()}"
    key = f"{version('pythia8mc')} {shape} 2"
    return Path(root) / "minbias" / hashlib.sha256(key.encode()).hexdigest()[:16]


def pool_block(
    split: str, block: int, settings: SimulationSettings | EventSettings
) -> tuple[dict[str, NDArray[np.generic]], float]:
    """Columns of one block of a pool and the CPU seconds it took.

    `tracks.*` are the charged final particles a tracker might see, `all.*` all a calorimeter might, with the
    hadrons that name jets; `.counts` is how many of them each collision has. Every block of every split has
    its own stream.
    """
    start = time.process_time()
    words = np.random.SeedSequence([settings.pileup.seed, _STREAMS.index(split), block]).generate_state(1)
    record = generate("minbias", POOL_BLOCK, int(words[0]) % 900_000_000 + 1, settings.sqrt_s)
    everything = collisions_of(record)
    columns = {}
    for name, keep in (
        ("tracks", _tracks(everything, settings.pileup)),
        ("all", _visible(everything, settings)),
    ):
        table = everything.take(keep)
        for field in fields(Collisions)[1:]:
            column = getattr(table, field.name)
            columns[f"{name}.{field.name}"] = (
                column.astype(np.float32) if column.dtype == np.float64 else column
            )
        columns[f"{name}.counts"] = np.bincount(table.event, minlength=len(record.counts))
    return columns, time.process_time() - start


def _tracks(table: Collisions, settings: PileupSettings) -> NDArray[np.bool_]:
    pt = np.hypot(table.px, table.py)
    keep = table.final & (table.charge != 0) & (pt > settings.pt_min)
    keep &= np.abs(table.pz) < np.sinh(settings.eta_max) * pt
    return np.asarray(keep & (np.hypot(table.x, table.y) < 300.0))


def _visible(table: Collisions, settings: SimulationSettings | EventSettings) -> NDArray[np.bool_]:
    pt = np.hypot(table.px, table.py)
    inside = (np.abs(table.pz) < np.sinh(settings.calorimeter.eta_max) * pt) & (pt > 0.2)
    return np.asarray(inside | (table.kind > 0))


@lru_cache(maxsize=6)
def _load(path: Path, name: str) -> tuple[Collisions, NDArray[np.int64]]:
    with np.load(path) as file:
        columns = {field.name: file[f"{name}.{field.name}"] for field in fields(Collisions)[1:]}
        counts = file[f"{name}.counts"]
    return Collisions(event=np.repeat(np.arange(len(counts)), counts), **columns), offsets_of(counts)


def _draw(
    collisions: NDArray[np.int64], path: Path, name: str, rng: np.random.Generator
) -> tuple[Collisions, NDArray[np.int64]]:
    """Randomly chosen collisions of a pool, turned about the beam and mirrored at random, and for every
    particle which of the drawn collisions it belongs to."""
    pool, offsets = _load(path, name)
    chosen = rng.integers(len(offsets) - 1, size=len(collisions))
    counts = np.diff(offsets)[chosen]
    which = np.repeat(np.arange(len(collisions)), counts)
    table = pool.take(np.repeat(offsets[chosen], counts) + ramp(counts))
    angle = rng.uniform(0, 2 * np.pi, len(collisions))[which]
    mirror = rng.choice([-1.0, 1.0], len(collisions))[which]
    cosine, sine = np.cos(angle), np.sin(angle)
    columns = {name: getattr(table, name).astype(np.float64) for name in _FLOATS}
    for x, y, z in (("px", "py", "pz"), ("x", "y", "z"), ("decay_x", "decay_y", "decay_z")):
        across, up = columns[x], columns[y]
        columns |= {x: cosine * across - sine * up, y: sine * across + cosine * up, z: mirror * columns[z]}
    return table.with_columns(event=collisions[which], **columns), which


def draw_collisions(events: NDArray[np.int64], path: Path, rng: np.random.Generator) -> Collisions:
    """One collision of the pool at `path` for every entry of `events`: the event it is laid over."""
    return _draw(events, path, "all", rng)[0]


def draw_tracks(
    events: NDArray[np.int64], vertex: NDArray[np.float64], path: Path, rng: np.random.Generator
) -> Particles:
    """Pile-up particles: those of one collision for every entry of `events`, at its `vertex` (n, 3), mm."""
    table, which = _draw(events, path, "tracks", rng)
    names = ("event", "pdg_id", "charge", "px", "py", "pz")
    return Particles(
        **{name: getattr(table, name) for name in names},
        x=table.x + vertex[which, 0],
        y=table.y + vertex[which, 1],
        z=table.z + vertex[which, 2],
        origin=np.full(len(table), PILEUP, dtype=np.int8),
    )
