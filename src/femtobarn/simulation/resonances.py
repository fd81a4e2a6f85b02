"""Labels of large-radius jets: the Higgs boson or the top quark whose decay they hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.groups import cross_pairs
from femtobarn.physics.kinematics import delta_r, pt_eta_phi
from femtobarn.simulation.calorimeter import JetTable
from femtobarn.simulation.pythia import Record

__all__ = ["RESONANCES", "resonance_labels"]

RESONANCES = ("qcd", "top", "hbb", "hcc", "other")
"""Names of the codes: `top` decays to quarks, `other` is a top that decays to leptons."""
QCD, TOP, HBB, HCC, OTHER = range(5)
HIGGS, TOP_QUARK, W_BOSON = 25, 6, 24


def resonance_labels(record: Record, jets: JetTable, radius: float) -> NDArray[np.int8]:
    """Code (jets,) of the resonance within `radius` of each jet's axis, `qcd` where there is none.

    Of several a Higgs boson goes before a top, then the hardest.
    """
    kind = _decays(record)
    chosen = np.flatnonzero(kind)
    event = np.repeat(np.arange(len(record.counts)), record.counts)[chosen]
    pt, eta, phi = pt_eta_phi(record.px[chosen], record.py[chosen], record.pz[chosen])
    events = len(record.counts)
    which, jet = cross_pairs(np.bincount(event, minlength=events), np.bincount(jets.event, minlength=events))
    close = delta_r(eta[which], phi[which], jets.eta[jet], jets.phi[jet]) < radius
    which, jet = which[close], jet[close]
    light = np.isin(kind[chosen][which], (TOP, OTHER))
    order = np.lexsort((-pt[which], light, jet))[::-1]
    label = np.full(len(jets.pt), QCD, dtype=np.int8)
    label[jet[order]] = kind[chosen][which[order]]  # the best comes last
    return label


def _decays(record: Record) -> NDArray[np.int8]:
    """What each particle is as a resonance that decays: a code, or 0. Only last copies decay."""
    ids, mother = np.abs(record.pdg_id), record.mother
    child = np.flatnonzero(mother >= 0)
    parent = mother[child]
    kind = np.zeros(len(ids), dtype=np.int8)
    for quark, code in ((5, HBB), (4, HCC)):
        kind[parent[(ids[parent] == HIGGS) & (ids[child] == quark)]] = code
    from_top = (ids[parent] == TOP_QUARK) & (ids[child] == W_BOSON)
    kind[parent[from_top]] = OTHER
    # A W radiates before it decays: from its last copy back to the first, whose mother is the top.
    first = np.arange(len(ids))
    copies = child[ids[parent] == ids[child]]
    first[copies] = mother[copies]
    while not np.array_equal(first[first], first):
        first = first[first]
    to_quarks = parent[(ids[parent] == W_BOSON) & (ids[child] <= 5)]
    top = mother[first[to_quarks]]
    kind[top[(top >= 0) & (ids[top] == TOP_QUARK)]] = TOP
    return kind
