"""Prompt leptons of the event a jet is from: how many, and the masses they make with the jet."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.kinematics import pt_eta_phi
from femtobarn.physics.truth import HADRON
from femtobarn.simulation.calorimeter import JetTable
from femtobarn.simulation.collisions import Collisions
from femtobarn.simulation.settings import SelectionSettings

__all__ = ["lepton_columns"]


def lepton_columns(
    hard: Collisions, jets: JetTable, events: int, selection: SelectionSettings
) -> dict[str, NDArray[Any]]:
    """Per jet: how many electrons and muons its event has, and the masses of it with two of them.

    Leptons are electrons and muons that come from no hadron, with the selection's pT and |eta|. The masses
    (GeV) are those of the jet with the event's hardest and second lepton, 0 where there is none. Momenta are
    the true ones: their resolution of one or two per cent is small beside that of the jets.
    """
    hard = hard.take(hard.final & np.isin(np.abs(hard.pdg_id), (11, 13)) & (hard.word & HADRON == 0))
    pt, eta, _ = pt_eta_phi(hard.px, hard.py, hard.pz)
    seen = (pt > selection.lepton_pt_min) & (np.abs(eta) < selection.lepton_eta_max)
    hard, pt = hard.take(seen), pt[seen]
    order = np.lexsort((-pt, hard.event))
    rank = np.arange(len(order)) - np.searchsorted(hard.event[order], hard.event[order])
    four = np.stack([hard.energy, hard.px, hard.py, hard.pz])[:, order]
    columns: dict[str, NDArray[Any]] = {}
    for name, code in (("numberOfElectrons", 11), ("numberOfMuons", 13)):
        number = np.bincount(hard.event[np.abs(hard.pdg_id) == code], minlength=events)
        columns[name] = number[jets.event].astype(np.uint8)
    jet = np.stack([
        jets.energy, jets.pt * np.cos(jets.phi), jets.pt * np.sin(jets.phi), jets.pt * np.sinh(jets.eta)
    ])  # fmt: skip
    for place, name in enumerate(("leadingLeptonMass", "subleadingLeptonMass")):
        this = rank == place
        lepton = np.zeros((4, events))
        lepton[:, hard.event[order][this]] = four[:, this]
        pair = jet + lepton[:, jets.event]
        squared = pair[0] ** 2 - (pair[1:] ** 2).sum(axis=0)
        there = lepton[0, jets.event] > 0
        columns[name] = np.where(there, np.sqrt(np.maximum(squared, 0)), 0).astype(np.float32)
    return columns
