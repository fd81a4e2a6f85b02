"""Electrons, muons and photons as a detector sees them: smeared, identified, isolated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics import pdg
from femtobarn.physics.groups import cross_pairs, sums
from femtobarn.physics.kinematics import delta_r, pt_eta_phi
from femtobarn.physics.truth import HADRON
from femtobarn.simulation.calorimeter import Visible
from femtobarn.simulation.collisions import Collisions
from femtobarn.simulation.detector import Electromagnetic, EventSettings, MuonSettings
from femtobarn.simulation.table import Table

__all__ = ["FAKE", "NONPROMPT", "ORIGINS", "PROMPT", "Objects", "isolated_objects"]

ORIGINS = ("fake", "nonprompt", "prompt")
"""Where an object comes from: a jet, a hadron's decay, the hard process (by way of a tau too)."""
FAKE, NONPROMPT, PROMPT = range(3)
MASS = {11: 0.000511, 13: 0.10566, 22: 0.0}
DRESSING = 0.1
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Objects(Table):
    """Leptons or photons, ordered by event. `truth_pt` is 0 for fakes; `source` points into the particles of
    the collisions, -1 for fakes."""

    event: NDArray[np.int64]
    pt: Array
    eta: Array
    phi: Array
    charge: Array
    isolation: Array
    origin: NDArray[np.int8]
    truth_pt: Array
    source: NDArray[np.int64]


def isolated_objects(
    hard: Collisions, events: int, settings: EventSettings, rng: np.random.Generator
) -> tuple[dict[int, Objects], Visible, Objects]:
    """Isolated electrons, muons and photons (by PDG number), what is left to make jets, and the muons in it.

    The muons left have `source` pointing into what is left; those not identified are in neither.

    Args:
        hard: final particles.
        events: how many.
        settings: of the detector.
        rng: random stream.
    """
    hard = hard.take(hard.final & ~pdg.is_invisible(hard.pdg_id))
    kind = np.abs(hard.pdg_id)
    pt, eta, phi = pt_eta_phi(hard.px, hard.py, hard.pz)
    prompt = hard.word & HADRON == 0
    candidate = ((kind == 11) | (kind == 13) | ((kind == 22) & prompt)) & (pt > 2.0) & (np.abs(eta) < 2.6)
    index = np.flatnonzero(candidate)
    radiated, lepton = _dressing(hard.event, kind, eta, phi, index, events)
    dressed = np.stack([hard.px, hard.py, hard.pz], axis=1)
    np.add.at(dressed, lepton, np.stack([hard.px, hard.py, hard.pz], axis=1)[radiated])
    index = np.setdiff1d(index, radiated)
    true_pt, true_eta, true_phi = pt_eta_phi(*dressed[index].T)
    seen_pt = true_pt * _response(kind[index], true_pt, true_eta, settings, rng)
    identified = rng.random(len(index)) < _efficiency(kind[index], true_eta, settings)
    around = np.setdiff1d(np.flatnonzero(pt > 0.5), np.concatenate([index, radiated]))
    limits = _limits(kind[index], settings)
    isolation = _isolation(hard.event, pt, eta, phi, index, around, limits[2], events) / seen_pt
    table = Objects(
        event=hard.event[index],
        pt=seen_pt,
        eta=true_eta,
        phi=true_phi,
        charge=hard.charge[index],
        isolation=isolation,
        origin=np.where(prompt[index], PROMPT, NONPROMPT).astype(np.int8),
        truth_pt=true_pt,
        source=index,
    )
    kept = identified & (seen_pt > limits[0]) & (np.abs(true_eta) < limits[1]) & (isolation < limits[3])
    gone = np.concatenate([index[kept], radiated[np.isin(lepton, index[kept])]])
    lost = np.setdiff1d(np.flatnonzero(kind == 13), index[identified])
    left = np.setdiff1d(np.arange(len(hard)), np.concatenate([gone, lost]))
    inside = table.take(identified & ~kept & (kind[index] == 13))
    inside = inside.with_columns(source=np.searchsorted(left, inside.source))
    rest = hard.take(left)
    visible = Visible(rest.event, rest.pdg_id, rest.charge != 0, rest.px, rest.py, rest.pz, rest.energy)
    return {code: table.take(kept & (kind[index] == code)) for code in MASS}, visible, inside


