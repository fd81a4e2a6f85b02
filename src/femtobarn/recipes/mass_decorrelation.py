"""A cut on a score that leaves the spectrum of a mass as it is, and what that costs.

Dijets of QCD and a W' of 3.5 TeV to two new particles, as in `resonant_ladder`. Scores that know nothing of
the dijet mass shape its spectrum all the same, since heavy jets come with heavy dijets. Two remedies: the
distance correlation of score and mass in the loss [DisCo, 2001.05310], and the rank of the score among events
of the same mass. What is asked for is stated in the settings before anything is measured.

The background is in three parts: one learnt from, one that calibrates the ranks, one cut on; in turn, so that
all of it is cut on by what has not seen it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.anomaly.decorrelated import Decorrelated
from femtobarn.anomaly.vae import VAE
from femtobarn.classification.boosted_trees import BoostedTrees
from femtobarn.data import Inputs, Label, Sample, from_memory, open_sample
from femtobarn.data.atomic import atomic
from femtobarn.evaluate.improvement import improvement, improvement_kept
from femtobarn.evaluate.metrics import Survival
from femtobarn.evaluate.result import Metric, Result, combine
from femtobarn.evaluate.sculpting import sculpting
from femtobarn.learn.training import Training
from femtobarn.progress import progress_bar
from femtobarn.recipes.decorrelation_page import KINDS, Judged, Variant, page
from femtobarn.recipes.resonant_ladder import (
    COLUMNS,
    DETECTOR,
    FEATURES,
    LEADING,
    RANGE,
    ResonantLadderSettings,
    dijets,
    inside,
    simulated,
)
from femtobarn.recipes.run import Run, Settings, recipe
from femtobarn.simulation import EventSettings, simulate
from femtobarn.statistics.conditional import ConditionalRank

Array = NDArray[np.float64]
Events = NDArray[np.float32]
MASS = COLUMNS[-1]
PARTS = 3
BOTH_HEAVY = tuple(
    f"990000{k}:{what}" for k in (1, 2) for what in ("m0 = 500.", "mMin = 450.", "mMax = 550.")
)
"""Masses of X and Y: what a score of rarity can find. Those of the LHC Olympics are 500 and 100 GeV."""
EFFICIENCIES = (0.1, 0.01)


class MassDecorrelationSettings(Settings):
    """What differs between the scales.

    Attributes:
        background: QCD dijets simulated, of which about half pass.
        signal: W' simulated of either kind.
        bins: of the spectrum, of equal content.
        limit: Jensen-Shannon distance asked for at an efficiency of 1 %; stated beforehand. Cuts at random
            that keep n events have 8 ln2 n distance^2 distributed as chi^2 of bins - 1, and 95 % of them are
            below 0.07 at standard scale.
        kept: share of the SIC asked for.
        strengths: of the distance correlation.
        seeds: of the trainings.
        training: of the variational autoencoders.
        trees: of the supervised classifiers, at most.
    """

    background: int = 120_000
    signal: int = 8_000
    bins: int = 10
    limit: float = 0.08
    kept: float = 0.7
    strengths: tuple[float, ...] = (100.0, 300.0)
    seeds: tuple[int, ...] = (1, 2)
    training: Training = VAE().default_training().with_(progress="none")
    trees: int = 100


SCALES = {
    "smoke": MassDecorrelationSettings(
        background=1_500, signal=250, limit=0.6, strengths=(100.0,), seeds=(1,), trees=10,
        training=VAE().default_training().with_(progress="none", epochs=1, batch_size=50),
    ),
    "quick": MassDecorrelationSettings(
        background=16_000, signal=2_000, limit=0.25, strengths=(30.0, 300.0), seeds=(1,)
    ),
    "standard": MassDecorrelationSettings(),
}  # fmt: skip


@recipe(scales=SCALES)
def mass_decorrelation(settings: MassDecorrelationSettings, run: Run) -> Result:
    """Anomaly scores made blind to the dijet mass: spectrum kept against significance kept [DisCo]."""
    background, signals = samples(settings, run)
    edges = np.quantile(background[:, -1].astype(np.float64), np.linspace(0, 1, settings.bins + 1))
    parts: list[Result] = []
    first: dict[str, Judged] = {}
    for seed in settings.seeds:
        judged: dict[str, Judged] = {}
        for variant in variants(settings):
            found = [scores(settings, run, variant, seed, k, background, signals) for k in range(PARTS)]
            judged |= pooled(variant, found, background)
        part = Result.start(run.recipe, run.scale, run.seed, run.command)
        part.metrics = list(measured(settings, seed, judged, background, signals, edges))
        parts.append(part)
        first = first or judged
    result = combine(parts)
    result.sizes = {"dijets": len(background), "cut on": len(background)}
    result.sizes |= {name: len(events) for name, events in signals.items()}
    result.metrics.append(
        Metric(name="jsd_limit", at={"efficiency": 0.01}, method="stated", sample="dijets",
               value=settings.limit)
    )  # fmt: skip
    return page(settings, run, result, first, background, signals, edges)


def samples(settings: MassDecorrelationSettings, run: Run) -> tuple[Events, dict[str, Events]]:
    """Columns (N, 5) as in `resonant_ladder.COLUMNS` of the background and of each signal."""
    ladder = ResonantLadderSettings(background=settings.background, signal=settings.signal)
    heavy = DETECTOR["wprime_xy"].model_copy(update={"pythia": BOTH_HEAVY})
    signals = {
        "W' to XY": simulated(ladder, run, "wprime_xy").values,
        "W' to XX": resonance(settings.signal, run, heavy),
    }
    return simulated(ladder, run, "dijet").values, signals


def resonance(count: int, run: Run, detector: EventSettings) -> Events:
    """Dijets of a W' with other settings of Pythia."""

    def build(path: Path) -> None:
        raw = path.with_name(f"{path.name}.raw.parquet")
        with progress_bar("simulate wprime_xy", "collisions") as progress:
            simulate("wprime_xy", count, raw, seed=run.seed, workers=run.workers, settings=detector,
                     progress=progress)  # fmt: skip
        rows = dijets(open_sample(raw).read(fields=["fold", "fat_jets"]))
        with atomic(path) as temporary:
            ak.to_parquet(rows, temporary)
        raw.unlink()

    key = {"events": count, "seed": run.seed, "settings": detector.model_dump(mode="json"),
           "leading": LEADING, "range": RANGE}  # fmt: skip
    rows = ak.from_parquet(
        run.cached("dijets heavy", key, build, code=["simulation", "physics.kinematics"], suffix=".parquet")
    )
    columns = [ak.to_numpy(rows[column]).astype(np.float32) for column in COLUMNS]
    return np.asarray(np.stack(columns, axis=1), dtype=np.float32)


