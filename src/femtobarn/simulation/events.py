"""One block of events: from the generator's record to jets with tracks, labelled."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from femtobarn.data.splits import SPLITS, fold_of
from femtobarn.physics.truth import HADRON
from femtobarn.simulation.calorimeter import Visible, jets_of
from femtobarn.simulation.candidates import candidates_near, particles_of
from femtobarn.simulation.collisions import Collisions, collisions_of
from femtobarn.simulation.labels import jet_labels
from femtobarn.simulation.leptons import lepton_columns
from femtobarn.simulation.particles import Particles
from femtobarn.simulation.pileup import draw_collisions, draw_tracks
from femtobarn.simulation.processes import PROCESSES
from femtobarn.simulation.pythia import Record, generate
from femtobarn.simulation.resonances import resonance_labels
from femtobarn.simulation.rows import assemble
from femtobarn.simulation.settings import SimulationSettings
from femtobarn.simulation.tracker import add_fakes, reconstruct

__all__ = ["BLOCK", "Block", "simulate_block"]

BLOCK = 200
"""Events per block: part of what a seed means, so it never changes."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """What a worker needs to make one block of events."""

    process: str
    index: int
    seed: int
    pileup: float
    underlying_event: str
    settings: BaseModel
    pools: Path

    def streams(self, number: int) -> list[np.random.SeedSequence]:
        """Independent random streams: everything random comes from (seed, process, block)."""
        entropy = [self.seed, zlib.crc32(self.process.encode()), self.index]
        return np.random.SeedSequence(entropy).spawn(number)

    def record(self, stream: np.random.SeedSequence, sqrt_s: float, further: tuple[str, ...]) -> Record:
        """The collisions, with Pythia's random numbers from `stream`."""
        seed = int(stream.generate_state(1)[0]) % 900_000_000 + 1
        return generate(self.process, BLOCK, seed, sqrt_s, self.underlying_event == "full", further)


@dataclass
class Stopwatch:
    """CPU seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        start = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start


def simulate_block(task: Block) -> tuple[ak.Array, int, dict[str, float]]:
    """Jets with tracks of one block, the number of its events, and the CPU seconds of each stage.

    Every random number comes from (seed, process, block), so neither workers nor order matter.
    """
    watch = Stopwatch()
    settings = _settings(task)
    seeds = task.streams(7)
    with watch.stage("pythia"):
        record = task.record(seeds[0], settings.sqrt_s, settings.pythia)
    vertex_rng, calo_rng, pileup_rng, material_rng, tracker_rng, overlay_rng = map(
        np.random.default_rng, seeds[1:]
    )
    events = len(record.counts)
    number = task.index * BLOCK + np.arange(events)
    fold = fold_of(task.process, task.seed, task.seed, 0, number)
    with watch.stage("truth"):
        beam = settings.beam
        vertex = vertex_rng.standard_normal((events, 3)) * [beam.sigma_xy, beam.sigma_xy, beam.sigma_z]
        resolution = [beam.vertex_resolution_xy, beam.vertex_resolution_xy, beam.vertex_resolution_z]
        found_vertex = vertex + vertex_rng.standard_normal((events, 3)) * resolution
        hard = collisions_of(record)
    if task.underlying_event == "overlay":
        with watch.stage("overlay"):
            number_laid = overlay_rng.poisson(settings.overlay, events)
            laid = [
                draw_collisions(event, pool, overlay_rng)
                for event, pool in _by_split(task, fold, number_laid)
            ]
            hard = hard.joined(*laid).ordered("event")
    with watch.stage("clustering"):
        jets, flows = jets_of(_visible(hard), events, task.pileup, settings.calorimeter, calo_rng)
    with watch.stage("pileup"):
        mu_actual = pileup_rng.poisson(task.pileup, events)
        pileup = _pileup(task, fold, mu_actual, vertex, pileup_rng)
    with watch.stage("tracker"):
        candidates = candidates_near(particles_of(hard, vertex), pileup, jets, events, settings, material_rng)
        candidates = add_fakes(candidates, len(jets.pt), settings.tracker, material_rng)
        response = reconstruct(candidates, len(jets.pt), settings.tracker, tracker_rng)
    with watch.stage("rows"):
        selection = settings.selection
        label = jet_labels(hard, jets, events, selection.label_pt_min, selection.label_radius)
        scalars = {
            "mcEventWeight": record.weight[jets.event].astype(np.float32),
            "eventNumber": number[jets.event].astype(np.int64),
            "runNumber": np.full(len(jets.pt), task.seed, dtype=np.int32),
            "process": np.full(len(jets.pt), list(PROCESSES).index(task.process), dtype=np.int8),
            "fold": fold[jets.event],
            "averageInteractionsPerCrossing": np.full(len(jets.pt), task.pileup, dtype=np.float32),
            "actualInteractionsPerCrossing": mu_actual[jets.event].astype(np.int32),
            "truthPVz": vertex[jets.event, 2].astype(np.float32),
            "resonance_label": resonance_labels(record, jets, 0.75 * settings.calorimeter.jet_radius),
            **lepton_columns(hard, jets, events, selection),
        }
        rows = assemble(jets, label, scalars, flows, candidates, response, vertex, found_vertex, settings)
    return rows, events, watch.seconds


def _settings(task: Block) -> SimulationSettings:
    assert isinstance(task.settings, SimulationSettings)
    return task.settings


def _visible(hard: Collisions) -> Visible:
    """Final particles that make jets: no neutrinos, no muons, no electrons that come from no hadron."""
    kind = np.abs(hard.pdg_id)
    prompt = (kind == 11) & (hard.word & HADRON == 0)
    kept = hard.take(hard.final & ~np.isin(kind, (12, 13, 14, 16)) & ~prompt)
    return Visible(kept.event, kept.pdg_id, kept.charge != 0, kept.px, kept.py, kept.pz, kept.energy)


def _by_split(
    task: Block, fold: NDArray[np.uint8], number: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], Path]]:
    """Every event repeated `number` times, split by split, and the split's pool."""
    for split, folds in SPLITS.items():
        event = np.repeat(np.arange(len(fold)), number * np.isin(fold, folds))
        if len(event):
            yield event, task.pools / f"{split}.npz"


def _pileup(
    task: Block,
    fold: NDArray[np.uint8],
    mu_actual: NDArray[np.int64],
    vertex: Array,
    rng: np.random.Generator,
) -> list[Particles]:
    """Pile-up particles near the primary vertex, drawn for each split from its own pool."""
    settings = _settings(task)
    tables = []
    for event, pool in _by_split(task, fold, mu_actual):
        size = [settings.beam.sigma_xy, settings.beam.sigma_xy, settings.beam.sigma_z]
        position = rng.standard_normal((len(event), 3)) * size
        near = np.abs(position[:, 2] - vertex[event, 2]) < settings.pileup.window
        tables.append(draw_tracks(event[near], position[near], pool, rng))
    return tables
