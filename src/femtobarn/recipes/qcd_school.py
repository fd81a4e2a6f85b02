"""The QCD School exercise on our events: what do autoencoders find that learnt QCD alone?"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.anomaly.autoencoder import Autoencoder
from femtobarn.anomaly.flow_density import FlowDensity
from femtobarn.anomaly.isolation_forest import IsolationForest
from femtobarn.anomaly.object_autoencoder import ObjectAutoencoder
from femtobarn.anomaly.slots import object_inputs
from femtobarn.anomaly.vae import VAE
from femtobarn.data import Feature, Inputs, Sample, from_memory, open_sample
from femtobarn.data.atomic import atomic
from femtobarn.data.inputs import Collection
from femtobarn.errors import InputError
from femtobarn.evaluate.figures import loss_figure
from femtobarn.evaluate.improvement import efficiency_at, rate_figure
from femtobarn.evaluate.metrics import Survival, auc
from femtobarn.evaluate.numbers import shown, shown_metric
from femtobarn.evaluate.report import Cell, Report
from femtobarn.evaluate.result import Metric, Result, combine, read_references, with_references
from femtobarn.evaluate.style import Caption, lines_for
from femtobarn.learn.model_files import load
from femtobarn.learn.scorer import Scorer
from femtobarn.physics.object_list import object_list
from femtobarn.progress import progress_bar
from femtobarn.recipes.run import Run, Settings, recipe
from femtobarn.simulation import EventSettings, simulate

PLACES = {"fat_jets": 6, "electrons": 4, "muons": 4}
SIGNALS = {
    "graviton_ww": "G(2 TeV) → WW",
    "zprime_tt": "Z' → tt",
    "wprime_wz": "W'(2 TeV) → WZ",
    "hidden_valley": "Z'(2 TeV) → dark quarks",
}
TOPS = "zprime_tt"
"""What the inverted scorers learn."""
QCD = EventSettings(
    pythia=(
        "PhaseSpace:pTHatMin = 350.",
        "PhaseSpace:bias2SelectionPow = 2.",
        "PhaseSpace:bias2SelectionRef = 350.",
    )
)
HARDEST = 400.0
"""GeV: transverse momentum of the hardest fat jet, at least."""
SPLITS = {"train": (0, 4), "valid": (4, 5), "test": (5, 10)}
"""Ranges of folds; half of the events judge, so that false positive rates of 1e-4 mean something."""
RATES = (1e-1, 1e-2, 1e-3, 1e-4)
COLUMNS = [
    f"{name}{place}_{field}"
    for name, size in PLACES.items()
    for place in range(1, size + 1)
    for field in ("pt", "eta", "phi")
]
SHAPES = ("fat_pt", "fat_mass", "fat_mass_sum", "mass_all", "ht", "met")


class Kind(NamedTuple):
    """A scorer as it is compared: its label, itself, what it reads, which of its scores, its training.

    `training` None: the settings' for networks of ours; the published one keeps its own but for the epochs.
    """

    label: str
    make: Callable[[], Scorer]
    inputs: Callable[[], Inputs]
    score: str = "score"


def columns() -> Inputs:
    """The 42 numbers of the exercise."""
    return Inputs(event=list(COLUMNS))


def weighted_columns() -> Inputs:
    """The same with the weights of events, which the exercise leaves out."""
    return Inputs(event=list(COLUMNS), weight="mcEventWeight")


def shapes() -> Inputs:
    """A few numbers per event that have a density."""
    logs: list[Feature | str] = [Feature(name=name, transform="asinh", scale=20.0) for name in SHAPES]
    return Inputs(event=logs, weight="mcEventWeight")


def more() -> Inputs:
    """Fat jets with masses, leptons, jets with b-tags, and missing momentum."""
    inputs = object_inputs()
    momenta = inputs.collections["electrons"].features
    mass = Feature(name="mass", transform="asinh", scale=10.0)
    collections = {
        "fat_jets": Collection(features=[*momenta, mass], order_by="pt", max_length=4),
        "jets": Collection(features=[*momenta, "btag"], order_by="pt", max_length=6),
        "electrons": Collection(features=momenta, order_by="pt", max_length=2),
        "muons": Collection(features=momenta, order_by="pt", max_length=2),
    }
    event: list[Feature | str] = [
        Feature(name="met", transform="asinh", scale=20.0),
        Feature(name="met_phi", standardise=False),
    ]
    return Inputs(event=event, collections=collections, weight="mcEventWeight")


KINDS = {
    "autoencoder": Kind("as published", Autoencoder, columns),
    "isolation_forest": Kind("forest", IsolationForest, weighted_columns),
    "object_autoencoder": Kind("objects", ObjectAutoencoder, object_inputs),
    "object_autoencoder_more": Kind("objects, more", ObjectAutoencoder, more),
    "vae": Kind("VAE", VAE, more),
    "vae_mean": Kind("VAE, mean", VAE, more, "mean"),
    "flow_density": Kind("flow", FlowDensity, shapes),
}


class QcdSchoolSettings(Settings):
    """What differs between the scales.

    Attributes:
        qcd: QCD events simulated.
        signals: events simulated of each signal.
        seeds: of the trainings.
        epochs: of the scorers of ours.
        published_epochs: of the published autoencoder, whose learning rate is low.
    """

    qcd: int
    signals: int
    seeds: tuple[int, ...] = (1,)
    epochs: int = 20
    published_epochs: int = 150


SCALES = {
    "smoke": QcdSchoolSettings(qcd=1000, signals=400, epochs=2, published_epochs=2),
    "quick": QcdSchoolSettings(qcd=20_000, signals=3_000),
    "standard": QcdSchoolSettings(qcd=80_000, signals=8_000, seeds=(1, 2)),
}


@recipe(scales=SCALES)
def qcd_school(settings: QcdSchoolSettings, run: Run) -> Result:
    """Autoencoders, VAE, flow and isolation forest trained on QCD against four signals [QCD School]."""
    events = {name: simulated(settings, run, name) for name in ("dijet", *SIGNALS)}
    parts, folders = [], dict[str, Path]()
    for seed in settings.seeds:
        part = Result.start(run.recipe, run.scale, run.seed, run.command)
        part.sizes = {
            f"{name} {split}": len(chosen(sample, split))
            for name, sample in events.items()
            for split in (SPLITS if name in ("dijet", TOPS) else ("test",))
        }
        for name in KINDS:
            folder = scored(settings, run, name, seed, "dijet", events)
            part.metrics += measured(name, seed, folder, events)
            folders.setdefault(name, folder)
            if seed == settings.seeds[0]:
                part.metrics.append(
                    inverted(name, seed, scored(settings, run, name, seed, TOPS, events), events)
                )
        parts.append(part)
    result = combine(parts)
    result.metrics = with_references(result.metrics, read_references(Path(__file__).with_suffix(".csv")))
    return page(settings, run, result, folders, events)


def simulated(settings: QcdSchoolSettings, run: Run, name: str) -> Sample:
    """Events of a process with a hard fat jet, and the columns made of them, as one Parquet file."""
    detector = QCD if name == "dijet" else EventSettings()
    count = settings.qcd if name == "dijet" else settings.signals

    def build(path: Path) -> None:
        raw = path.with_name(f"{path.name}.raw.parquet")
        with progress_bar(f"simulate {name}", "collisions") as progress:
            simulate(
                name, count, raw, seed=run.seed, workers=run.workers, settings=detector, progress=progress
            )
        rows = prepared(open_sample(raw).read())
        with atomic(path) as temporary:
            ak.to_parquet(rows, temporary)
        raw.unlink()

    key = {"events": count, "seed": run.seed, "settings": detector.model_dump(mode="json")}
    path = run.cached(f"events {name}", key, build, code=["simulation", __name__], suffix=".parquet")
    return from_memory(ak.from_parquet(path), {}).named(name)


def prepared(events: ak.Array) -> ak.Array:
    """Events whose hardest fat jet is above `HARDEST`, with the columns of `COLUMNS` and `SHAPES`.

    Raises:
        InputError: when there are none.
    """
    events = events[ak.fill_none(ak.max(events.fat_jets.pt, axis=1), 0) > HARDEST]
    if not len(events):
        raise InputError(f"no event has a fat jet above {HARDEST:g} GeV: simulate more")
    fields = {name: events[name] for name in ("fold", "mcEventWeight", "met", "met_phi")}
    for name in ("fat_jets", "jets", "electrons", "muons"):
        kept = [field for field in ("pt", "eta", "phi", "mass", "btag") if field in events[name].fields]
        fields[name] = events[name][kept]
    flat = np.ascontiguousarray(object_list(events, PLACES).flat.T)
    fields |= dict(zip(COLUMNS, flat, strict=True))
    fat = events.fat_jets
    px, py = fat.pt * np.cos(fat.phi), fat.pt * np.sin(fat.phi)
    pz = fat.pt * np.sinh(fat.eta)
    energy = np.sqrt(px**2 + py**2 + pz**2 + fat.mass**2)
    total = [ak.to_numpy(ak.sum(part, axis=1)) for part in (energy, px, py, pz)]
    fields |= {
        "fat_pt": ak.max(fat.pt, axis=1, mask_identity=False),
        "fat_mass": ak.firsts(fat.mass[ak.argsort(fat.pt, axis=1, ascending=False)]),
        "fat_mass_sum": ak.sum(fat.mass, axis=1),
        "mass_all": np.sqrt(np.maximum(total[0] ** 2 - total[1] ** 2 - total[2] ** 2 - total[3] ** 2, 0)),
        "ht": ak.sum(events.jets.pt, axis=1),
    }
    fields["fat_mass"] = ak.fill_none(fields["fat_mass"], 0.0)
    return ak.zip(fields, depth_limit=1)


def chosen(sample: Sample, split: str) -> Sample:
    """The events of a split."""
    return sample.select(fold=SPLITS[split])


def scored(
    settings: QcdSchoolSettings, run: Run, name: str, seed: int, learnt: str, events: dict[str, Sample]
) -> Path:
    """Train a scorer on one process and score the test events of all: a folder of `model` and NAME.npy."""
    kind = KINDS[name]
    method = kind.make()
    training = method.default_training().with_(
        seed=seed, epochs=settings.published_epochs if name == "autoencoder" else settings.epochs
    )
    small = len(chosen(events[learnt], "train"))
    training = training.with_(batch_size=min(training.batch_size, max(small // 4, 1)))

    def build(path: Path) -> None:
        train, valid = (chosen(events[learnt], split) for split in ("train", "valid"))
        method.fit(train, valid, inputs=kind.inputs(), training=training)
        with atomic(path) as folder:
            method.save(folder / "model")
            for other, sample in events.items():
                said = method.score(chosen(sample, "test"))
                ak.to_parquet(said, folder / f"{other}.parquet")

    key = settings.model_dump(mode="json", include={"qcd", "signals"}) | {"seed": run.seed, "learnt": learnt}
    key |= {"method": method.parameters, "inputs": kind.inputs().model_dump(mode="json"),
            "training": training.model_dump(mode="json", exclude={"progress"})}  # fmt: skip
    code = ["simulation", "learn", type(method).__module__, __name__]
    label = "vae" if method.name == "vae" else name  # one VAE gives two of the scores compared
    return run.cached(f"{label} on {learnt} {seed}", key, build, code=code)


def scores(folder: Path, name: str, process: str) -> NDArray[np.float64]:
    """What a scorer says of the test events of a process."""
    kind = KINDS[name]
    said = ak.from_parquet(folder / f"{process}.parquet")
    return np.asarray(said[f"{kind.make().name}_{kind.score}"], dtype=np.float64)


def survival(folder: Path, name: str, process: str, events: dict[str, Sample]) -> Survival:
    """Efficiency of cuts on a score for a process."""
    weights = chosen(events[process], "test").column("mcEventWeight")
    return Survival(scores(folder, name, process), weights, process)


def area(folder: Path, name: str, signal: str, background: str, events: dict[str, Sample]) -> Any:
    """AUC of signal against background."""
    both = [scores(folder, name, process) for process in (signal, background)]
    weights = [chosen(events[process], "test").column("mcEventWeight") for process in (signal, background)]
    is_signal = np.repeat([True, False], [len(part) for part in both])
    return auc(np.concatenate(both), is_signal, np.concatenate(weights))


def measured(name: str, seed: int, folder: Path, events: dict[str, Sample]) -> list[Metric]:
    """AUC of each signal against QCD, and true positive rates at false positive rates."""
    metrics = []
    background = survival(folder, name, "dijet", events)
    for signal in SIGNALS:
        found = area(folder, name, signal, "dijet", events)
        metrics.append(Metric(name="auc", method=name, sample=signal, value=float(found.value),
                              error=float(found.error), seeds=[seed]))  # fmt: skip
        rates = efficiency_at(survival(folder, name, signal, events), background, RATES)
        metrics += [
            Metric(name="tpr", at={"fpr": rate}, method=name, sample=signal, value=float(value),
                   error=float(error), seeds=[seed])
            for rate, value, error in zip(RATES, *rates, strict=True)
            if rate * background.effective_count >= 1
        ]  # fmt: skip
    return metrics


def inverted(name: str, seed: int, folder: Path, events: dict[str, Sample]) -> Metric:
    """AUC of QCD against the tops that a scorer learnt."""
    found = area(folder, name, "dijet", TOPS, events)
    return Metric(name="auc", at={"learnt": TOPS}, method=name, sample="dijet", value=float(found.value),
                  error=float(found.error), seeds=[seed])  # fmt: skip


def page(
    settings: QcdSchoolSettings, run: Run, result: Result, folders: dict[str, Path], events: dict[str, Sample]
) -> Result:
    """Tables of AUC, inverted AUC and rates; ROC of each signal; losses."""
    report = Report("Anomalies among QCD jets", f"{sum(result.sizes.values()):,} events, {run.scale} scale")
    found = {name: result.find("auc", name, "graviton_ww") for name in KINDS}
    aucs = {name: metric.value or 0.0 for name, metric in found.items() if metric}
    best = max(aucs, key=lambda name: aucs[name])
    first, top = found["autoencoder"], found[best]
    if first and top:
        report.text(
            f"The autoencoder as published tells G(2 TeV) → WW from QCD with an AUC of "
            f"**{shown_metric(first)}** (0.689 on the exercise's own sample), the best of ours, "
            f"{KINDS[best].label}, with "
            f"**{shown_metric(top)}**."
        )
    rows = [
        [
            kind.label,
            *(_cell(result.find("auc", name, signal)) for signal in SIGNALS),
            _cell(result.find("auc", name, "dijet")),
        ]
        for name, kind in KINDS.items()
    ]
    report.table(
        ["AUC", *SIGNALS.values(), "inverted"],
        rows,
        "All learn QCD alone; inverted, they learn Z' → tt, and QCD is to be found. Small: published.",
    )
    report.text(
        f"Events with a fat jet (anti-kt, R = 1) above {HARDEST:g} GeV. **As published**: momenta of six fat "
        "jets, four electrons and four muons, empty places zero, 42-32-16-3-16-32-42, without weights. "
        "**Objects**: the same momenta; empty places are not rebuilt, azimuths are measured from the hardest "
        "jet. **Objects, more** and the **VAE** see masses of fat jets, jets with b-tags and missing "
        "momentum, too. The **flow** sees six numbers: pT and mass of the hardest fat jet, sum of masses and "
        "mass of all of them, HT and missing momentum."
    )
    report.section("True positive rates")
    for signal, text in SIGNALS.items():
        rows = [
            [kind.label, *(_cell(result.find("tpr", name, signal, fpr=rate)) for rate in RATES)]
            for name, kind in KINDS.items()
        ]
        report.table([text, *(f"FPR {rate:g}" for rate in RATES)], rows)
    report.section("Curves")
    lines = lines_for(list(KINDS), {name: kind.label for name, kind in KINDS.items()})
    for signal, text in SIGNALS.items():
        curves = {
            name: (survival(folder, name, signal, events), survival(folder, name, "dijet", events))
            for name, folder in folders.items()
        }
        figure = rate_figure(curves, lines, Caption(sample=f"{text} against QCD, √s = 13.6 TeV"), fewest=3)
        report.figure(figure, f"ROC of {text}, first seed; dotted: no information.", f"roc-{signal}")
    report.section("Training", folded=True)
    for name, folder in folders.items():
        history = load(folder / "model").history
        if history and name != "vae_mean":
            figure = loss_figure(history, Caption(), title=KINDS[name].label)
            report.figure(figure, f"Loss: {KINDS[name].label}.", f"loss-{name}")
        shutil.copytree(folder / "model", run.out / name, dirs_exist_ok=True)
    result.artifacts = list(folders)
    return run.finish(report, result, settings)


def _cell(metric: Metric | None) -> Cell:
    if metric is None:
        return Cell("–")
    return Cell(shown_metric(metric), shown(metric.reference) if metric.reference is not None else "")
