"""What a PDG number says: classes of particles and their charge, vectorised.

Numbering scheme: Review of Particle Physics, "Monte Carlo particle numbering scheme".
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "charge",
    "has_bottom",
    "has_charm",
    "is_hadron",
    "is_invisible",
    "is_neutrino",
    "is_strange_decaying",
]

Integers = NDArray[np.integer]
Mask = NDArray[np.bool_]


def _quarks(pdg_id: Integers) -> tuple[Integers, Integers, Integers]:
    number = np.abs(pdg_id)
    return number // 1000 % 10, number // 100 % 10, number // 10 % 10


def is_hadron(pdg_id: Integers) -> Mask:
    """Mesons and baryons, excited ones and diffractive states too; no nuclei, no diquarks."""
    _, second, third = _quarks(pdg_id)
    return np.asarray((np.abs(pdg_id) > 100) & (np.abs(pdg_id) < 10**9) & (second > 0) & (third > 0))


def has_bottom(pdg_id: Integers) -> Mask:
    """Hadrons with open bottom (not the Upsilon family)."""
    first, second, third = _quarks(pdg_id)
    hidden = (first == 0) & (second == 5) & (third == 5)
    return np.asarray(is_hadron(pdg_id) & ((first == 5) | (second == 5) | (third == 5)) & ~hidden)


def has_charm(pdg_id: Integers) -> Mask:
    """Hadrons with open charm and no bottom (not the J/psi family)."""
    first, second, third = _quarks(pdg_id)
    hidden = (first == 0) & (second == 4) & (third == 4)
    open_charm = ((first == 4) | (second == 4) | (third == 4)) & ~hidden
    return np.asarray(is_hadron(pdg_id) & open_charm & ~((first == 5) | (second == 5) | (third == 5)))


def is_strange_decaying(pdg_id: Integers) -> Mask:
    """Particles that may decay inside a tracker: K_S, K_L, K+-, pi+-, Lambda, Sigma+-, Xi, Omega."""
    return np.isin(np.abs(pdg_id), (310, 130, 321, 211, 3122, 3112, 3222, 3312, 3322, 3334))


def is_invisible(pdg_id: Integers) -> Mask:
    """Neutrinos, dark matter (51 to 60) and particles of a hidden valley."""
    number = np.abs(pdg_id)
    dark = (number > 50) & (number <= 60)
    return np.asarray(is_neutrino(pdg_id) | dark | ((number > 4_900_000) & (number < 5_000_000)))


def is_neutrino(pdg_id: Integers) -> Mask:
    """Electron, muon and tau neutrinos."""
    return np.isin(np.abs(pdg_id), (12, 14, 16))


@cache
def _three_charge(pdg_id: int) -> int:
    from particle.pdgid import functions

    return functions.three_charge(pdg_id) or 0


def charge(pdg_id: Integers) -> NDArray[np.float64]:
    """Electric charge in units of e; 0 for numbers without meaning."""
    unique, inverse = np.unique(pdg_id, return_inverse=True)
    table = np.array([_three_charge(int(number)) / 3 for number in unique], dtype=np.float64)
    return np.asarray(table[inverse]) if len(unique) else np.zeros(0)