def variants(settings: MassDecorrelationSettings) -> list[Variant]:
    """What is trained: every kind of score without, and the autoencoder with distance correlation."""
    plain = [Variant(kind, 0.0) for kind in KINDS]
    return plain + [Variant("vae", strength) for strength in settings.strengths]


def sample(values: Events, label: NDArray[np.int8] | None = None) -> Sample:
    """Events (N, 5) of weight one; with labels, weights whose sums are equal."""
    fields = {name: values[:, k] for k, name in enumerate(COLUMNS)}
    code = np.zeros(len(values), dtype=np.int8) if label is None else label
    weight = 0.5 * len(code) / np.bincount(code, minlength=2)[code] if code.any() else np.ones(len(code))
    return from_memory(ak.zip(fields | {"label": code, "weight": weight}), {"label": ["zero", "one"]})


class Scored(NamedTuple):
    """One part's scores, the higher the more unusual: of background (B,) and of each signal, and the ranks at
    fixed mass, empty where nothing was ranked."""

    plain: dict[str, Array]
    ranked: dict[str, Array]


def scores(settings: MassDecorrelationSettings, run: Run, variant: Variant, seed: int, part: int,
           background: Events, signals: dict[str, Events]) -> Scored:  # fmt: skip
    """Train on the next part, calibrate on the one after it, and score this one."""

    def mine(events: Events, part: int) -> Events:
        return events[part % PARTS :: PARTS]

    def build(path: Path) -> None:
        judged = {"background": mine(background, part)}
        judged |= {name: mine(events, part) for name, events in signals.items()}
        learnt, calibrates = mine(background, part + 1), mine(background, part + 2)
        training = settings.training.with_(seed=seed)
        found = {}
        if variant.kind == "supervised":
            signal = signals[KINDS["supervised"].signal]
            known = signal[np.arange(len(signal)) % PARTS != part]
            trees = supervised(settings, seed, learnt, known)

            def by_trees(events: Events) -> Array:
                said = trees.predict(sample(events))["boosted_trees_pone"]
                return np.asarray(ak.to_numpy(said), dtype=np.float64)

            rank = ConditionalRank.fit(by_trees(calibrates), calibrates[:, -1])
            for name, events in judged.items():
                found[f"plain {name}"] = by_trees(events)
                found[f"ranked {name}"] = rank(found[f"plain {name}"], events[:, -1])
        elif variant.strength:
            vae = VAE(latent=2, decorrelate=MASS, strength=variant.strength)
            vae.fit(sample(learnt), sample(calibrates), inputs=inputs(), training=training)
            for name, events in judged.items():
                found[f"plain {name}"] = ak.to_numpy(vae.score(sample(events))["vae_score"])
        else:
            options = {"latent": 2} if variant.kind == "vae" else {}
            method = Decorrelated(scorer=variant.kind, options=options, mass=MASS)
            method.fit(sample(learnt), sample(calibrates), inputs=inputs(), training=training)
            for name, events in judged.items():
                said = method.score(sample(events))
                found[f"plain {name}"] = ak.to_numpy(said["decorrelated_plain"])
                found[f"ranked {name}"] = ak.to_numpy(said["decorrelated_score"])
        with atomic(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **found)

    include = {"background", "signal", "training", "trees"}
    key = settings.model_dump(mode="json", include=include) | variant._asdict()
    key |= {"seed": [run.seed, seed], "part": part}
    code = ["simulation", "learn", "anomaly.decorrelated", "anomaly.vae", "anomaly.isolation_forest",
            "classification.boosted_trees", __name__]  # fmt: skip
    path = run.cached(f"{variant.name} {seed} {part}", key, build, code=code, suffix=".npz")
    with np.load(path) as file:
        names = ["background", *signals]
        both = [
            {name: file[f"{how} {name}"].astype(np.float64) for name in names if f"{how} {name}" in file}
            for how in ("plain", "ranked")
        ]
    return Scored(*both)


