"""Tops among QCD jets, and QCD jets among tops, by scorers that learnt the others alone [1808.08979].

An autoencoder that learnt QCD rebuilds tops badly, since they are richer. Does one that learnt tops call QCD
unusual? What only measures how rich a jet is does the contrary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.anomaly.image_autoencoder import ImageAutoencoder
from femtobarn.anomaly.isolation_forest import IsolationForest
from femtobarn.anomaly.lola_autoencoder import LolaAutoencoder
from femtobarn.anomaly.lund_autoencoder import LundAutoencoder
from femtobarn.anomaly.normalised_autoencoder import NormalisedAutoencoder
from femtobarn.data import Feature, Inputs, Sample, from_memory, open_sample, reweight
from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError
from femtobarn.evaluate.figures import rejection_figure
from femtobarn.evaluate.metrics import Survival, auc, rejection
from femtobarn.evaluate.numbers import percent, shown_metric
from femtobarn.evaluate.pictures import pictures_figure
from femtobarn.evaluate.report import Cell, Report
from femtobarn.evaluate.result import Metric, Result, combine
from femtobarn.evaluate.steps import distributions_figure
from femtobarn.evaluate.style import Caption, lines_for
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.nn.candidates import MOMENTUM
from femtobarn.physics.jet_images import jet_images
from femtobarn.physics.kinematics import pt_eta_phi
from femtobarn.physics.lund import lund_tree
from femtobarn.physics.substructure import energy_correlators, n_subjettiness
from femtobarn.progress import progress_bar
from femtobarn.recipes.run import Run, Settings, recipe
from femtobarn.simulation import JetSettings, simulate
from femtobarn.simulation.jet_classes import JET_CLASSES

CLASSES = ("QCD", "Tbqq")
TOP = (JET_CLASSES.index("Tbqq"), JET_CLASSES.index("Tbqq") + 1)
CODE = ["simulation.simulate", "physics.lund", "physics.substructure", __name__]
SPECTRUM = {"pt": np.linspace(500, 1000, 11).tolist()}
SUBSTRUCTURE = ("mass", "tau21", "tau32", "d2", "multiplicity")
SPLITS = {"train": (0, 4), "valid": (4, 5), "test": (5, 10)}
"""Ranges of folds; half of the jets judge."""
EFFICIENCY = 0.5
METHODS: dict[str, Callable[[int, int], Scorer]] = {
    "isolation_forest": lambda seed, steps: IsolationForest(seed=seed),
    "image_autoencoder": lambda seed, steps: ImageAutoencoder(power=1.0),
    "image_autoencoder_root": lambda seed, steps: ImageAutoencoder(power=0.5),
    "lola_autoencoder": lambda seed, steps: LolaAutoencoder(),
    "lund_autoencoder": lambda seed, steps: LundAutoencoder(),
    "normalised_autoencoder": lambda seed, steps: NormalisedAutoencoder(pretraining=steps // 2),
}
"""By seed and number of steps: a normalised autoencoder is a plain one for the first half of them."""
LABELS = {
    "mass": "jet mass",
    "isolation_forest": "isolation forest",
    "image_autoencoder": "pictures",
    "image_autoencoder_root": "pictures, roots",
    "lola_autoencoder": "LoLa",
    "lund_autoencoder": "Lund tree",
    "normalised_autoencoder": "normalised, roots",
}
"""The first learns nothing, and knows that tops are heavier."""


class Direction(NamedTuple):
    """The class that is learnt, and the one that is looked for."""

    usual: str
    unusual: str


DIRECTIONS = {"tops among QCD": Direction("QCD", "Tbqq"), "QCD among tops": Direction("Tbqq", "QCD")}


class JetAnomalySettings(Settings):
    """What differs between the scales.

    Attributes:
        collisions: simulated, a tenth of them of QCD and a tenth of top pairs.
        training: of the networks.
        seeds: of the trainings.
        methods: those compared.
    """

    collisions: int
    training: Training = Training(optimiser="adamw", learning_rate=2e-3, schedule="one-cycle", batch_size=200,
                                  epochs=20, clip_norm=1.0, progress="none")  # fmt: skip
    seeds: tuple[int, ...] = (1,)
    methods: tuple[str, ...] = tuple(METHODS)


SHORT = JetAnomalySettings(collisions=1).training
SCALES = {
    "smoke": JetAnomalySettings(collisions=2_000, training=SHORT.with_(epochs=1, batch_size=20)),
    "quick": JetAnomalySettings(collisions=10_000, training=SHORT.with_(batch_size=50)),
    "standard": JetAnomalySettings(collisions=50_000, training=SHORT.with_(batch_size=50), seeds=(1, 2)),
}


@recipe(scales=SCALES)
def jet_anomaly(settings: JetAnomalySettings, run: Run) -> Result:
    """Tops among QCD jets and QCD among tops: autoencoders of pictures, four-vectors and Lund trees."""
    for name in settings.methods:
        if name not in METHODS:
            raise InputError(f"there is no method '{name}': {', '.join(METHODS)}")
    jets = prepared(settings, run)
    test = reweight(part(jets, "test"), "jet_label", SPECTRUM, target="QCD", weight="mcEventWeight")
    assert test.weights is not None
    label = test.column("jet_label")
    weights = test.weights.astype(np.float64) * test.column("mcEventWeight")
    known = test.column("mass").astype(np.float64)
    parts: list[Result] = []
    first: dict[tuple[str, str], NDArray[np.float64]] = {}
    for seed in settings.seeds:
        one = Result.start(run.recipe, run.scale, run.seed, run.command)
        one.sizes = {
            f"{name}, {split}": len(part(jets, split, name)) for name in CLASSES for split in SPLITS
        }  # fmt: skip
        for where, direction in DIRECTIONS.items():
            unusual = label == test.schema.classes["jet_label"].index(direction.unusual)
            scores = {"mass": known if direction.unusual == "Tbqq" else -known}
            scores |= {
                name: scored(settings, run, name, direction, seed, jets, test) for name in settings.methods
            }
            for name, score in scores.items():
                one.metrics += measured(name, where, seed, score, unusual, weights)
                first.setdefault((where, name), score)
        parts.append(one)
    return page(settings, run, combine(parts), first, jets, test, weights)


def prepared(settings: JetAnomalySettings, run: Run) -> Sample:
    """QCD and top jets with substructure, and their Lund tree as `branchings`; of the sample of ten classes
    that `jet_history` simulates too."""
    detector = JetSettings()

    def simulated(path: Path) -> None:
        with progress_bar("simulate jets", "collisions") as progress:
            simulate("jets", settings.collisions, path, seed=run.seed, workers=run.workers, settings=detector,
                     progress=progress)  # fmt: skip

    def build(path: Path) -> None:
        jets = open_sample(raw).select(jet_label=(0, 1)), open_sample(raw).select(jet_label=TOP)
        rows = with_structure(ak.concatenate([one.read() for one in jets]), detector.calorimeter.jet_radius)
        with atomic(path) as temporary:
            ak.to_parquet(rows, temporary)

    key = {"events": settings.collisions, "seed": run.seed, "settings": detector.model_dump(mode="json")}
    raw = run.cached("simulate jets", key, simulated, code=["simulation.simulate"], suffix=".parquet")
    path = run.cached("structure", key, build, code=CODE, suffix=".parquet")
    return from_memory(ak.from_parquet(path), {"jet_label": list(JET_CLASSES)}, name="jets")


def with_structure(jets: ak.Array, radius: float) -> ak.Array:
    """Jets with `SUBSTRUCTURE` and `branchings`, and of their candidates the four-momenta alone."""
    c = jets.candidates
    counts = ak.to_numpy(ak.num(c)).astype(np.int64)
    px, py, pz, energy = (ak.to_numpy(ak.flatten(c[name])).astype(np.float64) for name in MOMENTUM)
    place = pt_eta_phi(px, py, pz)
    tau = n_subjettiness(counts, *place, radius)
    ratio = tau[:, 1:] / np.maximum(tau[:, :-1], 1e-9)
    tree = lund_tree(counts, px, py, pz, energy)
    branchings = ak.zip({
        "kt": tree.kt.astype(np.float32), "delta": tree.delta.astype(np.float32),
        "z": tree.z.astype(np.float32), "parent": tree.parent.astype(np.int16),
        "softer": tree.softer.astype(np.int8),
    })  # fmt: skip
    fields = {name: jets[name] for name in jets.fields if name != "candidates"}
    columns = {"tau21": ratio[:, 0], "tau32": ratio[:, 1], "d2": energy_correlators(counts, *place).d2,
               "multiplicity": counts}  # fmt: skip
    fields |= {name: column.astype(np.float32) for name, column in columns.items()}
    fields |= {"candidates": c[list(MOMENTUM)], "branchings": ak.unflatten(branchings, tree.counts)}
    return ak.zip(fields, depth_limit=1)


def part(jets: Sample, split: str, name: str | None = None) -> Sample:
    """The jets of a split, of one class or of all."""
    fold = jets.column("fold")
    chosen = (fold >= SPLITS[split][0]) & (fold < SPLITS[split][1])
    if name is not None:
        chosen &= jets.column("jet_label") == jets.schema.classes["jet_label"].index(name)
    return jets.take(np.flatnonzero(chosen))


def inputs(method: Scorer) -> Inputs:
    """A method's own, or substructure for one of columns."""
    if isinstance(method, IsolationForest):
        wide = [Feature(name=name, transform="asinh") for name in ("mass", "d2")]
        return Inputs(event=[*wide, "tau21", "tau32", "multiplicity"], weight="mcEventWeight")
    return method.default_inputs()


