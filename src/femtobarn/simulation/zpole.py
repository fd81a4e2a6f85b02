"""Hadronic decays of the Z at rest, e+e- at LEP, in a tracker of 1991: a row per event."""

from __future__ import annotations

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from femtobarn.data.splits import fold_of
from femtobarn.physics.event_shapes import boosted_sphericity, sphericity, thrust
from femtobarn.physics.groups import ramp
from femtobarn.physics.kinematics import cartesian, eta_of_theta
from femtobarn.physics.tracks import lifetime_sign_d0, lifetime_sign_z0
from femtobarn.simulation.candidates import candidates_in, particles_of
from femtobarn.simulation.collisions import collisions_of
from femtobarn.simulation.events import BLOCK, Block, Stopwatch
from femtobarn.simulation.pythia import Record
from femtobarn.simulation.tracker import Candidates, Response, TrackerSettings, reconstruct

__all__ = ["EVENT_CLASSES", "ZPoleSettings", "zpole_block"]

EVENT_CLASSES = {"flavour_label": ["bb", "cc", "light"]}
LEADING = 6
"""Tracks whose significance is a column of its own, the most displaced first."""
Array = NDArray[np.float64]


class ZPoleSettings(BaseModel):
    """Beams and tracker at the Z pole.

    A luminous region of 150 um x 10 um x 7 mm and a primary vertex found to 50 um x 10 um x 60 um with its
    help; a solenoid of 1.5 T and impact parameters good to 25 (+) 95/(p sin^1.5 theta) um, about what ALEPH's
    silicon vertex detector gave from 1991. Layers, material and efficiency are those of the ATLAS-like
    tracker.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sqrt_s: float = Field(0.091188, gt=0)
    """TeV."""
    pythia: tuple[str, ...] = ()
    """Further Pythia settings; they win over femtobarn's own."""
    beam: tuple[float, float, float] = (0.150, 0.010, 7.0)
    vertex_resolution: tuple[float, float, float] = (0.050, 0.010, 0.060)
    tracker: TrackerSettings = Field(
        default_factory=lambda: TrackerSettings(
            field=1.5,
            d0=(0.025, 0.095),
            z0=(0.035, 0.100),
            inverse_pt=(8e-4, 0.003),
            no_innermost_hit=1.0,
            fake_rate_density=0.0,
        )
    )
    pt_min: float = 0.4
    eta_max: float = 1.75
    d0_max: float = 5.0
    tracks_min: int = 5
    tracks_max: int = 100


def zpole_block(task: Block) -> tuple[ak.Array, int, dict[str, float]]:
    """Rows of one block of events, their number and the CPU seconds of each stage, as `simulate_block`."""
    watch, settings = Stopwatch(), task.settings
    assert isinstance(settings, ZPoleSettings)
    seeds = task.streams(4)
    with watch.stage("pythia"):
        record = task.record(seeds[0], settings.sqrt_s, settings.pythia)
    with watch.stage("tracker"):
        rngs = [np.random.default_rng(seed) for seed in seeds[1:]]
        rows = _rows(record, settings, task.seed, task.index * BLOCK, rngs)
    return rows, len(record.counts), watch.seconds


def _rows(
    record: Record, settings: ZPoleSettings, seed: int, first: int, rngs: list[np.random.Generator]
) -> ak.Array:
    """Events with their shape, the most displaced tracks and all tracks; labels `bb`, `cc`, `light`.

    The features are what b-events at LEP were told by: event shapes, the boosted sphericities of the two
    hemispheres and leptons' momenta across the thrust axis by the first networks, and impact-parameter
    significances, signed along that axis, once there were silicon vertex detectors [hep-ex/0311003].

    Args:
        record: of Pythia.
        settings: beams and tracker.
        seed: becomes `runNumber`.
        first: number of the first event.
        rngs: three streams: vertex, material, tracker.
    """
    vertex_rng, material_rng, tracker_rng = rngs
    events = len(record.counts)
    vertex = vertex_rng.standard_normal((events, 3)) * settings.beam
    found = vertex + vertex_rng.standard_normal((events, 3)) * settings.vertex_resolution
    hard = collisions_of(record)
    candidates = candidates_in(particles_of(hard, vertex), settings.tracker, material_rng)
    response = reconstruct(candidates, events, settings.tracker, tracker_rng)
    tracks = _tracks(candidates, response, found, settings)
    momentum = np.stack(cartesian(tracks["pt"], tracks["eta"], tracks["phi"]), axis=1)
    counts = np.bincount(tracks["event"], minlength=events)
    columns = _shapes(counts, momentum)
    value, axis = thrust(counts, momentum)
    tracks |= _signed(tracks, axis, found, settings)
    columns |= {"thrust": value, **_lifetime(counts, tracks), **_lepton(counts, tracks, momentum, axis)}
    number = first + np.arange(events)
    flavour = _flavour(record)
    scalars = {
        "flavour_label": np.select([flavour == 5, flavour == 4], [0, 1], 2).astype(np.int8),
        "mcEventWeight": record.weight.astype(np.float32),
        "eventNumber": number.astype(np.int64),
        "runNumber": np.full(events, seed, dtype=np.int32),
        "fold": fold_of("zpole", seed, seed, 0, number),
        "n_tracks": counts.astype(np.int16),
    }
    scalars |= {name: column.astype(np.float32) for name, column in columns.items()}
    kept = {name: column.astype(np.float32) for name, column in tracks.items() if name != "event"}
    kept["leptonID"] = tracks["leptonID"].astype(np.int8)
    rows = ak.zip({**scalars, "tracks": ak.unflatten(ak.zip(kept), counts)}, depth_limit=1)
    return rows[counts >= settings.tracks_min]


