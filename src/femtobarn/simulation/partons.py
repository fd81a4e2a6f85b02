"""Quark and gluon jets: the collisions they are from, and their truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.kinematics import pt_eta_phi
from femtobarn.physics.tracks import associate
from femtobarn.simulation.calorimeter import JetTable
from femtobarn.simulation.jet_classes import Ways
from femtobarn.simulation.pythia import Record

__all__ = ["QUARK_GLUON", "dijets", "parton_labels"]

QUARK_GLUON = ("gluon", "quark")
"""In the order of the public sample of quark and gluon jets [1810.05165]."""
GLUON = 21
PT_MIN = 1.0
"""GeV; no jet is named after a softer parton."""
LOWEST, HIGHEST, POWER = 0.75, 1.3, 4.5
"""Hard processes reach below and above the jets' range, whose ends would else lack what radiation and
resolution bring there; jets come about alike in log pT."""


def dijets(pt_min: float, pt_max: float) -> dict[str, Ways]:
    """Where jets of both classes are from, of these transverse momenta (GeV): the same collisions."""
    low = LOWEST * pt_min
    hard = (
        f"PhaseSpace:pTHatMin = {low:g}",
        f"PhaseSpace:pTHatMax = {HIGHEST * pt_max:g}",
        "PhaseSpace:bias2Selection = on",
        f"PhaseSpace:bias2SelectionPow = {POWER:g}",
        f"PhaseSpace:bias2SelectionRef = {low:g}",
    )
    return dict.fromkeys(QUARK_GLUON, (("dijet", hard),))


def parton_labels(record: Record, jets: JetTable, radius: float) -> dict[str, NDArray[Any]]:
    """`jet_label`, a code of QUARK_GLUON (jets,), and `PartonTruthLabelID`: 1 to 5 a quark, 21 a gluon.

    A jet is named after the hardest parton of the hard process and the showers that is within `radius` of its
    axis and nearer to it than to any other jet, as ATLAS does [1405.6583]. One without such a parton has the
    codes -1 and 0.
    """
    kind, pt = np.abs(record.pdg_id), np.hypot(record.px, record.py)
    parton = np.flatnonzero(((kind >= 1) & (kind <= 5) | (kind == GLUON)) & (pt > PT_MIN))
    events = len(record.counts)
    event = np.repeat(np.arange(events), record.counts)[parton]
    _, eta, phi = pt_eta_phi(record.px[parton], record.py[parton], record.pz[parton])
    jet = associate(
        np.bincount(event, minlength=events), eta, phi,
        np.bincount(jets.event, minlength=events), jets.eta, jets.phi, np.full(len(jets), radius),
    )  # fmt: skip
    parton, jet = parton[jet >= 0], jet[jet >= 0]
    order = np.argsort(pt[parton], kind="stable")
    leading = np.zeros(len(jets), dtype=np.int8)
    leading[jet[order]] = kind[parton[order]]  # the hardest comes last
    label = np.select([leading == GLUON, leading > 0], [0, 1], -1).astype(np.int8)
    return {"jet_label": label, "PartonTruthLabelID": leading}
