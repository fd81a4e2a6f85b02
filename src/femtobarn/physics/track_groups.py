"""Vertices fitted to groups of a jet's tracks, whoever made these: a network, a vertex finder, the truth."""

from __future__ import annotations

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.two_track import decay_length, four_momentum, momenta_at
from femtobarn.physics.vertexing import MeasuredTracks, fit_vertices

__all__ = ["PERIGEE", "READ", "SIGMA", "fit_groups"]

PERIGEE = ("d0", "z0SinTheta", "dphi", "deta", "qOverP")
SIGMA = ("d0Uncertainty", "z0SinThetaUncertainty", "phiUncertainty", "thetaUncertainty")
READ = ("eta", *(f"tracks.{name}" for name in (*PERIGEE, *SIGMA)))
"""Fields of jets that are read."""


def fit_groups(
    jets: ak.Array,
    index: ak.Array,
    *,
    correlation: tuple[float, float] = (-0.75, -0.65),
    primary: tuple[float, float, float] = (0.010, 0.010, 0.030),
    field: float = 2.0,
) -> ak.Array:
    """Fit a vertex to every group of two or more tracks, all jets at once.

    Args:
        jets: records with the fields `READ`: mm, radians, 1/GeV.
        index: ragged like `jets.tracks`, which vertex of the jet a track is in, below zero: none; such as
            `gn1_VertexIndex` of a prediction.
        correlation: of d0 with phi and of z0 sin(theta) with theta, which files do not hold.
        primary: standard deviations of the primary vertex (mm) across the beam, twice, and along it.
        field: tesla.

    Returns:
        Ragged records per jet by rising index: `index`; `n_tracks`; `x`, `y`, `z` (mm) from the beam line at
        the z of the primary vertex, x at the azimuth of the jet axis; `Lxy` and `L3d` (mm), below zero
        behind the jet; `significance3d` with that sign; `chi2` and `ndof`; `mass` of as many pions (GeV).

    Raises:
        ValueError: when the jets lack a field, or the index has other numbers of tracks.
    """
    inner = jets.tracks.fields if "tracks" in jets.fields else []
    missing = sorted(set(READ) - {*jets.fields, *(f"tracks.{name}" for name in inner)})
    if missing:
        raise ValueError(f"to fit vertices the jets need '{missing[0]}': read this field too")
    counts = ak.to_numpy(ak.num(jets.tracks.d0))
    if not np.array_equal(counts, ak.to_numpy(ak.num(index))):
        raise ValueError("the vertex index has other numbers of tracks per jet than the jets: use the same")
    jet, group = np.repeat(np.arange(len(counts)), counts), ak.to_numpy(ak.flatten(index)).astype(np.int64)
    track, vertex, where, number, size = _groups(jet, group)
    tracks = _measured(jets, jet, track, correlation, field)
    fit = fit_vertices(tracks, vertex, len(size))
    length, significance = decay_length(fit.position, fit.covariance, np.array(primary))
    energy, momentum = four_momentum(momenta_at(tracks, fit.position[vertex]), vertex, len(size))
    eta = ak.to_numpy(jets.eta).astype(np.float64)[where]
    along = fit.position[:, 0] / np.cosh(eta) + fit.position[:, 2] * np.tanh(eta)
    sign = np.where(along < 0, -1.0, 1.0)
    found = {
        "index": number,
        "n_tracks": size,
        **{name: fit.position[:, axis] for axis, name in enumerate("xyz")},
        "Lxy": sign * np.hypot(fit.position[:, 0], fit.position[:, 1]),
        "L3d": sign * length,
        "significance3d": sign * significance,
        "chi2": fit.chi2,
        "ndof": fit.ndof,
        "mass": np.sqrt(np.maximum(energy**2 - (momentum**2).sum(axis=1), 0.0)),
    }
    return ak.unflatten(ak.zip(found), np.bincount(where, minlength=len(counts)))


def _groups(jet: NDArray[np.int64], group: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Tracks in groups of two or more, the vertex of each; the jet, number and size of the vertices."""
    span = int(group.max(initial=0)) + 1
    inside = np.flatnonzero(group >= 0)
    _, vertex, size = np.unique(jet[inside] * span + group[inside], return_inverse=True, return_counts=True)
    track = inside[size[vertex] > 1]
    keys, vertex, size = np.unique(jet[track] * span + group[track], return_inverse=True, return_counts=True)
    return track, vertex, keys // span, keys % span, size


def _measured(
    jets: ak.Array,
    jet: NDArray[np.int64],
    track: NDArray[np.int64],
    correlation: tuple[float, float],
    field: float,
) -> MeasuredTracks:
    """The chosen tracks in the frames of their jets."""
    d0, l0, dphi, deta, q_over_p, s_d0, s_l0, s_phi, s_theta = (
        ak.to_numpy(ak.flatten(jets.tracks[name])).astype(np.float64)[track] for name in (*PERIGEE, *SIGMA)
    )
    eta = ak.to_numpy(jets.eta).astype(np.float64)[jet[track]]
    return MeasuredTracks.in_jet(
        (d0, l0, dphi, deta, q_over_p), (s_d0, s_l0, s_phi, s_theta), eta, correlation, field
    )
