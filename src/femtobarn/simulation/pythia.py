"""Collisions: Pythia 8 in a worker, its event record as flat numpy arrays."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.errors import InputError, require
from femtobarn.simulation.processes import pythia_settings
from femtobarn.simulation.zprime import quark_source

__all__ = ["CrossSection", "Record", "check", "cross_section", "generate"]

Array = NDArray[np.float64]


class Record(NamedTuple):
    """Particles of many events, flat: GeV and mm, production points relative to the collision."""

    counts: NDArray[np.int64]
    pdg_id: NDArray[np.int32]
    final: NDArray[np.bool_]
    mother: NDArray[np.int64]
    px: Array
    py: Array
    pz: Array
    energy: Array
    x: Array
    y: Array
    z: Array
    weight: Array
    """One per event."""


class CrossSection(NamedTuple):
    """Of a process with its decays and cuts, at leading order, and its error, fb."""

    value: float
    error: float


def check(settings: list[str]) -> None:
    """Refuse a line Pythia does not understand, before any work is done.

    Raises:
        InputError: naming the line.
    """
    _configured(tuple(settings))


def _configured(settings: tuple[str, ...]) -> Any:
    pythia = require("pythia8mc", "simulation").Pythia("", False)
    for line in settings:
        if not pythia.readString(line, False):
            raise InputError(
                f"Pythia does not know the setting '{line}': see the Pythia 8 manual for its name and values"
            )
    return pythia


@lru_cache(maxsize=16)
def _pythia(process: str, sqrt_s: float, settings: tuple[str, ...]) -> tuple[Any, Any]:
    """One generator per worker process and kind of collision, since initialising takes seconds; and the
    source of its hard processes when that is not Pythia."""
    pythia = _configured(settings)
    source = quark_source(sqrt_s) if process == "zprime" else None
    if source is not None:
        pythia.setLHAupPtr(source)
    if not pythia.init():
        raise InputError(f"Pythia cannot start '{process}' with these settings: {', '.join(settings[6:])}")
    return pythia, source


def generate(
    process: str,
    events: int,
    seed: int,
    sqrt_s: float,
    multiparton: bool = True,
    further: tuple[str, ...] = (),
) -> Record:
    """Generate events with the random stream `seed` (below 900 million).

    The same seed gives the same events whatever was generated before: no state but the random numbers lives
    on in Pythia between events.
    """
    pythia, source = _pythia(process, sqrt_s, tuple(pythia_settings(process, sqrt_s, multiparton, further)))
    if source is not None:
        # Some more than asked for, since Pythia skips the odd event it cannot finish.
        source.refill(2 * events, seed)
    pythia.rndm.init(seed)
    batch = pythia.nextBatch(events)
    if not len(batch):
        raise InputError(f"Pythia made no '{process}' event with these settings: {', '.join(further)}")
    return flatten(batch)


def cross_section(
    process: str, sqrt_s: float, further: tuple[str, ...] = (), events: int = 20_000
) -> CrossSection:
    """Cross-section from hard processes alone, without showers and hadrons: half a per cent within a second.

    Raises:
        InputError: for a process whose hard part is not Pythia's, or that it cannot start.
    """
    if process == "zprime":
        raise InputError("the process 'zprime' has no cross-section: it is made to have a flat spectrum")
    lines = pythia_settings(process, sqrt_s, False, further)
    pythia = _configured((*lines, "PartonLevel:all = off", "HadronLevel:all = off"))
    if not pythia.init():
        raise InputError(f"Pythia cannot start '{process}' with these settings: {', '.join(further)}")
    pythia.rndm.init(1)
    pythia.nextBatch(events)
    info = pythia.infoPython()
    return CrossSection(1e12 * info.sigmaGen(), 1e12 * info.sigmaErr())


def flatten(batch: ak.Array) -> Record:
    """The flat arrays of a batch, mothers as global indices (-1: none), production points missing in Pythia
    at 0."""
    counts = ak.to_numpy(ak.num(batch.prt.id, axis=1)).astype(np.int64)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    particles = ak.flatten(batch.prt, axis=1)
    mother = ak.to_numpy(particles.mother1).astype(np.int64)
    vertex = [ak.to_numpy(ak.fill_none(particles.vProd[name], 0.0)) for name in ("px", "py", "pz")]
    return Record(
        counts=counts,
        pdg_id=ak.to_numpy(particles.id),
        final=ak.to_numpy(particles.status) > 0,
        mother=np.where(mother > 0, mother + starts, -1),
        **{name: ak.to_numpy(particles.p[name]) for name in ("px", "py", "pz")},
        energy=ak.to_numpy(particles.p.e),
        x=vertex[0],
        y=vertex[1],
        z=vertex[2],
        weight=ak.to_numpy(batch.info.weights[:, 0]).astype(np.float64),
    )
