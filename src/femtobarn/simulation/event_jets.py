"""Jets of whole events: clustered, b-tagged, and what of them passes as a tau, photon or electron."""

from __future__ import annotations

from dataclasses import dataclass

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.clustering import anti_kt
from femtobarn.physics.groups import cross_pairs, sums
from femtobarn.physics.kinematics import delta_r, pt_eta_phi, wrap
from femtobarn.physics.truth import decay_parents
from femtobarn.simulation.btagging import working_point
from femtobarn.simulation.calorimeter import JetTable, Visible
from femtobarn.simulation.detector import EventSettings, PhotonSettings, TauSettings
from femtobarn.simulation.pythia import Record
from femtobarn.simulation.table import Table

__all__ = [
    "EventJets",
    "TrueTaus",
    "cluster",
    "hadronic_taus",
    "matched",
    "photon_fake_rate",
    "tau_quality",
]

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class EventJets(JetTable):
    """Jets that know what they had of the sum of all particles before pile-up noise, the number of tracks in
    their core and the summed charge of those."""

    soft_px: Array
    soft_py: Array
    prongs: Index
    charge: Array


@dataclass(frozen=True)
class TrueTaus(Table):
    """Hadronically decaying taus that come from no hadron: the visible part."""

    event: Index
    pt: Array
    eta: Array
    phi: Array
    charge: Array


def cluster(
    particles: Visible,
    charge: Array,
    measured: tuple[Array, Array, Array, Array],
    events: int,
    mu: float,
    settings: EventSettings,
    rng: np.random.Generator,
) -> EventJets:
    """Jets of measured particles with the noise of a mean pile-up `mu`.

    Args:
        particles: the true ones, ordered by event.
        charge: of each.
        measured: their px, py, pz, E after the response.
        events: how many.
        mu: mean pile-up.
        settings: of the detector.
        rng: random stream.
    """
    jet, tau = settings.jets, settings.taus
    noise = settings.calorimeter.pileup_noise_per_sqrt_mu * np.sqrt(mu)
    counts = np.bincount(particles.event, minlength=events)
    margin = 3 * np.hypot(noise, jet.stochastic * np.sqrt(jet.pt_min))
    jets = anti_kt(counts, measured, jet.radius, max(5.0, jet.pt_min - margin))
    raw_pt, eta, phi = pt_eta_phi(jets.px, jets.py, jets.pz)
    shift = rng.standard_normal((3, len(raw_pt))) * noise
    spread = np.hypot(jet.stochastic * np.sqrt(raw_pt), jet.constant * raw_pt)
    pt = np.maximum(raw_pt + shift[0] + spread * rng.standard_normal(len(raw_pt)), 1.0)
    mass = np.sqrt(np.maximum(jets.energy**2 - jets.px**2 - jets.py**2 - jets.pz**2, 0.0)) * pt / raw_pt
    owner = np.repeat(np.arange(len(pt)), ak.to_numpy(ak.num(jets.constituents, axis=1)))
    member = ak.to_numpy(ak.flatten(jets.constituents))
    px, py = (sums(owner, p[member], len(pt)) for p in (particles.px, particles.py))
    # Tracks in the core, as a tau has them.
    track_pt, track_eta, track_phi = pt_eta_phi(*(p[member] for p in measured[:3]))
    track = (charge[member] != 0) & (track_pt > tau.track_pt_min) & (np.abs(track_eta) < tau.eta_max)
    track &= delta_r(track_eta, track_phi, eta[owner], phi[owner]) < tau.core
    track &= rng.random(len(track)) < tau.track_efficiency
    table = EventJets(
        event=jets.event,
        pt=pt,
        eta=eta + 0.1 * shift[1] / raw_pt,
        phi=wrap(phi + 0.1 * shift[2] / raw_pt),
        energy=np.hypot(pt * np.cosh(eta), mass),
        mass=mass,
        truth_pt=np.hypot(px, py),
        soft_px=jets.px,
        soft_py=jets.py,
        prongs=np.bincount(owner[track], minlength=len(pt)),
        charge=sums(owner[track], charge[member][track], len(pt)),
    )
    kept = np.flatnonzero((pt > jet.pt_min) & (np.abs(table.eta) < jet.eta_max))
    return table.take(kept[np.lexsort((-pt[kept], jets.event[kept]))])


def hadronic_taus(record: Record) -> TrueTaus:
    """The taus of a record that decay to hadrons and come from none."""
    ids = np.abs(record.pdg_id)
    parent = decay_parents(record.pdg_id, record.mother)
    last = (ids == 15) & ~np.isin(np.arange(len(ids)), parent[(ids == 15) & (parent >= 0)])
    tau = np.flatnonzero(last)
    above = parent[tau]
    while np.any(copies := (above >= 0) & (ids[above] == 15)):
        above[copies] = parent[above[copies]]
    tau = tau[above < 0]
    place = np.full(len(ids) + 1, -1)
    place[tau] = np.arange(len(tau))
    final = np.flatnonzero(record.final)
    owner = parent[final]
    while np.any(inside := (owner >= 0) & (place[owner] < 0)):
        owner[inside] = parent[owner[inside]]
    final, owner = final[owner >= 0], place[owner[owner >= 0]]
    leptonic = np.bincount(owner[np.isin(ids[final], (12, 14))], minlength=len(tau)) > 0
    seen = ids[final] != 16
    px, py, pz = (sums(owner[seen], p[final[seen]], len(tau)) for p in (record.px, record.py, record.pz))
    pt, eta, phi = pt_eta_phi(px, py, pz)
    event = np.repeat(np.arange(len(record.counts)), record.counts)[tau]
    charge = -np.sign(record.pdg_id[tau]).astype(np.float64)
    return TrueTaus(event, pt, eta, phi, charge).take(~leptonic)


def matched(jets: JetTable, others: TrueTaus, events: int, radius: float) -> NDArray[np.bool_]:
    """Which jets have one of the others within `radius`."""
    a, b = cross_pairs(np.bincount(jets.event, minlength=events), np.bincount(others.event, minlength=events))
    near = delta_r(jets.eta[a], jets.phi[a], others.eta[b], others.phi[b]) < radius
    return np.asarray(np.bincount(a[near], minlength=len(jets)) > 0)


def tau_quality(
    jets: EventJets, true: NDArray[np.bool_], settings: TauSettings, draw: Array
) -> NDArray[np.int8]:
    """How many of the points loose, medium, tight each jet passes as a tau."""
    one, three = jets.prongs == 1, jets.prongs == 3
    seen = (one | three) & (np.abs(jets.charge) == 1) & (jets.pt > settings.pt_min)
    seen &= np.abs(jets.eta) < settings.eta_max
    points = np.where(
        true[:, None],
        np.where(one[:, None], settings.efficiency_1, settings.efficiency_3),
        np.where(one[:, None], 1 / np.array(settings.rejection_1), 1 / np.array(settings.rejection_3)),
    )
    return working_point(draw, points * seen[:, None])


def photon_fake_rate(pt: Array, photons: PhotonSettings) -> Array:
    """Probability that a jet passes as a photon."""
    height, slope = photons.jet_fake_rate
    return np.asarray(np.maximum(height * np.exp(-pt / slope), photons.jet_fake_rate_min))
