"""What comes after training a jet tagger: other showers, trust in its probabilities, masses, explanations."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from femtobarn.data import Sample
from femtobarn.data.packing import to_batch
from femtobarn.evaluate.figures import reliability_figure
from femtobarn.evaluate.jet_figures import LookedAt, attention_figure
from femtobarn.evaluate.jet_metrics import accuracy, one_vs_one_auc
from femtobarn.evaluate.metrics import Reliability, Survival, reliability, weighted_mean
from femtobarn.evaluate.numbers import shown_metric
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Metric, Result
from femtobarn.evaluate.sculpting import sculpting, shapes_figure
from femtobarn.evaluate.style import lines_for
from femtobarn.learn.model_files import load
from femtobarn.recipes import jet_history as history
from femtobarn.recipes.jet_history_answers import answer, more_jets, truth
from femtobarn.recipes.jet_history_page import CAPTION, NAMES, TEX, candidates_of
from femtobarn.recipes.jet_history_training import (
    METHODS,
    Job,
    said,
    samples,
    trained,
)
from femtobarn.recipes.run import Run, recipe
from femtobarn.simulation.jet_classes import JET_CLASSES
from femtobarn.tagging.attribution import integrated_gradients

SHOWERS = {
    "strong coupling 0.118": ("TimeShower:alphaSvalue = 0.118",),
    "no colour reconnection": ("ColourReconnection:reconnect = off",),
    "Vincia": ("PartonShowers:model = 2",),
}
MASS = np.linspace(20.0, 260.0, 17)
SIGNALS = ("Hbb", "Wqq", "Tbqq")
"""Whose taggers may shape the mass of q/g jets."""


class RobustnessSettings(history.HistorySettings):
    """Those of `jet-history`, whose trainings are taken over.

    Attributes:
        showers: names of `SHOWERS`, that the training has not seen.
        collisions_other: simulated with each, of all classes together.
    """

    showers: tuple[str, ...] = tuple(SHOWERS)
    collisions_other: int


class Judged(NamedTuple):
    """One sample: its truth, and what each tagger says of it."""

    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    answers: dict[str, NDArray[np.float64]]


def scale(
    name: str, methods: tuple[str, ...], showers: tuple[str, ...], collisions: int
) -> RobustnessSettings:
    """The scale of `jet-history`, some methods of it."""
    base = history.SCALES[name].model_dump() | {"methods": methods}
    return RobustnessSettings(**base, showers=showers, collisions_other=collisions)


SCALES = {
    "smoke": scale("smoke", ("substructure_bdt", "pfn"), tuple(SHOWERS)[:1], 2000),
    "quick": scale("quick", ("substructure_bdt", "pfn", "particlenet"), tuple(SHOWERS)[:2], 4000),
    "standard": scale(
        "standard", ("substructure_bdt", "pfn", "pcnn", "particlenet", "part"), tuple(SHOWERS), 4000
    ),
}


@recipe(scales=SCALES)
def jet_robustness(settings: RobustnessSettings, run: Run) -> Result:
    """Jet taggers on showers they have not seen, their over-confidence, and the masses they prefer."""
    file, splits = samples(settings, run)
    jobs = {name: Job(name, settings.taggers[name].seeds[0]) for name in settings.methods}
    folders = {name: trained(settings, run, job, file, splits) for name, job in jobs.items()}
    test = splits["test"]
    judged = {"Pythia": Judged(*truth(test), {name: said(folder) for name, folder in folders.items()})}
    sizes = {split: len(sample) for split, sample in splits.items()}
    for name in settings.showers:
        pythia = (*settings.simulation.pythia, *SHOWERS[name])
        simulation = settings.simulation.model_copy(update={"pythia": pythia})
        other = more_jets(run, name, settings.collisions_other, simulation)
        answers = {method: answer(run, folder, other) for method, folder in folders.items()}
        judged[name] = Judged(*truth(other), answers)
        sizes[name] = len(other)
    result = Result.start(run.recipe, run.scale, run.seed, run.command)
    result.sizes = sizes
    result.metrics = [metric for sample, one in judged.items() for metric in measured(sample, one)]
    mass = test.column("mass")
    result.metrics += masses(judged["Pythia"], mass)
    report = page(settings, run, result, judged["Pythia"], mass)
    explained = next((name for name in ("particlenet", "pfn") if name in folders), None)
    if explained:
        explanation(report, folders[explained], explained, test, judged["Pythia"])
    return run.finish(report, result, settings)


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


def passing(p: NDArray[np.float64], one: Judged, name: str, efficiency: float = 0.5) -> NDArray[np.bool_]:
    """Which jets (N,) pass the cut on p_S / (p_S + p_QCD) that keeps a share of class `name`."""
    code = JET_CLASSES.index(name)
    score = p[:, code] / np.maximum(p[:, code] + p[:, 0], 1e-30)
    signal = one.labels == code
    return np.asarray(score >= Survival(score[signal], one.weights[signal]).threshold(efficiency))


def masses(one: Judged, mass: NDArray[Any]) -> list[Metric]:
    """How far a cut shapes the mass of the q/g jets that pass: Jensen-Shannon distances."""
    qcd, found = one.labels == 0, []
    for method, p in one.answers.items():
        for name in SIGNALS:
            passed = passing(p, one, name)[qcd]
            if not passed.any():
                continue
            kept = sculpting(mass[qcd], passed, MASS, one.weights[qcd])
            at = {"class": name, "signal_efficiency": 0.5}
            found.append(
                Metric(name="mass_sculpting", at=at, method=method, sample="Pythia", value=kept.distance,
                       error=kept.error, note=f"by chance {kept.chance:.3f}")
            )  # fmt: skip
    return found


def page(settings: RobustnessSettings, run: Run, result: Result, one: Judged, mass: NDArray[Any]) -> Report:
    """Tables by shower, reliability, spectra of masses."""
    labels = {name: METHODS[name][0] for name in settings.methods}
    lines = lines_for(list(labels), labels)
    report = Report("Jet taggers after training", f"{sum(result.sizes.values()):,} jets, {run.scale} scale")
    report.text(
        "The taggers of jet-history, on jets that other models of the shower made and that no training saw. "
        "Probabilities are true if of the jets said to be of their class with 80 % it is so for 80 %."
    )
    names = ["Pythia", *settings.showers]
    for what, title in (
        ("accuracy", "Accuracy"),
        ("auc", "AUC"),
        ("overconfidence", "Surer than right"),
    ):
        rows = []
        for method, label in labels.items():
            cells = [result.find(what, method, name) for name in names]
            rows.append([label, *(shown_metric(cell) if cell else "–" for cell in cells)])
        report.table([title, *names], rows)
    curves = {name: confidence(p, one) for name, p in one.answers.items()}
    report.figure(
        reliability_figure(curves, lines, CAPTION, of="the first guess"),
        "How often the likeliest class is the true one.", "reliability",
    )  # fmt: skip
    qcd = one.labels == 0
    for name in SIGNALS:
        passed = {method: passing(p, one, name)[qcd] for method, p in one.answers.items()}
        text = f"Mass of q/g jets before and after a cut that keeps half of {NAMES[name]}."
        figure = shapes_figure(MASS, mass[qcd], passed, lines, CAPTION, xlabel="Jet mass [GeV]")
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
        _, (pt, eta, phi) = candidates_of(rows)
        centre = [np.average(x, weights=pt) for x in (eta, phi)]
        size = len(share)
        shown.append(LookedAt(TEX[name], (eta - centre[0])[:size], (phi - centre[1])[:size], pt[:size],
                              np.maximum(share, 0)))  # fmt: skip
    text = f"What speaks for the class of three jets: gradients of {METHODS[method][0]}."
    report.figure(attention_figure(shown, CAPTION), text, "gradients")