def _flavour(record: Record) -> NDArray[np.int64]:
    """The quark the Z decays to, per event."""
    event = np.repeat(np.arange(len(record.counts)), record.counts)
    from_z = (record.mother >= 0) & (record.pdg_id[record.mother] == 23)
    quark = np.flatnonzero(from_z & (record.pdg_id > 0) & (record.pdg_id < 6))
    flavour = np.zeros(len(record.counts), dtype=np.int64)
    flavour[event[quark]] = record.pdg_id[quark]
    return flavour


def _tracks(c: Candidates, response: Response, found: Array, settings: ZPoleSettings) -> dict[str, Array]:
    """Selected tracks, ordered by event."""
    event, track = c.jet[response.index], response.perigee
    eta, sine = eta_of_theta(track.theta), np.sin(track.theta)
    x, y, z = found[event].T
    along = x * np.cos(track.phi) + y * np.sin(track.phi)
    columns = {
        "event": event,
        "pt": sine / np.abs(track.q_over_p),
        "eta": eta,
        "phi": track.phi,
        # With respect to the vertex found, which is close enough for the helix to be straight.
        "d0": track.d0 + x * np.sin(track.phi) - y * np.cos(track.phi),
        "z0SinTheta": (track.z0 - z) * sine + along * np.cos(track.theta),
        "d0Uncertainty": response.uncertainty.d0,
        "z0SinThetaUncertainty": response.uncertainty.z0,
        "leptonID": response.lepton,
    }
    chosen = (columns["pt"] > settings.pt_min) & (np.abs(eta) < settings.eta_max)
    chosen &= np.abs(columns["d0"]) < settings.d0_max
    return {name: np.asarray(column)[chosen] for name, column in columns.items()}


def _shapes(counts: NDArray[np.int64], momentum: Array) -> dict[str, Array]:
    shape, axis = sphericity(counts, momentum)
    one, two = boosted_sphericity(counts, momentum, axis)
    return {
        "sphericity": shape,
        "boostedSphericityProduct": one * two,
        "boostedSphericityLarger": np.maximum(one, two),
    }


def _signed(tracks: dict[str, Array], axis: Array, found: Array, settings: ZPoleSettings) -> dict[str, Array]:
    """Significances of impact parameters, signed along the thrust axis in the track's hemisphere."""
    event = tracks["event"]
    direction = axis[event]
    momentum = np.stack(cartesian(tracks["pt"], tracks["eta"], tracks["phi"]), axis=1)
    side = np.where(np.sum(direction * momentum, axis=1, keepdims=True) >= 0, direction, -direction)
    phi = np.arctan2(side[:, 1], side[:, 0])
    eta = np.arcsinh(side[:, 2] / np.maximum(np.hypot(side[:, 0], side[:, 1]), 1e-9))
    x, y, z = settings.vertex_resolution
    sine, cosine = np.sin(tracks["phi"]), np.cos(tracks["phi"])
    along = (x * cosine) ** 2 + (y * sine) ** 2
    d0_error = np.sqrt(tracks["d0Uncertainty"] ** 2 + (x * sine) ** 2 + (y * cosine) ** 2)
    z0_error = np.sqrt(
        tracks["z0SinThetaUncertainty"] ** 2
        + along * np.tanh(tracks["eta"]) ** 2
        + (z / np.cosh(tracks["eta"])) ** 2
    )
    return {
        "IP3D_signed_d0_significance": lifetime_sign_d0(tracks["d0"], tracks["phi"], phi) / d0_error,
        "IP3D_signed_z0_significance": lifetime_sign_z0(tracks["z0SinTheta"], tracks["eta"], eta) / z0_error,
    }


def _lifetime(counts: NDArray[np.int64], tracks: dict[str, Array]) -> dict[str, Array]:
    """The most displaced tracks, and how many there are."""
    event = tracks["event"].astype(np.int64)
    significance = np.clip(tracks["IP3D_signed_d0_significance"], -30.0, 30.0)
    order = np.lexsort((-significance, event))
    rank = ramp(counts)
    columns = {}
    for place in range(LEADING):
        column = np.zeros(len(counts))
        column[event[order][rank == place]] = significance[order][rank == place]
        columns[f"significance{place + 1}"] = column
    for cut in (2, 4):
        columns[f"nDisplaced{cut}"] = np.bincount(event, significance > cut, len(counts)).astype(np.float64)
    return columns


def _lepton(
    counts: NDArray[np.int64], tracks: dict[str, Array], momentum: Array, axis: Array
) -> dict[str, Array]:
    """The largest momentum of a lepton across the thrust axis, 0 without one."""
    event = tracks["event"].astype(np.int64)
    along = np.sum(momentum * axis[event], axis=1)
    across = np.sqrt(np.maximum(np.sum(momentum**2, axis=1) - along**2, 0.0)) * (tracks["leptonID"] > 0)
    largest = np.zeros(len(counts))
    np.maximum.at(largest, event, across)
    return {"leptonPtRel": largest}
