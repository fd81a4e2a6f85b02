"""Angles and momenta of vectorised four-vectors (GeV, radians)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cartesian", "delta_r", "eta_of_theta", "pt_eta_phi", "theta_of_eta", "wrap"]

Array = NDArray[np.float64]


def wrap(angle: Array) -> Array:
    """An angle brought to [-pi, pi)."""
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi)


def delta_r(eta1: Array, phi1: Array, eta2: Array, phi2: Array) -> Array:
    """Distance sqrt(deta^2 + dphi^2), with the azimuth taken round the circle."""
    return np.asarray(np.hypot(eta1 - eta2, wrap(phi1 - phi2)))


def pt_eta_phi(px: Array, py: Array, pz: Array) -> tuple[Array, Array, Array]:
    """Transverse momentum, pseudorapidity and azimuth; finite along the beam too."""
    pt = np.hypot(px, py)
    return pt, np.arcsinh(pz / np.maximum(pt, 1e-20 + 1e-21 * np.abs(pz))), np.arctan2(py, px)


def cartesian(pt: Array, eta: Array, phi: Array) -> tuple[Array, Array, Array]:
    """Components px, py, pz."""
    return pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)


def theta_of_eta(eta: Array) -> Array:
    """Polar angle 2 atan(exp(-eta))."""
    return np.asarray(2 * np.arctan(np.exp(-eta)))


def eta_of_theta(theta: Array) -> Array:
    """Pseudorapidity -ln tan(theta/2)."""
    return np.asarray(-np.log(np.tan(theta / 2)))
