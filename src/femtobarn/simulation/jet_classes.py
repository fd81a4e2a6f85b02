"""Ten classes of jets as in JetClass [2202.03772]: the collisions they are from, and their truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.groups import cross_pairs
from femtobarn.physics.kinematics import delta_r, pt_eta_phi
from femtobarn.simulation.calorimeter import JetTable
from femtobarn.simulation.pythia import Record

__all__ = ["COLLISIONS", "JET_CLASSES", "jet_classes"]

JET_CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
QCD, HBB, HCC, HGG, H4Q, HQQL, ZQQ, WQQ, TBQQ, TBL = range(10)
HIGGS, TOP, W_BOSON, Z_BOSON = 25, 6, 24, 23

_HARD = (
    "PhaseSpace:pTHatMin = 480.",
    "PhaseSpace:pTHatMax = 1100.",
    "PhaseSpace:bias2Selection = on",
    "PhaseSpace:bias2SelectionPow = 5.5",
    "PhaseSpace:bias2SelectionRef = 480.",
)
_HIGGS_PAIR = (
    "5100039:m0 = 1600.",
    "5100039:doForceWidth = on",
    "5100039:mWidth = 600.",
    "5100039:mMin = 1100.",
    "5100039:mMax = 2400.",
    "5100039:onMode = off",
    "5100039:onIfMatch = 25 25",
    "25:onMode = off",
)
_TO_QUARKS, _TO_LEPTONS = "1 2 3 4 5", "11 13"


def _one_each(positive: str, negative: str) -> tuple[str, ...]:
    return ("24:onMode = off", f"24:onPosIfAny = {positive}", f"24:onNegIfAny = {negative}")


_W_TO_QUARKS = ("24:onMode = off", f"24:onIfAny = {_TO_QUARKS}")
_W_TO_LEPTONS = ("24:onMode = off", f"24:onIfAny = {_TO_LEPTONS}")
COLLISIONS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "QCD": (("dijet", _HARD),),
    "Hbb": (("graviton_ww", (*_HIGGS_PAIR, "25:onIfMatch = 5 -5")),),
    "Hcc": (("graviton_ww", (*_HIGGS_PAIR, "25:onIfMatch = 4 -4")),),
    "Hgg": (("graviton_ww", (*_HIGGS_PAIR, "25:onIfMatch = 21 21")),),
    "H4q": (("graviton_ww", (*_HIGGS_PAIR, "25:onIfMatch = 24 -24", *_W_TO_QUARKS)),),
    "Hqql": tuple(
        ("graviton_ww", (*_HIGGS_PAIR, "25:onIfMatch = 24 -24", *_one_each(*charges)))
        for charges in ((_TO_QUARKS, _TO_LEPTONS), (_TO_LEPTONS, _TO_QUARKS))
    ),
    "Zqq": (("zz", (*_HARD, "WeakZ0:gmZmode = 2", "23:onMode = off", f"23:onIfAny = {_TO_QUARKS}")),),
    "Wqq": (("ww", (*_HARD, *_W_TO_QUARKS)),),
    "Tbqq": (("ttbar", (*_HARD, *_W_TO_QUARKS)),),
    "Tbl": (("ttbar", (*_HARD, *_W_TO_LEPTONS)),),
}
"""Per class the processes of `PROCESSES`, taken in turn, and further settings of Pythia.

Higgs bosons in pairs from a wide resonance of spin 2, each decaying alike; all others above the momentum of
the jets, more of them the harder they are."""


def jet_classes(record: Record, jets: JetTable, radius: float) -> NDArray[np.int8]:
    """Code (jets,) in JET_CLASSES, -1 for a jet that is to be left out.

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
    return label.astype(np.int8)


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
