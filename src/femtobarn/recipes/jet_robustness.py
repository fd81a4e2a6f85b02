"""What comes after training a jet tagger: other showers and momenta, trust in its probabilities, masses.

And explanations of what it says; what ABCNet looks at is on the page of `jet-history`.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.data import Sample
from femtobarn.data.atomic import atomic
from femtobarn.data.packing import to_batch
from femtobarn.evaluate.figures import reliability_figure
from femtobarn.evaluate.jet_figures import attention_figure
from femtobarn.evaluate.jet_metrics import accuracy, one_vs_one_auc
from femtobarn.evaluate.metrics import Reliability, Survival, reliability, weighted_mean
from femtobarn.evaluate.numbers import shown_metric
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Metric, Result
from femtobarn.evaluate.sculpting import sculpting, shapes_figure
from femtobarn.evaluate.style import Caption, lines_for
from femtobarn.learn.model_files import load
from femtobarn.recipes import jet_history as history
from femtobarn.recipes.jet_history_answers import answer, joined, more_jets, truth
from femtobarn.recipes.jet_history_page import CAPTION, NAMES, looked_at
from femtobarn.recipes.jet_history_training import (
    METHODS,
    PREDICTED,
    Job,
    inputs_of,
    said,
    samples,
    trained,
)
from femtobarn.recipes.run import Run, recipe
from femtobarn.simulation.jet_classes import JET_CLASSES
from femtobarn.tagging.attribution import integrated_gradients
from femtobarn.tagging.disco import DisCo

SHOWERS = {
    "strong coupling 0.118": ("TimeShower:alphaSvalue = 0.118",),
    "no colour reconnection": ("ColourReconnection:reconnect = off",),
    "Vincia": ("PartonShowers:model = 2",),
}
ELSEWHERE = "1 to 1.5 TeV"
DISCO = "pfn_disco"
KEPT = 0.1
"""Of q/g jets, by the cut whose mark on their mass is looked at."""
MASS = np.linspace(20.0, 260.0, 17)
SIGNALS = ("Hbb", "Wqq", "Tbqq")
"""Whose taggers may shape the mass of q/g jets."""


class RobustnessSettings(history.HistorySettings):
    """Those of `jet-history`, whose trainings are taken over.

    Attributes:
        showers: names of `SHOWERS`, that the training has not seen.
        collisions_other: simulated with each, and of harder jets, of all classes together.
        strength: of the distance correlation in the loss of the PFN that is not to know the mass.
        disco_epochs: of its training, first without and then with it.
        disco_batch: jets per step of it.
    """

    showers: tuple[str, ...] = tuple(SHOWERS)
    collisions_other: int
    strength: float = 10.0
    disco_epochs: int = 20
    disco_batch: int = 1000


class Judged(NamedTuple):
    """One sample: its truth, and what each tagger says of it."""

    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    answers: dict[str, NDArray[np.float64]]


def scale(name: str, methods: tuple[str, ...], **more: Any) -> RobustnessSettings:
    """The scale of `jet-history`, some methods of it."""
    return RobustnessSettings(**{**history.SCALES[name].model_dump(), "methods": methods, **more})


SCALES = {
    "smoke": scale("smoke", ("substructure_bdt", "pfn"), showers=tuple(SHOWERS)[:1], collisions_other=2000,
                   disco_epochs=1, disco_batch=500),
    "quick": scale("quick", ("substructure_bdt", "pfn", "particlenet"), showers=tuple(SHOWERS)[:2],
                   collisions_other=4000),
    "standard": scale("standard", ("substructure_bdt", "pfn", "pcnn", "particlenet", "part"),
                      collisions_other=3000),
}  # fmt: skip


@recipe(scales=SCALES)
def jet_robustness(settings: RobustnessSettings, run: Run) -> Result:
    """Jet taggers on showers they have not seen, their over-confidence, and the masses they prefer."""
    file, splits = samples(settings, run)
    jobs = {name: Job(name, settings.taggers[name].seeds[0]) for name in settings.methods}
    folders = {name: trained(settings, run, job, file, splits) for name, job in jobs.items()}
    folders[DISCO] = decorrelated(settings, run, file, splits)
    further = more_jets(run, "for judging", settings.collisions_judged, settings.simulation)
    test = joined(splits["test"], further)
    usual = {
        name: np.concatenate([said(folder), answer(run, folder, further)]) for name, folder in folders.items()
    }
    judged = {"Pythia": Judged(*truth(test), usual)}
    sizes = {split: len(sample) for split, sample in (splits | {"test": test}).items()}
    for name, other in others(settings, run).items():
        answers = {method: answer(run, folder, other) for method, folder in folders.items()}
        judged[name] = Judged(*truth(other), answers)
        sizes[name] = len(other)
    result = Result.start(run.recipe, run.scale, run.seed, run.command)
    result.sizes = sizes
    result.metrics = [metric for sample, one in judged.items() for metric in measured(sample, one)]
    mass = test.column("mass")
    result.metrics += masses(judged["Pythia"], mass)
    report = page(settings, run, result, judged, mass)
    explained = next((name for name in ("particlenet", "pfn") if name in folders), None)
    if explained:
        explanation(report, folders[explained], explained, test, judged["Pythia"])
    return run.finish(report, result, settings)


def others(settings: RobustnessSettings, run: Run) -> dict[str, Sample]:
    """Jets unlike those of the trainings: of other showers, and harder ones."""
    count, usual = settings.collisions_other, settings.simulation
    found = {}
    for name in settings.showers:
        pythia = (*usual.pythia, *SHOWERS[name])
        found[name] = more_jets(run, name, count, usual.model_copy(update={"pythia": pythia}))
    calorimeter = usual.calorimeter.model_copy(update={"jet_pt_min": 1000.0})
    harder = {"jet_pt_max": 1500.0, "calorimeter": calorimeter}
    spectrum = {"pt": [1000.0, 1100.0, 1200.0, 1300.0, 1400.0, 1500.0]}
    found[ELSEWHERE] = more_jets(run, ELSEWHERE, count, usual.model_copy(update=harder), spectrum)
    return found


def decorrelated(settings: RobustnessSettings, run: Run, file: Path, jets: dict[str, Sample]) -> Path:
    """A PFN that is not to know the mass of q/g jets: a folder as of `trained`."""
    chosen = settings.taggers["pfn"]
    tagger = DisCo(tagger="pfn", options=chosen.sizes, strength=settings.strength)
    inputs = inputs_of(tagger, chosen.longest).model_copy(update={"observers": [tagger.mass]})
    training = settings.training.with_(epochs=settings.disco_epochs, batch_size=settings.disco_batch)

    def build(path: Path) -> None:
        checkpoints = path.with_name(f"{path.name}.checkpoints")
        tagger.fit(jets["train"], jets["valid"], inputs, training, checkpoints)
        answers = ak.to_packed(tagger.predict(jets["test"], PREDICTED))
        classes = [ak.to_numpy(answers[f"{tagger.name}_p{name.lower()}"]) for name in JET_CLASSES]
        with atomic(path) as folder:
            tagger.save(folder / "model")
            np.save(folder / "test.npy", np.stack(classes, 1).astype(np.float32))
        shutil.rmtree(checkpoints, ignore_errors=True)

    key = {"sample": file.name, "tagger": tagger.parameters, "inputs": inputs.model_dump(mode="json"),
           "training": training.model_dump(mode="json")}  # fmt: skip
    return run.cached(DISCO, key, build, code=["learn", "tagging.disco", "tagging.pfn"])


def confidence(p: NDArray[np.float64], one: Judged) -> Reliability:
    """How often the most probable class is the true one, against its probability."""
    return reliability(p.max(1), p.argmax(1) == one.labels, one.weights)


def measured(sample: str, one: Judged) -> list[Metric]:
    """Accuracy, AUC; by how much the tagger is surer than right, and its expected calibration error."""
    found = []
    for method, p in one.answers.items():
        make: Any = partial(Metric, method=method, sample=sample)
        right, area = accuracy(p, one.labels, one.weights), one_vs_one_auc(p, one.labels, one.weights)
        sure = weighted_mean(p.max(1) - (p.argmax(1) == one.labels), one.weights)
        found += [
            make(name="accuracy", value=right.value, error=right.error),
            make(name="auc", value=area.value, error=area.error),
            make(name="overconfidence", value=sure.value, error=sure.error),
            make(name="calibration_error", value=confidence(p, one).calibration_error),
        ]  # fmt: skip
    return found


def passing(p: NDArray[np.float64], one: Judged, name: str) -> NDArray[np.bool_]:
    """Which jets (N,) pass the cut on p_S / (p_S + p_QCD) of class `name` that keeps `KEPT` of q/g jets."""
    code = JET_CLASSES.index(name)
    score = p[:, code] / np.maximum(p[:, code] + p[:, 0], 1e-30)
    qcd = one.labels == 0
    return np.asarray(score >= Survival(score[qcd], one.weights[qcd]).threshold(KEPT))


def masses(one: Judged, mass: NDArray[Any]) -> list[Metric]:
    """How far a cut shapes the mass of q/g jets, Jensen-Shannon distances; what it keeps of the signal."""
    qcd, found = one.labels == 0, []
    for method, p in one.answers.items():
        for name in SIGNALS:
            passed, signal = passing(p, one, name), one.labels == JET_CLASSES.index(name)
            shape = sculpting(mass[qcd], passed[qcd], MASS, one.weights[qcd])
            kept = weighted_mean(passed[signal], one.weights[signal])
            make: Any = partial(Metric, at={"class": name, "background_efficiency": KEPT}, method=method,
                                sample="Pythia")  # fmt: skip
            note = f"by chance {shape.chance:.3f}"
            found += [
                make(name="mass_sculpting", value=shape.distance, error=shape.error, note=note),
                make(name="signal_efficiency", value=kept.value, error=kept.error),
            ]
    return found


def page(settings: RobustnessSettings, run: Run, result: Result, judged: dict[str, Judged],
         mass: NDArray[Any]) -> Report:  # fmt: skip
    """Tables by sample, reliability, spectra of masses."""
    labels = {name: METHODS[name][0] for name in settings.methods} | {DISCO: "PFN, DisCo"}
    lines, one = lines_for(list(labels), labels), judged["Pythia"]
    report = Report("Jet taggers after training", f"{sum(result.sizes.values()):,} jets, {run.scale} scale")
    report.text(
        "The taggers of jet-history on jets unlike those of their training: of other models of the shower, "
        "and harder ones, of 1000 to 1500 GeV instead of 500 to 1000. Probabilities are true if of the jets "
        "said to be of their class with 80 % it is so for 80 %."
    )
    names = list(judged)
    for what, title in (
        ("accuracy", "Accuracy"),
        ("auc", "AUC"),
        ("overconfidence", "Surer than right"),
        ("calibration_error", "Calibration error"),
    ):
        rows = []
        for method, label in labels.items():
            cells = [result.find(what, method, name) for name in names]
            rows.append([label, *(shown_metric(cell) if cell else "–" for cell in cells)])
        report.table([title, *names], rows)
    curves = {name: confidence(p, one) for name, p in one.answers.items()}
    report.figure(
        reliability_figure(curves, lines, CAPTION, of="first guess"),
        "How often the likeliest class is the true one.", "reliability",
    )  # fmt: skip
    best = max(
        one.answers, key=lambda name: float(accuracy(one.answers[name], one.labels, one.weights).value)
    )
    elsewhere = {name: confidence(other.answers[best], other) for name, other in judged.items()}
    report.figure(
        reliability_figure(elsewhere, lines_for(names, dict(zip(names, names, strict=True))),
                           Caption(sample=f"{labels[best]}, anti-$k_t$ R = 0.8"), of="first guess"),
        f"The same of {labels[best]} by sample.", "reliability-elsewhere",
    )  # fmt: skip
    report.section("The mass of what passes")
    report.text(
        f"A cut that keeps {100 * KEPT:g} % of q/g jets keeps those whose mass is like the signal's. The PFN "
        "with DisCo has the distance correlation of its discriminants and the mass of q/g jets in its loss, "
        f"times {settings.strength:g}: it pays with signal."
    )
    rows = []
    for method, label in labels.items():
        cells = [result.find(what, method, "Pythia", **{"class": name})
                 for what in ("mass_sculpting", "signal_efficiency") for name in SIGNALS]  # fmt: skip
        rows.append([label, *(shown_metric(cell) if cell else "–" for cell in cells)])
    columns = [f"{what}, {NAMES[name]}" for what in ("Distance", "Efficiency") for name in SIGNALS]
    chance = next(metric.note for metric in result.metrics if metric.name == "mass_sculpting")
    report.table(["", *columns], rows,
                 "Jensen-Shannon distance of the spectra of q/g jets before and after the cut (a random one: "
                 f"{chance}), and the share of the signal that passes.")  # fmt: skip
    qcd, drawn = one.labels == 0, dict.fromkeys(["substructure_bdt", "pfn", best, DISCO])
    for name in SIGNALS:
        passed = {method: passing(one.answers[method], one, name)[qcd] for method in drawn}
        text = f"Mass of q/g jets before and after a cut on the discriminant of {NAMES[name]}."
        figure = shapes_figure(
            MASS, mass[qcd], passed, lines, CAPTION, xlabel="Jet mass [GeV]", weights=one.weights[qcd]
        )
        report.figure(figure, text, f"mass-{name.lower()}")
    return report


def explanation(report: Report, folder: Path, method: str, test: Sample, one: Judged) -> None:
    """Integrated gradients in the jets of three classes that the tagger is surest of."""
    tagger, p, shown = load(folder / "model"), one.answers[method], []
    assert hasattr(tagger, "fitted_module")
    for name in ("Hbb", "Wqq", "Tbqq"):
        code = JET_CLASSES.index(name)
        place = int(np.argmax(np.where(one.labels == code, p[:, code], -1)))
        rows = test.take(np.array([place])).read()
        batch = to_batch(rows, tagger.fitted_inputs.without_labels(), test.schema.classes)
        share = integrated_gradients(tagger, batch, name.lower()).numpy().astype(np.float64)
        shown.append(looked_at(name, rows, np.maximum(share, 0)))
    text = f"What speaks for the class of three jets: gradients of {METHODS[method][0]}."
    report.figure(attention_figure(shown, CAPTION), text, "gradients")
