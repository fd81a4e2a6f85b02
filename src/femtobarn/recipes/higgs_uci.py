"""HIGGS (UCI): what features, tuning and averaging are each worth on a few thousand events."""

from __future__ import annotations

import csv
import hashlib
import re
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from femtobarn.classification.mlp import MLP
from femtobarn.data import Sample, open_sample
from femtobarn.evaluate.numbers import shown_metric
from femtobarn.evaluate.paired import Area, area_of, mean_area
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Metric, Result
from femtobarn.evaluate.steps import Known, distributions_figure, rows_figure, steps_figure
from femtobarn.evaluate.style import Caption
from femtobarn.learn.training import Training
from femtobarn.recipes.higgs_uci_data import find_table, to_parquet
from femtobarn.recipes.higgs_uci_fits import CANDIDATES, Features, Rows, fit_part, fit_untuned, outer_folds
from femtobarn.recipes.run import Run, Settings, recipe

FAST = MLP().default_training().with_(epochs=25, batch_size=500, ema=0.95, progress="none", accelerator="cpu")
CODE = ["recipes.higgs_uci_fits", "recipes.higgs_uci_data", "learn"]
SAMPLE = "higgs-uci"
LABELS = {
    "untuned": "Untuned trees",
    "boosted_trees": "Tuned trees",
    "mlp": "MLP",
    "ensemble": "Trees and MLP",
    "best": "Best",
}
SHOWN: dict[Features, str] = {
    "low": "21 low-level", "high": "7 high-level", "all": "All 28", "low_derived": "Low-level and derived",
    "derived": "All and derived",
}  # fmt: skip
POOLS: dict[str, list[tuple[Features, str]]] = {
    "low": [(s, m) for s in ("low", "low_derived") for m in ("boosted_trees", "mlp", "ensemble")],
    "high": [("high", m) for m in ("boosted_trees", "mlp", "ensemble")],
    "all": [(s, m) for s in ("all", "derived") for m in ("boosted_trees", "mlp", "ensemble")],
}
"""What `best` chooses from, fold by fold, by the inner folds: what is derived from columns counts as them."""
STEPS: dict[tuple[Features, str], str] = {
    ("low", "untuned"): "21 low-level",
    ("high", "untuned"): "7 high-level",
    ("all", "untuned"): "All 28",
    ("derived", "untuned"): "and derived",
    ("derived", "boosted_trees"): "and tuned",
    ("derived", "ensemble"): "and MLP",
}
DRAWN = {
    "derived_chi2_ratio": (
        "ln $\\chi^2$(top pair) - ln $\\chi^2$(Higgs cascade)",
        "Which of the two hypotheses fits better, over all assignments of jets; from the low-level columns.",
    ),
    "derived_m_hwv_0": (
        "$m(bbqq\\ell\\nu)$ [GeV]",
        "Mass of everything, from the low-level columns; the signal's heavy Higgs boson has 425 GeV.",
    ),
}
"""Columns drawn: label of the axis, caption."""


SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Of the network in the mean log odds of trees and network."""


class HiggsSettings(Settings):
    """What differs between the scales.

    Attributes:
        file: HIGGS.csv, HIGGS.csv.gz or an NPZ file with X and y; empty: the 7000 shared rows.
        rows: the first so many are used; None: all.
        outer: folds that judge.
        last: instead of folds, so many rows at the end judge (500,000 in the paper); 0: folds.
        inner: folds within the training rows of each outer fold, which choose, stop and are averaged.
        seeds: of inner folds and fits.
        families: candidates tried of each kind of method, for each set of features.
        training: of the networks.
    """

    file: str = ""
    rows: int | None = None
    outer: int = 5
    last: int = 0
    inner: int = 3
    seeds: tuple[int, ...] = (1,)
    families: dict[Features, dict[str, list[str]]]
    training: Training = FAST


TREES = {"boosted_trees": ["8 leaves", "16 leaves"]}
BOTH = TREES | {"mlp": ["128 x 128"]}
EVERY: dict[Features, dict[str, list[str]]] = {
    "low": TREES,
    "high": TREES,
    "all": BOTH,
    "derived": BOTH,
    "low_derived": {"boosted_trees": ["16 leaves"]},
}
WIDE: dict[Features, dict[str, list[str]]] = {
    name: {family: list(every) for family, every in CANDIDATES.items()} for name in SHOWN
}
QUICK: dict[Features, dict[str, list[str]]] = {
    name: {family: names[:1] for family, names in families.items()} for name, families in EVERY.items()
}
SCALES = {
    "smoke": HiggsSettings(rows=600, outer=2, inner=2, families=QUICK, training=FAST.with_(epochs=1)),
    "quick": HiggsSettings(inner=2, families=QUICK, training=FAST.with_(epochs=10)),
    "standard": HiggsSettings(seeds=(1, 2, 3, 4, 5), families=EVERY),
    "full": HiggsSettings(file="HIGGS.csv.gz", last=500_000, families=WIDE),
}


@recipe(scales=SCALES)
def higgs_uci(settings: HiggsSettings, run: Run) -> Result:
    """Boosted trees and networks on UCI's HIGGS table, in nested cross-validation [Baldi et al. 2014]."""
    table, key = prepared(settings, run)
    splits = outer_folds(table, settings.outer, settings.last, run.seed)
    scores = Scores(table, settings, [rows for _, rows in splits])
    for number, split in enumerate(splits):
        for features in settings.families:
            own = {**key, "fold": number, "features": features}
            build = partial(fit_untuned, table, split, features)
            path = run.cached(f"untuned {features} {number}", own, build, code=CODE)
            scores.untuned(features, number, path)
            chosen = settings.families[features]
            for seed in settings.seeds:
                path = fitted(run, settings, table, split, own, chosen, seed)
                chosen = scores.add(features, number, seed, path)
    result = Result.start(run.recipe, run.scale, run.seed, run.command)
    result.sizes = {"train": len(splits[0][0]), "test": len(splits[0][1]), "table": len(table)}
    result.metrics = measured(scores)
    return page(settings, run, result, scores)


def prepared(settings: HiggsSettings, run: Run) -> tuple[Sample, dict[str, Any]]:
    """The table as Parquet with what is derived from it, and what the keys of all stages share."""
    source = find_table(settings.file)
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    key = {"table": digest, "rows": settings.rows}
    path = run.cached("table", key, lambda path: to_parquet(source, path, settings.rows), code=CODE,
                      suffix=".parquet")  # fmt: skip
    key |= settings.model_dump(mode="json", include={"outer", "last"}) | {"seed": run.seed}
    return open_sample(path, name=SAMPLE), key


def fitted(run: Run, settings: HiggsSettings, table: Sample, split: tuple[Rows, Rows], own: dict[str, Any],
           families: dict[str, list[str]], seed: int) -> Path:  # fmt: skip
    """The scores of one outer fold, one set of features and one seed."""
    key = own | {"families": families, "inner": settings.inner, "unit seed": seed}
    key |= {"training": settings.training.model_dump(mode="json")}

    def build(path: Path) -> None:
        fit_part(table, split, own["features"], path, families=families, inner=settings.inner, seed=seed,
                 training=settings.training)  # fmt: skip

    return run.cached(f"{own['features']} {own['fold']} {seed}", key, build, code=CODE)


class Said(NamedTuple):
    """What one method says in one outer fold: of test rows, and in the inner folds of training rows."""

    test: NDArray[np.float64]
    inner: NDArray[np.float64]
    train_rows: Rows


