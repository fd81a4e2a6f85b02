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

from femtobarn.data.splits import SPLITS, fold_of
from femtobarn.physics.helix import perigee
from femtobarn.physics.kinematics import pt_eta_phi
from femtobarn.physics.tracks import associate, cone
from femtobarn.physics.truth import HADRON, origin_labels
from femtobarn.simulation.calorimeter import JetTable, Visible, jets_of
from femtobarn.simulation.collisions import Collisions, collisions_of, joined
from femtobarn.simulation.labels import jet_labels
from femtobarn.simulation.material import conversions, interactions
from femtobarn.simulation.particles import Particles, concatenate
from femtobarn.simulation.pileup import draw_collisions, draw_tracks
from femtobarn.simulation.processes import PROCESSES
from femtobarn.simulation.pythia import generate
from femtobarn.simulation.rows import assemble
from femtobarn.simulation.settings import SimulationSettings
from femtobarn.simulation.tracker import Candidates, add_fakes, reconstruct

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
    overlay: bool
    settings: SimulationSettings
    pools: Path


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


def simulate_block(task: Block) -> tuple[ak.Array, dict[str, float]]:
    """Jets with tracks of one block, and the CPU seconds of each stage.

    Every random number comes from (seed, process, block), so neither workers nor order matter.
    """
    watch = Stopwatch()
    settings = task.settings
    stream = np.random.SeedSequence([task.seed, zlib.crc32(task.process.encode()), task.index])
    seeds = stream.spawn(7)
    with watch.stage("pythia"):
        record = generate(
            task.process,
            BLOCK,
            int(seeds[0].generate_state(1)[0]) % 900_000_000 + 1,
            settings.sqrt_s,
            not task.overlay,
            settings.pythia,
        )
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
    if task.overlay:
        with watch.stage("overlay"):
            number_laid = overlay_rng.poisson(settings.overlay, events)
            laid = [
                draw_collisions(event, pool, overlay_rng)
                for event, pool in _by_split(task, fold, number_laid)
            ]
            hard = joined(hard, *laid)
    with watch.stage("clustering"):
        jets = jets_of(_visible(hard), events, task.pileup, settings.calorimeter, calo_rng)
    with watch.stage("pileup"):
        mu_actual = pileup_rng.poisson(task.pileup, events)
        pileup = _pileup(task, fold, mu_actual, vertex, pileup_rng)
    with watch.stage("tracker"):
        candidates = _candidates(_particles(hard, vertex), pileup, jets, events, settings, material_rng)
        candidates = add_fakes(candidates, len(jets.pt), settings.tracker, material_rng)
        response = reconstruct(candidates, len(jets.pt), settings.tracker, tracker_rng)
    with watch.stage("rows"):
        label = jet_labels(hard, jets, events, settings.selection)
        scalars = {
            "mcEventWeight": record.weight[jets.event].astype(np.float32),
            "eventNumber": number[jets.event].astype(np.int64),
            "runNumber": np.full(len(jets.pt), task.seed, dtype=np.int32),
            "process": np.full(len(jets.pt), list(PROCESSES).index(task.process), dtype=np.int8),
            "fold": fold[jets.event],
            "averageInteractionsPerCrossing": np.full(len(jets.pt), task.pileup, dtype=np.float32),
            "actualInteractionsPerCrossing": mu_actual[jets.event].astype(np.int32),
            "truthPVz": vertex[jets.event, 2].astype(np.float32),
        }
        rows = assemble(jets, label, scalars, candidates, response, vertex, found_vertex, settings)
    return rows, watch.seconds


def _visible(hard: Collisions) -> Visible:
    """Final particles that make jets: no neutrinos, no muons, no electrons that come from no hadron."""
    kind = np.abs(hard.pdg_id)
    prompt = (kind == 11) & (hard.word & HADRON == 0)
    kept = hard.take(hard.final & ~np.isin(kind, (12, 13, 14, 16)) & ~prompt)
    return Visible(kept.event, kept.pdg_id, kept.charge != 0, kept.px, kept.py, kept.pz, kept.energy)


