"""Mistag rate of light jets, from tags themselves or from negative ones [ATLAS-CONF-2018-006; 1907.05120].

Tagged jets are counted, and what heavy flavour has among them is taken off as the simulation says. Where a
tight tagger leaves little else, jets are counted that it tags by negative tracks: a light jet is tagged
because of resolution, its tracks miss the vertex as often behind the jet as in front of it. Shown the tracks
behind alone, turned round, the tagger is wrong about light jets as resolution makes it, and heavy flavour,
whose tracks lie in front, hardly passes. How often it does so in data, over simulation, is the scale factor.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """The same jets with only the tracks whose lifetime-signed d0 is negative, these turned round.

    A tagger that saw the tracks in front too, turned round or not, would know a b-jet by their distance.
    """
    tracks = jets.tracks[jets.tracks.IP3D_signed_d0 < 0]
    turned = {name: -tracks[name] if name in SIGNED else tracks[name] for name in tracks.fields}
    fields = {name: jets[name] for name in jets.fields if name != "tracks"}
    return ak.zip({**fields, "tracks": ak.zip(turned)}, depth_limit=1)


@dataclass(frozen=True)
class TaggedJets:
    """Jets for the measurement of a mistag rate, all arrays (N,).

    Attributes:
        pt: GeV.
        tagged: by the tagger.
        counted: what is measured in data, `tagged` itself or by the tagger on `flipped` jets.
        light: whether they are light; known in simulation only.
        weights: of the jets.
        times: how often each of them is there, in pseudo-data.
    """

    pt: Array
    tagged: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    light: NDArray[np.bool_]
    weights: Array
    times: Array

    def rate(self, chosen: NDArray[np.bool_], passes: NDArray[np.bool_], edges: Array) -> tuple[Array, Array]:
        """Fraction of the jets that are `chosen` and pass in bins of pT (B,), and its variance.

        Jets beyond the edges do not count; a bin without jets is NaN.
        """
        inside = chosen & (self.pt >= edges[0]) & (self.pt < edges[-1])
        passes, weights, times = passes[inside], self.weights[inside], self.times[inside]
        place, bins = np.digitize(self.pt[inside], edges) - 1, len(edges) - 1
        every = np.bincount(place, times * weights, bins)
        with np.errstate(invalid="ignore", divide="ignore"):
            rate = np.bincount(place, times * weights * passes, bins) / every
            spread = np.bincount(place, times * (weights * (passes - rate[place])) ** 2, bins)
            return rate, spread / every**2

    def efficiency(self, edges: Array) -> Array:
        """(B,) true mistag rate of light jets in bins of pT."""
        return self.rate(self.light, self.tagged, edges)[0]


def light_scale_factor(data: TaggedJets, simulation: TaggedJets, edges: Array) -> tuple[Array, Array]:
    """(e(data) - h) / (e(simulation) - h) in bins of pT, h being the part that heavy flavour is of all jets.

    e is the fraction of jets that are counted, h that of jets that are counted and heavy.

    Args:
        data: of which it is not asked which jets are light.
        simulation: from which h is taken.
        edges: (B+1,) of pT, GeV.

    Returns:
        scale factors (B,) and their covariance (B, B) from the statistics of data alone.
    """
    every = np.ones(len(data.pt), dtype=bool), np.ones(len(simulation.pt), dtype=bool)
    rate, variance = data.rate(every[0], data.counted, edges)
    simulated, _ = simulation.rate(every[1], simulation.counted, edges)
    heavy, _ = simulation.rate(every[1], simulation.counted & ~simulation.light, edges)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (rate - heavy) / (simulated - heavy), np.diag(variance / (simulated - heavy) ** 2)