class Scores:
    """Everything said of test rows, by (features, method), fold and seed, and the areas under its curves."""

    def __init__(self, table: Sample, settings: HiggsSettings, rows: list[Rows]) -> None:
        self.label = table.column("label") == 1
        self.table, self.rows, self.seeds = table, rows, settings.seeds
        self.said: dict[tuple[str, str, int, int], Said] = {}
        self.choices: list[tuple[str, int, str]] = []

    def untuned(self, features: str, fold: int, path: Path) -> None:
        """Take in the scores without tuning, which have no seed."""
        with np.load(path) as stored:
            for seed in self.seeds:
                self.said[features, "untuned", fold, seed] = Said(
                    stored["test"], np.zeros(0), np.zeros(0, np.int64)
                )

    def add(self, features: str, fold: int, seed: int, path: Path) -> dict[str, list[str]]:
        """Take in the scores of a fold and seed; gives the candidates chosen, which later seeds keep to."""
        with np.load(path) as stored:
            names = [name.removeprefix("chosen_") for name in stored.files if name.startswith("chosen_")]
            rows, chosen = stored["train_rows"], {name: [str(stored[f"chosen_{name}"])] for name in names}
            for name in names:
                said = Said(stored[f"test_{name}"], stored[f"inner_{name}"], rows)
                self.said[features, name, fold, seed] = said
        if {"boosted_trees", "mlp"} <= chosen.keys():
            trees, network = (self.said[features, name, fold, seed] for name in ("boosted_trees", "mlp"))
            share, mixed = self._mixed(trees, network)
            self.said[features, "ensemble", fold, seed] = mixed
            if seed == self.seeds[0]:
                self.choices.append((features, fold, f"share of the MLP in trees and MLP: {share}"))
        if seed == self.seeds[0]:
            self.choices += [(features, fold, chosen[name][0]) for name in names]
        return chosen

    def _mixed(self, trees: Said, network: Said) -> tuple[float, Said]:
        """Mean log odds of the two, with the network's share that is best in the inner folds."""
        mixed = {
            share: Said(
                (1 - share) * _logit(trees.test) + share * _logit(network.test),
                (1 - share) * _logit(trees.inner) + share * _logit(network.inner),
                trees.train_rows,
            )
            for share in SHARES
        }
        label = self.label[trees.train_rows]
        best = max(SHARES, key=lambda share: area_of(mixed[share].inner, label).value)
        return best, mixed[best]

    def choose(self, pool: str) -> None:
        """`best`: in each fold and seed what has the highest AUC in the inner folds."""
        for fold in range(len(self.rows)):
            for seed in self.seeds:
                found = {
                    way: self.said[*way, fold, seed] for way in POOLS[pool] if (*way, fold, seed) in self.said
                }
                areas = {
                    way: area_of(said.inner, self.label[said.train_rows]).value for way, said in found.items()
                }
                best = max(areas, key=lambda way: areas[way])
                self.said[pool, "best", fold, seed] = found[best]
                if seed == self.seeds[0]:
                    self.choices.append((f"best of {pool}", fold, f"{LABELS[best[1]]}, {SHOWN[best[0]]}"))

    def area(self, features: str, method: str) -> tuple[Area, list[float]]:
        """The mean area over folds and seeds, and the mean over folds of each seed."""
        each = [
            mean_area([area_of(self.said[features, method, fold, seed].test, self.label[rows])
                       for fold, rows in enumerate(self.rows)], self.rows, len(self.label))
            for seed in self.seeds
        ]  # fmt: skip
        every = [np.arange(len(self.label))] * len(each)
        return mean_area(each, every, len(self.label)), [one.value for one in each]


def _logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))


def measured(scores: Scores) -> list[Metric]:
    """AUC of everything, and the paired gains of the steps and of the best over the untuned trees."""
    for pool in POOLS:
        scores.choose(pool)
    metrics = []
    ways = dict.fromkeys((features, method) for features, method, *_ in scores.said)
    areas = {way: scores.area(*way) for way in ways}
    for (features, method), (area, seeds) in areas.items():
        metrics.append(_metric("auc", {"features": features}, method, scores, area, seeds))
    steps = [*pairwise(step for step in STEPS if step in areas), (("all", "untuned"), ("all", "best"))]
    for before, after in steps:
        area = areas[after][0].minus(areas[before][0])
        seeds = [one - other for one, other in zip(areas[after][1], areas[before][1], strict=True)]
        at = {"features": after[0], "over": before[1], "over_features": before[0]}
        metrics.append(_metric("auc_gain", at, after[1], scores, area, seeds))
    return metrics


def _metric(
    name: str, at: dict[str, Any], method: str, scores: Scores, area: Area, seeds: list[float]
) -> Metric:
    spread = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None
    return Metric(name=name, at=at, method=method, sample=SAMPLE, value=area.value,
                  error=float(area.estimate.error), error_seed=spread, seeds=list(scores.seeds))  # fmt: skip


def published() -> list[Known]:
    """The published areas, with the rows trained on."""
    with Path(__file__).with_suffix(".csv").open() as file:
        return [Known(row["method"], float(row["value"]), int(row["rows"]), row["source"])
                for row in csv.DictReader(file)]  # fmt: skip


