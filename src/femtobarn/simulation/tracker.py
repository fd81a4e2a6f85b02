"""The response of a tracker: efficiency, resolutions with tails, fakes, lepton identification."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from femtobarn.physics.helix import Perigee
from femtobarn.physics.kinematics import wrap
from femtobarn.physics.truth import FAKE
from femtobarn.simulation.hits import HitPattern, HitSettings, hit_pattern
from femtobarn.simulation.material import MaterialSettings
from femtobarn.simulation.table import Table

__all__ = ["Candidates", "Response", "TrackerSettings", "add_fakes", "displacement", "reconstruct"]

Array = NDArray[np.float64]
SENSORS, HALF_LENGTH = (14, 20), 332.0
"""Sensors of the innermost layer in azimuth and along the beam, and half its length (mm)."""


class TrackerSettings(BaseModel):
    """An ATLAS-like silicon tracker in a 2 T solenoid, with an insertable b-layer.

    Resolutions are a (+) b / (p sin^n theta), core values in mm, radians, 1/GeV: d0 10 (+) 80/(p sin^1.5
    theta) um, z0 sin(theta) 55 (+) 100/(p sin^1.5 theta) um with a hit in the innermost layer; angles and
    curvature near the values of the ATLAS detector paper [JINST 3 (2008) S08003]. The uncertainties a track
    carries are those of its core and its hit pattern: tails, as in data, are not foreseen by them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    field: float = 2.0
    d0: tuple[float, float] = (0.010, 0.080)
    z0: tuple[float, float] = (0.055, 0.100)
    phi: tuple[float, float] = (7e-5, 2.5e-3)
    theta: tuple[float, float] = (7e-4, 2.0e-3)
    inverse_pt: tuple[float, float] = (3.5e-4, 0.015)
    d0_phi_correlation: float = -0.75
    z0_theta_correlation: float = -0.65
    no_innermost_hit: float = 1.6
    """Factor on the impact-parameter resolutions without innermost hit, once more without the next."""
    merged_innermost_hit: float = 1.4
    uncertainty_spread: float = 0.06
    tail_fraction: float = 0.020
    hadron_tail_fraction: float = 0.010
    dense_tail_fraction: float = 0.08
    tail_scale: float = 3.0
    far_tail_fraction: float = 0.003
    far_tail_scale: float = 10.0
    efficiency: float = 0.980
    efficiency_forward_loss: float = 0.10
    efficiency_electron: float = 0.88
    efficiency_muon: float = 0.99
    efficiency_radius: float = 85.0
    """mm; a track born at this radius is found half as often as one from the beam line."""
    fake_rate: float = 0.008
    """Fakes per candidate track of the jet, before selection; the density term is per track in the jet."""
    fake_rate_density: float = 0.0004
    electron_identification: float = 0.70
    muon_identification: float = 0.92
    electron_pt_min: float = 4.0
    muon_pt_min: float = 4.0
    hadron_as_electron: float = 0.003
    hadron_as_muon: float = 0.002
    misalignment: tuple[float, float] = (0.0, 0.0)
    """mm; by how much d0 and z0 sin(theta) of all tracks through one innermost sensor are off alike, as a
    standard deviation over the sensors: what the alignment of the detector leaves, see `displacement`."""
    hits: HitSettings = Field(default_factory=HitSettings)
    material: MaterialSettings = Field(default_factory=MaterialSettings)


@dataclass(frozen=True)
class Candidates(Table):
    """Charged particles near jets, ordered by jet, with their true perigee with respect to the beam line."""

    jet: NDArray[np.int64]
    pdg_id: NDArray[np.int32]
    origin: NDArray[np.int8]
    d0: Array
    z0: Array
    phi: Array
    theta: Array
    q_over_p: Array
    position: Array
    """(n, 3) production point, mm."""
    birth: Array
    """Production radius, mm."""
    end: Array
    """Radius where a hadronic interaction ends the track, mm."""

    @property
    def perigee(self) -> Perigee:
        """The five track parameters."""
        return Perigee(self.d0, self.z0, self.phi, self.theta, self.q_over_p)

    @property
    def pt(self) -> Array:
        """Transverse momentum, GeV."""
        return np.asarray(np.sin(self.theta) / np.abs(self.q_over_p))


