"""Pile-up: pools of minimum-bias collisions made once, and tracks drawn from them."""

from __future__ import annotations

import hashlib
import os
import time
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics import pdg
from femtobarn.physics.groups import offsets_of, ramp
from femtobarn.physics.truth import PILEUP
from femtobarn.simulation.particles import Particles
from femtobarn.simulation.pythia import Record, generate
from femtobarn.simulation.settings import PileupSettings, SimulationSettings

__all__ = ["POOL_BLOCK", "draw", "pool_block", "pool_folder"]

POOL_BLOCK = 500
COLUMNS = ("px", "py", "pz", "x", "y", "z", "charge", "pdg_id")


def pool_folder(settings: SimulationSettings) -> Path:
    """Where the pools of these settings are kept: `$FEMTOBARN_CACHE`, else the user's cache folder."""
    root = os.environ.get("FEMTOBARN_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "femtobarn"
    )
    key = f"{version('pythia8mc')} {settings.sqrt_s} {settings.pileup.model_dump_json()} 1"
    return Path(root) / "minbias" / hashlib.sha256(key.encode()).hexdigest()[:16]


def charged_tracks(record: Record, settings: PileupSettings) -> dict[str, NDArray[np.float32]]:
    """Columns of the charged final particles a tracker might see, and `counts` per event."""
    event = np.repeat(np.arange(len(record.counts)), record.counts)
    pt = np.hypot(record.px, record.py)
    keep = record.final & (pt > settings.pt_min) & (np.abs(record.pz) < np.sinh(settings.eta_max) * pt)
    keep &= np.hypot(record.x, record.y) < 300.0
    keep = np.flatnonzero(keep)
    charge = pdg.charge(record.pdg_id[keep])
    keep, charge = keep[charge != 0], charge[charge != 0]
    columns = {
        name: getattr(record, name)[keep].astype(np.float32) for name in COLUMNS if hasattr(record, name)
    }
    return columns | {
        "charge": charge.astype(np.float32),
        "counts": np.bincount(event[keep], minlength=len(record.counts)).astype(np.float32),
    }


def pool_block(
    split: str, block: int, settings: SimulationSettings
) -> tuple[dict[str, NDArray[np.float32]], float]:
    """One block of a pool and the CPU seconds it took; every block of every split has its own random stream."""
    start = time.process_time()
    streams = ("train", "valid", "test")
    words = np.random.SeedSequence([settings.pileup.seed, streams.index(split), block]).generate_state(1)
    record = generate("minbias", POOL_BLOCK, int(words[0]) % 900_000_000 + 1, settings.sqrt_s)
    return charged_tracks(record, settings.pileup), time.process_time() - start


@lru_cache(maxsize=6)
def _load(path: Path) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]:
    with np.load(path) as file:
        columns = {name: file[name] for name in file.files}
    return columns, offsets_of(columns.pop("counts").astype(np.int64))


def draw(
    collisions: NDArray[np.int64], vertex: NDArray[np.float64], path: Path, rng: np.random.Generator
) -> Particles:
    """Particles of randomly chosen collisions of a pool, turned about the beam and mirrored at random.

    Args:
        collisions: event each drawn collision belongs to.
        vertex: (n, 3) where it happens, mm.
        path: file of the pool.
        rng: random stream.
    """
    columns, offsets = _load(path)
    chosen = rng.integers(len(offsets) - 1, size=len(collisions))
    counts = np.diff(offsets)[chosen]
    index = np.repeat(offsets[chosen], counts) + ramp(counts)
    which = np.repeat(np.arange(len(collisions)), counts)
    angle = rng.uniform(0, 2 * np.pi, len(collisions))[which]
    mirror = rng.choice([-1.0, 1.0], len(collisions))[which]
    cosine, sine = np.cos(angle), np.sin(angle)
    table = {name: column[index].astype(np.float64) for name, column in columns.items()}
    return Particles(
        event=collisions[which],
        pdg_id=table["pdg_id"].astype(np.int32),
        charge=table["charge"],
        px=cosine * table["px"] - sine * table["py"],
        py=sine * table["px"] + cosine * table["py"],
        pz=mirror * table["pz"],
        x=cosine * table["x"] - sine * table["y"] + vertex[which, 0],
        y=sine * table["x"] + cosine * table["y"] + vertex[which, 1],
        z=mirror * table["z"] + vertex[which, 2],
        origin=np.full(len(index), PILEUP, dtype=np.int8),
    )
