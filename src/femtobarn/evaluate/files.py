"""`femtobarn evaluate`: measure a model, or the scores somebody stored in a file, and write the page."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import awkward as ak
import numpy as np

from femtobarn.data.sample import Sample, open_sample
from femtobarn.errors import InputError
from femtobarn.evaluate import figures
from femtobarn.evaluate.discriminants import discriminant_b
from femtobarn.evaluate.flavour import choose_fraction, flavour_metrics, flavour_page
from femtobarn.evaluate.flavour_inputs import INPUTS
from femtobarn.evaluate.flavour_metrics import WORKING_POINTS, mistag_metrics
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.flavour_tables import rejection_table
from femtobarn.evaluate.jet_display import NEEDED
from femtobarn.evaluate.metrics import Floats, auc, rejection
from femtobarn.evaluate.numbers import percent
from femtobarn.evaluate.report import Cell, Report
from femtobarn.evaluate.result import At, Metric, Result
from femtobarn.evaluate.style import Caption, lines_for
from femtobarn.evaluate.vertex_positions import DECAY, position_metrics
from femtobarn.physics.track_groups import READ

__all__ = ["Scorer", "evaluate_files", "evaluate_scores", "source_of", "unseen_split", "written"]

WEIGHTS = ("mcEventWeight", "genWeight")
TRUTH = ("tracks.ftagTruthOriginLabel", "tracks.ftagTruthVertexIndex")
COMMON = 0.05


class Scorer(Protocol):
    """A fitted method: all that is needed of it here."""

    name: str

    def predict(self, source: Sample) -> ak.Array:
        """Records with `<name>_pb`, `<name>_pc`, `<name>_pu`."""


def evaluate_files(
    files: Sequence[str],
    *,
    scorer: Scorer | None = None,
    scores: Sequence[Mapping[str, str]] = (),
    label: str = "flavour_label",
    collection: str | None = None,
    units: str | None = None,
    out: str | Path,
    split: str | None = None,
    minimum_pt: float = 20.0,
    maximum_eta: float = 2.5,
) -> Result:
    """Measure a flavour tagger on files and write `report.html` and `result.json` into `out`.

    Args:
        files: to read; patterns too.
        scorer: a fitted method that scores the jets.
        scores: stored scores instead, one mapping per tagger from `b`, `c`, `u` to fields. With `b` alone the
            field itself is the discriminant; all three are probabilities and make D_b at f_c = 0.05.
        label: field of the true flavour: its class names come from the file, else 5, 4, 0 are b, c, light.
        collection: whose members are the jets (`Jet` in NanoAOD). None: read off the label (`Jet_...`).
        units: of ATLAS-layout files that do not say.
        out: folder.
        split: `train`, `valid`, `test` or `all`. None: for a model `unseen_split`, for scores `all`.
        minimum_pt, maximum_eta: jets judged, GeV, where the file knows pt and eta.

    Raises:
        InputError: for files, fields or labels that are not there.
    """
    started = time.perf_counter()
    sample = open_sample(list(files), collection=collection, units=units)
    if collection is None and label not in sample.schema.scalars:
        prefix = label.partition("_")[0]
        if prefix in sample.schema.collections:
            collection, sample = prefix, open_sample(list(files), collection=prefix, units=units)
    cuts = {"pt": (minimum_pt, np.inf), "abs_eta": (0.0, maximum_eta)}
    known = {name: cut for name, cut in cuts.items() if name.removeprefix("abs_") in sample.schema.scalars}
    if split is None:
        split = "all" if scorer is None else unseen_split(sample)
    sample = sample if split == "all" else sample.split(split)
    for name in (cut.removeprefix("abs_") for cut in known):
        broken = int((~np.isfinite(sample.column(name))).sum())
        if broken:
            print(
                f"note: {sample.where}: '{name}' of {broken:,} of {len(sample):,} jets is not finite; "
                "they are left out",
                file=sys.stderr,
            )
    sample = sample.select(**known)
    label = _field(sample, label, collection)
    result = Result.start("evaluate", "file", 0)
    result.sizes = {sample.name: len(sample)}
    limits = (
        f"$p_T$ > {minimum_pt:g} GeV, |η| < {maximum_eta:g}" if len(known) == 2 else f"{len(sample):,} jets"
    )
    caption = Caption(source_of(sample), limits)
    which = "all splits" if split == "all" else f"the {split} split"
    subtitle = f"{len(sample):,} jets of {which}, {limits.replace('$p_T$', 'pT')}"
    if scorer is not None:
        report = _model_page(sample, scorer, label, result, caption, subtitle)
    else:
        report = _score_page(sample, scores, label, collection, result, caption, subtitle)
    return written(report, result, out, started)


def unseen_split(sample: Sample) -> str:
    """The rows of a file that a model trained on it has not seen: `test`, where they can be told by event.

    Where they cannot, `all`: rows the model was trained on may be among them, as a note on stderr says.
    """
    if sample.splits_by_event:
        return "test"
    print(
        f"note: {sample.where} has neither 'fold' nor 'eventNumber' to tell the rows a model was trained on: "
        "all are judged, which flatters a model that was trained on some of them",
        file=sys.stderr,
    )
    return "all"


def written(report: Report, result: Result, out: str | Path, started: float) -> Result:
    """The result, after it and the page are in the folder `out`; `started` is by `time.perf_counter`."""
    result.artifacts = ["report.html"]
    result.seconds = {"evaluate": round(time.perf_counter() - started, 1)}
    report.provenance(result)
    report.write(Path(out) / "report.html")
    result.write(Path(out) / "result.json")
    return result


def source_of(sample: Sample) -> str:
    """What stands above the figures: the sample's name; ours is a simulation and says so."""
    return "femtobarn simulation" if "femtobarn" in sample.attributes.get("versions", {}) else sample.name


