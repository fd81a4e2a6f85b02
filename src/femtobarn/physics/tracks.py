"""Tracks and jets: association, lifetime-signed impact parameters, selection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.groups import cross_pairs
from femtobarn.physics.kinematics import delta_r, wrap

__all__ = ["associate", "cone", "lifetime_sign_d0", "lifetime_sign_z0"]

Array = NDArray[np.float64]


def cone(jet_pt: Array, parameters: tuple[float, float, float] = (0.239, -1.22, -0.0164)) -> Array:
    """Radius a + exp(b + c pT) of the cone that shrinks with the jet's pT (GeV): 0.45 at 20, 0.25 at 200 GeV.

    The default is the one ATLAS uses for b-tagging in Run 2.
    """
    a, b, c = parameters
    return np.asarray(a + np.exp(b + c * jet_pt))


def associate(
    track_counts: NDArray[np.int64],
    track_eta: Array,
    track_phi: Array,
    jet_counts: NDArray[np.int64],
    jet_eta: Array,
    jet_phi: Array,
    radius: Array,
) -> NDArray[np.int64]:
    """Flat index of the nearest jet of the same event whose `radius` contains the track, or -1."""
    track, jet = cross_pairs(track_counts, jet_counts)
    distance = delta_r(track_eta[track], track_phi[track], jet_eta[jet], jet_phi[jet])
    inside = distance < radius[jet]
    track, jet, distance = track[inside], jet[inside], distance[inside]
    order = np.lexsort((distance, track))
    track, jet = track[order], jet[order]
    nearest = np.full(len(track_eta), -1, dtype=np.int64)
    first = np.ones(len(track), dtype=bool)
    first[1:] = track[1:] != track[:-1]
    nearest[track[first]] = jet[first]
    return nearest


def lifetime_sign_d0(d0: Array, phi: Array, jet_phi: Array) -> Array:
    """|d0|, positive when the track crosses the jet axis in front of the vertex, seen along the beam.

    The perigee is at d0 (-sin phi, cos phi), whose projection on the jet axis is d0 sin(phi_jet - phi).
    """
    return np.asarray(np.abs(d0) * np.where(wrap(jet_phi - phi) * d0 >= 0, 1.0, -1.0))


def lifetime_sign_z0(z0: Array, eta: Array, jet_eta: Array) -> Array:
    """|z0|, positive when the track crosses the jet axis in front of the vertex in the beam-jet plane."""
    return np.asarray(np.abs(z0) * np.where((jet_eta - eta) * z0 >= 0, 1.0, -1.0))