def page(settings: HiggsSettings, run: Run, result: Result, scores: Scores) -> Result:
    """Areas, steps, the published ones with their rows, and what the best features look like."""
    report = Report(
        "HIGGS (UCI): features, tuning, averaging", f"{result.sizes['table']:,} rows, {run.scale} scale"
    )
    gain = result.find("auc_gain", "best", over="untuned")
    assert gain is not None and gain.value is not None and gain.error
    away = gain.value / gain.error
    report.text(
        f"The best with all features, chosen within the training rows of each fold, is {shown_metric(gain)} "
        "above scikit-learn's histogram boosting as it comes, on the same test events: "
        f"{away:.1f} standard errors of the paired difference. Every number is the mean over "
        f"{len(scores.rows)} outer folds and {len(scores.seeds)} seeds; choices of candidates, the stop of "
        f"training and the members of averages come from {settings.inner} inner folds alone."
    )
    found = {m.method for m in result.metrics if m.name == "auc"}
    methods = [name for name in LABELS if name in found]
    rows = []
    for features, label in SHOWN.items():
        cells = [result.find("auc", name, features=features) for name in methods]
        rows.append([label, *(shown_metric(cell) if cell else "–" for cell in cells)])
    report.table(["AUC", *(LABELS[name] for name in methods)], rows,
                 "± statistical error of the test events, then the spread over seeds.")  # fmt: skip
    gains = [m for m in result.metrics if m.name == "auc_gain"]
    report.table(
        ["Step", "Gain in AUC", "Standard errors"],
        [[f"{_called(m.at['over_features'], m.at['over'])} → {_called(m.at['features'], m.method)}",
          shown_metric(m), f"{(m.value or 0) / (m.error or 1):+.1f}"] for m in gains],
        "Paired: the same test events, so that most of their fluctuation drops out.",
    )  # fmt: skip
    known = published()
    best = result.find("auc", "best", features="all")
    assert best is not None
    ours = [[f"{LABELS[m.method]}, all columns", f"{result.sizes['train']:,}", shown_metric(m)]
            for m in (result.find("auc", "untuned", features="all"), best) if m]  # fmt: skip
    report.table(
        ["", "Rows trained on", "AUC"],
        [*ours, *([f"{one.method}, {one.source}", f"{one.rows:,}", f"{one.value}"] for one in known)],
        "Not comparable but for this: how much rows are worth.",
    )
    caption = Caption("UCI HIGGS", f"{result.sizes['table']:,} rows, {len(scores.rows)} outer folds")
    steps = {label: m for way, label in STEPS.items() if (m := result.find("auc", way[1], features=way[0]))}
    report.figure(
        steps_figure(list(steps.values()), list(steps), caption),
        "The steps from low-level columns to an ensemble. Bars: errors of the test events.",
        "steps",
    )
    report.figure(
        rows_figure(best, result.sizes["train"], known, caption),
        "What rows are worth: ours and the published ones against the rows trained on.",
        "rows",
    )
    for name, (label, text) in DRAWN.items():
        figure = distributions_figure(scores.table.column(name), scores.label, label, caption)
        report.figure(figure, text, name)
    first = scores.seeds[0]
    said = np.zeros(len(scores.label))
    for fold, own in enumerate(scores.rows):
        test = scores.said["all", "best", fold, first].test
        said[own] = test if test.min() < 0 or test.max() > 1 else _logit(test)
    judged = np.concatenate(scores.rows)
    report.figure(distributions_figure(said[judged], scores.label[judged], "Log odds of signal", caption),
                  "What the best says of test events.", "score")  # fmt: skip
    report.section("What the inner folds chose", folded=True)
    report.table(
        ["features", "outer fold", "candidate"], [[f, str(k), name] for f, k, name in scores.choices]
    )
    stages = dict(run.seconds)
    run.seconds.clear()
    for name, seconds in stages.items():  # one line for all folds and seeds
        kind = re.sub(r"[\d ]+$", "", name)
        run.seconds[kind] = round(run.seconds.get(kind, 0.0) + seconds, 3)
    return run.finish(report, result, settings)


def _called(features: Any, method: Any) -> str:
    return f"{SHOWN[features]}, {LABELS[method].lower().replace('mlp', 'MLP')}"
