"""Jets as pictures: transverse momentum in pixels of rapidity and azimuth [1511.05190, 1803.00107]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.groups import sums
from femtobarn.physics.kinematics import wrap

__all__ = ["aligned", "jet_images"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def aligned(counts: Index, pt: Array, eta: Array, phi: Array) -> tuple[Array, Array]:
    """Coordinates (P,), (P,) of constituents in a jet that is centred, turned and flipped.

    The pT-weighted mean is the origin, the principal axis is vertical, and most pT lies right and up.
    """
    size = len(counts)
    jet = np.repeat(np.arange(size), counts)
    total = np.maximum(np.bincount(jet, pt, size), 1e-30)
    first = (np.cumsum(counts) - counts)[jet]
    across, around = eta - eta[first], wrap(phi - phi[first])  # near one constituent the circle is a line
    x = across - (np.bincount(jet, pt * across, size) / total)[jet]
    y = around - (np.bincount(jet, pt * around, size) / total)[jet]
    xx, xy, yy = (np.bincount(jet, pt * product, size) for product in (x * x, x * y, y * y))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)[jet]  # of the principal axis with the x axis
    x, y = x * np.sin(angle) - y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
    for values in (x, y):
        side = np.bincount(jet, pt * np.sign(values), size)
        values *= np.where(side < 0, -1.0, 1.0)[jet]
    return x, y


def jet_images(
    counts: Index, pt: Array, eta: Array, phi: Array, pixels: int = 40, half_width: float = 0.8
) -> NDArray[np.float32]:
    """Pictures (J, pixels, pixels), rows by y and columns by x of `aligned`, of unit sum.

    What lies outside is left out before the sum is taken; a jet without constituents is black.

    Args:
        counts: (J,) constituents of each jet.
        pt, eta, phi: (P,) of the constituents.
        pixels: on each side.
        half_width: of the picture.
    """
    x, y = aligned(counts, pt, eta, phi)
    jet = np.repeat(np.arange(len(counts)), counts)
    column, row = (np.floor((v + half_width) * pixels / (2 * half_width)).astype(np.int64) for v in (x, y))
    inside = (column >= 0) & (column < pixels) & (row >= 0) & (row < pixels)
    cell = (jet * pixels + row) * pixels + column
    images = sums(cell[inside], pt[inside], len(counts) * pixels**2).reshape(len(counts), pixels, pixels)
    total = images.sum(axis=(1, 2), keepdims=True)
    return np.asarray(images / np.where(total > 0, total, 1.0), dtype=np.float32)