@dataclass(frozen=True)
class Response:
    """Reconstructed tracks: measured perigee, its uncertainties, hits; `index` points into the candidates."""

    index: NDArray[np.int64]
    perigee: Perigee
    uncertainty: Perigee
    """Of d0, z0 sin(theta) (not z0), phi, theta, q/p."""
    hits: HitPattern
    lepton: NDArray[np.int8]


def add_fakes(
    candidates: Candidates, jets: int, settings: TrackerSettings, rng: np.random.Generator
) -> Candidates:
    """Candidates and fake ones, by jet: wrong combinations of the hits of real tracks, so they resemble
    those.

    A fake starts from a real track of the jet and misses it by many times the resolution in all parameters.
    """
    neighbours = np.bincount(candidates.jet, minlength=jets)[candidates.jet]
    rate = settings.fake_rate + settings.fake_rate_density * neighbours
    source = np.repeat(np.arange(len(candidates)), rng.poisson(rate))
    seed = candidates.take(source)
    scatter = np.exp(rng.normal(1.6, 0.8, len(source)))
    sigma = _resolution(seed.perigee, settings)
    errors = rng.standard_normal((5, len(source))) * scatter
    theta = np.clip(seed.theta + errors[3] * sigma.theta, 0.12, np.pi - 0.12)
    charge = rng.choice([-1.0, 1.0], len(source))
    fake = seed.with_columns(
        d0=seed.d0 + errors[0] * sigma.d0,
        z0=seed.z0 + errors[1] * sigma.z0 / np.sin(theta),
        phi=wrap(seed.phi + errors[2] * sigma.phi),
        theta=theta,
        q_over_p=seed.q_over_p * charge * np.exp(rng.normal(0.0, 0.5, len(source))),
        birth=np.where(rng.random(len(source)) < 0.3, 40.0, 0.0),
        end=np.full(len(source), np.inf),
        pdg_id=np.full(len(source), 211, dtype=np.int32),
        origin=np.full(len(source), FAKE, dtype=np.int8),
    )
    return candidates.joined(fake).ordered("jet")


def _resolution(track: Perigee, settings: TrackerSettings, impact: Array | float = 1.0) -> Perigee:
    """Core resolutions of d0, z0 sin(theta), phi, theta, q/p; `impact` multiplies the first two."""
    p = 1 / np.abs(track.q_over_p)
    sine = np.sin(track.theta)
    pt = p * sine
    scattering = 1 / (p * sine**1.5)
    return Perigee(
        np.hypot(settings.d0[0], settings.d0[1] * scattering) * impact,
        np.hypot(settings.z0[0], settings.z0[1] * scattering) * impact,
        np.hypot(settings.phi[0], settings.phi[1] / pt),
        np.hypot(settings.theta[0], settings.theta[1] / pt) * sine**2,
        np.hypot(settings.inverse_pt[0], settings.inverse_pt[1] / pt) * sine,
    )


