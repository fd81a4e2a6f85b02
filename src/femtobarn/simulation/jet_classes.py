"""Ten classes of jets as in JetClass [2202.03772]: the collisions they are from, and their truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.groups import cross_pairs
from femtobarn.physics.kinematics import delta_r, pt_eta_phi
from femtobarn.simulation.calorimeter import JetTable
from femtobarn.simulation.pythia import Record

__all__ = ["JET_CLASSES", "Ways", "collisions", "jet_classes"]

JET_CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
QCD, HBB, HCC, HGG, H4Q, HQQL, ZQQ, WQQ, TBQQ, TBL = range(10)
HIGGS, TOP, W_BOSON, Z_BOSON = 25, 6, 24, 23

Ways = tuple[tuple[str, tuple[str, ...]], ...]
"""Processes of `PROCESSES`, taken in turn, with further settings of Pythia."""
_TO_QUARKS, _TO_LEPTONS = "1 2 3 4 5", "11 13"


def _hard(pt_min: float, pt_max: float) -> tuple[str, ...]:
    """Above the momentum of the jets, more of them the harder they are."""
    low = 0.96 * pt_min
    return (
        f"PhaseSpace:pTHatMin = {low:g}",
        f"PhaseSpace:pTHatMax = {1.1 * pt_max:g}",
        "PhaseSpace:bias2Selection = on",
        "PhaseSpace:bias2SelectionPow = 5.5",
        f"PhaseSpace:bias2SelectionRef = {low:g}",
    )


def _higgs_pair(pt_min: float, pt_max: float) -> tuple[str, ...]:
    """From a wide resonance of spin 2."""
    return (
        f"5100039:m0 = {3.2 * pt_min:g}",
        "5100039:doForceWidth = on",
        f"5100039:mWidth = {1.2 * pt_min:g}",
        f"5100039:mMin = {2.2 * pt_min:g}",
        f"5100039:mMax = {2.4 * pt_max:g}",
        "5100039:onMode = off",
        "5100039:onIfMatch = 25 25",
        "25:onMode = off",
    )


def _one_each(positive: str, negative: str) -> tuple[str, ...]:
    return ("24:onMode = off", f"24:onPosIfAny = {positive}", f"24:onNegIfAny = {negative}")


def collisions(pt_min: float, pt_max: float) -> dict[str, Ways]:
    """Where jets of each class are from, of these transverse momenta (GeV).

    Higgs bosons in pairs, each decaying alike; W bosons of a class all decay alike too.
    """
    hard, pair = _hard(pt_min, pt_max), _higgs_pair(pt_min, pt_max)
    w_to_quarks = ("24:onMode = off", f"24:onIfAny = {_TO_QUARKS}")
    w_to_leptons = ("24:onMode = off", f"24:onIfAny = {_TO_LEPTONS}")
    z_to_quarks = ("WeakZ0:gmZmode = 2", "23:onMode = off", f"23:onIfAny = {_TO_QUARKS}")
    return {
        "QCD": (("dijet", hard),),
        "Hbb": (("graviton_ww", (*pair, "25:onIfMatch = 5 -5")),),
        "Hcc": (("graviton_ww", (*pair, "25:onIfMatch = 4 -4")),),
        "Hgg": (("graviton_ww", (*pair, "25:onIfMatch = 21 21")),),
        "H4q": (("graviton_ww", (*pair, "25:onIfMatch = 24 -24", *w_to_quarks)),),
        "Hqql": tuple(
            ("graviton_ww", (*pair, "25:onIfMatch = 24 -24", *_one_each(*charges)))
            for charges in ((_TO_QUARKS, _TO_LEPTONS), (_TO_LEPTONS, _TO_QUARKS))
        ),
        "Zqq": (("zz", (*hard, *z_to_quarks)),),
        "Wqq": (("ww", (*hard, *w_to_quarks)),),
        "Tbqq": (("ttbar", (*hard, *w_to_quarks)),),
        "Tbl": (("ttbar", (*hard, *w_to_leptons)),),
    }


def jet_classes(record: Record, jets: JetTable, radius: float) -> dict[str, NDArray[Any]]:
    """`jet_label`, a code (jets,) in JET_CLASSES, -1 for a jet that is to be left out.

    In an event with W, Z, top or Higgs a jet is of the class of the one whose decay products all lie within
    `radius` of its axis [2202.03772], neutrinos apart; jets that hold none in full are left out. In events
    without, all jets are QCD.
    """
    ids, events = np.abs(record.pdg_id), len(record.counts)
    heavy = np.isin(ids, (HIGGS, TOP, W_BOSON, Z_BOSON))
    mother = record.mother
    inside = (mother >= 0) & heavy[mother]
    # From each copy and each W of a chain to the first: the Higgs boson, top, W or Z that all of it is from.
    root = np.where(heavy & inside, mother, np.arange(len(ids)))
    while not np.array_equal(root[root], root):
        root = root[root]
    product = np.flatnonzero(inside & ~heavy)
    first, place = np.unique(root[mother[product]], return_inverse=True)
    kind = _class_of(ids[first], ids[product], place)
    event = np.repeat(np.arange(events), record.counts)

    visible = ~np.isin(ids[product], (12, 14, 16))
    seen, owner = product[visible], place[visible]
    _, eta, phi = pt_eta_phi(record.px[seen], record.py[seen], record.pz[seen])
    per_event = np.bincount(jets.event, minlength=events)
    which, jet = cross_pairs(np.bincount(event[seen], minlength=events), per_event)
    outside = delta_r(eta[which], phi[which], jets.eta[jet], jets.phi[jet]) >= radius
    beyond = np.bincount(owner[which] * len(jets) + jet, outside, len(first) * len(jets))
    resonances = np.bincount(event[first], minlength=events)
    resonance, jet = cross_pairs(resonances, per_event)
    whole = beyond[resonance * len(jets) + jet] == 0

    label = np.where(resonances[jets.event] > 0, -1, QCD)
    label[jet[whole]] = kind[resonance[whole]]
    return {"jet_label": label.astype(np.int8)}


def _class_of(
    root: NDArray[np.int32], product: NDArray[np.int32], place: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Class of each resonance from its kind and what its products (N,), each of resonance `place`, are."""

    def number(*kinds: int) -> NDArray[np.int64]:
        return np.bincount(place, np.isin(product, kinds), len(root)).astype(np.int64)

    quarks, bottom, charm, gluons, leptons = (
        number(1, 2, 3, 4, 5),
        number(5),
        number(4),
        number(21),
        number(11, 13),
    )
    higgs, top = root == HIGGS, root == TOP
    return np.select(
        [
            higgs & (bottom == 2) & (quarks == 2),
            higgs & (charm == 2) & (quarks == 2),
            higgs & (gluons == 2),
            higgs & (quarks == 4),
            higgs & (quarks == 2) & (leptons == 1),
            (root == Z_BOSON) & (quarks == 2),
            (root == W_BOSON) & (quarks == 2),
            top & (bottom >= 1) & (quarks == 3),
            top & (bottom == 1) & (leptons == 1),
        ],
        [HBB, HCC, HGG, H4Q, HQQL, ZQQ, WQQ, TBQQ, TBL],
        -1,
    )
