"""The page of `jet-history`: table, ROC curves, costs, growth with the sample, confusions, pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.data import Sample
from femtobarn.evaluate.figures import confusion_figure, loss_figure, rejection_figure
from femtobarn.evaluate.jet_figures import (
    LookedAt,
    attention_figure,
    cost_figure,
    growth_figure,
    pictures_figure,
)
from femtobarn.evaluate.metrics import Survival, confusion
from femtobarn.evaluate.numbers import shown, shown_metric
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Metric, Result
from femtobarn.evaluate.style import Caption, lines_for
from femtobarn.learn.model_files import load
from femtobarn.physics.jet_images import jet_images
from femtobarn.physics.kinematics import pt_eta_phi, wrap
from femtobarn.recipes.jet_history_training import METHODS, JetHistorySettings
from femtobarn.recipes.run import Run
from femtobarn.simulation.jet_classes import JET_CLASSES
from femtobarn.statistics.estimate import Estimate

NAMES = dict(zip(JET_CLASSES, (
    "q/g", "H → bb", "H → cc", "H → gg", "H → 4q", "H → ℓνqq", "Z → qq", "W → qq", "t → bqq", "t → bℓν",
), strict=True))  # fmt: skip
TEX = {name: f"${text.replace('→', chr(92) + 'to ').replace('ℓν', chr(92) + 'ell' + chr(92) + 'nu ')}$"
       for name, text in NAMES.items()}  # fmt: skip
CURVES = ("pfn", "substructure_bdt", "efn", "cnn", "pcnn", "particlenet", "part", "lorentz")
"""Whose ROC curves are drawn; ratios are to the first."""
DRAWN = ("Hbb", "Tbqq", "Wqq", "H4q")
CAPTION = Caption(sample="anti-$k_t$ R = 0.8, $500 < p_T < 1000$ GeV")
PICTURED = 20_000
COSTS = (("flops", 1e6, "Million FLOPs per jet"), ("parameters", 1e3, "Thousand weights"),
         ("predict_rate", 1e3, "Thousand jets per second and core"))  # fmt: skip


class Judged(NamedTuple):
    """The jets judged, and of the first seed the trainings and what they say."""

    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    sample: Sample
    folders: Mapping[str, Path]
    answers: Mapping[str, NDArray[np.float64]]


def page(settings: JetHistorySettings, run: Run, result: Result, test: Judged) -> Report:
    """All of it."""
    labels = {name: METHODS[name][0] for name in settings.methods}
    lines = lines_for(list(labels), labels)
    report = Report(
        "Ten years of jet taggers on one sample", f"{sum(result.sizes.values()):,} jets, {run.scale} scale"
    )
    report.text(
        "Anti-kt jets of R = 0.8, 500 to 1000 GeV, of the ten classes of JetClass, as charged and neutral "
        "candidates without pile-up, each class weighted to the same spectrum. Every tagger learns from the "
        "same jets and is judged on the same others. Published numbers are those of 100 million jets of "
        "another detector: what can be compared is the order, not the numbers."
    )
    quality(report, settings, result, labels)
    order(report, result)
    report.section("Rejection of quark and gluon jets")
    rejections(report, result, labels)
    drawn = {name: test.answers[name] for name in CURVES if name in test.folders}
    for signal in DRAWN:
        figure = rejection_figure(
            {name: against_qcd(p, test, JET_CLASSES.index(signal)) for name, p in drawn.items()},
            lines, CAPTION, signal=TEX[signal], background="q/g jet",
            efficiencies=(0.2, 1.0), marks=(0.5,),
        )  # fmt: skip
        report.figure(
            figure,
            f"Rejection of q/g jets against the efficiency of {NAMES[signal]}.",
            f"roc-{signal.lower()}",
        )
    report.section("What it costs")
    costs(report, result, labels, lines)
    growth(report, result, labels)
    report.section("Who is taken for whom")
    confusions(report, result, test, labels)
    report.section("What the jets look like")
    pictures(report, test)
    attention(report, test)
    report.section("Trainings", folded=True)
    for name, folder in test.folders.items():
        history = load(folder / "model").history
        if history:
            report.figure(loss_figure(history, CAPTION, title=labels[name]), f"Loss of {labels[name]}.",
                          f"loss-{name}", small=True)  # fmt: skip
    return report


def quality(report: Report, settings: JetHistorySettings, result: Result, labels: Mapping[str, str]) -> None:
    """The first table."""
    rows = []
    for name, label in labels.items():
        right = result.find("accuracy", name)
        published = "–" if right is None or right.reference is None else f"{right.reference:.3f}"
        found = [result.find(what, name) for what in ("accuracy", "auc")]
        cells = [label, *(shown_metric(metric) if metric else "–" for metric in found)]
        epochs = settings.taggers[name].epochs if name != "substructure_bdt" else "–"
        cells += [published, str(len(right.seeds)) if right else "–", str(epochs)]
        cells += [of_thousand(result.find(what, name)) for what in ("parameters", "flops")]
        rows.append([*cells, *(whole(result.find(what, name)) for what in ("train_rate", "predict_rate"))])
    report.table(
        ["", "Accuracy", "AUC", "Published", "Seeds", "Epochs", "Weights", "FLOPs", "Train, jets/s",
         "Answer, jets/s"],
        rows,
        caption="Errors of the test jets and of the seeds. FLOPs for a jet of 50 candidates; jets "
        "per second of one core. ParticleNet is its paper's Lite, ParT has a tenth of its weights and "
        "LorentzNet reads the 32 hardest candidates, so that they can be trained here; see the settings. "
        "EFN and the image CNN see where the momentum goes, and learn from these few jets what the BDT is "
        "told: mass, prongs, number of candidates. Trainings are as long as one core could afford: those of "
        "few epochs, ABCNet's above all, are too short to judge the tagger.",
    )  # fmt: skip


def order(report: Report, result: Result) -> None:
    """Differences between taggers on the same jets."""
    for metric in result.metrics:
        if metric.name == "accuracy_gain" and metric.value is not None and metric.error:
            before = METHODS[str(metric.at["over"])][0]
            report.text(
                f"{METHODS[metric.method][0]} over {before}: {shown(100 * metric.value, 100 * metric.error)} "
                f"% in accuracy, {metric.value / metric.error:.1f} standard deviations, on the same jets."
            )


def rejections(report: Report, result: Result, labels: Mapping[str, str]) -> None:
    """A column per class."""
    first = next(iter(labels))
    found = [m for m in result.metrics if m.name == "rejection" and m.method == first]
    rows = []
    for name, label in labels.items():
        cells = [result.find("rejection", name, **m.at) for m in found]
        rows.append([label, *(shown_metric(cell) if cell else "–" for cell in cells)])
    columns = [f"{NAMES[str(m.at['class'])]} at {100 * float(m.at['signal_efficiency']):g} %" for m in found]
    report.table(["", *columns], rows, caption="1 / efficiency of q/g jets at an efficiency of each class.")


def against_qcd(p: NDArray[np.float64], test: Judged, signal: int) -> tuple[Survival, Survival]:
    """Efficiencies of cuts on p_S / (p_S + p_QCD)."""
    score = p[:, signal] / np.maximum(p[:, signal] + p[:, 0], 1e-30)
    true, false = test.labels == signal, test.labels == 0
    return Survival(score[true], test.weights[true]), Survival(score[false], test.weights[false])


def costs(report: Report, result: Result, labels: Mapping[str, str], lines: Any) -> None:
    """Accuracy against FLOPs, weights and speed."""
    for what, unit, axis in COSTS:
        points = {}
        for name in labels:
            right, price = result.find("accuracy", name), result.find(what, name)
            if right and price and right.value and price.value:
                error = math.hypot(right.error or 0, right.error_seed or 0)
                points[name] = (price.value / unit, right.value, error)
        if len(points) > 1:
            figure = cost_figure(points, lines, CAPTION, cost=axis)
            report.figure(figure, f"Accuracy against {axis[:1].lower()}{axis[1:]}.", f"cost-{what}")


def growth(report: Report, result: Result, labels: Mapping[str, str]) -> None:
    """Accuracy against the number of training jets."""
    curves = {}
    for name in labels:
        found = [m for m in result.metrics if m.name == "accuracy_at_size" and m.method == name]
        found.sort(key=lambda m: float(m.at["train_jets"]))
        if len(found) > 1:
            x = np.array([float(m.at["train_jets"]) for m in found])
            values = [(m.value or np.nan, m.error or 0.0) for m in found]
            curves[name] = (x, Estimate(*np.array(values).T))
    if curves:
        text = "Accuracy against the jets trained on, in as many epochs: small samples mean fewer steps."
        report.figure(growth_figure(curves, lines_for(list(labels), dict(labels)), CAPTION), text, "growth")


def confusions(report: Report, result: Result, test: Judged, labels: Mapping[str, str]) -> None:
    """Of the first and the best tagger."""
    right = {
        name: (metric.value or 0.0) for name in test.folders if (metric := result.find("accuracy", name))
    }
    for name in dict.fromkeys(
        ("pfn" if "pfn" in right else next(iter(right)), max(right, key=lambda n: right[n]))
    ):
        matrix = confusion(test.labels, test.answers[name].argmax(1), len(JET_CLASSES), test.weights)
        figure = confusion_figure(matrix.value, [TEX[c] for c in JET_CLASSES], CAPTION, title=labels[name])
        report.figure(figure, f"What {labels[name]} takes each class for.", f"confusion-{name}")


def candidates_of(rows: ak.Array) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Numbers (J,) of candidates and pt, eta, phi (3, T)."""
    flat = ak.flatten(rows.candidates)
    momenta = pt_eta_phi(*(ak.to_numpy(flat[name]).astype(np.float64) for name in ("px", "py", "pz")))
    return ak.to_numpy(ak.num(rows.candidates)).astype(np.int64), np.stack(momenta)