def inputs() -> Inputs:
    """Masses and substructure of both jets; the dijet mass is no input, but carried along."""
    return Inputs(event=list(FEATURES), weight="weight", observers=[MASS])


def supervised(
    settings: MassDecorrelationSettings, seed: int, background: Events, signal: Events
) -> BoostedTrees:
    """Trees that know the signal, and its features without the dijet mass."""
    both = np.concatenate([background, signal])
    label = (np.arange(len(both)) >= len(background)).astype(np.int8)
    classes = {"one": ["one"], "zero": ["zero"]}
    labelled = Inputs(event=list(FEATURES), labels={"class": Label(field="label", classes=classes)},
                      weight="weight")  # fmt: skip
    trees = BoostedTrees(trees=settings.trees, members=6, share=0.5, seed=seed)
    return trees.fit(sample(both, label), inputs=labelled)


def pooled(variant: Variant, found: list[Scored], background: Events) -> dict[str, Judged]:
    """The variant's own score, and its rank if there is one, in the order of the events."""
    answer = {}
    for how in ("plain", "ranked"):
        parts: list[dict[str, Array]] = [getattr(one, how) for one in found]
        if not parts[0]:
            continue
        passed = {}
        for efficiency in EFFICIENCIES:
            mask = np.zeros(len(background), dtype=np.bool_)
            for k, own in enumerate(parts):
                mask[k::PARTS] = own["background"] > np.quantile(own["background"], 1 - efficiency)
            passed[efficiency] = mask
        name = variant.name if how == "plain" else f"{variant.name}_quantile"
        answer[name] = Judged(variant.kind, parts, passed)
    return answer


def measured(settings: MassDecorrelationSettings, seed: int, judged: dict[str, Judged], background: Events,
             signals: dict[str, Events], edges: Array) -> Iterator[Metric]:  # fmt: skip
    """Distances of spectra, also of cuts at random, SIC in the signal region, and the share of it kept."""
    mass = background[:, -1].astype(np.float64)

    def pairs(name: str, signal: str) -> list[tuple[Array, Array]]:
        found = []
        for k, own in enumerate(judged[name].parts):
            here = [inside(events[k::PARTS]) for events in (signals[signal], background)]
            found.append((own[signal][here[0]], own["background"][here[1]]))
        return found

    for name, one in judged.items():
        for efficiency, passed in one.passed.items():
            shape = sculpting(mass, passed, edges)
            for what, value, error in (
                ("jsd", shape.distance, shape.error), ("jsd_random", shape.chance, shape.spread),
                ("jsd_random_highest", shape.highest, None),
            ):  # fmt: skip
                yield Metric(name=what, at={"efficiency": efficiency}, method=name, sample="dijets",
                             value=value, error=error, seeds=[seed])  # fmt: skip
        for signal in signals:
            for rate in EFFICIENCIES:
                each = [improvement(Survival(s, name="signal"), Survival(b, name="background"), rate)
                        for s, b in pairs(name, signal)]  # fmt: skip
                error = float(np.sqrt(sum(float(e.error) ** 2 for e in each))) / PARTS
                yield Metric(name="sic", at={"fpr": rate}, method=name, sample=signal, seeds=[seed],
                             value=float(np.mean([e.value for e in each])), error=error)  # fmt: skip
        if name != one.kind:
            signal = KINDS[one.kind].signal
            for rate in EFFICIENCIES:
                share = improvement_kept(pairs(one.kind, signal), pairs(name, signal), rate)
                yield Metric(name="sic_kept", at={"fpr": rate}, method=name, sample=signal, seeds=[seed],
                             value=float(share.value), error=float(share.error))  # fmt: skip