def _found(c: Candidates, settings: TrackerSettings, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which candidates the pattern recognition finds, hit losses and sharing apart."""
    kind = np.abs(c.pdg_id)
    base = np.select(
        [kind == 11, kind == 13],
        [settings.efficiency_electron, settings.efficiency_muon],
        settings.efficiency,
    )
    forward = (np.abs(np.log(np.tan(c.theta / 2))) / 2.5) ** 2
    base = base * (1 - settings.efficiency_forward_loss * forward * (kind != 13))
    turn_on = 1 - 0.25 * np.exp(-(c.pt - 0.4) / 0.3)
    radius = 1 / (1 + (c.birth / settings.efficiency_radius) ** 3)
    return np.asarray(rng.random(len(c)) < base * turn_on * radius)


def reconstruct(
    candidates: Candidates, jets: int, settings: TrackerSettings, rng: np.random.Generator
) -> Response:
    """Tracks as the detector would give them: those found, measured with errors, with the hits they left."""
    index = np.flatnonzero(_found(candidates, settings, rng))
    c = candidates.take(index)
    counts = np.bincount(c.jet, minlength=jets)
    hits = hit_pattern(c.perigee, c.pt, c.birth, c.end, counts, settings.field, settings.hits, rng)
    survives = np.flatnonzero(~hits.lost & (hits.pixel + hits.strip >= 7))
    index, c, hits = index[survives], c.take(survives), hits.take(survives)

    impact = np.where(hits.innermost > 0, 1.0, settings.no_innermost_hit)
    impact = impact * np.where(
        (hits.innermost > 0) | (hits.next_to_innermost > 0), 1.0, settings.no_innermost_hit
    )
    merged = (hits.innermost_shared > 0) | (hits.innermost_split > 0)
    impact = impact * np.where(merged, settings.merged_innermost_hit, 1.0)
    sigma = _resolution(c.perigee, settings, impact)
    kind = np.abs(c.pdg_id)
    dense = (hits.pixel_shared > 0) | (hits.pixel_split > 0)
    tail = (
        settings.tail_fraction
        + settings.hadron_tail_fraction * (kind > 100)
        + settings.dense_tail_fraction * dense
    )
    draw = rng.random(len(c))
    scale = np.select(
        [draw < settings.far_tail_fraction, draw < settings.far_tail_fraction + tail],
        [settings.far_tail_scale, settings.tail_scale],
        1.0,
    )
    g = rng.standard_normal((5, len(c))) * scale
    g[2] = _correlate(g[0], g[2], settings.d0_phi_correlation)
    g[3] = _correlate(g[1], g[3], settings.z0_theta_correlation)
    theta = np.clip(c.theta + g[3] * sigma.theta, 0.05, np.pi - 0.05)
    # Electrons radiate: their momentum comes out low by a fraction with a long tail.
    kept = 1 - 0.9 * rng.beta(0.3, 2.0, len(c)) * (kind == 11)
    q_over_p = c.q_over_p / kept + g[4] * sigma.q_over_p
    off = displacement(c.perigee, settings) * (hits.innermost > 0)
    measured = Perigee(
        c.d0 + g[0] * sigma.d0 + off[0],
        c.z0 + (g[1] * sigma.z0 + off[1]) / np.sin(c.theta),
        wrap(c.phi + g[2] * sigma.phi),
        theta,
        np.where(np.abs(q_over_p) < 1e-5, np.copysign(1e-5, q_over_p), q_over_p),
    )
    # What the fit quotes follows the measured momentum and the hits, within a few per cent.
    quoted = _resolution(measured, settings, impact)
    spread = np.exp(settings.uncertainty_spread * rng.standard_normal((5, len(c))))
    uncertainty = Perigee(*(s * f for s, f in zip(quoted, spread, strict=True)))
    return Response(index, measured, uncertainty, hits, _leptons(c, settings, rng))


def displacement(track: Perigee, settings: TrackerSettings) -> Array:
    """Shifts (2, T) of d0 and z0 sin(theta) by the displaced sensors of the innermost layer.

    Its sensors, 14 in azimuth by 20 along the beam as in ATLAS's insertable layer, are off by numbers drawn
    once and for all: the same for every track, known to no one.
    """
    stave = ((track.phi % (2 * np.pi)) / (2 * np.pi) * SENSORS[0]).astype(int) % SENSORS[0]
    along = (track.z0 + settings.hits.pixel_radii[0] / np.tan(track.theta)) / (2 * HALF_LENGTH) + 0.5
    module = np.clip((along * SENSORS[1]).astype(int), 0, SENSORS[1] - 1)
    pattern = np.random.default_rng(SENSORS).standard_normal((2, *SENSORS))
    return np.asarray(pattern[:, stave, module] * np.array(settings.misalignment)[:, None])


def _correlate(first: Array, second: Array, correlation: float) -> Array:
    return np.asarray(correlation * first + np.sqrt(1 - correlation**2) * second)


def _leptons(c: Candidates, settings: TrackerSettings, rng: np.random.Generator) -> NDArray[np.int8]:
    """0, or 11 or 13 for tracks identified as electron or muon, rightly or wrongly."""
    kind = np.abs(c.pdg_id)
    as_electron = np.where(kind == 11, settings.electron_identification, settings.hadron_as_electron)
    as_muon = np.where(kind == 13, settings.muon_identification, settings.hadron_as_muon)
    as_electron = as_electron * (c.pt > settings.electron_pt_min)
    as_muon = as_muon * (c.pt > settings.muon_pt_min)
    draw = rng.random(len(c))
    return np.select([draw < as_muon, draw < as_muon + as_electron], [13, 11], 0).astype(np.int8)
