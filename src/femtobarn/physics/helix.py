r"""Tracks in a solenoid: perigee parameters in closed form.

A charge q moving in a field B along +z turns clockwise for q > 0: its direction changes by dphi = -kappa ds
along the transverse path s, with the signed curvature kappa = k q B / pT, k = 0.299792458e-3 GeV / (T mm).
The perigee is the point of the helix nearest to a reference line parallel to z. With phi0 its direction,

    x = x_ref - d0 sin(phi0),   y = y_ref + d0 cos(phi0),   z = z_ref + z0,

the convention of ATLAS and of ACTS (bound parameters loc0, loc1). All formulas are free of cancellation for
straight tracks (kappa = 0), so that no case is special.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["CURVATURE", "Perigee", "azimuth_at_radius", "curvature", "perigee", "propagate"]

Array = NDArray[np.float64]
CURVATURE = 0.299792458e-3
"""GeV / (T mm)."""


class Perigee(NamedTuple):
    """Track parameters at the point of closest approach to a line along z: mm, mm, radian, radian, 1/GeV."""

    d0: Array
    z0: Array
    phi: Array
    theta: Array
    q_over_p: Array


def curvature(charge: Array, pt: Array, field: float) -> Array:
    """Signed curvature kappa in 1/mm, positive for positive charges in a field (tesla) along +z."""
    return np.asarray(CURVATURE * field * charge / pt)


def perigee(
    position: tuple[Array, Array, Array],
    momentum: tuple[Array, Array, Array],
    charge: Array,
    field: float,
    reference: tuple[Array | float, Array | float, Array | float] = (0.0, 0.0, 0.0),
) -> Perigee:
    """Perigee of the helix through `position` (mm) with `momentum` (GeV) there, with respect to `reference`.

    Lengths are in mm and all arguments broadcast; the nearest point is that within half a turn.
    """
    dx, dy, dz = (p - r for p, r in zip(position, reference, strict=True))
    px, py, pz = momentum
    pt = np.hypot(px, py)
    sin_phi, cos_phi = py / pt, px / pt
    kappa = curvature(charge, pt, field)
    across = dx * sin_phi - dy * cos_phi
    along = dx * cos_phi + dy * sin_phi
    # With C the centre of the circle, |kappa| |C - ref| = sqrt(1 + 2 kappa across + (kappa r)^2).
    root = np.sqrt(np.maximum(1 + kappa * (2 * across + kappa * (dx * dx + dy * dy)), 0.0))
    d0 = -(2 * across + kappa * (dx * dx + dy * dy)) / (1 + root)
    phi = np.arctan2(sin_phi + kappa * dx, cos_phi - kappa * dy)
    straight = 1 + kappa * across
    turn = np.arctan2(kappa * along, straight)
    small = (np.abs(kappa * along) < 1e-8) & (straight > 0)
    path = np.where(small, along / np.where(small, straight, 1.0), turn / np.where(small, 1.0, kappa))
    return Perigee(d0, dz - path * pz / pt, phi, np.arctan2(pt, pz), charge / np.hypot(pt, pz))


def propagate(track: Perigee, path: Array, field: float) -> tuple[Array, Array, Array, Array]:
    """Position (x, y, z) relative to the reference, and azimuth, a transverse path (mm) after the perigee."""
    kappa = CURVATURE * field * track.q_over_p / np.sin(track.theta)
    half = kappa * path / 2
    chord = path * np.sinc(half / np.pi)
    direction = track.phi - half
    x = -track.d0 * np.sin(track.phi) + chord * np.cos(direction)
    y = track.d0 * np.cos(track.phi) + chord * np.sin(direction)
    return x, y, track.z0 + path / np.tan(track.theta), track.phi - 2 * half


def azimuth_at_radius(track: Perigee, radius: float, field: float) -> tuple[Array, Array]:
    """Azimuth of the position and z (mm) where an outgoing track crosses a cylinder round the reference line.

    Tracks that do not reach the radius, or whose |d0| exceeds it, give the values of the nearest point.
    """
    kappa = CURVATURE * field * track.q_over_p / np.sin(track.theta)
    # All points of the circle are 1/kappa from its centre: Pythagoras gives the chord from the perigee.
    shape = np.clip((radius**2 - track.d0**2) / np.maximum(1 - kappa * track.d0, 1e-9), 0.0, None)
    half_sine = np.clip(kappa * np.sqrt(shape) / 2, -1.0, 1.0)
    small = np.abs(half_sine) < 1e-9
    path = np.where(small, np.sqrt(shape), 2 * np.arcsin(half_sine) / np.where(small, 1.0, kappa))
    x, y, z, _ = propagate(track, path, field)
    return np.arctan2(y, x), z