def pictures(report: Report, test: Judged) -> None:
    """Average jets of each class, aligned."""
    rows = test.sample.read(0, PICTURED, ["candidates.px", "candidates.py", "candidates.pz"])
    counts, (pt, eta, phi) = candidates_of(rows)
    images = jet_images(counts, pt, eta, phi, pixels=33)
    label = test.labels[:PICTURED]
    mean = {
        TEX[name]: images[label == code].mean(0)
        for code, name in enumerate(JET_CLASSES)
        if (label == code).any()
    }
    text = "Average jets: shares of transverse momentum, each jet centred, turned and flipped."
    report.figure(pictures_figure(mean, 0.8, CAPTION), text, "pictures")


def attention(report: Report, test: Judged) -> None:
    """What ABCNet looks at in a jet of three classes: those it is surest of among the first."""
    if "abcnet" not in test.folders:
        return
    p, label = test.answers["abcnet"][:2000], test.labels[:2000]
    chosen = ("QCD", "Wqq", "Tbqq")
    places = [
        int(np.argmax(np.where(label == JET_CLASSES.index(c), p[:, JET_CLASSES.index(c)], -1)))
        for c in chosen
    ]
    rows = test.sample.take(np.array(places)).read()
    shares = load(test.folders["abcnet"] / "model").predict(rows).candidates
    shares = shares[shares.fields[0]]
    shown_jets = []
    for k, name in enumerate(chosen):
        shown_jets.append(looked_at(name, rows[k : k + 1], ak.to_numpy(shares[k]).astype(np.float64)))
    text = "What ABCNet looks at in three jets: circles grow with momentum, dark ones are looked at most."
    report.figure(attention_figure(shown_jets, CAPTION), text, "attention")


def looked_at(name: str, row: ak.Array, shares: NDArray[np.float64]) -> LookedAt:
    """The first candidates of one jet of a class, about its centre, with what is looked at of each (T,)."""
    _, (pt, eta, phi) = candidates_of(row)
    dphi = wrap(phi - phi[0])
    deta, dphi = (x - np.average(x, weights=pt) for x in (eta, dphi))
    seen = slice(len(shares))
    return LookedAt(TEX[name], deta[seen], dphi[seen], pt[seen], shares)


def of_thousand(metric: Metric | None) -> str:
    """`86 k`, `3.0 M`."""
    if metric is None or metric.value is None:
        return "–"
    return f"{metric.value / 1e6:.3g} M" if metric.value >= 1e6 else f"{metric.value / 1e3:.3g} k"


def whole(metric: Metric | None) -> str:
    """Three digits at most."""
    return "–" if metric is None or metric.value is None else f"{float(f'{metric.value:.2g}'):,.0f}"
