"""Tracks of jets as a vertex finder wants them: measured perigees in the frame of their jet.

The azimuth counts from the jet's, so that nothing but what GN1 reads too is needed, and two uncertainties.
The origin is on the beam line at the z of the primary vertex: d0 refers to the former, z0 to the latter.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from femtobarn.data.inputs import Collection, Feature, Inputs, Label
from femtobarn.data.ragged import Batch
from femtobarn.physics.track_groups import PERIGEE, SIGMA
from femtobarn.physics.vertexing import MeasuredTracks

__all__ = ["JetTracks", "jet_tracks", "vertexing_inputs"]

Array = NDArray[np.float64]
SIGNIFICANCES = ("IP3D_signed_d0_significance", "IP3D_signed_z0_significance")


class JetTracks(NamedTuple):
    """The T tracks of B jets.

    `jet` (T,) is each one's jet; `measured` their perigees; `momentum` (T,) in GeV and `pt`; `significance`
    (T,) of the impact parameter in space, signed as in the plane across the beam; `axis` (B, 3) the jets'
    directions, at the azimuth 0.
    """

    jet: NDArray[np.int64]
    measured: MeasuredTracks
    momentum: Array
    pt: Array
    significance: Array
    axis: Array


def vertexing_inputs() -> Inputs:
    """Perigees, their uncertainties and signed significances; the jet's eta; b-, c- and light-jets."""
    features: list[Feature | str] = [*PERIGEE, *SIGNIFICANCES]
    features += [Feature(name=name, transform="log") for name in SIGMA]
    classes = {"b": ["bjets"], "c": ["cjets"], "u": ["ujets"]}
    return Inputs(
        event=["eta"],
        collections={"tracks": Collection(features=features)},
        labels={"jet": Label(field="flavour_label", classes=classes)},
        weight="mcEventWeight",
    )


def jet_tracks(
    batch: Batch, inputs: Inputs, correlation: tuple[float, float], field: float = 2.0
) -> JetTracks:
    """The tracks of a batch.

    Args:
        batch: with the inputs of `vertexing_inputs`.
        inputs: which its columns follow.
        correlation: of d0 with phi and of z0 sin(theta) with theta.
        field: tesla.
    """
    ragged = batch.collections["tracks"]
    names = [feature.name for feature in inputs.collection_features("tracks")]
    track = dict(zip(names, ragged.values.numpy().T.astype(np.float64), strict=True))
    jet = ragged.segments.numpy()
    events = [feature.name for feature in inputs.event_features]
    eta = batch.event.numpy()[:, events.index("eta")].astype(np.float64)
    d0, l0, dphi, deta, q_over_p, *sigma = (track[name] for name in (*PERIGEE, *SIGMA))
    s_d0, s_l0, s_phi, s_theta = sigma
    measured = MeasuredTracks.in_jet(
        (d0, l0, dphi, deta, q_over_p), (s_d0, s_l0, s_phi, s_theta), eta[jet], correlation, field
    )
    across, along = (track[name] for name in SIGNIFICANCES)
    momentum = 1 / np.abs(measured.q_over_p)
    axis = np.stack([1 / np.cosh(eta), np.zeros(len(eta)), np.tanh(eta)], axis=1)
    significance = np.copysign(np.hypot(across, along), across)
    return JetTracks(jet, measured, momentum, momentum * measured.sin_theta, significance, axis)