def scored(settings: JetAnomalySettings, run: Run, name: str, direction: Direction, seed: int, jets: Sample,
           test: Sample) -> NDArray[np.float64]:  # fmt: skip
    """Scores (N,) of the test jets by a method that learnt one class."""
    train, valid = (part(jets, split, direction.usual) for split in ("train", "valid"))
    steps = settings.training.epochs * math.ceil(len(train) / settings.training.batch_size)
    method = METHODS[name](seed, steps)

    def build(path: Path) -> None:
        training = settings.training.with_(seed=seed, keep=method.default_training().keep)
        method.fit(train, valid, inputs=inputs(method), training=training)
        with atomic(path) as temporary, open(temporary, "wb") as file:
            np.save(file, ak.to_numpy(method.score(test)[f"{method.name}_score"]).astype(np.float64))

    key = {"method": method.parameters, "collisions": settings.collisions, "usual": direction.usual,
           "training": settings.training.model_dump(mode="json"), "seed": [run.seed, seed]}  # fmt: skip
    code = [*CODE, "learn", type(method).__module__]
    path = run.cached(f"{name} of {direction.usual} {seed}", key, build, code=code, suffix=".npy")
    return np.asarray(np.load(path), dtype=np.float64)


def measured(name: str, where: str, seed: int, score: NDArray[np.float64], unusual: NDArray[np.bool_],
             weights: NDArray[np.float64]) -> list[Metric]:  # fmt: skip
    """AUC, and rejection of usual jets where half of the others pass."""
    area = auc(score, unusual, weights)
    signal = Survival(score[unusual], weights[unusual], "unusual")
    background = Survival(score[~unusual], weights[~unusual], "usual")
    factor = rejection(signal, background, EFFICIENCY)
    return [
        Metric(name="auc", method=name, sample=where, value=float(area.value), error=float(area.error),
               seeds=[seed]),
        Metric(name="rejection", at={"efficiency": EFFICIENCY}, method=name, sample=where,
               value=float(factor.value), error=float(factor.error), seeds=[seed]),
    ]  # fmt: skip


