"""Truth labels of jets and tracks from an event record.

Ancestry runs through hadrons and taus only and is found for all particles of all events at once by pointer
jumping: after k rounds every particle knows its 2^k nearest ancestors, so a few array operations replace the
walk.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from femtobarn.physics import pdg
from femtobarn.physics.groups import pairs

__all__ = [
    "BOTTOM",
    "CHARM",
    "HADRON",
    "ORIGINS",
    "STRANGE",
    "TAU",
    "ancestors",
    "decay_parents",
    "merge_vertices",
    "origin_labels",
    "weakly_decaying",
]

BOTTOM, CHARM, TAU, STRANGE, HADRON = 1, 2, 4, 8, 16
"""Bits of an ancestry word: among the ancestors is a weakly decaying b-hadron, c-hadron, a tau, a long-lived
strange particle (or a charged kaon or pion that decayed in flight), any hadron."""
ORIGINS = ("Pileup", "Fake", "Primary", "FromB", "FromBC", "FromC", "FromTau", "OtherSecondary")
PILEUP, FAKE, PRIMARY, FROM_B, FROM_BC, FROM_C, FROM_TAU, OTHER_SECONDARY = range(8)

Integers = NDArray[np.integer]
Mask = NDArray[np.bool_]


def decay_parents(pdg_id: Integers, mother: Integers) -> NDArray[np.int64]:
    """The mother (global index) where that is a hadron or a tau, else -1: the tree of decays."""
    parent = np.asarray(mother, dtype=np.int64)
    carries = pdg.is_hadron(pdg_id) | (np.abs(pdg_id) == 15)
    return np.where((parent >= 0) & carries[parent], parent, -1)


def weakly_decaying(in_class: Mask, parent: NDArray[np.int64]) -> Mask:
    """Members of a class of hadrons without a daughter of the same class."""
    children = in_class & (parent >= 0)
    last = in_class.copy()
    last[parent[children]] = False
    return last


def ancestors(own: NDArray[np.uint8], parent: NDArray[np.int64]) -> NDArray[np.uint8]:
    """For every particle the bitwise or of `own` over its strict ancestors along `parent` (-1 ends a chain).

    Raises:
        ValueError: when the parents form a loop.
    """
    words = np.where(parent >= 0, own[parent], 0).astype(np.uint8)
    parent = parent.copy()
    active = np.flatnonzero(parent >= 0)
    for _ in range(64):
        if not len(active):
            return words
        above = parent[active]
        words[active] |= words[above]
        parent[active] = parent[above]
        active = active[parent[active] >= 0]
    raise ValueError("the event record has a particle that is its own ancestor")


def origin_labels(words: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Index into ORIGINS of hard-scatter particles from their ancestry words.

    A chain through a long-lived strange particle is OtherSecondary whatever it came from: a K_S from a
    b-hadron decays centimetres away from it and its pions say nothing of the b vertex.
    """
    word = words.astype(np.int64)
    bottom, charm, tau, strange = (word & bit > 0 for bit in (BOTTOM, CHARM, TAU, STRANGE))
    labels = np.select(
        [strange, bottom & charm, bottom, charm, tau],
        [OTHER_SECONDARY, FROM_BC, FROM_B, FROM_C, FROM_TAU],
        default=PRIMARY,
    )
    return labels.astype(np.int8)


def merge_vertices(
    offsets: NDArray[np.int64],
    position: NDArray[np.float64],
    has_vertex: Mask,
    distance: float = 0.1,
) -> NDArray[np.int16]:
    """Vertex indices of tracks from their production points, merged within `distance` (mm) jet by jet.

    Args:
        offsets: (jets + 1,) tracks of each jet.
        position: (tracks, 3) production points relative to the primary vertex.
        has_vertex: false for tracks that have none (pile-up, fakes), which get -2.
        distance: points nearer than this are one vertex, and so are chains of such points.

    Returns:
        0 for the primary vertex, 1, 2, ... for the others of the jet by growing distance, -2 for none.
    """
    jets, tracks = len(offsets) - 1, len(position)
    counts = np.diff(offsets)
    jet = np.repeat(np.arange(jets), counts)
    # Nodes: the tracks, then one primary vertex per jet.
    first, second = pairs(counts)
    near = np.linalg.norm(position[first] - position[second], axis=1) < distance
    near &= has_vertex[first] & has_vertex[second]
    prompt = np.flatnonzero(has_vertex & (np.linalg.norm(position, axis=1) < distance))
    rows = np.concatenate([first[near], prompt])
    columns = np.concatenate([second[near], tracks + jet[prompt]])
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(tracks + jets,) * 2)
    _, component = connected_components(graph, directed=False)
    primary = component[:tracks] == component[tracks + jet]
    # Rank the other components within their jet by the distance of their nearest track.
    length = np.full(component.max(initial=-1) + 1, np.inf)
    np.minimum.at(length, component[:tracks], np.linalg.norm(position, axis=1))
    other = np.flatnonzero(has_vertex & ~primary)
    unique, start = np.unique(component[other], return_index=True)
    unique_jet = jet[other[start]]
    order = np.lexsort((length[unique], unique_jet))
    rank = np.empty(len(unique), dtype=np.int64)
    sorted_jet = unique_jet[order]
    rank[order] = np.arange(len(unique)) - np.searchsorted(sorted_jet, sorted_jet) + 1
    result = np.where(has_vertex, 0, -2).astype(np.int16)
    result[other] = rank[np.searchsorted(unique, component[other])]
    return result
