"""Jets of an event put together: the two of ttbar -> e mu, and those of a W in ttbar with one lepton."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import awkward as ak
import numpy as np
from numpy.typing import NDArray

__all__ = ["dilepton_pairs", "jet_rows", "w_pairs"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
W_MASS, TOP_MASS = 80.4, 172.5
W_WIDTH, TOP_WIDTH = 12.0, 20.0
"""Resolutions of the masses of two and three jets, GeV."""


def jet_rows(jets: ak.Array, number: tuple[int, int]) -> list[Index]:
    """Rows of the jets of each event by falling pT, for events with `number` from low to high of them.

    One array (events, k) for each k from low to high; an event is one run and event number.
    """
    event = np.stack([ak.to_numpy(jets[name]).astype(np.int64) for name in ("runNumber", "eventNumber")])
    event_of = np.unique(event, axis=1, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((-ak.to_numpy(jets.pt), event_of))
    counts = np.bincount(event_of)
    first = np.cumsum(counts) - counts
    low, high = number
    return [order[first[counts == k][:, None] + np.arange(k)] for k in range(low, high + 1)]


def dilepton_pairs(jets: ak.Array, mass: float = 175.0) -> tuple[Index, Index]:
    """The two hardest jets of events with an electron, a muon and two or three jets, after 1907.05120.

    Ours are the three jets: more pairs, of which fewer are bb. The leptons' charges are not looked at. Each
    jet is given to another lepton, so that the sum of the squared masses is smallest; a jet and a lepton of
    the same top weigh less than the top. The region is the number of masses above `mass` (GeV).

    Returns:
        rows (N, 2) of the jets, and region (N,).
    """
    rows = np.concatenate([found[:, :2] for found in jet_rows(jets, (2, 3))])
    electrons, muons = (ak.to_numpy(jets[f"numberOf{kind}"])[rows[:, 0]] for kind in ("Electrons", "Muons"))
    rows = rows[(electrons == 1) & (muons == 1)]
    one, other = (ak.to_numpy(jets[f"{name}LeptonMass"])[rows] for name in ("leading", "subleading"))
    straight, crossed = np.stack([one[:, 0], other[:, 1]]), np.stack([other[:, 0], one[:, 1]])
    masses = np.where((straight**2).sum(axis=0) < (crossed**2).sum(axis=0), straight, crossed)
    return rows, (masses > mass).sum(axis=0)


def w_pairs(
    jets: ak.Array, tagged: NDArray[np.bool_], edges: Sequence[float] = (1.0, 4.0)
) -> tuple[Index, Index]:
    """The jets of the W in events with one lepton and four or five jets, two of them from tops and tagged,
    after 2109.10627.

    Of the twelve ways to share out the four hardest jets the one is taken that is most like ttbar: the W's
    jets have its mass, with one more that of the top, and the last makes less than the top's with the lepton.
    The tagger has no say in it; then the two that are not the W's must be tagged.

    Args:
        jets: rows of a flavour-tagging sample.
        tagged: (jets,) whether each passes.
        edges: of the squared pull of the masses, the regions.

    Returns:
        rows (N, 2) of the W's jets by falling pT, and region (N,).
    """
    rows = np.concatenate([found[:, :4] for found in jet_rows(jets, (4, 5))])
    electrons, muons = (ak.to_numpy(jets[f"numberOf{kind}"])[rows[:, 0]] for kind in ("Electrons", "Muons"))
    rows = rows[electrons + muons == 1]
    pt, eta, phi, energy = (
        ak.to_numpy(jets[name])[rows].astype(np.float64) for name in ("pt", "eta", "phi", "energy")
    )
    four = np.stack([energy, pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=-1)
    lepton_mass = ak.to_numpy(jets.leadingLeptonMass)[rows]
    ways = [
        (a, b, c, 6 - a - b - c) for a, b in combinations(range(4), 2) for c in range(4) if c not in (a, b)
    ]
    pulls = np.empty((len(rows), len(ways)))
    for number, (a, b, hadronic, leptonic) in enumerate(ways):
        w = four[:, a] + four[:, b]
        top = w + four[:, hadronic]
        excess = np.maximum(lepton_mass[:, leptonic] - 150.0, 0.0)
        pulls[:, number] = (
            ((_mass(w) - W_MASS) / W_WIDTH) ** 2
            + ((_mass(top) - TOP_MASS) / TOP_WIDTH) ** 2
            + (excess / TOP_WIDTH) ** 2
        )
    best = pulls.argmin(axis=1)
    chosen = np.take_along_axis(rows, np.array(ways)[best], axis=1)
    passed = tagged[chosen[:, 2:]].all(axis=1)
    region = np.searchsorted(edges, pulls[np.arange(len(rows)), best])
    return chosen[passed, :2], region[passed].astype(np.int64)


def _mass(four: Array) -> Array:
    squared = four[:, 0] ** 2 - (four[:, 1:] ** 2).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)), dtype=np.float64)
