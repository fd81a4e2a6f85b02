"""A calorimeter response: visible particles smeared one by one, then anti-kt jets."""

from __future__ import annotations

from dataclasses import dataclass

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from femtobarn.physics.clustering import anti_kt
from femtobarn.physics.kinematics import cartesian, pt_eta_phi, wrap
from femtobarn.simulation.table import Table

__all__ = ["CalorimeterSettings", "Flows", "JetTable", "Visible", "in_reach", "jets_of", "smeared"]

Array = NDArray[np.float64]
Momenta = tuple[Array, Array, Array, Array]


class CalorimeterSettings(BaseModel):
    """Energy resolution, granularity and jets.

    Electromagnetic 10 %/sqrt(E) (+) 0.7 % and hadronic 50 %/sqrt(E) (+) 5 %, near the design goals of ATLAS
    [JINST 3 (2008) S08003]. Pile-up is taken as subtracted from the jets: what is left of it is a noise on
    the jet's pT and azimuth. Jets of pile-up collisions are taken as rejected by a vertex tagger, and do not
    appear.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    em_stochastic: float = 0.10
    em_constant: float = 0.007
    hadron_stochastic: float = 0.50
    hadron_constant: float = 0.05
    em_granularity: float = 0.01
    hadron_granularity: float = 0.03
    pileup_noise_per_sqrt_mu: float = 0.6
    """GeV on the jet's pT, times sqrt(mu)."""
    charged_pt_min: float = 0.36
    """GeV; softer charged particles curl up in the solenoid and never arrive."""
    particle_pt_min: float = 0.2
    eta_max: float = 3.2
    jet_radius: float = 0.4
    jet_pt_min: float = 20.0
    jet_eta_max: float = 2.5


@dataclass(frozen=True)
class Visible(Table):
    """Particles that reach the calorimeter, ordered by event."""

    event: NDArray[np.int64]
    pdg_id: NDArray[np.int32]
    charged: NDArray[np.bool_]
    px: Array
    py: Array
    pz: Array
    energy: Array


@dataclass(frozen=True)
class JetTable(Table):
    """Flat jets, by event and falling pT; `truth_pt` is that of the same particles before the response."""

    event: NDArray[np.int64]
    pt: Array
    eta: Array
    phi: Array
    energy: Array
    mass: Array
    truth_pt: Array


@dataclass(frozen=True)
class Flows(Table):
    """Neutral constituents of jets as they are measured; `jet` points into the jets."""

    jet: NDArray[np.int64]
    pt: Array
    eta: Array
    phi: Array
    photon: NDArray[np.bool_]


def in_reach(particles: Visible, settings: CalorimeterSettings) -> NDArray[np.bool_]:
    """Which particles arrive at the calorimeter."""
    pt, eta, _ = pt_eta_phi(particles.px, particles.py, particles.pz)
    keep = (np.abs(eta) < settings.eta_max) & (pt > settings.particle_pt_min)
    return np.asarray(keep & (~particles.charged | (pt > settings.charged_pt_min)))


def smeared(particles: Visible, settings: CalorimeterSettings, rng: np.random.Generator) -> Momenta:
    """Four-momenta after the response: energies follow a gamma distribution, positive and without bias."""
    electromagnetic = np.isin(np.abs(particles.pdg_id), (11, 22))
    stochastic = np.where(electromagnetic, settings.em_stochastic, settings.hadron_stochastic)
    constant = np.where(electromagnetic, settings.em_constant, settings.hadron_constant)
    spread = np.where(electromagnetic, settings.em_granularity, settings.hadron_granularity)
    variance = stochastic**2 / particles.energy + constant**2
    scale = rng.standard_gamma(1 / variance) * variance
    pt, eta, phi = pt_eta_phi(particles.px, particles.py, particles.pz)
    noise = rng.standard_normal((2, len(pt))) * spread
    momentum = cartesian(pt * scale, eta + noise[0], phi + noise[1])
    px, py, pz = momentum
    return px, py, pz, np.sqrt(px**2 + py**2 + pz**2)


def jets_of(
    particles: Visible, events: int, mu: float, settings: CalorimeterSettings, rng: np.random.Generator
) -> tuple[JetTable, Flows]:
    """Calorimeter jets of `events` events at a mean pile-up `mu`, within the range of the settings.

    And their neutral constituents.
    """
    particles = particles.take(in_reach(particles, settings))
    counts = np.bincount(particles.event, minlength=events)
    noise = settings.pileup_noise_per_sqrt_mu * np.sqrt(mu)
    measured = smeared(particles, settings, rng)
    jets = anti_kt(counts, measured, settings.jet_radius, max(5.0, settings.jet_pt_min - 4 * noise))
    raw_pt, eta, phi = pt_eta_phi(jets.px, jets.py, jets.pz)
    shift = rng.standard_normal((3, len(raw_pt))) * noise
    pt = np.maximum(raw_pt + shift[0], 1.0)
    eta = eta + 0.1 * shift[1] / raw_pt
    phi = wrap(phi + 0.1 * shift[2] / raw_pt)
    mass = np.sqrt(np.maximum(jets.energy**2 - jets.px**2 - jets.py**2 - jets.pz**2, 0.0)) * pt / raw_pt
    energy = np.hypot(pt * np.cosh(eta), mass)
    sizes = ak.to_numpy(ak.num(jets.constituents, axis=1))
    owner = np.repeat(np.arange(len(pt)), sizes)
    member = ak.to_numpy(ak.flatten(jets.constituents))
    truth = [np.bincount(owner, weights=p[member], minlength=len(pt)) for p in (particles.px, particles.py)]
    table = JetTable(jets.event, pt, eta, phi, energy, mass, np.hypot(*truth))
    inside = (pt > settings.jet_pt_min) & (np.abs(eta) < settings.jet_eta_max)
    order = np.lexsort((-pt, jets.event))
    order = order[inside[order]]
    place = np.full(len(pt), -1)
    place[order] = np.arange(len(order))
    neutral = ~particles.charged[member] & (place[owner] >= 0)
    member, owner = member[neutral], place[owner[neutral]]
    seen = pt_eta_phi(*(p[member] for p in measured[:3]))
    return table.take(order), Flows(owner, *seen, particles.pdg_id[member] == 22)