def page(
    settings: JetAnomalySettings, run: Run, result: Result,
    first: dict[tuple[str, str], NDArray[np.float64]], jets: Sample, test: Sample,
    weights: NDArray[np.float64],
) -> Result:  # fmt: skip
    """Table, rejections both ways, scores, and what the jets look like."""
    report = Report("Jets that were never shown", f"{len(jets):,} jets, {run.scale} scale")
    shown = ["mass", *settings.methods]
    best = {
        where: max(settings.methods, key=lambda name: _value(result, name, where)) for where in DIRECTIONS
    }
    both = [name for name in settings.methods if all(_surely(result, name, w) for w in DIRECTIONS)]
    report.text(
        f"Of what never saw the other class, **{LABELS[best['tops among QCD']]}** finds tops among QCD jets "
        f"best and **{LABELS[best['QCD among tops']]}** QCD jets among tops. Better than a coin both "
        f"ways, by two standard deviations: **{', '.join(LABELS[name] for name in both) or 'none'}**."
    )
    report.text(
        "Jets of R = 0.8 and 500 < pT < 1000 GeV, the tops' spectrum brought to that of QCD. The isolation "
        "forest reads mass, τ21, τ32, D2 and multiplicity; pictures are of pT in angles, compared as they "
        "are or as square roots, by the normalised autoencoder too; LoLa reads 40 four-vectors; the Lund "
        "tree is that of Cambridge/Aachen above kT = 1 GeV. The jet mass learns nothing: it is a cut by who "
        "knows which class is heavier."
    )
    rows = []
    for name in shown:
        cells = []
        for where in DIRECTIONS:
            cells += [result.find("auc", name, where), result.find("rejection", name, where)]
        rows.append([LABELS[name], *(Cell("–" if m is None else shown_metric(m)) for m in cells)])
    head = [f"{what}, {where.split()[0]}" for where in DIRECTIONS for what in ("AUC", "1/FPR")]
    report.table(["what is found:", *head], rows,
                 f"Trainings: {len(settings.seeds)}; errors of the test sample and of seeds in quadrature. "
                 f"1/FPR at {percent(EFFICIENCY)} efficiency. An AUC below one half: what was never shown is "
                 "called the more usual.")  # fmt: skip
    caption = Caption(sample="anti-$k_t$ R = 0.8, $500 < p_T < 1000$ GeV")
    label = test.column("jet_label")
    report.section("Rejections")
    lines = lines_for(shown, LABELS)
    for where, direction in DIRECTIONS.items():
        unusual = label == test.schema.classes["jet_label"].index(direction.unusual)
        curves = {
            name: (Survival(first[where, name][unusual], weights[unusual]),
                   Survival(first[where, name][~unusual], weights[~unusual])) for name in shown
        }  # fmt: skip
        report.figure(
            rejection_figure(
                curves, lines, caption, signal="Top" if direction.unusual == "Tbqq" else "QCD",
                background="Top" if direction.usual == "Tbqq" else "QCD", efficiencies=(0.1, 1.0),
                marks=(EFFICIENCY,),
            ),
            f"First training: {where}. Bands are statistical.", f"rejection-{direction.unusual}",
        )  # fmt: skip
    report.section("What jets look like")
    report.figure(
        pictures_figure(
            mean_pictures(test, weights), (-0.8, 0.8, -0.8, 0.8), "turned Δη", "turned Δφ", caption
        ),
        "Mean pictures of the test jets, centred, turned and flipped.", "pictures",
    )  # fmt: skip
    report.figure(
        pictures_figure(lund_planes(test, weights), (0, 6, 0, 6), "ln 1/Δ", "ln kT / GeV", caption),
        "Density of branchings in the Lund plane, per jet.", "lund",
    )  # fmt: skip
    report.section("Scores")
    for where, direction in DIRECTIONS.items():
        unusual = label == test.schema.classes["jet_label"].index(direction.unusual)
        for name in settings.methods:
            report.figure(
                distributions_figure(
                    first[where, name], unusual, f"Score: {LABELS[name]}", caption, weights
                ),
                f"{where[0].upper()}{where[1:]}; signal is what was never shown.",
                f"score-{name}-{direction.unusual}", small=True,
            )  # fmt: skip
    return run.finish(report, result, settings)


