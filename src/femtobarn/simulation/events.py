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
from femtobarn.physics import pdg
from femtobarn.physics.groups import cross_pairs
from femtobarn.physics.helix import perigee
from femtobarn.physics.kinematics import delta_r, pt_eta_phi
from femtobarn.physics.tracks import associate, cone
from femtobarn.physics.truth import (
    BOTTOM,
    CHARM,
    HADRON,
    STRANGE,
    TAU,
    ancestors,
    decay_parents,
    origin_labels,
    weakly_decaying,
)
from femtobarn.simulation.calorimeter import JetTable, Visible, jets_of
from femtobarn.simulation.material import conversions, interactions
from femtobarn.simulation.particles import Particles, concatenate
from femtobarn.simulation.pileup import draw
from femtobarn.simulation.processes import PROCESSES
from femtobarn.simulation.pythia import Record, generate
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


@dataclass(frozen=True)
class Truth:
    """Ancestry of a record and the hadrons (and taus) that label jets."""

    words: NDArray[np.uint8]
    weak: NDArray[np.bool_]
    kind: NDArray[np.int8]
    """5, 4, 15 for weakly decaying b-hadrons, c-hadrons and taus, else 0."""
    decay: Array
    """(particles, 3) decay point, mm, of those of a `kind`."""


def read_truth(record: Record) -> Truth:
    """Ancestry words, labelling hadrons and their decay points."""
    ids = record.pdg_id
    parent = decay_parents(ids, record.mother)
    bottom = weakly_decaying(pdg.has_bottom(ids), parent)
    charm = weakly_decaying(pdg.has_charm(ids), parent)
    tau = weakly_decaying(np.abs(ids) == 15, parent)
    strange = pdg.is_strange_decaying(ids) & ~record.final
    own = bottom * BOTTOM | charm * CHARM | tau * TAU | strange * STRANGE | pdg.is_hadron(ids) * HADRON
    kind = np.select([bottom, charm, tau], [5, 4, 15], 0).astype(np.int8)
    decay = np.zeros((len(ids), 3))
    children = np.flatnonzero((parent >= 0) & (kind[parent] > 0))
    decay[parent[children]] = np.column_stack([record.x[children], record.y[children], record.z[children]])
    return Truth(ancestors(own.astype(np.uint8), parent), bottom | charm | tau, kind, decay)


def simulate_block(task: Block) -> tuple[ak.Array, dict[str, float]]:
    """Jets with tracks of one block, and the CPU seconds of each stage.

    Every random number comes from (seed, process, block), so neither workers nor order matter.
    """
    watch = Stopwatch()
    settings = task.settings
    stream = np.random.SeedSequence([task.seed, zlib.crc32(task.process.encode()), task.index])
    seeds = stream.spawn(6)
    with watch.stage("pythia"):
        record = generate(
            task.process,
            BLOCK,
            int(seeds[0].generate_state(1)[0]) % 900_000_000 + 1,
            settings.sqrt_s,
            not task.overlay,
            settings.pythia,
        )
    vertex_rng, calo_rng, pileup_rng, material_rng, tracker_rng = (
        np.random.default_rng(s) for s in seeds[1:]
    )
    events = len(record.counts)
    number = task.index * BLOCK + np.arange(events)
    fold = fold_of(task.process, task.seed, task.seed, 0, number)
    with watch.stage("truth"):
        truth = read_truth(record)
        event = np.repeat(np.arange(events), record.counts)
        beam = settings.beam
        vertex = vertex_rng.standard_normal((events, 3)) * [beam.sigma_xy, beam.sigma_xy, beam.sigma_z]
        resolution = [beam.vertex_resolution_xy, beam.vertex_resolution_xy, beam.vertex_resolution_z]
        found_vertex = vertex + vertex_rng.standard_normal((events, 3)) * resolution
        final = np.flatnonzero(record.final)
        charge = pdg.charge(record.pdg_id[final])
    with watch.stage("clustering"):
        jets = jets_of(
            _visible(record, truth, event, final, charge), events, task.pileup, settings.calorimeter, calo_rng
        )
    with watch.stage("pileup"):
        mu_actual = pileup_rng.poisson(task.pileup, events)
        pileup = _pileup(task, fold, mu_actual, vertex, pileup_rng)
    with watch.stage("tracker"):
        hard = _particles(record, truth, event, final, charge, vertex)
        candidates = _candidates(hard, pileup, jets, events, settings, material_rng)
        candidates = add_fakes(candidates, len(jets.pt), settings.tracker, material_rng)
        response = reconstruct(candidates, len(jets.pt), settings.tracker, tracker_rng)
    with watch.stage("rows"):
        label = jet_labels(record, truth, event, jets, settings)
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


