"""One block of whole events: from the generator's record to rows of reconstructed objects."""

from __future__ import annotations

from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.data.splits import fold_of
from femtobarn.physics import pdg
from femtobarn.physics.clustering import anti_kt
from femtobarn.physics.groups import sums
from femtobarn.physics.kinematics import cartesian, pt_eta_phi
from femtobarn.physics.substructure import n_subjettiness
from femtobarn.simulation.btagging import tag_columns, tag_efficiency
from femtobarn.simulation.calorimeter import Visible, in_reach, smeared
from femtobarn.simulation.collisions import Collisions, collisions_of
from femtobarn.simulation.detector import Electromagnetic, EventSettings
from femtobarn.simulation.event_jets import (
    EventJets,
    cluster,
    hadronic_taus,
    matched,
    photon_fake_rate,
    tau_quality,
)
from femtobarn.simulation.events import BLOCK, Block, Stopwatch
from femtobarn.simulation.labels import jet_labels
from femtobarn.simulation.objects import FAKE, MASS, ORIGINS, PROMPT, Objects, isolated_objects
from femtobarn.simulation.processes import PROCESSES
from femtobarn.simulation.pythia import Record
from femtobarn.simulation.rows import FLAVOURS

__all__ = ["OBJECT_CLASSES", "event_block"]

OBJECT_CLASSES: dict[str, list[str]] = {
    "process": list(PROCESSES),
    "jets.flavour_label": list(FLAVOURS),
    **{f"{name}.origin": list(ORIGINS) for name in ("electrons", "muons", "photons", "taus")},
}
"""Names of the codes in the columns that hold codes."""
TAU_MASS = 0.8
"""GeV: about what the visible part of a tau has."""
Array = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]


def event_block(task: Block) -> tuple[ak.Array, int, dict[str, float]]:
    """Rows of one block of events, their number and the CPU seconds of each stage, as `simulate_block`."""
    watch, settings = Stopwatch(), task.settings
    assert isinstance(settings, EventSettings)
    seeds = task.streams(5)
    with watch.stage("pythia"):
        record = task.record(seeds[0], settings.sqrt_s, settings.pythia)
    rngs = [np.random.default_rng(seed) for seed in seeds[1:]]
    with watch.stage("truth"):
        hard = collisions_of(record)
    events = len(record.counts)
    number = task.index * BLOCK + np.arange(events)
    scalars: Columns = {
        "eventNumber": number.astype(np.int64),
        "runNumber": np.full(events, task.seed, dtype=np.int32),
        "process": np.full(events, list(PROCESSES).index(task.process), dtype=np.int8),
        "fold": fold_of(task.process, task.seed, task.seed, 0, number),
        "mcEventWeight": record.weight.astype(np.float32),
    }
    rows = reconstruct(record, hard, task.pileup, settings, scalars, rngs, watch)
    return rows, events, watch.seconds


def reconstruct(
    record: Record,
    hard: Collisions,
    mu: float,
    settings: EventSettings,
    scalars: Columns,
    rngs: list[np.random.Generator],
    watch: Stopwatch,
) -> ak.Array:
    """Events of reconstructed objects.

    Args:
        record: of Pythia.
        hard: its final particles and labelling hadrons.
        mu: mean pile-up, which makes noise.
        settings: of the detector.
        scalars: further columns, one value per event.
        rngs: four streams: objects, calorimeter, jets, identification.
        watch: adds up the CPU seconds of the stages.
    """
    object_rng, calorimeter_rng, jet_rng, tag_rng = rngs
    events = len(record.counts)
    with watch.stage("objects"):
        found, visible, muons = isolated_objects(hard, events, settings, object_rng)
    with watch.stage("calorimeter"):
        visible, measured = _measured(visible, muons, settings, calorimeter_rng)
        charge = pdg.charge(visible.pdg_id)
    with watch.stage("jets"):
        jets = cluster(visible, charge, measured, events, mu, settings, jet_rng)
    with watch.stage("fat jets"):
        fat = _fat_jets(visible, measured, events, settings)
    with watch.stage("identification"):
        sorted_out = _identified(jets, found, record, events, settings, tag_rng)
    with watch.stage("rows"):
        soft = np.stack([sums(visible.event, p, events) for p in measured[:2]])
        soft -= np.stack([sums(jets.event, p, events) for p in (jets.soft_px, jets.soft_py)])
        soft += settings.met.noise * jet_rng.standard_normal((2, events))
        columns = _collections(sorted_out, hard, fat, events, settings, tag_rng)
        scalars = scalars | _missing(columns, soft, hard, events)
        return ak.zip(
            scalars | {name: _ragged(table, events) for name, table in columns.items()}, depth_limit=1
        )


