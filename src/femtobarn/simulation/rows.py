"""Jets and selected tracks as rows of a flavour-tagging sample."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.groups import offsets_of, ramp
from femtobarn.physics.kinematics import delta_r, eta_of_theta, wrap
from femtobarn.physics.tracks import lifetime_sign_d0, lifetime_sign_z0
from femtobarn.physics.truth import FAKE, ORIGINS, PILEUP, merge_vertices
from femtobarn.simulation.calorimeter import Flows, JetTable
from femtobarn.simulation.processes import PROCESSES
from femtobarn.simulation.resonances import RESONANCES
from femtobarn.simulation.settings import SelectionSettings, SimulationSettings
from femtobarn.simulation.tracker import Candidates, Response

__all__ = ["CLASSES", "FLAVOURS", "assemble", "selected", "track_columns"]

FLAVOURS = ("bjets", "cjets", "ujets", "taujets")
CLASSES: dict[str, list[str]] = {
    "flavour_label": list(FLAVOURS),
    "process": list(PROCESSES),
    "resonance_label": list(RESONANCES),
    "tracks.ftagTruthOriginLabel": list(ORIGINS),
}
"""Names of the codes in the columns that hold codes."""
_INTEGERS = {
    "numberOfInnermostPixelLayerHits": "innermost",
    "numberOfNextToInnermostPixelLayerHits": "next_to_innermost",
    "numberOfPixelHits": "pixel",
    "numberOfSCTHits": "strip",
    "numberOfInnermostPixelLayerSharedHits": "innermost_shared",
    "numberOfInnermostPixelLayerSplitHits": "innermost_split",
    "numberOfPixelSharedHits": "pixel_shared",
    "numberOfPixelSplitHits": "pixel_split",
    "numberOfSCTSharedHits": "strip_shared",
    "numberOfPixelHoles": "pixel_holes",
    "numberOfSCTHoles": "strip_holes",
}
Array = NDArray[np.float64]


def assemble(
    jets: JetTable,
    label: dict[str, Array],
    scalars: dict[str, NDArray[Any]],
    flows: Flows,
    candidates: Candidates,
    response: Response,
    vertex: Array,
    found_vertex: Array,
    settings: SimulationSettings,
) -> ak.Array:
    """One row per jet with its selected tracks, by falling |s(d0)|, and neutral `flows`, by falling pT.

    Args:
        jets: the calorimeter jets.
        label: their labels, from `jet_labels`.
        scalars: further columns, one value per jet.
        flows: the jets' neutral constituents.
        candidates: true tracks.
        response: reconstructed ones.
        vertex: (events, 3) true primary vertices, mm.
        found_vertex: (events, 3) reconstructed ones.
        settings: of the simulation.
    """
    origin = candidates.origin[response.index]
    jet = candidates.jet[response.index]
    event = jets.event[jet]
    tracks = track_columns(jets, jet, response, found_vertex[event], settings)
    tracks["ftagTruthOriginLabel"] = origin
    position = candidates.position[response.index] - vertex[event]
    chosen = np.flatnonzero(selected(tracks, settings.selection))
    significance = np.abs(tracks["IP3D_signed_d0_significance"][chosen])
    chosen = chosen[np.lexsort((-significance, jet[chosen]))]
    counts = np.bincount(jet[chosen], minlength=len(jets.pt))
    kept = chosen[ramp(counts) < settings.selection.tracks_max]
    counts = np.minimum(counts, settings.selection.tracks_max)
    table = {name: column[kept] for name, column in tracks.items()}
    table["ftagTruthVertexIndex"] = merge_vertices(
        offsets_of(counts), position[kept], ~np.isin(origin[kept], (PILEUP, FAKE))
    )
    return ak.zip(
        {
            **_jet_columns(jets, label, scalars, counts),
            "tracks": ak.unflatten(ak.zip(table), counts),
            "flows": _flow_columns(flows, jets, settings.selection.flows_max),
        },
        depth_limit=1,
    )


def _flow_columns(flows: Flows, jets: JetTable, longest: int) -> ak.Array:
    flows = flows.take(np.lexsort((-flows.pt, flows.jet)))
    counts = np.bincount(flows.jet, minlength=len(jets.pt))
    flows = flows.take(ramp(counts) < longest)
    eta, phi = jets.eta[flows.jet], jets.phi[flows.jet]
    floats = {
        "pt": flows.pt,
        "deta": flows.eta - eta,
        "dphi": wrap(flows.phi - phi),
        "dr": delta_r(flows.eta, flows.phi, eta, phi),
    }
    table = {name: column.astype(np.float32) for name, column in floats.items()}
    table["isPhoton"] = flows.photon.astype(np.uint8)
    return ak.unflatten(ak.zip(table), np.minimum(counts, longest))


def _jet_columns(
    jets: JetTable, label: dict[str, Array], scalars: dict[str, NDArray[Any]], counts: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    flavour = np.select([label["id"] == 5, label["id"] == 4, label["id"] == 15], [0, 1, 3], 2)
    per_event = np.bincount(jets.event) if len(jets.event) else np.zeros(0, dtype=np.int64)
    floats = {
        "pt": jets.pt,
        "eta": jets.eta,
        "phi": jets.phi,
        "energy": jets.energy,
        "mass": jets.mass,
        "truthPt": jets.truth_pt,
        "HadronConeExclTruthLabelPt": label["pt"],
        "HadronConeExclTruthLabelLxy": label["lxy"],
    }
    return {
        **{name: column.astype(np.float32) for name, column in floats.items()},
        **scalars,
        "jetIndex": ramp(per_event).astype(np.uint8),
        "flavour_label": flavour.astype(np.int8),
        "HadronConeExclTruthLabelID": label["id"].astype(np.int8),
        "n_tracks": counts.astype(np.int16),
    }


def track_columns(
    jets: JetTable, jet: NDArray[np.int64], response: Response, vertex: Array, settings: SimulationSettings
) -> dict[str, NDArray[Any]]:
    """What is measured of each track: d0 with respect to the beam line, z0 and all IP3D columns to the
    primary vertex."""
    track, sigma, hits = response.perigee, response.uncertainty, response.hits
    sine, cotangent = np.sin(track.theta), 1 / np.tan(track.theta)
    eta = eta_of_theta(track.theta)
    jet_eta, jet_phi = jets.eta[jet], jets.phi[jet]
    # Moving the reference from the beam line to the vertex, microns away: the helix is straight over that
    # distance.
    along = vertex[:, 0] * np.cos(track.phi) + vertex[:, 1] * np.sin(track.phi)
    across = vertex[:, 1] * np.cos(track.phi) - vertex[:, 0] * np.sin(track.phi)
    z0 = track.z0 - vertex[:, 2] + along * cotangent
    d0_vertex = track.d0 - across
    signed_d0 = lifetime_sign_d0(d0_vertex, track.phi, jet_phi)
    signed_z0 = lifetime_sign_z0(z0 * sine, eta, jet_eta)
    beam = settings.beam
    floats = {
        "pt": sine / np.abs(track.q_over_p),
        "eta": eta,
        "phi": track.phi,
        "dr": delta_r(eta, track.phi, jet_eta, jet_phi),
        "deta": eta - jet_eta,
        "dphi": wrap(track.phi - jet_phi),
        "qOverP": track.q_over_p,
        "theta": track.theta,
        "d0": track.d0,
        "z0": z0,
        "z0SinTheta": z0 * sine,
        "d0Uncertainty": sigma.d0,
        "z0SinThetaUncertainty": sigma.z0,
        "phiUncertainty": sigma.phi,
        "thetaUncertainty": sigma.theta,
        "qOverPUncertainty": sigma.q_over_p,
        "IP3D_signed_d0": signed_d0,
        "IP3D_signed_z0": signed_z0,
        "IP3D_signed_d0_significance": signed_d0 / np.hypot(sigma.d0, beam.vertex_resolution_xy),
        "IP3D_signed_z0_significance": signed_z0 / np.hypot(sigma.z0, beam.vertex_resolution_z * sine),
    }
    integers = {name: getattr(hits, attribute).astype(np.uint8) for name, attribute in _INTEGERS.items()}
    return {
        **{name: column.astype(np.float32) for name, column in floats.items()},
        **integers,
        "leptonID": response.lepton,
    }


def selected(tracks: dict[str, NDArray[Any]], selection: SelectionSettings) -> NDArray[np.bool_]:
    """Which of the tracks (N,), columns of `track_columns`, pass the cuts on momentum, impact parameters and
    hits."""
    silicon = tracks["numberOfPixelHits"].astype(np.int64) + tracks["numberOfSCTHits"]
    shared = tracks["numberOfPixelSharedHits"] + tracks["numberOfSCTSharedHits"] / 2
    holes = tracks["numberOfPixelHoles"] + tracks["numberOfSCTHoles"]
    return np.asarray(
        (tracks["pt"] > selection.pt_min)
        & (np.abs(tracks["eta"]) < selection.eta_max)
        & (np.abs(tracks["d0"]) < selection.d0_max)
        & (np.abs(tracks["z0SinTheta"]) < selection.z0_sin_theta_max)
        & (silicon >= selection.silicon_hits_min)
        & (shared < selection.shared_below)
        & (holes < selection.silicon_holes_below)
        & (tracks["numberOfPixelHoles"] < selection.pixel_holes_below)
    )
