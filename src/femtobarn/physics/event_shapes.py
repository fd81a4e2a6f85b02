"""Shapes of events from the momenta of their particles, for many events at once.

Particles are flat arrays ordered by event, `counts` (N,) says how many each event has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["boosted_sphericity", "sphericity", "thrust"]

Array = NDArray[np.float64]
PION_MASS = 0.13957


def sphericity(counts: NDArray[np.int64], momentum: Array) -> tuple[Array, Array]:
    """Sphericity (N,) and its axis (N, 3) from momenta (P, 3) [Bjorken, Brodsky, PRD 1 (1970) 1416].

    S = 3/2 (l2 + l3) with the eigenvalues l1 >= l2 >= l3 of sum p_a p_b / sum p^2: 0 for two back-to-back
    lines, 1 for an isotropic event. Events without particles have S = 0.
    """
    event = np.repeat(np.arange(len(counts)), counts)
    rows, columns = np.triu_indices(3)
    sums = [
        np.bincount(event, momentum[:, a] * momentum[:, b], len(counts))
        for a, b in zip(rows, columns, strict=True)
    ]
    tensor = np.zeros((len(counts), 3, 3))
    tensor[:, rows, columns] = np.stack(sums, axis=1)
    tensor[:, columns, rows] = tensor[:, rows, columns]
    values, vectors = np.linalg.eigh(tensor)  # ascending
    total = values.sum(axis=1)
    shape = np.where(total > 0, 1.5 * (values[:, 0] + values[:, 1]) / np.where(total > 0, total, 1.0), 0.0)
    return np.clip(shape, 0.0, 1.0), vectors[:, :, 2]


def thrust(counts: NDArray[np.int64], momentum: Array, starts: int = 4) -> tuple[Array, Array]:
    """Thrust max_n sum |p.n| / sum |p| (N,) and its axis (N, 3) [Farhi, PRL 39 (1977) 1587].

    The axis is the sum of all momenta turned into its own hemisphere, so from a start the iteration
    n <- sum sign(p.n) p only climbs; it is done from the sphericity axis and from the `starts` - 1 hardest
    particles, and the highest taken.
    """
    event = np.repeat(np.arange(len(counts)), counts)
    size: Array = np.linalg.norm(momentum, axis=1)
    total = np.bincount(event, size, len(counts)).astype(np.float64)
    first = np.cumsum(counts) - counts
    ranked = np.lexsort((-size, event))
    _, best_axis = sphericity(counts, momentum)
    projected = np.abs(np.sum(momentum * best_axis[event], axis=1))
    best: Array = np.bincount(event, projected, len(counts)).astype(np.float64)
    for start in range(starts):
        axis = best_axis.copy()
        if start:
            has = np.flatnonzero(counts >= start)
            axis[has] = momentum[ranked[first[has] + start - 1]]
        for _ in range(20):
            sign = np.where(np.sum(momentum * axis[event], axis=1) >= 0, 1.0, -1.0)
            before, parts = axis, [np.bincount(event, sign * p, len(counts)) for p in momentum.T]
            axis = np.stack(parts, axis=1).astype(np.float64)
            same = np.allclose(before, axis)
            if same:
                break
        length = np.linalg.norm(axis, axis=1)
        better = length > best
        best = np.where(better, length, best)
        best_axis[better] = axis[better] / length[better, None]
    return np.where(total > 0, best / np.where(total > 0, total, 1.0), 1.0), best_axis


def boosted_sphericity(
    counts: NDArray[np.int64], momentum: Array, axis: Array, beta: float = 0.96, mass: float = PION_MASS
) -> tuple[Array, Array]:
    """Sphericities of the two hemispheres of an axis (N, 3), each in a frame that moves along with it.

    The decay of a heavy hadron that moves at about `beta` is round in its rest frame, where what a light
    quark leaves is still a line. Of the hemisphere the axis points to, and of the other, (N,) each.
    """
    event = np.repeat(np.arange(len(counts)), counts)
    direction = axis[event]
    along = np.sum(momentum * direction, axis=1)
    energy = np.sqrt(np.sum(momentum**2, axis=1) + mass**2)
    gamma = 1 / np.sqrt(1 - beta**2)
    boosted = (
        momentum
        + ((gamma * (np.abs(along) - beta * energy) - np.abs(along)) * np.sign(along))[:, None] * direction
    )
    values = []
    for side in (along >= 0, along < 0):
        values.append(sphericity(np.bincount(event[side], minlength=len(counts)), boosted[side])[0])
    return values[0], values[1]