class Sorted(NamedTuple):
    """Every object once: jets that pass as something else are no jets."""

    leptons: dict[int, Objects]
    jets: EventJets
    taus: EventJets
    tau_id: NDArray[np.int8]
    true_tau: NDArray[np.bool_]


def _measured(
    visible: Visible, muons: Objects, settings: EventSettings, rng: np.random.Generator
) -> tuple[Visible, tuple[Array, Array, Array, Array]]:
    """What arrives in the calorimeter, and its four-momenta after the response, muons' as the tracker has
    them."""
    arrives = in_reach(visible, settings.calorimeter)
    place = np.cumsum(arrives) - 1
    muons = muons.take(arrives[muons.source])
    visible = visible.take(arrives)
    measured = smeared(visible, settings.calorimeter, rng)
    index = place[muons.source]
    momentum = cartesian(muons.pt, muons.eta, muons.phi)
    for component, values in zip(measured, (*momentum, muons.pt * np.cosh(muons.eta)), strict=True):
        component[index] = values
    return visible, measured


def _fat_jets(
    visible: Visible, measured: tuple[Array, Array, Array, Array], events: int, settings: EventSettings
) -> Columns:
    """Large-radius jets of the same particles, where the event has the momentum for one."""
    fat = settings.fat_jets
    scalar = sums(visible.event, np.hypot(*measured[:2]), events)
    chosen = (scalar > fat.pt_min)[visible.event] & (fat.pt_min > 0)
    counts = np.bincount(visible.event[chosen], minlength=events)
    px, py, pz, energy = (p[chosen] for p in measured)
    jets = anti_kt(counts, (px, py, pz, energy), fat.radius, fat.pt_min)
    pt, eta, phi = pt_eta_phi(jets.px, jets.py, jets.pz)
    mass = np.sqrt(np.maximum(jets.energy**2 - jets.px**2 - jets.py**2 - jets.pz**2, 0.0))
    kept = np.abs(eta) < fat.eta_max
    parts = jets.constituents[kept]
    member = ak.to_numpy(ak.flatten(parts))
    tau = n_subjettiness(
        ak.to_numpy(ak.num(parts, axis=1)), *pt_eta_phi(px[member], py[member], pz[member]), fat.radius
    )
    ratios = tau[:, 1:] / np.maximum(tau[:, :-1], 1e-9)
    values = {"pt": pt[kept], "eta": eta[kept], "phi": phi[kept], "mass": mass[kept]}
    values |= {"tau1": tau[:, 0], "tau21": ratios[:, 0], "tau32": ratios[:, 1]}
    return {"event": jets.event[kept], **{name: v.astype(np.float32) for name, v in values.items()}}


def _identified(
    jets: EventJets,
    found: dict[int, Objects],
    record: Record,
    events: int,
    settings: EventSettings,
    rng: np.random.Generator,
) -> Sorted:
    """Jets that pass as taus, electrons or photons become those."""
    draw = rng.random((3, len(jets)))
    true = matched(jets, hadronic_taus(record), events, settings.jets.label_radius)
    quality = tau_quality(jets, true, settings.taus, draw[0])
    tau = quality > 0
    passes: dict[int, tuple[NDArray[np.bool_], Electromagnetic]] = {
        11: (draw[1] < settings.electrons.jet_fake_rate, settings.electrons),
        22: (draw[2] < photon_fake_rate(jets.pt, settings.photons), settings.photons),
    }
    taken = tau.copy()
    for code, (mask, part) in passes.items():
        pt = part.fake_fraction * jets.pt
        fake = mask & ~taken & ~true & (pt > part.pt_min) & (np.abs(jets.eta) < part.eta_max)
        taken |= fake
        chosen, count = jets.take(fake), int(fake.sum())
        sign = np.where(draw[0][fake] < 0.5, -1.0, 1.0) * (code == 11)
        objects = Objects(
            event=chosen.event,
            pt=pt[fake],
            eta=chosen.eta,
            phi=chosen.phi,
            charge=sign,
            isolation=part.isolation_max * rng.random(count),
            origin=np.full(count, FAKE, dtype=np.int8),
            truth_pt=np.zeros(count),
            source=np.full(count, -1),
        )
        found = found | {code: found[code].joined(objects)}
    return Sorted(found, jets.take(~taken), jets.take(tau), quality[tau], true[tau])


