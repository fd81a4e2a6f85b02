"""`femtobarn evaluate` for a classifier of anything but flavours: how well its classes are told apart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.data.inputs import Inputs
from femtobarn.data.packing import Place, fields_of, to_batch
from femtobarn.data.sample import Sample, open_sample
from femtobarn.errors import InputError, closest
from femtobarn.evaluate.figures import confusion_figure, loss_figure, rejection_figure, reliability_figure
from femtobarn.evaluate.files import WEIGHTS, source_of, unseen_split, written
from femtobarn.evaluate.jet_metrics import accuracy, one_vs_one_auc
from femtobarn.evaluate.metrics import Survival, auc, confusion, rejection, reliability
from femtobarn.evaluate.numbers import percent, shown_metric
from femtobarn.evaluate.report import Report, slug
from femtobarn.evaluate.result import At, Metric, Result
from femtobarn.evaluate.style import Caption, lines_for
from femtobarn.statistics.estimate import Estimate

__all__ = ["evaluate_classes"]

Floats = NDArray[np.float64]
EFFICIENCIES = (0.3, 0.5, 0.7, 0.9)
BACKGROUNDS = ("background", "qcd")
"""Classes that others are told from."""


class Model(Protocol):
    """A fitted classifier: all that is needed of it here."""

    name: str
    label: str
    history: list[dict[str, float]]

    @property
    def fitted_inputs(self) -> Inputs:
        """What it reads, its label among it."""

    def predict(self, source: Sample) -> ak.Array:
        """Records with `<name>_p<class>`."""


class Judged(NamedTuple):
    """Classes, probabilities (N, C), true classes (N,) and weights (N,)."""

    classes: list[str]
    probabilities: Floats
    labels: NDArray[np.int64]
    weights: Floats

    def score(self, signal: int, background: int) -> tuple[Survival, Survival]:
        """Cuts on p_S / (p_S + p_B), of the signal and of the background."""
        both = self.probabilities[:, signal] + self.probabilities[:, background]
        score = self.probabilities[:, signal] / np.maximum(both, 1e-30)
        true, false = self.labels == signal, self.labels == background
        names = self.classes
        return (Survival(score[true], self.weights[true], names[signal]),
                Survival(score[false], self.weights[false], names[background]))  # fmt: skip


def evaluate_classes(
    files: Sequence[str],
    model: Model,
    *,
    background: str | None = None,
    units: str | None = None,
    out: str | Path,
    split: str | None = None,
) -> Result:
    """Measure a classifier on files that know the truth and write `report.html` and `result.json` into `out`.

    Every other class is a signal against one background; with many classes accuracy, mean AUC and a
    confusion matrix say how all are told apart.

    Args:
        files: to read; patterns too.
        model: fitted; its own label says which field is the truth. Rows of other classes are left out. Rows
            count with the event weight it was trained with; trained without, with the one the file has.
        background: one of its classes; None: one called background or QCD, else the first.
        units: of ATLAS-layout files that do not say.
        out: folder.
        split: `train`, `valid`, `test` or `all`. None: `files.unseen_split`.

    Raises:
        InputError: for files, fields or classes that are not there, and when a class has no rows.
    """
    started = time.perf_counter()
    sample = open_sample(list(files), units=units)
    split = split or unseen_split(sample)
    sample = sample if split == "all" else sample.split(split)
    judged = read(sample, model)
    base = _place(judged.classes, background)
    result = Result.start("evaluate", "file", 0)
    result.sizes = {sample.name: len(judged.labels)}
    result.metrics = measured(model.name, sample.name, judged, base)
    report = page(
        model, sample, judged, base, result, "all splits" if split == "all" else f"the {split} split"
    )
    return written(report, result, out, started)


def read(sample: Sample, model: Model) -> Judged:
    """Truth and answers of the rows whose class the model knows.

    Raises:
        InputError: when a class has no rows.
    """
    inputs = model.fitted_inputs
    label = inputs.labels[model.label]
    weight = next((name for name in (inputs.weight, *WEIGHTS) if name in sample.schema.scalars), None)
    truth = Inputs(labels={model.label: label}, weight=weight)
    sample.schema.restrict(fields_of(truth), sample.where)
    batch = to_batch(sample.read(fields=fields_of(truth)), truth, sample.schema.classes, Place(sample.where))
    labels = batch.labels[model.label].numpy()
    rows = np.flatnonzero(labels >= 0)
    classes = list(label.classes)
    count = np.bincount(labels[rows], minlength=len(classes))
    if not count.all():
        missing = classes[int(count.argmin())]
        raise InputError(f"{sample.where}: no rows of the class '{missing}' by '{label.field}' to judge by")
    said = ak.to_packed(model.predict(sample.take(rows)))
    columns = [ak.to_numpy(said[f"{model.name}_p{name}"]).astype(np.float64) for name in classes]
    return Judged(classes, np.stack(columns, 1), labels[rows], batch.weights.numpy()[rows].astype(np.float64))


def measured(method: str, sample: str, judged: Judged, base: int) -> list[Metric]:
    """Accuracy and mean AUC; of each other class AUC and rejections of the background; calibration."""
    of = (judged.probabilities, judged.labels, judged.weights)
    right, area = accuracy(*of), one_vs_one_auc(*of)
    metrics = [
        Metric(name=name, method=method, sample=sample, value=float(one.value), error=float(one.error))
        for name, one in (("accuracy", right), ("auc", area))
    ]
    other = judged.classes[base]
    for place, name in enumerate(judged.classes):
        said = judged.probabilities[:, place]
        error = reliability(said, judged.labels == place, judged.weights).calibration_error
        at: At = {"class": name}
        metrics.append(Metric(name="calibration_error", at=at, method=method, sample=sample, value=error))
        if place == base:
            continue
        true, false = judged.score(place, base)
        one = signal_auc(judged, place, base)
        at = {"signal": name, "background": other}
        metrics.append(Metric(name="auc", at=at, method=method, sample=sample, value=float(one.value),
                              error=float(one.error)))  # fmt: skip
        kept = rejection(true, false, EFFICIENCIES)
        for efficiency, value, spread, limit in zip(EFFICIENCIES, *kept, strict=True):
            metrics.append(
                Metric(name="rejection", at=at | {"signal_efficiency": efficiency}, method=method,
                       sample=sample, value=value, error=spread,
                       lower_limit=float(limit) if np.isnan(value) else None)
            )  # fmt: skip
    return metrics


def signal_auc(judged: Judged, signal: int, background: int) -> Estimate:
    """Area under the ROC curve of one class against the background."""
    use = (judged.labels == signal) | (judged.labels == background)
    p = judged.probabilities[use]
    score = p[:, signal] / np.maximum(p[:, signal] + p[:, background], 1e-30)
    return auc(score, judged.labels[use] == signal, judged.weights[use])


def page(model: Model, sample: Sample, judged: Judged, base: int, result: Result, which: str) -> Report:
    """Table, ROC curves, who is taken for whom, whether probabilities are true, the training."""
    report = Report(f"{model.name} on {sample.name}", f"{len(judged.labels):,} rows of {which}")
    caption = Caption(source_of(sample), f"{len(judged.labels):,} rows of {which}")
    other = judged.classes[base]
    signals = [name for name in judged.classes if name != other]
    shown_of = {(m.name, *m.at.values()): shown_metric(m) for m in result.metrics}
    if len(signals) > 1:
        report.text(
            f"Of all rows {shown_of['accuracy',]} are taken for what they are; the mean AUC of all pairs of "
            f"classes is {shown_of['auc',]}."
        )
    rows = [
        [name, shown_of["auc", name, other], *(shown_of["rejection", name, other, e] for e in EFFICIENCIES)]
        for name in signals
    ]
    report.table(
        ["", "AUC", *(f"at {percent(e)}" for e in EFFICIENCIES)], rows,
        f"AUC of each class against {other}, and 1 / efficiency of {other} at efficiencies of the class. "
        "Errors are one standard deviation from the number of rows.",
    )  # fmt: skip
    report.section("Rejection")
    for name in signals:
        curve = {name: judged.score(judged.classes.index(name), base)}
        figure = rejection_figure(curve, lines_for([name]), caption, signal=name, background=other,
                                  efficiencies=(0.1, 1.0), marks=EFFICIENCIES)  # fmt: skip
        report.figure(figure, f"Rejection of {other} against the efficiency of {name}.", f"roc-{slug(name)}")
    report.section("Who is taken for whom")
    matrix = confusion(judged.labels, judged.probabilities.argmax(1), len(judged.classes), judged.weights)
    figure = confusion_figure(matrix.value, judged.classes, caption, title=model.name)
    report.figure(figure, f"What {model.name} takes each class for.", "confusion")
    report.section("Are probabilities true?")
    for place, name in enumerate(judged.classes):
        truth = reliability(judged.probabilities[:, place], judged.labels == place, judged.weights)
        figure = reliability_figure({name: truth}, lines_for([name]), caption, of=name)
        report.figure(figure, f"Of rows given a probability of {name}, how many are it.",
                      f"reliability-{slug(name)}", small=True)  # fmt: skip
    if model.history:
        report.section("Training", folded=True)
        report.figure(loss_figure(model.history, caption, title=model.name), "Loss per epoch.", "loss")
    return report


def _place(classes: list[str], name: str | None) -> int:
    """Which class is the background."""
    if name is None:
        return next((place for place, one in enumerate(classes) if one.lower() in BACKGROUNDS), 0)
    if name not in classes:
        raise InputError(f"--background {name}: the model has no such class{closest(name, classes)}")
    return classes.index(name)