def _field(sample: Sample, name: str, collection: str | None) -> str:
    """A field as the sample calls it: members of a collection lose its name in front (`Jet_pt` -> `pt`).

    Raises:
        InputError: when there is none, naming the closest.
    """
    short = name.removeprefix(f"{collection}_") if collection else name
    if name not in sample.schema.scalars and short in sample.schema.scalars:
        return short
    sample.schema.restrict([name], sample.where)
    if name not in sample.schema.scalars:
        raise InputError(f"{sample.where}: '{name}' is not one number per row")
    return name


def _jets(sample: Sample, label: str, fields: Sequence[str]) -> Jets:
    """The truth of a sample, with those of `fields` that it has."""
    weight = next((name for name in WEIGHTS if name in sample.schema.scalars), None)
    there = [name for name in dict.fromkeys(fields) if name in sample.schema.names]
    rows = sample.read(fields=[*dict.fromkeys([label, *([weight] if weight else []), *there])])
    return Jets(rows, label, weight, sample.schema.classes.get(label))


def _model_page(
    sample: Sample, scorer: Scorer, label: str, result: Result, caption: Caption, subtitle: str
) -> Report:
    """The flavour page of one model; its own f_c is chosen on every fifth jet, which is then left out."""
    shown = [f"tracks.{name}" for name in NEEDED]
    jets = _jets(sample, label, ["pt", "phi", DECAY, *READ, *shown, *INPUTS, *TRUTH])
    scores = FlavourScores.from_prediction(scorer.predict(sample), scorer.name)
    if not set(TRUTH) <= {f"tracks.{name}" for name in getattr(jets.rows, "tracks", jets.rows).fields}:
        scores = replace(scores, origins=None, vertex=None)
    fifth = np.arange(len(jets)) % 5 == 0
    own = {scorer.name: choose_fraction(jets.take(fifth), scores.take(fifth))}
    jets, scores = jets.take(~fifth), scores.take(~fifth)
    result.metrics = flavour_metrics(jets, [scores], sample=sample.name, own=own, common=COMMON)
    result.metrics += mistag_metrics(jets, scores, sample.name, COMMON)
    result.metrics += position_metrics(jets, scores, sample.name)
    return flavour_page(
        jets, [scores], result, title=f"{scorer.name} on {sample.name}", subtitle=subtitle,
        sample=sample.name, caption=caption, own=own, common=COMMON,
    )  # fmt: skip