def _value(result: Result, name: str, where: str) -> float:
    metric = result.find("auc", name, where)
    return 0.0 if metric is None or metric.value is None else metric.value


def _surely(result: Result, name: str, where: str) -> bool:
    """Whether an AUC is above one half by two standard deviations, of jets and of trainings."""
    metric = result.find("auc", name, where)
    if metric is None or metric.value is None:
        return False
    return metric.value - 2 * math.hypot(metric.error or 0.0, metric.error_seed or 0.0) > 0.5


def mean_pictures(test: Sample, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Of the test jets of each class."""
    found = {}
    for name in CLASSES:
        c = test.take(_rows(test, name)).read(fields=["candidates"]).candidates
        px, py, pz = (ak.to_numpy(ak.flatten(c[k])).astype(np.float64) for k in MOMENTUM[:3])
        pictures = jet_images(ak.to_numpy(ak.num(c)).astype(np.int64), *pt_eta_phi(px, py, pz), pixels=41)
        mean = np.average(pictures, axis=0, weights=weights[_rows(test, name)])
        found["QCD" if name == "QCD" else "top"] = np.asarray(mean, dtype=np.float64)
    return found


def lund_planes(test: Sample, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Branchings per test jet and cell of ln 1/delta and ln kT, of each class."""
    found = {}
    for name in CLASSES:
        b = test.take(_rows(test, name)).read(fields=["branchings"]).branchings
        x, y = (np.log(ak.to_numpy(ak.flatten(b[k])).astype(np.float64)) for k in ("delta", "kt"))
        own = weights[_rows(test, name)]
        each = np.repeat(own, ak.to_numpy(ak.num(b)))
        cells = np.histogram2d(y, -x, bins=30, range=[[0, 6], [0, 6]], weights=each)[0]
        found["QCD" if name == "QCD" else "top"] = np.asarray(cells / own.sum(), dtype=np.float64)
    return found


def _rows(test: Sample, name: str) -> NDArray[np.int64]:
    return np.flatnonzero(test.column("jet_label") == test.schema.classes["jet_label"].index(name))
