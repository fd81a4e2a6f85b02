"""Flavour labels of jets from the hadrons and taus inside them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.groups import cross_pairs
from femtobarn.physics.kinematics import delta_r, pt_eta_phi
from femtobarn.simulation.calorimeter import JetTable
from femtobarn.simulation.collisions import Collisions

__all__ = ["jet_labels"]


def jet_labels(
    hard: Collisions, jets: JetTable, events: int, pt_min: float = 5.0, radius: float = 0.3
) -> dict[str, NDArray[np.float64]]:
    """Label `id` (5, 4, 15, 0), `pt` (GeV) and transverse decay length `lxy` (mm, from the primary vertex) of
    the hadron or tau each jet is named after.

    It has pT > `pt_min` (GeV) and is within `radius` of the jet axis; bottom goes before charm before tau,
    then the hardest.
    """
    hard = hard.take(hard.kind > 0)
    pt, eta, phi = pt_eta_phi(hard.px, hard.py, hard.pz)
    enough = pt > pt_min
    hard, pt, eta, phi = hard.take(enough), pt[enough], eta[enough], phi[enough]
    hadron, jet = cross_pairs(
        np.bincount(hard.event, minlength=events), np.bincount(jets.event, minlength=events)
    )
    close = delta_r(eta[hadron], phi[hadron], jets.eta[jet], jets.phi[jet]) < radius
    hadron, jet = hadron[close], jet[close]
    rank = np.select([hard.kind == 5, hard.kind == 4], [0, 1], 2)[hadron]
    order = np.lexsort((-pt[hadron], rank, jet))
    hadron, jet = hadron[order], jet[order]
    first = np.ones(len(jet), dtype=bool)
    first[1:] = jet[1:] != jet[:-1]
    hadron, jet = hadron[first], jet[first]
    label = {name: np.zeros(len(jets.pt)) for name in ("id", "pt", "lxy")}
    label["id"][jet] = hard.kind[hadron]
    label["pt"][jet] = pt[hadron]
    label["lxy"][jet] = np.hypot(hard.decay_x[hadron], hard.decay_y[hadron])
    return label
