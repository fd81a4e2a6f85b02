"""One block of jets as their charged and neutral particle-flow candidates, with the class they are of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, cast

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from femtobarn.data.splits import fold_of
from femtobarn.errors import InputError, closest
from femtobarn.physics.groups import ramp
from femtobarn.physics.kinematics import cartesian
from femtobarn.simulation.calorimeter import CalorimeterSettings, Flows, JetTable, Visible, jets_of
from femtobarn.simulation.candidates import candidates_near, particles_of
from femtobarn.simulation.collisions import collisions_of
from femtobarn.simulation.events import BLOCK, Block, Stopwatch
from femtobarn.simulation.jet_classes import JET_CLASSES, Ways, collisions, jet_classes
from femtobarn.simulation.partons import QUARK_GLUON, dijets, parton_labels
from femtobarn.simulation.pythia import Record
from femtobarn.simulation.rows import selected, track_columns
from femtobarn.simulation.settings import SelectionSettings, SimulationSettings
from femtobarn.simulation.tracker import Response, add_fakes, reconstruct

__all__ = ["JetSettings", "block_lines", "jet_codes", "jets_block"]

MASSES = {11: 0.000511, 13: 0.10566}
PION = 0.13957
Array = NDArray[np.float64]


class Truth(NamedTuple):
    """Classes that are told apart in one way.

    Attributes:
        classes: names of the codes of `jet_label`.
        collisions: where jets of each class are from, between two transverse momenta (GeV).
        columns: `jet_label` and what else is known, from the record, the jets and their radius.
        weighted: whether the jets have the weights of their collisions, all being of one process. Where
            every class has a process of its own, their sums mean nothing.
    """

    classes: tuple[str, ...]
    collisions: Callable[[float, float], dict[str, Ways]]
    columns: Callable[[Record, JetTable, float], dict[str, NDArray[Any]]]
    weighted: bool


TRUTHS = (
    Truth(JET_CLASSES, collisions, jet_classes, weighted=False),
    Truth(QUARK_GLUON, dijets, parton_labels, weighted=True),
)


class JetCalorimeter(CalorimeterSettings):
    """Jets of R = 0.8 above 500 GeV, as in JetClass [2202.03772]."""

    jet_radius: float = 0.8
    jet_pt_min: float = 500.0
    jet_eta_max: float = 2.0


class CandidateSelection(SelectionSettings):
    """Tracks within the radius of the jet, more displaced ones than for flavour tagging."""

    pt_min: float = 0.7
    d0_max: float = 10.0
    cone: tuple[float, float, float] | None = None


class JetSettings(SimulationSettings):
    """Anti-kt jets without pile-up, as their candidates: of R = 0.8, 500 to 1000 GeV, of the classes of
    JetClass [2202.03772], unless the settings say otherwise.

    Radius and range are `calorimeter.jet_radius`, `calorimeter.jet_pt_min` and `jet_pt_max`. Jets are
    clustered of all visible particles; their candidates are the selected tracks within the jet's radius and
    the neutral particles clustered into it above `neutral_pt_min`.
    """

    classes: tuple[str, ...] = Field(JET_CLASSES, min_length=1)
    """Of the ten of JetClass, of which blocks of collisions are in turn; or "gluon" and "quark", which share
    theirs."""
    jet_pt_max: float = 1000.0
    neutral_pt_min: float = 1.0
    candidates_max: int = Field(128, gt=0)
    calorimeter: JetCalorimeter = Field(default_factory=JetCalorimeter)
    selection: CandidateSelection = Field(default_factory=CandidateSelection)


def truth_of(settings: JetSettings) -> Truth:
    """How the classes asked for are told apart.

    Raises:
        InputError: for a class that does not exist, or classes of two kinds.
    """
    for name in settings.classes:
        if not any(name in truth.classes for truth in TRUTHS):
            known = [name for truth in TRUTHS for name in truth.classes]
            raise InputError(f"there is no class of jets '{name}'{closest(name, known)}")
    for truth in TRUTHS:
        if set(settings.classes) <= set(truth.classes):
            return truth
    raise InputError(
        f"classes of jets are {', '.join(settings.classes)}: gluon and quark go with no others, whose jets "
        "may be both; make two files"
    )


def jet_codes(settings: JetSettings) -> dict[str, list[str]]:
    """Names of the codes in the columns that hold codes."""
    return {"jet_label": list(truth_of(settings).classes)}


def block_lines(settings: JetSettings, index: int) -> tuple[str, tuple[str, ...]]:
    """The process and the further settings of Pythia of a block.

    Raises:
        InputError: for classes as in `truth_of`, or an empty range of transverse momentum.
    """
    low, high = settings.calorimeter.jet_pt_min, settings.jet_pt_max
    if not 0 < low < high:
        raise InputError(
            f"jets: the range from calorimeter.jet_pt_min = {low:g} to jet_pt_max = {high:g} GeV is empty"
        )
    turn, place = divmod(index, len(settings.classes))
    ways = truth_of(settings).collisions(low, high)[settings.classes[place]]
    process, further = ways[turn % len(ways)]
    return process, (*further, *settings.pythia)


def jets_block(task: Block) -> tuple[ak.Array, int, dict[str, float]]:
    """Jets of one block, the number of its events, and the CPU seconds of each stage, as `simulate_block`."""
    watch, settings = Stopwatch(), cast(JetSettings, task.settings)
    seeds = task.streams(5)
    vertex_rng, calo_rng, material_rng, tracker_rng = map(np.random.default_rng, seeds[1:])
    process, further = block_lines(settings, task.index)
    with watch.stage("pythia"):
        record = replace(task, process=process).record(seeds[0], settings.sqrt_s, further)
    events = len(record.counts)
    beam = settings.beam
    with watch.stage("truth"):
        vertex = vertex_rng.standard_normal((events, 3)) * [beam.sigma_xy, beam.sigma_xy, beam.sigma_z]
        resolution = [beam.vertex_resolution_xy, beam.vertex_resolution_xy, beam.vertex_resolution_z]
        found_vertex = vertex + vertex_rng.standard_normal((events, 3)) * resolution
        hard = collisions_of(record)
    with watch.stage("clustering"):
        seen = hard.take(hard.final & ~np.isin(np.abs(hard.pdg_id), (12, 14, 16)))
        visible = Visible(
            seen.event, seen.pdg_id, seen.charge != 0, seen.px, seen.py, seen.pz, seen.energy
        )  # fmt: skip
        jets, flows = jets_of(visible, events, 0.0, settings.calorimeter, calo_rng)
    truth = truth_of(settings)
    with watch.stage("truth"):
        labels = truth.columns(record, jets, settings.calorimeter.jet_radius)
        weight = record.weight[jets.event] if truth.weighted else np.ones(len(jets))
    with watch.stage("tracker"):
        candidates = candidates_near(particles_of(hard, vertex), [], jets, events, settings, material_rng)
        candidates = add_fakes(candidates, len(jets.pt), settings.tracker, material_rng)
        response = reconstruct(candidates, len(jets.pt), settings.tracker, tracker_rng)
    with watch.stage("rows"):
        jet = candidates.jet[response.index]
        charged = _charged(jets, jet, response, found_vertex[jets.event[jet]], settings)
        table = _joined(charged, _neutral(flows, settings))
        number = task.index * BLOCK + np.arange(events)
        scalars: dict[str, NDArray[Any]] = {
            "pt": jets.pt.astype(np.float32),
            "eta": jets.eta.astype(np.float32),
            "phi": jets.phi.astype(np.float32),
            "mass": jets.mass.astype(np.float32),
            **labels,
            "mcEventWeight": weight.astype(np.float32),
            "eventNumber": number[jets.event].astype(np.int64),
            "runNumber": np.full(len(jets), task.seed, dtype=np.int32),
            "fold": fold_of(task.process, task.seed, task.seed, 0, number)[jets.event],
        }
        rows = _rows(scalars, table, settings.candidates_max)
    wanted = [truth.classes.index(name) for name in settings.classes]
    kept = (
        np.isin(labels["jet_label"], wanted)
        & (jets.pt < settings.jet_pt_max)
        & (ak.to_numpy(ak.num(rows.candidates)) > 0)
    )
    return rows[kept], events, watch.seconds


def _charged(
    jets: JetTable, jet: NDArray[np.int64], response: Response, vertex: Array, settings: JetSettings
) -> dict[str, NDArray[Any]]:
    """Selected tracks: momentum, charge, kind, and impact parameters with their uncertainties, mm."""
    tracks = track_columns(jets, jet, response, vertex, settings)
    chosen = selected(tracks, settings.selection)
    t = {name: column[chosen] for name, column in tracks.items()}
    lepton = t["leptonID"].astype(np.int64)
    px, py, pz = cartesian(t["pt"].astype(np.float64), t["eta"], t["phi"])
    mass = np.select([lepton == 11, lepton == 13], [MASSES[11], MASSES[13]], PION)
    return {
        "jet": jet[chosen],
        "px": px,
        "py": py,
        "pz": pz,
        "energy": np.sqrt(px**2 + py**2 + pz**2 + mass**2),
        "charge": np.sign(t["qOverP"]),
        "isChargedHadron": lepton == 0,
        "isElectron": lepton == 11,
        "isMuon": lepton == 13,
        "d0": t["d0"],
        "d0Uncertainty": t["d0Uncertainty"],
        "dz": t["z0"],
        "dzUncertainty": t["z0SinThetaUncertainty"] / np.sin(t["theta"]),
    }


def _neutral(flows: Flows, settings: JetSettings) -> dict[str, NDArray[Any]]:
    """Photons and neutral hadrons, massless."""
    flows = flows.take(flows.pt > settings.neutral_pt_min)
    px, py, pz = cartesian(flows.pt, flows.eta, flows.phi)
    energy = np.sqrt(px**2 + py**2 + pz**2)
    return {
        "jet": flows.jet, "px": px, "py": py, "pz": pz, "energy": energy,
        "isPhoton": flows.photon, "isNeutralHadron": ~flows.photon,
    }  # fmt: skip


def _joined(*parts: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Rows of all parts; a column that one lacks is 0 there."""
    columns: dict[str, NDArray[Any]] = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        columns[name] = np.concatenate([part.get(name, np.zeros(len(part["jet"]))) for part in parts])
    return columns


def _rows(scalars: dict[str, NDArray[Any]], table: dict[str, NDArray[Any]], longest: int) -> ak.Array:
    """One record per jet with its candidates by falling transverse momentum, at most `longest`."""
    jet = table.pop("jet").astype(np.int64)
    order = np.lexsort((-np.hypot(table["px"], table["py"]), jet))
    counts = np.bincount(jet, minlength=len(scalars["jet_label"]))
    kept = order[ramp(counts) < longest]
    columns = {
        name: column[kept].astype(np.int8 if name.startswith(("is", "charge")) else np.float32)
        for name, column in table.items()
    }
    nested = ak.unflatten(ak.zip(columns), np.minimum(counts, longest))
    return ak.zip({**scalars, "candidates": nested}, depth_limit=1)
