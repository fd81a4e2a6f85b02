"""How well secondary vertices are found: efficiency, purity and fakes, vectorised over all jets at once.

A truth vertex counts as found if a reconstructed one holds at least 65 % of its tracks with at least 50 %
purity; a vertex of a single track is found only by that track alone, 100 % pure (ATL-PHYS-PUB-2022-027).
Two views: exclusive, every heavy-flavour decay vertex by itself, and inclusive, all tracks of the b-decay
chain merged into one.
"""

from __future__ import annotations

from typing import NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.errors import InputError

__all__ = [
    "HEAVY",
    "Vertices",
    "exclusive_vertices",
    "inclusive_vertices",
    "match_vertices",
    "secondary_tracks",
]

RECALL, PURITY = 0.65, 0.50
HEAVY = (3, 4)
"""Codes of `ftagTruthOriginLabel` that make up the b-decay chain: FromB, FromBC."""


class Vertices(NamedTuple):
    """All vertices of a sample, packed; `truth_jet` and `reco_jet` say which jet each belongs to.

    `found` (truth): whether a reconstructed vertex matches. `matched` (reco): whether it finds a truth
    vertex, if not it is a fake. `purity` (reco): the fraction of its tracks that come from its largest
    truth vertex, NaN for fakes.
    """

    truth_jet: NDArray[np.int64]
    found: NDArray[np.bool_]
    reco_jet: NDArray[np.int64]
    matched: NDArray[np.bool_]
    purity: NDArray[np.float64]


def match_vertices(
    jet: NDArray[np.int64],
    truth: NDArray[np.int64],
    reco: NDArray[np.int64],
    recall: float = RECALL,
    purity: float = PURITY,
) -> Vertices:
    """Match reconstructed to truth vertices within jets.

    Args:
        jet: (T,) the jet of each track.
        truth: (T,) index of the track's truth vertex within the jet, below zero: in none that counts.
        reco: (T,) index of its reconstructed vertex within the jet, below zero: in none.
        recall, purity: the least fractions asked for.
    """
    truth_id, truth_jet, truth_size = _number(jet, truth)
    reco_id, reco_jet, reco_size = _number(jet, reco)
    both = (truth_id >= 0) & (reco_id >= 0)
    pairs, shared = np.unique(truth_id[both] * max(len(reco_size), 1) + reco_id[both], return_counts=True)
    truth_of, reco_of = pairs // max(len(reco_size), 1), pairs % max(len(reco_size), 1)
    pure = shared / reco_size[reco_of]
    good = (shared >= recall * truth_size[truth_of]) & (
        pure >= np.where(truth_size[truth_of] == 1, 1.0, purity)
    )
    found = np.zeros(len(truth_size), dtype=bool)
    found[truth_of[good]] = True
    best = np.full(len(reco_size), np.nan)
    np.fmax.at(best, reco_of[good], pure[good])
    return Vertices(truth_jet, found, reco_jet, ~np.isnan(best), best)


def _number(
    jet: NDArray[np.int64], index: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Number the vertices of all jets through: id per track (-1: none), jet and size per vertex."""
    used = index >= 0
    span = int(index.max(initial=0)) + 1
    keys, inverse, size = np.unique(jet[used] * span + index[used], return_inverse=True, return_counts=True)
    ids = np.full(len(index), -1, dtype=np.int64)
    ids[used] = inverse
    return ids, keys // span, size


def exclusive_vertices(
    truth: ak.Array,
    origin: ak.Array,
    reco: ak.Array,
    heavy: ak.Array | None = None,
    primary: ak.Array | None = None,
) -> Vertices:
    """Every truth vertex of the b-decay chain by itself against every reconstructed secondary vertex.

    Args:
        truth: ragged, `ftagTruthVertexIndex`; 0 is the primary vertex, below zero is none.
        origin: ragged, `ftagTruthOriginLabel`; vertices are made of tracks FromB or FromBC.
        reco: ragged, the reconstructed vertex of each track, below zero: none.
        heavy: ragged bool, tracks the tagger takes to be from the b-decay chain: only reconstructed
            vertices with one of them count. None: all count.
        primary: ragged bool, tracks the tagger takes to be primary: the vertex with most of them is not
            secondary.
    """
    jet, (truth_flat, origin_flat, reco_flat) = _flatten(truth, origin, reco)
    chain = np.isin(origin_flat, HEAVY) & (truth_flat > 0)
    chosen = _secondary(jet, reco_flat, _flat(heavy), _flat(primary))
    return match_vertices(jet, np.where(chain, truth_flat, -1), np.where(chosen, reco_flat, -1))


def inclusive_vertices(
    truth: ak.Array,
    origin: ak.Array,
    reco: ak.Array,
    heavy: ak.Array | None = None,
    primary: ak.Array | None = None,
) -> Vertices:
    """All tracks FromB and FromBC of a jet as one vertex, against its reconstructed ones merged."""
    jet, (_, origin_flat, reco_flat) = _flatten(truth, origin, reco)
    chain = np.isin(origin_flat, HEAVY)
    chosen = _secondary(jet, reco_flat, _flat(heavy), _flat(primary))
    return match_vertices(jet, np.where(chain, 0, -1), np.where(chosen, 0, -1))


def secondary_tracks(reco: ak.Array, heavy: ak.Array | None, primary: ak.Array | None) -> ak.Array:
    """Ragged bool, the tracks of the inclusive vertex: of all reconstructed ones that count as secondary.

    The arguments are those of `exclusive_vertices`.
    """
    jet, (flat,) = _flatten(reco)
    return ak.unflatten(_secondary(jet, flat, _flat(heavy), _flat(primary)), ak.num(reco))


def _secondary(
    jet: NDArray[np.int64],
    reco: NDArray[np.int64],
    heavy: NDArray[np.bool_] | None,
    primary: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    """(T,) whether a track is in a reconstructed vertex that counts as a secondary one."""
    ids, vertex_jet, size = _number(jet, reco)
    inside = ids >= 0
    chosen = np.ones(len(size), dtype=bool)
    if primary is not None and len(size):
        count = np.bincount(ids[inside], primary[inside], minlength=len(size))
        ranked = np.lexsort((-size, -count, vertex_jet))
        first = ranked[np.append(True, np.diff(vertex_jet[ranked]) != 0)]
        chosen[first[count[first] > 0]] = False
    if heavy is not None:
        chosen &= np.bincount(ids[inside], heavy[inside], minlength=len(size)) > 0
    result: NDArray[np.bool_] = inside & np.append(chosen, False)[ids]
    return result


def _flat(array: ak.Array | None) -> NDArray[np.bool_] | None:
    return None if array is None else np.asarray(ak.to_numpy(ak.flatten(array)), dtype=bool)


def _flatten(*arrays: ak.Array) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """The jet of each track, and the arrays packed; all must have the same number of tracks in each jet."""
    counts = ak.to_numpy(ak.num(arrays[0]))
    for array in arrays[1:]:
        if not np.array_equal(counts, ak.to_numpy(ak.num(array))):
            raise InputError(
                "the truth and the reconstructed vertex index differ in tracks per jet: use the same tracks"
            )
    jet = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    return jet, [ak.to_numpy(ak.flatten(array)).astype(np.int64) for array in arrays]
