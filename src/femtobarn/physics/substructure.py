"""Substructure of jets from their constituents, for many jets at once: mass, N-subjettiness, correlators.

Constituents are flat arrays ordered by jet; `counts` (J,) says how many each jet has (GeV, radians).
Rapidities and pseudorapidities are the same for massless constituents.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from femtobarn.physics.groups import offsets_of

__all__ = ["Correlators", "energy_correlators", "jet_mass", "n_subjettiness"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]


class Correlators(NamedTuple):
    """Energy correlators (J,) of a jet: ECF(1) in GeV, ECF(2) and ECF(3) divided by its powers, C2 and D2."""

    total: Array
    e2: Array
    e3: Array
    c2: Array
    d2: Array


def jet_mass(counts: Index, pt: Array, eta: Array, phi: Array, mass: Array | float = 0.0) -> Array:
    """Invariant mass (J,) of the sum of a jet's constituents; 0 for a jet without any."""
    jet = np.repeat(np.arange(len(counts)), counts)
    parts = (
        pt * np.cos(phi),
        pt * np.sin(phi),
        pt * np.sinh(eta),
        np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2),
    )
    px, py, pz, energy = (np.bincount(jet, part, len(counts)) for part in parts)
    return np.asarray(np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0.0)))


def energy_correlators(counts: Index, pt: Array, y: Array, phi: Array, beta: float = 1.0) -> Correlators:
    """Energy correlation functions [Larkoski, Salam, Thaler, 1305.0007; D2: 1409.6298].

    ECF(2) = sum_{i<j} pT_i pT_j R_ij^beta and ECF(3) = sum_{i<j<k} pT_i pT_j pT_k (R_ij R_ik R_jk)^beta;
    e_n = ECF(n) / ECF(1)^n, C2 = e3 / e2^2 and D2 = e3 / e2^3, both 0 where e2 = 0.
    """
    columns = [np.ascontiguousarray(x, dtype=np.float64) for x in (pt, y, phi)]
    sums = np.zeros((len(counts), 3))
    _correlate(offsets_of(counts), columns[0], columns[1], columns[2], beta, sums)
    total, e2, e3 = sums.T
    safe = np.where(e2 > 0, e2, 1.0)
    return Correlators(
        total, e2, e3, np.where(e2 > 0, e3 / safe**2, 0.0), np.where(e2 > 0, e3 / safe**3, 0.0)
    )


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _distance(y: Array, phi: Array, i: int, j: int) -> float:
    """Squared distance in rapidity and azimuth."""
    turn = abs(phi[i] - phi[j])
    if turn > np.pi:
        turn = abs(2 * np.pi - turn)  # azimuths are those of one turn
    return float((y[i] - y[j]) ** 2 + turn * turn)


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _correlate(offsets: Index, pt: Array, y: Array, phi: Array, beta: float, sums: Array) -> None:
    """Fill ECF(1), e2, e3."""
    for jet in range(len(offsets) - 1):
        first, n = offsets[jet], offsets[jet + 1] - offsets[jet]
        total = pt[first : offsets[jet + 1]].sum()
        angle = np.empty((n, n))
        z = np.empty(n)
        for i in range(n):
            z[i] = pt[first + i] / total
            for j in range(i):
                square = _distance(y, phi, first + i, first + j)
                angle[i, j] = angle[j, i] = np.sqrt(square) if beta == 1.0 else square ** (0.5 * beta)
        two = three = 0.0
        for i in range(n):
            for j in range(i):
                pair = z[i] * z[j] * angle[i, j]
                inner = 0.0
                for k in range(j):
                    inner += z[k] * angle[i, k] * angle[j, k]
                two += pair
                three += pair * inner
        sums[jet, 0], sums[jet, 1], sums[jet, 2] = total, two, three


def n_subjettiness(
    counts: Index, pt: Array, y: Array, phi: Array, radius: float = 1.0, most: int = 3, beta: float = 1.0
) -> Array:
    """tau_1 ... tau_most (J, most) [Thaler, Van Tilburg, 1011.2268] about the axes of exclusive kT jets.

    tau_N = sum_i pT_i min_a R_ia^beta / sum_i pT_i R^beta, the axes a being those of N exclusive kT subjets
    whose direction is that of their hardest constituent (winner takes all [1401.2158]). A jet with N
    constituents or fewer has tau_N = 0. tau21 is tau_2 / tau_1.

    Args:
        radius: R of the jets.
        most: largest number of axes.
        beta: power of the distance.
    """
    columns = [np.ascontiguousarray(x, dtype=np.float64) for x in (pt, y, phi)]
    tau = np.zeros((len(counts), most))
    _tau(offsets_of(counts), columns[0], columns[1], columns[2], radius, beta, tau)
    return tau


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _tau(offsets: Index, pt: Array, y: Array, phi: Array, radius: float, beta: float, tau: Array) -> None:
    """Merge the kT-nearest pair until one is left, and measure tau at each number of axes wanted.

    Each cluster remembers its nearest neighbour; after a merger only the clusters whose neighbour was one of
    the two look for another.
    """
    most = tau.shape[1]
    for jet in range(len(offsets) - 1):
        first, n = offsets[jet], offsets[jet + 1] - offsets[jet]
        norm = pt[first : offsets[jet + 1]].sum() * radius**beta
        scale = pt[first : offsets[jet + 1]].copy()
        axis = first + np.arange(n)  # the constituent that points where the cluster does
        alive = n
        nearest, near = np.zeros(n, dtype=np.int64), np.full(n, np.inf)
        for i in range(n):
            for j in range(n):
                if i != j:
                    d = min(scale[i], scale[j]) ** 2 * _distance(y, phi, axis[i], axis[j])
                    if d < near[i]:
                        near[i], nearest[i] = d, j
        while alive > 0:
            if alive <= most and alive < n:
                total = 0.0
                for i in range(first, offsets[jet + 1]):
                    closest = np.inf
                    for a in range(alive):
                        closest = min(closest, _distance(y, phi, i, axis[a]))
                    total += pt[i] * (np.sqrt(closest) if beta == 1.0 else closest ** (0.5 * beta))
                tau[jet, alive - 1] = total / norm
            if alive == 1:
                break
            one = np.argmin(near[:alive])
            other = nearest[one]
            low, high = min(one, other), max(one, other)
            # The heavier one gives the direction; then the last cluster takes the place of the second.
            if scale[high] > scale[low]:
                axis[low] = axis[high]
            scale[low] += scale[high]
            alive -= 1
            scale[high], axis[high], near[high], nearest[high] = (
                scale[alive], axis[alive], near[alive], nearest[alive],
            )  # fmt: skip
            for i in range(alive):
                gone = nearest[i] == low or nearest[i] == high
                if nearest[i] == alive:
                    nearest[i] = high
                if i == low or gone:
                    near[i] = np.inf
                    for j in range(alive):
                        if i != j:
                            d = min(scale[i], scale[j]) ** 2 * _distance(y, phi, axis[i], axis[j])
                            if d < near[i]:
                                near[i], nearest[i] = d, j
                elif i != low:
                    d = min(scale[i], scale[low]) ** 2 * _distance(y, phi, axis[i], axis[low])
                    if d < near[i]:
                        near[i], nearest[i] = d, low
