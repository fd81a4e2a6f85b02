"""The Lund tree of a jet: its Cambridge/Aachen clustering undone, branching by branch [1807.04758].

Constituents are flat arrays ordered by jet; `counts` (J,) says how many each jet has (GeV).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from femtobarn.physics.groups import offsets_of

__all__ = ["Branchings", "lund_tree"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]


class Branchings(NamedTuple):
    """The branchings of jets, flat, each jet's from its widest on; those below the cut left out.

    Attributes:
        counts: (J,) branchings of each jet.
        kt: pT of the softer branch times its distance from the harder one, GeV.
        delta: that distance in rapidity and azimuth.
        z: share of the softer branch in the sum of both pT.
        parent: place in the jet of the branching that this one follows; of the first its own, 0.
        softer: whether a softer branch leads to it from its parent.
    """

    counts: Index
    kt: Array
    delta: Array
    z: Array
    parent: Index
    softer: NDArray[np.bool_]


def lund_tree(
    counts: Index, px: Array, py: Array, pz: Array, energy: Array, kt_min: float = 1.0
) -> Branchings:
    """Cluster each jet's constituents with Cambridge/Aachen, and list what is undone on the way back.

    A branching with kT below `kt_min` (GeV) is left out, and what follows it belongs to the one before; so
    the branchings of both its branches hang together.
    """
    p4 = np.ascontiguousarray(np.stack([px, py, pz, energy], axis=1), dtype=np.float64)
    most = int(np.maximum(np.asarray(counts) - 1, 0).sum())
    values, links = np.zeros((most, 3)), np.zeros((most, 2), dtype=np.int64)
    found = np.zeros(len(counts), dtype=np.int64)
    _undo(offsets_of(counts), p4, kt_min, values, links, found)
    total = int(found.sum())
    kt, delta, z = values[:total].T
    return Branchings(found, kt, delta, z, links[:total, 0], links[:total, 1] > 0)


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _undo(offsets: Index, p4: Array, kt_min: float, values: Array, links: Index, found: Index) -> None:
    """Fill kT, distance, z, and parent and side, jet after jet."""
    filled = 0
    for jet in range(len(offsets) - 1):
        first, n = offsets[jet], offsets[jet + 1] - offsets[jet]
        if n < 2:
            continue
        size = 2 * n - 1
        p = np.zeros((size, 4))
        p[:n] = p4[first : first + n]
        place = np.zeros((size, 3))  # pT, rapidity, azimuth
        for k in range(n):
            _place(p, place, k)
        left, right = np.full(size, -1), np.full(size, -1)
        alive = np.arange(n)
        nearest, near = np.zeros(n, dtype=np.int64), np.full(n, np.inf)
        for i in range(n):
            _look(place, alive, n, i, nearest, near)
        for new in range(n, size):
            many = size - new + 1  # left to merge: n at first, two at last
            one = np.argmin(near[:many])
            other = nearest[one]
            low, high = min(one, other), max(one, other)
            a, b = alive[low], alive[high]
            if place[a, 0] < place[b, 0]:
                a, b = b, a
            left[new], right[new] = a, b
            p[new] = p[a] + p[b]
            _place(p, place, new)
            # The sum takes the place of one, and the last the place of the other.
            last = many - 1
            alive[low] = new
            alive[high], near[high], nearest[high] = alive[last], near[last], nearest[last]
            for i in range(last):
                gone = nearest[i] == low or nearest[i] == high
                if nearest[i] == last:
                    nearest[i] = high
                if i == low or gone:
                    _look(place, alive, last, i, nearest, near)
                elif i != low:
                    d = _square(place, alive[i], new)
                    if d < near[i]:
                        near[i], nearest[i] = d, low
        # From the root on: each node with the branching kept above it and the side.
        start = filled
        waiting = np.zeros((size, 3), dtype=np.int64)
        waiting[0] = size - 1, -1, 0
        head, tail = 0, 1
        while head < tail:
            node, parent, side = waiting[head]
            head += 1
            if left[node] < 0:
                continue
            hard, soft = left[node], right[node]
            delta = np.sqrt(_square(place, hard, soft))
            kt = place[soft, 0] * delta
            mine = parent
            if kt >= kt_min:
                mine = filled - start
                values[filled] = kt, delta, place[soft, 0] / (place[soft, 0] + place[hard, 0])
                links[filled] = max(parent, 0), side
                filled += 1
            waiting[tail] = hard, mine, 0 if kt >= kt_min else side
            waiting[tail + 1] = soft, mine, 1
            tail += 2
        found[jet] = filled - start


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _place(p: Array, place: Array, k: int) -> None:
    px, py, pz, energy = p[k]
    pt = np.sqrt(px * px + py * py)
    mass = max(energy * energy - pt * pt - pz * pz, 0.0)
    # ln((E + |pz|) / mT) is exact where E - |pz| is not.
    rapidity = np.log((energy + abs(pz)) / np.sqrt(max(mass + pt * pt, 1e-300)))
    place[k, 0], place[k, 1], place[k, 2] = pt, np.copysign(rapidity, pz), np.arctan2(py, px)


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _square(place: Array, i: int, j: int) -> float:
    turn = abs(place[i, 2] - place[j, 2])
    if turn > np.pi:
        turn = 2 * np.pi - turn
    return float((place[i, 1] - place[j, 1]) ** 2 + turn * turn)


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _look(place: Array, alive: Index, many: int, i: int, nearest: Index, near: Array) -> None:
    """The nearest of `many` for the one at `i`."""
    near[i] = np.inf
    for j in range(many):
        if j != i:
            d = _square(place, alive[i], alive[j])
            if d < near[i]:
                near[i], nearest[i] = d, j