def _collections(
    found: Sorted,
    hard: Collisions,
    fat: Columns,
    events: int,
    settings: EventSettings,
    rng: np.random.Generator,
) -> dict[str, Columns]:
    """Columns of every collection, with `event`."""
    columns: dict[str, Columns] = {}
    for name, code in (("electrons", 11), ("muons", 13), ("photons", 22)):
        table = found.leptons[code]
        table = table.take(np.lexsort((-table.pt, table.event)))
        columns[name] = {
            **_kinematics(table, np.full(len(table), MASS[code])),
            "charge": table.charge.astype(np.int8),
            "isolation": table.isolation.astype(np.float32),
            "origin": table.origin,
            "truthPt": table.truth_pt.astype(np.float32),
        }
    taus = found.taus
    columns["taus"] = {
        **_kinematics(taus, np.full(len(taus), TAU_MASS)),
        "charge": taus.charge.astype(np.int8),
        "numberOfTracks": taus.prongs.astype(np.int8),
        "quality": found.tau_id,
        "origin": np.where(found.true_tau, PROMPT, FAKE).astype(np.int8),
    }
    jets, tag = found.jets, settings.btag
    label = jet_labels(hard, jets, events, settings.jets.label_pt_min, settings.jets.label_radius)["id"]
    efficiency = tag_efficiency(jets.pt, label, tag) * (np.abs(jets.eta) < tag.eta_max)[:, None]
    columns["jets"] = {
        **_kinematics(jets, jets.mass),
        **tag_columns(rng.random(len(jets)), efficiency, tag),
        "flavour_label": np.select([label == 5, label == 4, label == 15], [0, 1, 3], 2).astype(np.int8),
        "truthPt": jets.truth_pt.astype(np.float32),
    }
    columns["fat_jets"] = fat
    return columns


def _kinematics(table: Any, mass: Array) -> Columns:
    values = {"pt": table.pt, "eta": table.eta, "phi": table.phi, "mass": mass}
    return {"event": table.event, **{name: column.astype(np.float32) for name, column in values.items()}}


def _missing(columns: dict[str, Columns], soft: Array, hard: Collisions, events: int) -> Columns:
    """What balances all objects and the soft term; and what neutrinos and the like carry away."""
    total, scalar = soft.copy(), np.hypot(*soft)
    for name, table in columns.items():
        if name == "fat_jets":
            continue
        px, py, _ = cartesian(table["pt"], table["eta"], table["phi"])
        total += np.stack([sums(table["event"], p, events) for p in (px, py)])
        scalar += sums(table["event"], table["pt"], events)
    unseen = hard.take(hard.final & pdg.is_invisible(hard.pdg_id))
    truth = np.stack([sums(unseen.event, p, events) for p in (unseen.px, unseen.py)])
    values = {"sum_et": scalar}
    for name, (x, y) in (("met", -total), ("met_soft", soft), ("truth_met", truth)):
        values |= {name: np.hypot(x, y), f"{name}_phi": np.arctan2(y, x)}
    return {name: column.astype(np.float32) for name, column in values.items()}


def _ragged(table: Columns, events: int) -> ak.Array:
    counts = np.bincount(table["event"], minlength=events)
    return ak.unflatten(ak.zip({name: column for name, column in table.items() if name != "event"}), counts)
