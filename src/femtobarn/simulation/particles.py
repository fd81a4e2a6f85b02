"""Particles on their way into the tracker, charged ones and photons, in the detector frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from femtobarn.simulation.table import Table

__all__ = ["Particles"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Particles(Table):
    """GeV, mm; the beam line is at x = y = 0. `origin` is an index into `physics.truth.ORIGINS`."""

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
