"""Which charged particles the tracker may see near the jets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.helix import perigee
from femtobarn.physics.kinematics import eta_of_theta, pt_eta_phi
from femtobarn.physics.tracks import associate, cone
from femtobarn.physics.truth import origin_labels
from femtobarn.simulation.calorimeter import JetTable
from femtobarn.simulation.collisions import Collisions
from femtobarn.simulation.material import conversions, interactions
from femtobarn.simulation.particles import Particles
from femtobarn.simulation.settings import SimulationSettings
from femtobarn.simulation.tracker import Candidates, TrackerSettings

__all__ = ["candidates_in", "candidates_near", "particles_of"]

PT_MIN, PHOTON_PT_MIN, ETA_MAX, RADIUS_MAX = 0.4, 0.8, 2.7, 300.0
"""Looser than any selection (GeV, GeV, -, mm): beyond the first strip layer no track has eight hits."""
Array = NDArray[np.float64]


def particles_of(hard: Collisions, vertex: Array) -> Particles:
    """Final charged particles and photons that matter to the tracker, in the detector frame."""
    pt = np.hypot(hard.px, hard.py)
    keep = np.where(hard.charge != 0, pt > PT_MIN, (hard.pdg_id == 22) & (pt > PHOTON_PT_MIN))
    keep &= hard.final & (np.abs(hard.pz) < np.sinh(ETA_MAX) * pt) & (np.hypot(hard.x, hard.y) < RADIUS_MAX)
    kept = hard.take(keep)
    return Particles(
        **{name: getattr(kept, name) for name in ("event", "pdg_id", "charge", "px", "py", "pz")},
        x=kept.x + vertex[kept.event, 0],
        y=kept.y + vertex[kept.event, 1],
        z=kept.z + vertex[kept.event, 2],
        origin=origin_labels(kept.word),
    )


def candidates_near(
    hard: Particles,
    pileup: list[Particles],
    jets: JetTable,
    events: int,
    settings: SimulationSettings,
    rng: np.random.Generator,
) -> Candidates:
    """Charged particles near jets, products of the material included, at their true perigee."""
    shrinking = settings.selection.cone
    radius = cone(jets.pt, shrinking) if shrinking else np.full(len(jets), settings.calorimeter.jet_radius)
    # Wider by what may bend or scatter into it.
    wide = np.maximum(radius + 0.14, 0.6)
    particles = hard.joined(*pileup).ordered("event")
    _, eta, phi = pt_eta_phi(particles.px, particles.py, particles.pz)
    particles = particles.take(_nearest(particles.event, eta, phi, jets, events, wide) >= 0)
    everything = candidates_in(particles, settings.tracker, rng)
    eta = eta_of_theta(everything.theta)
    jet = _nearest(everything.jet, eta, everything.phi, jets, events, radius)
    return everything.with_columns(jet=jet).take(jet >= 0).ordered("jet")


def candidates_in(particles: Particles, settings: TrackerSettings, rng: np.random.Generator) -> Candidates:
    """Charged particles and what photons and hadrons leave in the material, at their true perigee.

    Ordered by event; their `jet` is the event.
    """
    photon = particles.charge == 0
    charged = particles.take(~photon)
    products, end = interactions(charged, settings.material, rng)
    pairs = conversions(particles.take(photon), settings.material, rng)
    charged = charged.joined(products, pairs)
    end = np.append(end, np.full(len(products) + len(pairs), np.inf))
    birth = np.hypot(charged.x, charged.y)
    keep = np.flatnonzero((np.hypot(charged.px, charged.py) > PT_MIN) & (birth < RADIUS_MAX))
    keep = keep[np.argsort(charged.event[keep], kind="stable")]
    charged, birth, end = charged.take(keep), birth[keep], end[keep]
    position = (charged.x, charged.y, charged.z)
    momentum = (charged.px, charged.py, charged.pz)
    track = perigee(position, momentum, charged.charge, settings.field)
    return Candidates(
        jet=charged.event,
        pdg_id=charged.pdg_id,
        origin=charged.origin,
        **track._asdict(),
        position=np.column_stack(position),
        birth=birth,
        end=end,
    )


def _nearest(
    event: NDArray[np.int64], eta: Array, phi: Array, jets: JetTable, events: int, radius: Array
) -> NDArray[np.int64]:
    counts, jet_counts = np.bincount(event, minlength=events), np.bincount(jets.event, minlength=events)
    return associate(counts, eta, phi, jet_counts, jets.eta, jets.phi, radius)