def _score_page(
    sample: Sample,
    scores: Sequence[Mapping[str, str]],
    label: str,
    collection: str | None,
    result: Result,
    caption: Caption,
    subtitle: str,
) -> Report:
    """The page of scores that stand in the file."""
    named: dict[str, list[str]] = {}
    for entry in scores:
        if set(entry) not in ({"b"}, {"b", "c", "u"}):
            raise InputError(f"--scores {dict(entry)}: expected b=FIELD or b=FIELD,c=FIELD,u=FIELD")
        fields = [
            _field(sample, entry[flavour], collection) for flavour in ("b", "c", "u") if flavour in entry
        ]
        named[fields[0] if len(fields) == 1 else fields[0].removesuffix("_pb")] = fields
    jets = _jets(sample, label, ["pt", "eta", *(field for fields in named.values() for field in fields)])
    discriminants = {}
    for name, fields in named.items():
        columns = [ak.to_numpy(jets.rows[field]).astype(np.float64) for field in fields]
        discriminants[name] = (
            columns[0] if len(columns) == 1 else discriminant_b(columns[0], columns[1], columns[2], COMMON)
        )
    result.metrics = evaluate_scores(jets, discriminants, sample=sample.name)
    report = Report(f"Stored taggers of {sample.name}", subtitle)
    text = "Errors are one standard deviation from the number of jets. Jets with equal scores pass together."
    rejection_table(report, result.metrics, {method: Cell(method) for method in discriminants}, text)
    _score_figures(report, jets, discriminants, caption)
    return report


def evaluate_scores(
    jets: Jets,
    discriminants: Mapping[str, Floats],
    *,
    sample: str,
    working_points: Sequence[float] = WORKING_POINTS,
) -> list[Metric]:
    """Rejections at working points and areas under the curve of discriminants (N,) by tagger."""
    metrics = []
    for method, score in discriminants.items():
        signal = jets.survival(score, "b")
        for flavour, background in (("u", "light"), ("c", "c")):
            result = rejection(signal, jets.survival(score, flavour), working_points)
            for point, value, error, limit in zip(working_points, *result, strict=True):
                at: At = {"b_efficiency": point}
                limit_if = float(limit) if np.isnan(value) else None
                metrics.append(
                    Metric(name=f"{background}_rejection", at=at, method=method, sample=sample, value=value,
                           error=error, lower_limit=limit_if)
                )  # fmt: skip
            use = (jets.flavour == "b") | (jets.flavour == flavour)
            area = auc(score[use], jets.flavour[use] == "b", jets.weights[use])
            at = {"signal": "b", "background": background}
            value, error = float(area.value), float(area.error)
            metrics.append(Metric(name="auc", at=at, method=method, sample=sample, value=value, error=error))
    return metrics


def _score_figures(report: Report, jets: Jets, discriminants: Mapping[str, Floats], caption: Caption) -> None:
    lines = lines_for(list(discriminants))
    report.section("Rejection")
    for flavour, name in (("u", "Light"), ("c", "$c$")):
        curves = {
            method: (jets.survival(score, "b"), jets.survival(score, flavour))
            for method, score in discriminants.items()
        }
        figure = figures.rejection_figure(
            curves, lines, caption, background=f"{name}-jet", efficiencies=(0.4, 1.0), marks=WORKING_POINTS
        )
        plain = name.replace("$", "")
        report.figure(figure, f"{plain}-jet rejection against b-jet efficiency.", f"roc-{plain.lower()}")
    report.section("Scores")
    listed = ", ".join(percent(point) for point in WORKING_POINTS)
    for method, score in discriminants.items():
        cuts = list(jets.survival(score, "b").threshold(WORKING_POINTS))
        figure = figures.score_figure(
            score, jets.flavour, caption, label=method, weights=jets.weights, cuts=cuts,
            cuts_label="working points",
        )  # fmt: skip
        report.figure(figure, f"{method} by flavour; cuts at {listed} b-efficiency.", f"score-{method}")
