"""One block of large-radius jets of ten classes, as their charged and neutral particle-flow candidates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

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
from femtobarn.simulation.jet_classes import COLLISIONS, JET_CLASSES, jet_classes
from femtobarn.simulation.rows import selected, track_columns
from femtobarn.simulation.settings import SelectionSettings, SimulationSettings
from femtobarn.simulation.tracker import Response, add_fakes, reconstruct

__all__ = ["JET_CODES", "LargeJetSettings", "block_lines", "large_jets_block"]

JET_CODES = {"jet_label": list(JET_CLASSES)}
MASSES = {11: 0.000511, 13: 0.10566}
PION = 0.13957
Array = NDArray[np.float64]


class LargeJetSettings(SimulationSettings):
    """Anti-kt jets of R = 0.8, 500 to 1000 GeV, of the classes of JetClass [2202.03772], without pile-up.

    Jets are clustered of all visible particles; their candidates are the selected tracks within the jet's
    radius and the neutral particles clustered into it above `neutral_pt_min`.
    """

    classes: tuple[str, ...] = JET_CLASSES
    """Blocks of collisions are of each in turn."""
    jet_pt_max: float = 1000.0
    neutral_pt_min: float = 1.0
    candidates_max: int = Field(128, gt=0)
    calorimeter: CalorimeterSettings = Field(
        default_factory=lambda: CalorimeterSettings(jet_radius=0.8, jet_pt_min=500.0, jet_eta_max=2.0)
    )
    selection: SelectionSettings = Field(
        default_factory=lambda: SelectionSettings(cone=(0.8, -60.0, 0.0), pt_min=0.7, d0_max=10.0)
    )


def block_lines(settings: LargeJetSettings, index: int) -> tuple[str, tuple[str, ...]]:
    """The process and the further settings of Pythia of a block.

    Raises:
        InputError: for a class that does not exist.
    """
    for name in settings.classes:
        if name not in COLLISIONS:
            raise InputError(f"there is no class of jets '{name}'{closest(name, COLLISIONS)}")
    turn, place = divmod(index, len(settings.classes))
    ways = COLLISIONS[settings.classes[place]]
    process, further = ways[turn % len(ways)]
    return process, (*further, *settings.pythia)


def large_jets_block(task: Block) -> tuple[ak.Array, int, dict[str, float]]:
    """Jets of one block, the number of its events, and the CPU seconds of each stage, as `simulate_block`."""
    watch, settings = Stopwatch(), cast(LargeJetSettings, task.settings)
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
    with watch.stage("truth"):
        label = jet_classes(record, jets, settings.calorimeter.jet_radius)
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
            "jet_label": label,
            "mcEventWeight": np.ones(len(label), dtype=np.float32),
            "eventNumber": number[jets.event].astype(np.int64),
            "runNumber": np.full(len(label), task.seed, dtype=np.int32),
            "fold": fold_of(task.process, task.seed, task.seed, 0, number)[jets.event],
        }
        rows = _rows(scalars, table, settings.candidates_max)
    kept = (label >= 0) & (jets.pt < settings.jet_pt_max) & (ak.to_numpy(ak.num(rows.candidates)) > 0)
    return rows[kept], events, watch.seconds


def _charged(
    jets: JetTable, jet: NDArray[np.int64], response: Response, vertex: Array, settings: LargeJetSettings
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


def _neutral(flows: Flows, settings: LargeJetSettings) -> dict[str, NDArray[Any]]:
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
