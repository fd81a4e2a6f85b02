"""Two-track vertices: their masses, and those that no heavy hadron made: V0s, conversions, material."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.groups import pairs, sums
from femtobarn.physics.vertexing import MeasuredTracks, fit_vertices, residuals

__all__ = [
    "ELECTRON",
    "KAON_SHORT",
    "LAMBDA",
    "PION",
    "PROTON",
    "TrackPairs",
    "at_material",
    "decay_length",
    "four_momentum",
    "momenta_at",
    "track_pairs",
    "unwanted_decays",
]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]
ELECTRON, PION, PROTON, KAON_SHORT, LAMBDA = 0.000511, 0.13957, 0.93827, 0.49761, 1.11568
"""GeV, Review of Particle Physics."""


class TrackPairs(NamedTuple):
    """P two-track vertices: the tracks (P,), position (P, 3) in mm, covariance (P, 3, 3), chi2 (P,) with one
    degree of freedom, momenta there (P, 3) in GeV, and the product of charges (P,)."""

    first: Index
    second: Index
    position: Array
    covariance: Array
    chi2: Array
    momentum: tuple[Array, Array]
    charge: Array

    def take(self, which: Index | Mask) -> TrackPairs:
        """The pairs at these places."""
        a, b = self.momentum
        return TrackPairs(
            self.first[which], self.second[which], self.position[which], self.covariance[which],
            self.chi2[which], (a[which], b[which]), self.charge[which],
        )  # fmt: skip

    def mass(self, first: float, second: float) -> Array:
        """(P,) invariant mass, GeV, when the tracks are particles of these masses."""
        a, b = self.momentum
        energy = np.sqrt((a**2).sum(axis=1) + first**2) + np.sqrt((b**2).sum(axis=1) + second**2)
        return np.asarray(np.sqrt(np.maximum(energy**2 - ((a + b) ** 2).sum(axis=1), 0.0)))


def momenta_at(tracks: MeasuredTracks, points: Array) -> Array:
    """Momenta (T, 3), GeV, at the closest approaches to points (T, 3)."""
    r = residuals(tracks, points)
    p = 1 / np.abs(tracks.q_over_p)
    pt = p * tracks.sin_theta
    return np.stack([pt * r.cos_phi, pt * r.sin_phi, p * tracks.cos_theta], axis=1)


def four_momentum(momentum: Array, group: Index, count: int, mass: float = PION) -> tuple[Array, Array]:
    """Sums over each group of particles of one mass: energy (count,), momentum (count, 3); GeV."""
    energy = np.sqrt((momentum**2).sum(axis=1) + mass**2)
    return sums(group, energy, count), sums(group, momentum, count)


def track_pairs(tracks: MeasuredTracks, counts: Index) -> TrackPairs:
    """Vertices of all pairs of tracks within jets, of which each has `counts` (B,) tracks."""
    first, second = pairs(counts)
    both = tracks.take(np.concatenate([first, second]))
    vertex = np.tile(np.arange(len(first)), 2)
    fit = fit_vertices(both, vertex, len(first), iterations=2)
    momentum = momenta_at(both, fit.position[vertex])
    charge = np.sign(tracks.q_over_p[first] * tracks.q_over_p[second])
    count = len(first)
    return TrackPairs(
        first, second, fit.position, fit.covariance, fit.chi2, (momentum[:count], momentum[count:]), charge
    )


def decay_length(position: Array, covariance: Array, primary: Array) -> tuple[Array, Array]:
    """Distance (V,) from the primary vertex at the origin, mm, and its significance.

    Args:
        position, covariance: (V, 3) and (V, 3, 3) of the vertices.
        primary: (3,) standard deviations of the primary vertex.
    """
    length = np.linalg.norm(position, axis=1)
    unit = position / np.maximum(length, 1e-9)[:, None]
    variance = np.einsum("vi,vij,vj->v", unit, covariance + np.diag(primary**2), unit)
    return length, length / np.sqrt(np.maximum(variance, 1e-12))


def unwanted_decays(
    pair: TrackPairs, significance: Array, kaon: float, hyperon: float, photon: float, pointing: float
) -> Mask:
    """K_S -> pi pi, Lambda -> p pi and photon -> e e among two-track vertices.

    Opposite charges and a mass that fits; for K_S and Lambda also a decay length of more than eight standard
    deviations and a momentum that points away from the primary vertex. After ATLAS's secondary-vertex finder.

    Args:
        pair: (P,) vertices.
        significance: (P,) of their decay lengths.
        kaon, hyperon: largest distance of the mass from those of K_S and Lambda, GeV.
        photon: largest mass of an electron pair, GeV.
        pointing: largest distance at which the line of the total momentum misses the origin, mm.
    """
    possible = np.flatnonzero(pair.charge < 0)
    v = pair.take(possible)
    a, b = v.momentum
    total = a + b
    missed = np.linalg.norm(np.cross(v.position, total), axis=1) / np.linalg.norm(total, axis=1)
    # The proton takes most of the momentum.
    hard_first = (a**2).sum(axis=1) > (b**2).sum(axis=1)
    proton_pion = np.where(hard_first, v.mass(PROTON, PION), v.mass(PION, PROTON))
    fits = np.abs(v.mass(PION, PION) - KAON_SHORT) < kaon
    fits |= np.abs(proton_pion - LAMBDA) < hyperon
    fits &= (significance[possible] > 8) & (missed < pointing)
    result = np.zeros(len(pair.chi2), dtype=bool)
    result[possible] = fits | (v.mass(ELECTRON, ELECTRON) < photon)
    return result


def at_material(position: Array, radii: tuple[float, ...], width: float) -> Mask:
    """Whether vertices (V, 3) are within `width` of a cylinder of these radii about the beam line; mm."""
    radius, layers = np.hypot(position[:, 0], position[:, 1]), np.asarray(radii)
    # The nearest layer, by the midpoints between them.
    nearest = layers[np.searchsorted((layers[1:] + layers[:-1]) / 2, radius)]
    return np.asarray(np.abs(radius - nearest) < width)
