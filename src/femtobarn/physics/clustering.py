"""Jets from particles with fastjet (Cacciari, Salam, Soyez, EPJC 72 (2012) 1896)."""

from __future__ import annotations

from typing import NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

__all__ = ["Jets", "anti_kt"]

Array = NDArray[np.float64]


class Jets(NamedTuple):
    """Flat jets, by event and falling pT; `constituents` is ragged and indexes the flat particles."""

    event: NDArray[np.int64]
    px: Array
    py: Array
    pz: Array
    energy: Array
    constituents: ak.Array


def anti_kt(
    counts: NDArray[np.int64], p4: tuple[Array, Array, Array, Array], radius: float, pt_min: float
) -> Jets:
    """Anti-kt jets (E scheme) of flat particles px, py, pz, E (GeV), of which each event has `counts`.

    An event without particles has no jets.
    """
    import fastjet

    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    px, py, pz, energy = p4
    particles = ak.zip(
        {name: ak.unflatten(x, counts) for name, x in zip(("px", "py", "pz", "E"), p4, strict=True)},
        with_name="Momentum4D",
    )
    cluster = fastjet.ClusterSequence(particles, fastjet.JetDefinition(fastjet.antikt_algorithm, radius))
    local = cluster.constituent_index(min_pt=pt_min)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    members = ak.flatten(local + starts, axis=1)
    event = np.repeat(np.arange(len(counts)), ak.to_numpy(ak.num(local, axis=1)))
    sizes = ak.to_numpy(ak.num(members, axis=1))
    jet = np.repeat(np.arange(len(sizes)), sizes)
    flat = ak.to_numpy(ak.flatten(members))
    # Summing the constituents is the E scheme, and saves asking fastjet for the momenta a second time.
    sums = [
        np.bincount(jet, weights=x[flat], minlength=len(sizes)).astype(np.float64)
        for x in (px, py, pz, energy)
    ]
    pt = np.hypot(sums[0], sums[1])
    order = np.lexsort((-pt, event))
    px, py, pz, energy = (column[order] for column in sums)
    return Jets(event[order], px, py, pz, energy, members[order])
