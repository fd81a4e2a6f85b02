"""What is kept of a record: final particles and the hadrons and taus that name jets, with their ancestry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics import pdg
from femtobarn.physics.truth import (
    BOTTOM,
    CHARM,
    HADRON,
    STRANGE,
    TAU,
    ancestors,
    decay_parents,
    weakly_decaying,
)
from femtobarn.simulation.pythia import Record
from femtobarn.simulation.table import Table

__all__ = ["Collisions", "collisions_of"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Collisions(Table):
    """Ordered by event; GeV, and mm from the collision."""

    event: NDArray[np.int64]
    pdg_id: NDArray[np.int32]
    charge: Array
    px: Array
    py: Array
    pz: Array
    energy: Array
    x: Array
    y: Array
    z: Array
    decay_x: Array
    decay_y: Array
    decay_z: Array
    """Decay point of the particles of a `kind`."""
    word: NDArray[np.uint8]
    """Ancestry, see `physics.truth`."""
    kind: NDArray[np.int8]
    """5, 4, 15 for weakly decaying b-hadrons, c-hadrons and taus, else 0."""
    final: NDArray[np.bool_]


def collisions_of(record: Record) -> Collisions:
    """Reduce a record to its final particles and labelling hadrons."""
    ids = record.pdg_id
    parent = decay_parents(ids, record.mother)
    bottom = weakly_decaying(pdg.has_bottom(ids), parent)
    charm = weakly_decaying(pdg.has_charm(ids), parent)
    tau = weakly_decaying(np.abs(ids) == 15, parent)
    strange = pdg.is_strange_decaying(ids) & ~record.final
    own = bottom * BOTTOM | charm * CHARM | tau * TAU | strange * STRANGE | pdg.is_hadron(ids) * HADRON
    word = ancestors(own.astype(np.uint8), parent)
    kind = np.select([bottom, charm, tau], [5, 4, 15], 0).astype(np.int8)
    decay = np.zeros((3, len(ids)))
    children = np.flatnonzero((parent >= 0) & (kind[parent] > 0))
    decay[:, parent[children]] = np.stack([record.x[children], record.y[children], record.z[children]])
    kept = np.flatnonzero(record.final | (kind > 0))
    names = ("px", "py", "pz", "energy", "x", "y", "z")
    return Collisions(
        event=np.repeat(np.arange(len(record.counts)), record.counts)[kept],
        pdg_id=ids[kept],
        charge=pdg.charge(ids[kept]),
        **{name: getattr(record, name)[kept] for name in names},
        **{f"decay_{axis}": decay[row, kept] for row, axis in enumerate("xyz")},
        word=word[kept],
        kind=kind[kept],
        final=record.final[kept],
    )
