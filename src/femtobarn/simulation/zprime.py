"""A Z' whose jets are flat in pT: the hard process is drawn here and handed to Pythia, which does the rest.

No mass and no width of a real resonance gives a flat spectrum, so mass and decay angle are chosen event by
event such that the b-jets' pT is, within 15 % from 250 GeV to 4.5 TeV; initial and final state radiation,
multi-parton interactions and hadronisation are Pythia's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from femtobarn.errors import require

__all__ = ["hard_events", "quark_source"]

PT_MIN, PT_MAX = 220.0, 5200.0
"""GeV, of the quarks: jets lose a little out of their cone and to neutrinos."""
SLOPE = 2.0
"""The density of the quarks' pT rises from 1 to 1 + SLOPE, which makes up for what jets lose to radiation."""
COSINE_MAX, RAPIDITY_MAX, FRACTION_MAX = 0.85, 1.5, 0.95
MASSES = (0.0, 0.0, 0.0, 0.0, 1.5, 4.8)

Array = NDArray[np.float64]


def hard_events(events: int, sqrt_s: float, rng: np.random.Generator) -> dict[str, Array]:
    """Draw q qbar -> Z' -> q' qbar' at leading order.

    The quarks' pT lies between 220 GeV and 5.2 TeV (or 0.45 of the collision energy, if that is less), the
    decay angle and the rapidity of the Z' are uniform in the range left; one third each are b, c and light
    (d, u, s).

    Args:
        events: how many.
        sqrt_s: collision energy, TeV.
        rng: random stream.

    Returns:
        Columns in the order the source reads them: the quarks' flavour and mass, the mass of the Z', the
        flavour and energies of the incoming partons, the momenta of the outgoing ones, GeV.
    """
    total = 1000 * sqrt_s
    span = min(PT_MAX, 0.45 * total) - PT_MIN
    # The inverse of the integral of 1 + SLOPE t for t from 0 to 1.
    pt = PT_MIN + span * (np.sqrt(1 + rng.random(events) * SLOPE * (2 + SLOPE)) - 1) / SLOPE
    flavour = np.array([5, 4, 0])[rng.integers(3, size=events)]
    flavour = np.where(flavour > 0, flavour, rng.integers(1, 4, events))
    quark_mass = np.array(MASSES)[flavour]
    transverse = np.hypot(pt, quark_mass)
    highest = np.sqrt(1 - (2 * transverse / (FRACTION_MAX * total)) ** 2)
    cosine = rng.uniform(-1, 1, events) * np.minimum(COSINE_MAX, highest)
    momentum = pt / np.sqrt(1 - cosine**2)
    half = np.hypot(momentum, quark_mass)
    mass = 2 * half
    rapidity = rng.uniform(-1, 1, events) * np.minimum(RAPIDITY_MAX, FRACTION_MAX * np.log(total / mass))
    azimuth = rng.uniform(0, 2 * np.pi, events)
    boost, cosh = np.sinh(rapidity), np.cosh(rapidity)
    pz = momentum * cosine
    return {
        "flavour": flavour.astype(np.float64),
        "quark_mass": quark_mass,
        "mass": mass,
        "incoming": 1.0 + (rng.random(events) < 2 / 3),
        "e1": half * np.exp(rapidity),
        "e2": half * np.exp(-rapidity),
        "px": pt * np.cos(azimuth),
        "py": pt * np.sin(azimuth),
        "pz1": cosh * pz + boost * half,
        "energy1": cosh * half + boost * pz,
        "pz2": -cosh * pz + boost * half,
        "energy2": cosh * half - boost * pz,
    }


def quark_source(sqrt_s: float) -> Any:
    """A Les Houches source for Pythia, with a method `refill(events, seed)` to call before each block."""
    pythia8 = require("pythia8mc", "simulation")

    class Source(pythia8.LHAup):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.rows: list[list[float]] = []

        def refill(self, events: int, seed: int) -> None:
            columns = hard_events(events, sqrt_s, np.random.default_rng(seed))
            self.rows = np.column_stack(list(columns.values()))[::-1].tolist()

        def setInit(self) -> bool:
            for beam in (self.setBeamA, self.setBeamB):
                beam(2212, 500 * sqrt_s, -1, -1)
            self.setStrategy(3)
            self.addProcess(1, 1.0, 0.0, 1.0)
            return True

        def setEvent(self, process: int = 0) -> bool:
            if not self.rows:
                return False
            flavour, m, mass, incoming, e1, e2, px, py, pz1, energy1, pz2, energy2 = self.rows.pop()
            quark, parton = int(flavour), int(incoming)
            self.setProcess(1, 1.0, mass, -1.0, -1.0)
            self.addParticle(parton, -1, 0, 0, 501, 0, 0.0, 0.0, e1, e1, 0.0)
            self.addParticle(-parton, -1, 0, 0, 0, 501, 0.0, 0.0, -e2, e2, 0.0)
            self.addParticle(32, 2, 1, 2, 0, 0, 0.0, 0.0, e1 - e2, e1 + e2, mass)
            self.addParticle(quark, 1, 3, 3, 502, 0, px, py, pz1, energy1, m)
            self.addParticle(-quark, 1, 3, 3, 0, 502, -px, -py, pz2, energy2, m)
            return True

    return Source()
