"""What particles do in the material of the tracker: photons convert, hadrons interact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from femtobarn.physics.kinematics import cartesian, pt_eta_phi
from femtobarn.physics.truth import OTHER_SECONDARY, PILEUP
from femtobarn.simulation.particles import Particles

__all__ = ["MaterialSettings", "conversions", "interactions"]

Array = NDArray[np.float64]


class MaterialSettings(BaseModel):
    """Thin cylinders of material: radii in mm, thickness at normal incidence in radiation lengths.

    Beam pipe, insertable b-layer, three pixel layers, their support, three SCT layers: about 0.17 X0 up to
    the second SCT layer at normal incidence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    radii: tuple[float, ...] = (24.0, 33.3, 50.5, 88.5, 122.5, 230.0, 299.0, 371.0)
    radiation_lengths: tuple[float, ...] = (0.007, 0.016, 0.024, 0.024, 0.024, 0.025, 0.025, 0.025)
    interaction_per_radiation_length: float = 0.28
    products: float = 1.6
    """Mean number of charged products of a hadronic interaction beyond the first."""


def _layer_hit(
    thickness: Array, birth: Array, settings: MaterialSettings, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Index of the layer where each particle interacts first, or the number of layers when it does not.

    `thickness` (layers, particles) is the probability at each layer; those inside `birth` do not count.
    """
    radii = np.asarray(settings.radii)
    depth = np.cumsum(thickness * (radii[:, None] > birth), axis=0)
    return np.asarray((depth < rng.standard_exponential(thickness.shape[1])).sum(axis=0))


def _point(particles: Particles, radius: Array) -> tuple[Array, Array, Array]:
    """Where straight lines from the production points reach a radius."""
    pt = np.hypot(particles.px, particles.py)
    ux, uy = particles.px / pt, particles.py / pt
    along = particles.x * ux + particles.y * uy
    squared = along**2 + radius**2 - particles.x**2 - particles.y**2
    path = np.sqrt(np.maximum(squared, 0.0)) - along
    return particles.x + path * ux, particles.y + path * uy, particles.z + path * particles.pz / pt


def conversions(photons: Particles, settings: MaterialSettings, rng: np.random.Generator) -> Particles:
    """Electrons and positrons of the photons that convert: collinear, with random shares of the energy."""
    pt = np.hypot(photons.px, photons.py)
    inverse_sine = np.hypot(pt, photons.pz) / pt
    thickness = 7 / 9 * np.asarray(settings.radiation_lengths)[:, None] * inverse_sine
    layer = _layer_hit(thickness, np.hypot(photons.x, photons.y), settings, rng)
    converted = np.flatnonzero(layer < len(settings.radii))
    parents = photons.take(converted)
    x, y, z = _point(parents, np.asarray(settings.radii)[layer[converted]])
    share = rng.uniform(0.0, 1.0, len(converted))
    both = np.tile(np.arange(len(converted)), 2)
    fraction = np.concatenate([share, 1 - share])
    sign = np.repeat([-1.0, 1.0], len(converted))
    origin = np.where(parents.origin == PILEUP, PILEUP, OTHER_SECONDARY).astype(np.int8)
    return (
        parents.with_columns(x=x, y=y, z=z, origin=origin)
        .take(both)
        .with_columns(
            pdg_id=(-11 * sign).astype(np.int32),
            charge=sign,
            px=fraction * parents.px[both],
            py=fraction * parents.py[both],
            pz=fraction * parents.pz[both],
        )
    )


def interactions(
    tracks: Particles, settings: MaterialSettings, rng: np.random.Generator
) -> tuple[Particles, Array]:
    """Charged products of hadronic interactions, and the radius (mm) where each track ends (or infinity).

    Products share the momentum by random fractions and leave with 0.3 GeV of transverse momentum on average.
    """
    pt, eta, phi = pt_eta_phi(tracks.px, tracks.py, tracks.pz)
    hadron = ~np.isin(np.abs(tracks.pdg_id), (11, 13))
    absorption = settings.interaction_per_radiation_length * np.asarray(settings.radiation_lengths)
    layer = _layer_hit(
        absorption[:, None] * np.cosh(eta) * hadron, np.hypot(tracks.x, tracks.y), settings, rng
    )
    end = np.append(np.asarray(settings.radii), np.inf)[layer]
    hit = np.flatnonzero(np.isfinite(end))
    parents = tracks.take(hit)
    x, y, z = _point(parents, end[hit])
    number = 1 + rng.poisson(settings.products, len(hit))
    source = np.repeat(np.arange(len(hit)), number)
    weight = rng.standard_exponential(len(source))
    # One share more than charged products: what neutrals and the nucleus take.
    total = np.bincount(source, weights=weight, minlength=len(hit)) + rng.standard_exponential(len(hit))
    fraction = weight / total[source]
    momentum = (pt * np.cosh(eta))[hit][source] * fraction
    kick = rng.standard_exponential((2, len(source))) * rng.choice([-0.3, 0.3], (2, len(source)))
    angle = np.clip(kick / momentum, -1.0, 1.0)
    new_eta = eta[hit][source] + angle[0] * np.cosh(eta[hit][source])
    theta_scale = momentum / np.cosh(new_eta)
    px, py, pz = cartesian(theta_scale, new_eta, phi[hit][source] + angle[1])
    origin = np.where(parents.origin == PILEUP, PILEUP, OTHER_SECONDARY).astype(np.int8)
    products = parents.with_columns(x=x, y=y, z=z, origin=origin).take(source)
    sign = rng.choice([-1.0, 1.0], len(source))
    return products.with_columns(px=px, py=py, pz=pz, charge=sign, pdg_id=(211 * sign).astype(np.int32)), end
