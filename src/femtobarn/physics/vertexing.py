"""Vertices as groups of tracks that pairwise scores connect."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["vertices_from_pairs"]


def vertices_from_pairs(
    i: NDArray[np.integer[Any]], j: NDArray[np.integer[Any]], offsets: NDArray[np.integer[Any]]
) -> NDArray[np.int64]:
    """Number the connected groups of tracks of each jet.

    Tracks i[k] and j[k] are joined, and joining is transitive: a vertex is a connected component of the graph
    of joined pairs. All jets are solved at once, as one block-diagonal graph.

    Args:
        i, j: (P,) positions of joined tracks among all T tracks.
        offsets: (B+1,) jet b owns tracks `offsets[b]:offsets[b+1]`.

    Returns:
        (T,) the vertex of each track, counted within its jet from 0 in the order of the first track of each.

    Raises:
        ValueError: when a pair connects two jets.
    """
    count = int(offsets[-1])
    jet = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    if np.any(jet[i] != jet[j]):
        raise ValueError("a pair joins tracks of two different jets")
    graph = coo_array((np.ones(len(i), dtype=np.int8), (i, j)), shape=(count, count))
    component = connected_components(graph, directed=False)[1]
    # The first track of a component opens a vertex: its number is how many were opened in the jet before it.
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    opens = np.zeros(count + 1, dtype=np.int64)
    opens[first + 1] = 1
    opened = np.cumsum(opens)
    before = opened[first[inverse]]
    vertices: NDArray[np.int64] = before - opened[offsets[:-1]][jet]
    return vertices
