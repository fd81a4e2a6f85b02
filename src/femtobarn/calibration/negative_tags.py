"""Mistag rate of light jets from negative tags [ATLAS-CONF-2018-006; 1907.05120].

A light jet is tagged because of resolution: its tracks miss the vertex as often behind the jet as in front of
it. With all impact parameters turned round the tagger finds light jets about as often, and heavy flavour,
whose tracks lie in front, hardly at all. How often it does so in data, over simulation, is the scale factor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import awkward as ak
import numpy as np
from numpy.typing import NDArray

__all__ = ["TaggedJets", "flipped", "light_scale_factor"]

Array = NDArray[np.float64]
SIGNED = (
    "d0",
    "z0SinTheta",
    "IP3D_signed_d0",
    "IP3D_signed_z0",
    "IP3D_signed_d0_significance",
    "IP3D_signed_z0_significance",
)


def flipped(jets: ak.Array) -> ak.Array:
    """The same jets with the impact parameters of all tracks turned round."""
    tracks = jets.tracks
    turned = {name: -tracks[name] if name in SIGNED else tracks[name] for name in tracks.fields}
    fields = {name: jets[name] for name in jets.fields if name != "tracks"}
    return ak.zip({**fields, "tracks": ak.zip(turned)}, depth_limit=1)


@dataclass(frozen=True)
class TaggedJets:
    """Jets for the measurement of a mistag rate, all arrays (N,).

    Attributes:
        pt: GeV.
        tagged: by the tagger.
        negative: by the tagger on `flipped` jets.
        light: whether they are light; known in simulation only.
        weights: of the jets.
    """

    pt: Array
    tagged: NDArray[np.bool_]
    negative: NDArray[np.bool_]
    light: NDArray[np.bool_]
    weights: Array

    def weighted(self, factors: Array) -> TaggedJets:
        """The same jets with their weights multiplied by (N,) factors."""
        return replace(self, weights=self.weights * factors)

    def efficiency(self, edges: Array) -> Array:
        """(B,) true mistag rate of light jets in bins of pT."""
        return _rate(self.pt[self.light], self.tagged[self.light], self.weights[self.light], edges)[0]


def light_scale_factor(data: TaggedJets, simulation: TaggedJets, edges: Array) -> tuple[Array, Array]:
    """(e_neg(data) - h) / (e_neg(simulation) - h) in bins of pT, h being heavy flavour's part of all jets.

    Args:
        data: of which only pT, negative tags and weights are used.
        simulation: from which h is taken.
        edges: (B+1,) of pT, GeV.

    Returns:
        scale factors (B,) and their statistical covariance (B, B), the simulation's included.
    """
    rate, variance = _rate(data.pt, data.negative, data.weights, edges)
    simulated, spread = _rate(simulation.pt, simulation.negative, simulation.weights, edges)
    heavy = _rate(simulation.pt, simulation.negative & ~simulation.light, simulation.weights, edges)[0]
    factor = (rate - heavy) / (simulated - heavy)
    relative = variance / (rate - heavy) ** 2 + spread / (simulated - heavy) ** 2
    return factor, np.diag(factor**2 * relative)


def _rate(pt: Array, tagged: NDArray[np.bool_], weights: Array, edges: Array) -> tuple[Array, Array]:
    """Fraction tagged in bins of pT and its variance; jets beyond the edges do not count."""
    inside = (pt >= edges[0]) & (pt < edges[-1])
    pt, tagged, weights = pt[inside], tagged[inside], weights[inside]
    place, bins = np.digitize(pt, edges) - 1, len(edges) - 1
    every = np.bincount(place, weights, bins)
    rate = np.bincount(place, weights * tagged, bins) / every
    return rate, np.bincount(place, (weights * (tagged - rate[place])) ** 2, bins) / every**2