def _particles(hard: Collisions, vertex: Array) -> Particles:
    """Final charged particles and photons that matter to the tracker, in the detector frame."""
    pt = np.hypot(hard.px, hard.py)
    keep = ((hard.charge != 0) & (pt > 0.4)) | ((hard.pdg_id == 22) & (pt > 0.8))
    keep &= hard.final & (np.abs(hard.pz) < np.sinh(2.7) * pt) & (np.hypot(hard.x, hard.y) < 300.0)
    kept = hard.take(keep)
    return Particles(
        **{name: getattr(kept, name) for name in ("event", "pdg_id", "charge", "px", "py", "pz")},
        x=kept.x + vertex[kept.event, 0],
        y=kept.y + vertex[kept.event, 1],
        z=kept.z + vertex[kept.event, 2],
        origin=origin_labels(kept.word),
    )


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
    beam = task.settings.beam
    tables = []
    for event, pool in _by_split(task, fold, mu_actual):
        position = rng.standard_normal((len(event), 3)) * [beam.sigma_xy, beam.sigma_xy, beam.sigma_z]
        near = np.abs(position[:, 2] - vertex[event, 2]) < task.settings.pileup.window
        tables.append(draw_tracks(event[near], position[near], pool, rng))
    return tables


def _candidates(
    hard: Particles,
    pileup: list[Particles],
    jets: JetTable,
    events: int,
    settings: SimulationSettings,
    rng: np.random.Generator,
) -> Candidates:
    """Charged particles near jets, products of the material included, at their true perigee."""
    particles = _near_jets(concatenate(hard, *pileup), jets, events, 0.6)
    photon = particles.charge == 0
    material = settings.tracker.material
    charged = particles.take(~photon)
    products, end = interactions(charged, material, rng)
    pairs = conversions(particles.take(photon), material, rng)
    end = np.concatenate([end, np.full(len(products) + len(pairs), np.inf)])
    charged = Particles(
        *(
            np.concatenate([getattr(table, name) for table in (charged, products, pairs)])
            for name in Particles.__dataclass_fields__
        )
    )
    pt, _, _ = pt_eta_phi(charged.px, charged.py, charged.pz)
    keep = np.flatnonzero((pt > 0.4) & (np.hypot(charged.x, charged.y) < 300.0))
    keep = keep[np.argsort(charged.event[keep], kind="stable")]
    charged, end = charged.take(keep), end[keep]
    track = perigee(
        (charged.x, charged.y, charged.z),
        (charged.px, charged.py, charged.pz),
        charged.charge,
        settings.tracker.field,
    )
    eta = -np.log(np.tan(track.theta / 2))
    jet = associate(
        np.bincount(charged.event, minlength=events),
        eta,
        track.phi,
        np.bincount(jets.event, minlength=events),
        jets.eta,
        jets.phi,
        cone(jets.pt, settings.selection.cone),
    )
    position = np.column_stack([charged.x, charged.y, charged.z])
    everything = Candidates(
        track, np.hypot(charged.x, charged.y), end, charged.pdg_id, charged.origin, position, jet
    )
    inside = np.flatnonzero(jet >= 0)
    return everything.take(inside[np.argsort(jet[inside], kind="stable")])


def _near_jets(particles: Particles, jets: JetTable, events: int, radius: float) -> Particles:
    """Particles whose direction is within `radius` of a jet of their event."""
    _, eta, phi = pt_eta_phi(particles.px, particles.py, particles.pz)
    nearest = associate(
        np.bincount(particles.event, minlength=events),
        eta,
        phi,
        np.bincount(jets.event, minlength=events),
        jets.eta,
        jets.phi,
        np.full(len(jets.pt), radius),
    )
    return particles.take(nearest >= 0)
