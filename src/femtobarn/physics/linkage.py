"""Groups of tracks from what a network says of every pair of them: do the two share a vertex?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from femtobarn.physics.groups import offsets_of

__all__ = ["vertices_from_pairs"]

Index = NDArray[np.integer[Any]]


def vertices_from_pairs(
    i: Index, j: Index, probability: NDArray[np.floating[Any]], offsets: Index, threshold: float = 0.5
) -> NDArray[np.int64]:
    """Group the tracks of each jet by mean linkage.

    Every track starts as a group of its own. Again and again the two groups of a jet become one whose pairs
    of tracks, one from each, have the highest mean probability, until none is above the threshold. (Taking
    the connected components of pairs above it instead lets one wrong pair make one vertex of two.)

    Args:
        i, j: (P,) positions of the two tracks of a pair among all T tracks; pairs not listed have 0.
        probability: (P,) that they share a vertex.
        offsets: (B+1,) jet b owns tracks `offsets[b]:offsets[b+1]`.
        threshold: of the mean.

    Returns:
        (T,) the vertex of each track, counted within its jet from 0 in the order of the first track of each.

    Raises:
        ValueError: when a pair connects two jets.
    """
    counts = np.diff(offsets).astype(np.int64)
    jet = np.repeat(np.arange(len(counts)), counts)
    if np.any(jet[i] != jet[j]):
        raise ValueError("a pair joins tracks of two different jets")
    squares, of = offsets_of(counts**2), jet[i]
    link = np.zeros(squares[-1])
    a, b = i - offsets[of], j - offsets[of]
    link[squares[of] + a * counts[of] + b] = link[squares[of] + b * counts[of] + a] = probability
    vertices = np.empty(len(jet), dtype=np.int64)
    _mean_linkage(link, squares, np.asarray(offsets, dtype=np.int64), threshold, vertices)
    return vertices


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _mean_linkage(
    link: NDArray[np.float64],
    squares: NDArray[np.int64],
    offsets: NDArray[np.int64],
    threshold: float,
    vertices: NDArray[np.int64],
) -> None:
    """Fill `vertices` (T,); `link` holds a matrix for each jet, from `squares[b]`, and is used up."""
    for jet in range(len(offsets) - 1):
        first, n = offsets[jet], offsets[jet + 1] - offsets[jet]
        total = link[squares[jet] : squares[jet + 1]].reshape((n, n))
        size = np.ones(n)
        group = np.arange(n)
        while True:
            highest, one, other = threshold, -1, -1
            for a in range(n):
                if group[a] == a:  # the first track of a group stands for it
                    for b in range(a):
                        if group[b] == b and total[a, b] > highest * size[a] * size[b]:
                            highest, one, other = total[a, b] / (size[a] * size[b]), a, b
            if one < 0:
                break
            total[other] += total[one]
            total[:, other] += total[:, one]
            size[other] += size[one]
            group[group == one] = other
        opened = 0
        for a in range(n):
            if group[a] == a:
                vertices[first + a] = opened
                opened += 1
            else:
                vertices[first + a] = vertices[first + group[a]]
