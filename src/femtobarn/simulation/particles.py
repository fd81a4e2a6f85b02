"""Charged particles on their way into the tracker: one flat table with a row per candidate track."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Particles", "concatenate"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Particles:
    """Columns of equal length; GeV, mm. Production points are in the detector frame."""

    event: NDArray[np.int64]
    pdg_id: NDArray[np.int32]
    charge: Array
    px: Array
    py: Array
    pz: Array
    x: Array
    y: Array
    z: Array
    origin: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.event)

    def take(self, index: NDArray[Any]) -> Particles:
        """The rows of an index or mask."""
        return Particles(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def with_columns(self, **columns: Any) -> Particles:
        """A copy with some columns replaced."""
        return replace(self, **columns)


def concatenate(*tables: Particles) -> Particles:
    """All rows, ordered by event, the order within an event being that of the tables."""
    joined = {
        field.name: np.concatenate([getattr(t, field.name) for t in tables]) for field in fields(Particles)
    }
    order = np.argsort(joined["event"], kind="stable")
    return Particles(**{name: column[order] for name, column in joined.items()})