def _dressing(
    event: NDArray[np.int64],
    kind: NDArray[Any],
    eta: Array,
    phi: Array,
    index: NDArray[np.int64],
    events: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Photons within 0.1 of an electron, and the electron of each."""
    photons, electrons = index[kind[index] == 22], index[kind[index] == 11]
    a, b = cross_pairs(
        np.bincount(event[photons], minlength=events), np.bincount(event[electrons], minlength=events)
    )
    a, b = photons[a], electrons[b]
    distance = delta_r(eta[a], phi[a], eta[b], phi[b])
    near = distance < DRESSING
    a, b, distance = a[near], b[near], distance[near]
    order = np.lexsort((distance, a))
    a, first = np.unique(a[order], return_index=True)
    return a, b[order][first]


def _per_kind(kind: NDArray[Any], values: dict[int, Array]) -> Array:
    return np.select([kind == code for code in values], list(values.values()))


def _region(eta: Array, barrel: float, values: tuple[float, float]) -> Array:
    return np.where(np.abs(eta) < barrel, *values)


def _efficiency(kind: NDArray[Any], eta: Array, settings: EventSettings) -> Array:
    parts: dict[int, Any] = {11: settings.electrons, 13: settings.muons, 22: settings.photons}
    return _per_kind(kind, {k: _region(eta, part.barrel, part.efficiency) for k, part in parts.items()})


def _limits(kind: NDArray[Any], settings: EventSettings) -> Array:
    """Least pT, largest |eta|, radius and limit of the isolation, one column per object."""
    parts: dict[int, Any] = {11: settings.electrons, 13: settings.muons, 22: settings.photons}
    names = ("pt_min", "eta_max", "isolation_radius", "isolation_max")
    ones = np.ones(len(kind))
    return np.stack([_per_kind(kind, {k: ones * getattr(p, n) for k, p in parts.items()}) for n in names])


def _response(
    kind: NDArray[Any], pt: Array, eta: Array, settings: EventSettings, rng: np.random.Generator
) -> Array:
    """Measured over true pT."""

    def calorimeter(part: Electromagnetic) -> Array:
        energy = pt * np.cosh(eta)
        stochastic = _region(eta, part.barrel, part.stochastic)
        constant = _region(eta, part.barrel, part.constant)
        return np.sqrt(stochastic**2 / energy + constant**2 + (part.noise / energy) ** 2)

    def tracker(part: MuonSettings) -> Array:
        per_gev = 1e-3 * _region(eta, part.barrel, part.per_tev)
        return np.hypot(_region(eta, part.barrel, part.constant), per_gev * pt)

    width = _per_kind(
        kind,
        {11: calorimeter(settings.electrons), 13: tracker(settings.muons), 22: calorimeter(settings.photons)},
    )
    return np.maximum(1.0 + width * rng.standard_normal(len(pt)), 0.05)


def _isolation(
    event: NDArray[np.int64],
    pt: Array,
    eta: Array,
    phi: Array,
    index: NDArray[np.int64],
    around: NDArray[np.int64],
    radius: Array,
    events: int,
) -> Array:
    """Summed pT of the particles `around` each object of `index`."""
    a, b = cross_pairs(
        np.bincount(event[index], minlength=events), np.bincount(event[around], minlength=events)
    )
    other = around[b]
    near = delta_r(eta[index][a], phi[index][a], eta[other], phi[other]) < radius[a]
    return sums(a[near], pt[other[near]], len(index))
