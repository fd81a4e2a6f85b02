"""LHC Olympics, R&D signal: how far weak supervision goes with a perfect background template."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.anomaly.isolation_forest import IsolationForest
from femtobarn.classification.boosted_trees import BoostedTrees
from femtobarn.data import Inputs, Label, Sample, from_memory
from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError
from femtobarn.evaluate.improvement import (
    best_improvement,
    efficiency_at,
    improvement,
    improvement_figure,
    rate_figure,
)
from femtobarn.evaluate.metrics import Estimate, Survival, auc
from femtobarn.evaluate.numbers import shown, shown_metric
from femtobarn.evaluate.report import Cell, Report
from femtobarn.evaluate.result import At, Metric, Result, combine, read_references, with_references
from femtobarn.evaluate.steps import distributions_figure
from femtobarn.evaluate.style import Caption, lines_for
from femtobarn.recipes.run import Run, Settings, recipe

FILES = {"train": 60_000, "val": 60_000, "extrasig_train": 27_263, "extrasig_val": 27_264}
COLUMNS = ("mjj", "mj1", "dmj", "tau21_1", "tau21_2")
FEATURES = COLUMNS[1:]
TITLES = {
    "mj1": "Mass of the lighter jet [GeV]",
    "dmj": "Difference of the masses [GeV]",
    "tau21_1": r"$\tau_{21}$ of the lighter jet",
    "tau21_2": r"$\tau_{21}$ of the heavier jet",
}
"""All but the dijet mass, which says where the signal region is."""
LABELS = {
    "supervised": "supervised",
    "idealised": "ensemble",
    "idealised_single": "single",
    "idealised_default": "default",
    "isolation_forest": "isolation forest",
}
KEPT = 100
RATES = (1e-2, 1e-3)
SAMPLE = "LHCO R&D signal region"


class LhcoSettings(Settings):
    """What differs between the scales.

    Attributes:
        folder: of the files innerdata_*.npy; None: `lhco-rnd` in $FEMTOBARN_TEST_DATA or ../shared/data.
        events: read of each file at most.
        trees: of each boosted classifier at most.
        members: of the idealised ensemble.
        share: of the events that each of its members grows on; the others stop it.
        fewest: events in a leaf of theirs, at least.
        supervised_members: of the supervised ensemble, which needs few.
        singles: single classifiers measured per seed, each with a seed of its own.
        isolation_trees: of the isolation forest.
        seeds: of the halves of the background and of the trainings.
    """

    folder: Path | None = None
    events: int = 60_000
    trees: int = 200
    members: int = 100
    share: float = 0.25
    fewest: int = 200
    supervised_members: int = 10
    singles: int = 15
    isolation_trees: int = 100
    seeds: tuple[int, ...] = (1,)

    @property
    def where(self) -> Path:
        """The folder of the files."""
        return self.folder or Path(os.environ.get("FEMTOBARN_TEST_DATA", "../shared/data")) / "lhco-rnd"


SCALES = {
    "smoke": LhcoSettings(events=6_000, trees=20, members=3, fewest=20, supervised_members=2, singles=2),
    "quick": LhcoSettings(),
    "standard": LhcoSettings(seeds=(1, 2, 3, 4)),
}


@recipe(scales=SCALES)
def lhco(settings: LhcoSettings, run: Run) -> Result:
    """Weak supervision on the LHC Olympics R&D data: boosted trees with perfect template, single and many."""
    parts: list[Result] = []
    judged = Judged({}, np.zeros(0, dtype=np.bool_))
    for seed in settings.seeds:
        events = samples(settings, seed)
        truth = events["test"].column("label") > 0
        part = Result.start(run.recipe, run.scale, run.seed, run.command)
        part.sizes = {name: len(sample) for name, sample in events.items()}
        found: dict[str, NDArray[np.float64]] = {}
        for name in LABELS:
            for own in trainings(settings, name, seed):
                folder = scored(settings, run, name, seed, own, events)
                score = np.load(folder / "test.npy")
                seconds = json.loads((folder / "seconds.json").read_text())
                part.metrics += measured(name, own, score, truth, seconds)
                found.setdefault(name, score)
        parts.append(part)
        judged = judged if judged.score else Judged(found, truth)
    result = combine(parts)
    result.metrics += [gain(result, single) for single in ("idealised_single", "idealised_default")]
    result.metrics = with_references(result.metrics, read_references(Path(__file__).with_suffix(".csv")))
    return page(settings, run, result, judged)


class Judged(NamedTuple):
    """Scores (N,) of the test events by method, and which are signal (N,)."""

    score: dict[str, NDArray[np.float64]]
    truth: NDArray[np.bool_]


def samples(settings: LhcoSettings, seed: int) -> dict[str, Sample]:
    """Events of the signal region: data and background template as `idealised`, `supervised`, and the `test`.

    The template is a random half of the background of `val`, drawn by the seed, so that the spread of seeds
    is also that of the template; the other half and the extra signal are the test.

    Raises:
        InputError: when a file is not there, or is not what it should be.
    """
    table = {name: read(settings.where / f"innerdata_{name}.npy", settings.events) for name in FILES}
    background = table["val"][table["val"][:, -1] == 0]
    order = np.random.default_rng(seed).permutation(len(background))
    template, test = background[order[::2]], background[order[1::2]]
    train = table["train"]
    known = np.concatenate([train, table["extrasig_train"]])
    return {
        "idealised": sample(
            np.concatenate([train, template]), np.r_[np.ones(len(train)), np.zeros(len(template))]
        ),
        "supervised": sample(known, known[:, -1]),
        "test": sample(
            np.concatenate([test, table["extrasig_val"]]),
            np.r_[np.zeros(len(test)), np.ones(len(table["extrasig_val"]))],
        ),
    }


def read(path: Path, events: int) -> NDArray[np.float64]:
    """Rows of mJJ, mJ1, mJ2 - mJ1, tau21 of both jets (masses in TeV) and the label, at most `events`."""
    if not path.is_file():
        raise InputError(
            f"{path}: there is no such file: set folder (or FEMTOBARN_TEST_DATA) to where the LHC Olympics "
            "files innerdata_*.npy are"
        )
    try:
        table = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as an array of numbers ({error})") from None
    if table.ndim != 2 or table.shape[1] != len(COLUMNS) + 1:
        raise InputError(
            f"{path}: expected rows of {len(COLUMNS)} features and a label, not the shape {table.shape}"
        )
    rows: NDArray[np.float64] = table[:events].astype(np.float64)
    return rows


def sample(rows: NDArray[np.float64], is_one: NDArray[np.float64]) -> Sample:
    """Rows as events in GeV of the classes `zero` and `one`, whose weights have equal sums."""
    fields: dict[str, NDArray[Any]] = {
        name: rows[:, k] * (1000 if name[0] != "t" else 1) for k, name in enumerate(COLUMNS)
    }
    code = is_one.astype(np.int8)
    fields |= {"label": code, "weight": 0.5 * len(code) / np.bincount(code, minlength=2)[code]}
    return from_memory(ak.zip(fields), {"label": ["zero", "one"]})


def inputs(features: tuple[str, ...] = FEATURES) -> Inputs:
    """These features, both classes and the weight."""
    classes = {"one": ["one"], "zero": ["zero"]}
    return Inputs(
        event=list(features), labels={"class": Label(field="label", classes=classes)}, weight="weight"
    )


def trainings(settings: LhcoSettings, name: str, seed: int) -> list[int]:
    """The seeds of the trainings on one half: of the first members of the ensemble for the single ones."""
    single = name in ("idealised_single", "idealised_default")
    return [seed + 1000 * k for k in range(settings.singles if single else 1)]


def method_of(settings: LhcoSettings, name: str, seed: int) -> IsolationForest | BoostedTrees:
    """A method as it is compared.

    The trees of ensembles grow on a random share of the events and stop by the others, as in 2309.13111
    (where the share is one half); a smaller share and larger leaves make members that are worse and more
    different, and a better ensemble. `idealised_single` is one of them. `idealised_default` has
    scikit-learn's defaults: one classifier, of at most 100 trees, on nine tenths of the events.
    """
    if name == "isolation_forest":
        return IsolationForest(trees=settings.isolation_trees, seed=seed)
    if name == "idealised_default":
        return BoostedTrees(trees=min(100, settings.trees), share=0.9, seed=seed)
    members = {"supervised": settings.supervised_members, "idealised": settings.members}.get(name, 1)
    if name == "supervised":
        return BoostedTrees(trees=settings.trees, members=members, share=0.5, seed=seed)
    return BoostedTrees(
        trees=settings.trees, members=members, share=settings.share, fewest=settings.fewest, seed=seed
    )


def scored(
    settings: LhcoSettings, run: Run, name: str, half: int, seed: int, events: dict[str, Sample]
) -> Path:
    """Train one method and score the test events: a folder of `test.npy` and the CPU `seconds.json`."""
    method = method_of(settings, name, seed)
    train = events["supervised" if name == "supervised" else "idealised"]

    def build(path: Path) -> None:
        start = time.process_time()
        if isinstance(method, IsolationForest):
            data = train.take(np.flatnonzero(train.column("label")))
            method.fit(data, inputs=inputs().without_labels())
            score = method.score(events["test"])[f"{method.name}_score"]
        else:
            method.fit(train, inputs=inputs())
            score = method.predict(events["test"])[f"{method.name}_pone"]
        seconds = time.process_time() - start
        with atomic(path) as folder:
            folder.mkdir(parents=True)
            np.save(folder / "test.npy", ak.to_numpy(score).astype(np.float64))
            (folder / "seconds.json").write_text(json.dumps(seconds))

    files = {str(path): path.stat().st_mtime_ns for path in sorted(settings.where.glob("innerdata_*.npy"))}
    key = {"method": method.parameters, "kind": name, "half": half, "events": settings.events, "files": files}
    code = [type(method).__module__, __name__]
    return run.cached(f"{name} {half} {seed}", key, build, code=code)


def survivals(score: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[Survival, Survival]:
    """Those of signal and background."""
    return Survival(score[truth], name="signal"), Survival(score[~truth], name="background")


def measured(
    name: str, seed: int, score: NDArray[np.float64], truth: NDArray[np.bool_], seconds: float
) -> list[Metric]:
    """SIC at fixed background, true positive rates, the highest SIC, AUC, and CPU seconds."""
    pair = survivals(score, truth)
    rate = KEPT / pair[1].effective_count
    found: list[tuple[str, At, Estimate]] = [("sic", {"background_events": KEPT}, improvement(*pair, rate))]
    found += [("sic", {"fpr": at}, improvement(*pair, at)) for at in RATES]
    found += [("tpr", {"fpr": at}, efficiency_at(*pair, at)) for at in RATES]
    found += [("max_sic", {"background_events": KEPT}, best_improvement(*pair, KEPT))]
    found += [("auc", {}, auc(score, truth))]
    metrics = [
        Metric(name=what, at=at, method=name, sample=SAMPLE, value=float(number.value),
               error=float(number.error), seeds=[seed])
        for what, at, number in found
    ]  # fmt: skip
    return [*metrics, Metric(name="cpu_seconds", method=name, sample=SAMPLE, value=seconds, seeds=[seed])]


def gain(result: Result, single: str) -> Metric:
    """Mean SIC of the ensembles over that of single ones, with the errors of both means.

    A single classifier may find nothing at all: the mean of ratios would have no bounds.
    """
    both = [result.find("sic", name, background_events=KEPT) for name in ("idealised", single)]
    many, one = (metric for metric in both if metric is not None)
    assert many.value and one.value
    ratio = many.value / one.value

    def of(part: str, count: bool) -> float:
        """The relative errors of both (of their means over seeds), added in quadrature, times the ratio."""
        relative = [
            (getattr(metric, part) or 0.0)
            / (metric.value or 1.0)
            / (len(metric.seeds) if count else 1) ** 0.5
            for metric in (many, one)
        ]
        return ratio * float(np.hypot(relative[0], relative[1]))

    return Metric(name="sic_ratio", at={"background_events": KEPT, "over": single}, method="idealised",
                  sample=SAMPLE, value=ratio, error=of("error", False), error_seed=of("error_seed", True),
                  seeds=many.seeds, note="error_seed is that of the mean over seeds")  # fmt: skip


def page(settings: LhcoSettings, run: Run, result: Result, first: Judged) -> Result:
    """Table of all methods; SIC and ROC of the first seed."""
    report = Report("LHC Olympics: weak supervision", f"{SAMPLE}, {run.scale} scale")
    ratio, other = (
        result.find("sic_ratio", "idealised", over=name) for name in ("idealised_single", "idealised_default")
    )
    cost = result.find("cpu_seconds", "idealised")
    if ratio and other and cost:
        report.text(
            f"An ensemble of {settings.members} boosted classifiers has **{shown_metric(ratio)}** times the "
            f"significance improvement of one of its members at {KEPT} background events, and "
            f"{shown_metric(other)} times that of one with scikit-learn's defaults on nearly all events, for "
            f"{cost.value:.0f} seconds of one core."
        )
    report.text(
        "**Supervised** learns signal against background. **Idealised** learns data of the signal region, "
        "of which 0.66 % are signal, against a perfect background template, and never sees a label: the "
        "limit of CWoLa, CATHODE and their like; by an **ensemble**, one of its members (**single**), and "
        "one classifier with scikit-learn's settings (**default**). The **isolation forest** sees the data "
        "alone. All read the mass of the lighter jet, the difference of both masses, and tau21 of both; not "
        "the dijet mass, which defines the region."
    )
    places: list[tuple[str, str, dict[str, Any]]] = [
        (f"SIC at {KEPT} background events", "sic", {"background_events": KEPT}),
        *((f"SIC at FPR {at:g}", "sic", {"fpr": at}) for at in RATES),
        *((f"TPR at FPR {at:g}", "tpr", {"fpr": at}) for at in RATES),
        (f"highest SIC, at least {KEPT} background events", "max_sic", {}),
        ("AUC", "auc", {}),
        ("CPU seconds", "cpu_seconds", {}),
    ]
    rows = [[text, *(_cell(result.find(what, name, **at)) for name in LABELS)] for text, what, at in places]
    report.table(
        ["", *LABELS.values()], rows,
        f"Mean of {len(settings.seeds)} seeds; errors are of the test sample and of the seeds, added in "
        "quadrature. Small numbers: the same with other settings and 40k background events in the test.",
    )  # fmt: skip
    signal, background = int(first.truth.sum()), int((~first.truth).sum())
    caption = Caption(
        "LHC Olympics 2020",
        f"R&D signal, $3.3 < m_{{JJ}} < 3.7$ TeV; {background:,} / {signal:,} test events",
    )
    curves = {name: survivals(score, first.truth) for name, score in first.score.items()}
    lines = lines_for(list(LABELS), LABELS)
    report.section("Curves")
    report.figure(
        improvement_figure(curves, lines, caption, marks={f"{KEPT} background events": KEPT / background}),
        "Significance improvement against the background kept, first seed; bands are statistical.", "sic",
    )  # fmt: skip
    report.figure(
        rate_figure(curves, lines, caption), "ROC of the first seed; dotted: no information.", "roc"
    )
    report.section("What all read")
    test = samples(settings, settings.seeds[0])["test"]
    for name, label in TITLES.items():
        report.figure(
            distributions_figure(test.column(name), first.truth, label, caption),
            "Test events of the first seed.", name, small=True,
        )  # fmt: skip
    return run.finish(report, result, settings)


def _cell(metric: Metric | None) -> Cell:
    if metric is None:
        return Cell("–")
    return Cell(shown_metric(metric), shown(metric.reference) if metric.reference is not None else "")