def _visible(
    record: Record, truth: Truth, event: NDArray[np.int64], final: NDArray[np.int64], charge: Array
) -> Visible:
    """Final particles that make jets: no neutrinos, no muons, no electrons that come from no hadron."""
    kind = np.abs(record.pdg_id[final])
    prompt = (kind == 11) & (truth.words[final] & HADRON == 0)
    keep = ~np.isin(kind, (12, 13, 14, 16)) & ~prompt
    index = final[keep]
    columns = (getattr(record, name)[index] for name in ("px", "py", "pz", "energy"))
    return Visible(event[index], record.pdg_id[index], charge[keep] != 0, *columns)


def _particles(
    record: Record,
    truth: Truth,
    event: NDArray[np.int64],
    final: NDArray[np.int64],
    charge: Array,
    vertex: Array,
) -> Particles:
    """Final charged particles and photons of the hard scatter that matter to the tracker, in the detector frame."""
    pt = np.hypot(record.px[final], record.py[final])
    photon = record.pdg_id[final] == 22
    keep = ((charge != 0) & (pt > 0.4)) | (photon & (pt > 0.8))
    keep &= np.abs(record.pz[final]) < np.sinh(2.7) * pt
    keep &= np.hypot(record.x[final], record.y[final]) < 300.0
    index = final[keep]
    where = event[index]
    return Particles(
        where,
        record.pdg_id[index],
        charge[keep],
        record.px[index],
        record.py[index],
        record.pz[index],
        record.x[index] + vertex[where, 0],
        record.y[index] + vertex[where, 1],
        record.z[index] + vertex[where, 2],
        origin_labels(truth.words[index]),
    )


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
    for split, folds in SPLITS.items():
        chosen = np.isin(fold, folds)
        event = np.repeat(np.arange(len(fold)), mu_actual * chosen)
        if not len(event):
            continue
        position = rng.standard_normal((len(event), 3)) * [beam.sigma_xy, beam.sigma_xy, beam.sigma_z]
        near = np.abs(position[:, 2] - vertex[event, 2]) < task.settings.pileup.window
        tables.append(draw(event[near], position[near], task.pools / f"{split}.npz", rng))
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


def jet_labels(
    record: Record, truth: Truth, event: NDArray[np.int64], jets: JetTable, settings: SimulationSettings
) -> dict[str, Array]:
    """Label (5, 4, 15, 0), pT and transverse decay length of the hadron or tau each jet is named after.

    A hadron labels the jet it is nearest to, when it has pT > 5 GeV and is within dR < 0.3 of the axis; bottom goes
    before charm before tau, then the hardest.
    """
    choice = settings.selection
    pt, eta, phi = pt_eta_phi(record.px, record.py, record.pz)
    index = np.flatnonzero((truth.kind > 0) & (pt > choice.label_pt_min))
    pt, eta, phi, kind = pt[index], eta[index], phi[index], truth.kind[index]
    flight = truth.decay[index]
    events = len(record.counts)
    hadron, jet = cross_pairs(
        np.bincount(event[index], minlength=events), np.bincount(jets.event, minlength=events)
    )
    close = delta_r(eta[hadron], phi[hadron], jets.eta[jet], jets.phi[jet]) < choice.label_radius
    hadron, jet = hadron[close], jet[close]
    rank = np.select([kind == 5, kind == 4], [0, 1], 2)[hadron]
    order = np.lexsort((-pt[hadron], rank, jet))
    hadron, jet = hadron[order], jet[order]
    first = np.ones(len(jet), dtype=bool)
    first[1:] = jet[1:] != jet[:-1]
    hadron, jet = hadron[first], jet[first]
    label = {name: np.zeros(len(jets.pt)) for name in ("id", "pt", "lxy")}
    label["id"][jet] = kind[hadron]
    label["pt"][jet] = pt[hadron]
    label["lxy"][jet] = np.hypot(flight[hadron, 0], flight[hadron, 1])
    return label
