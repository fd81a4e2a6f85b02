"""Ten years of jet taggers on one sample, from trees on substructure to transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from femtobarn.evaluate.jet_metrics import accuracy, accuracy_gain, background_rejection, one_vs_one_auc
from femtobarn.evaluate.result import Metric, Result, combine, read_references, with_references
from femtobarn.learn.training import Training
from femtobarn.recipes.jet_history_answers import answer, joined, more_jets, truth
from femtobarn.recipes.jet_history_page import Judged, page
from femtobarn.recipes.jet_history_training import (
    METHODS,
    JetHistorySettings,
    Job,
    TaggerSettings,
    said,
    samples,
    trained,
)
from femtobarn.recipes.run import Run, recipe
from femtobarn.simulation.jet_classes import JET_CLASSES

Floats = NDArray[np.float64]
EFFICIENCY = dict.fromkeys(JET_CLASSES[1:], 0.5) | {"Hqql": 0.99, "Tbl": 0.995}
"""Signal efficiency at which JetClass states the rejection of QCD jets."""
ORDER = (("pfn", "pcnn"), ("pcnn", "particlenet"), ("particlenet", "part"), ("part_plain", "part"))
"""Pairs that are compared on the same jets."""
CYCLE = Training(
    optimiser="adamw", learning_rate=2e-3, weight_decay=0.01, schedule="one-cycle", clip_norm=1.0, keep="best"
)
LITE = {"neighbours": 7, "blocks": ((32, 32, 32), (64, 64, 64)), "hidden": 128}
"""ParticleNet's own small version [1902.08570]."""
NARROW = {"width": 64, "blocks": 3, "class_blocks": 1, "heads": 4, "embedding": (64,), "dropout": 0.0}
"""ParT for minutes of one core: a tenth of its weights."""
SMALL_LORENTZ = {"width": 24, "layers": 3, "dropout": 0.0}


def taggers(
    epochs: dict[str, int], seeds: tuple[int, ...] = (1,), parts: tuple[int, ...] = ()
) -> dict[str, TaggerSettings]:
    """Sizes for one core; `seeds` of those that take minutes, `parts` of those whose growth is looked at."""
    sizes = {"particlenet": LITE, "part": NARROW | {"pair": (32, 32)}, "part_plain": NARROW,
             "lorentz": SMALL_LORENTZ}  # fmt: skip
    cheap = ("cnn", "rnn", "efn", "pfn", "pcnn", "particlenet", "graph_network", "part_plain")
    scanned = ("pfn", "particlenet", "part", "lorentz")
    return {
        name: TaggerSettings(
            sizes=sizes.get(name, {}),
            epochs=epochs.get(name, 1),
            batch_size=100 if name == "lorentz" else 200,
            longest=32 if name == "lorentz" else 128,
            seeds=seeds if name in cheap else seeds[:1],
            parts=parts if name in scanned else (),
        )
        for name in METHODS
    }


class HistorySettings(JetHistorySettings):
    """What differs between the scales.

    Attributes:
        collisions_judged: simulated besides, of another seed, for judging alone.
    """

    collisions_judged: int


SCALES = {
    "smoke": HistorySettings(
        collisions=2000,
        collisions_judged=2000,
        training=CYCLE,
        taggers=taggers({}, parts=(2,)) | {"substructure_bdt": TaggerSettings(sizes={"trees": 10})},
    ),
    "quick": HistorySettings(
        collisions=10_000,
        collisions_judged=10_000,
        training=CYCLE,
        taggers=taggers({"pfn": 8, "efn": 6, "pcnn": 6, "cnn": 4, "particlenet": 4, "part": 3, "lorentz": 2,
                         "part_plain": 3, "rnn": 4, "abcnet": 2, "graph_network": 2}, parts=(2,)),
    ),
    "standard": HistorySettings(
        collisions=50_000,
        collisions_judged=40_000,
        training=CYCLE,
        taggers=taggers({"pfn": 12, "efn": 20, "pcnn": 12, "cnn": 12, "particlenet": 12, "part": 6,
                         "lorentz": 10, "part_plain": 6, "rnn": 10, "abcnet": 4,
                         "graph_network": 6}, (1, 2, 3), (4, 2)),
    ),
}  # fmt: skip


@recipe(scales=SCALES)
def jet_history(settings: HistorySettings, run: Run) -> Result:
    """Jet taggers from trees to transformers on the ten classes of JetClass [2202.03772]."""
    file, splits = samples(settings, run)
    jobs = jobs_of(settings)
    if run.only is not None:
        jobs = [job for job in jobs if job.method == run.only.method and job.seed == run.only.seed]
    folders = {job: trained(settings, run, job, file, splits) for job in jobs}
    further = more_jets(run, "for judging", settings.collisions_judged, settings.simulation)
    splits["test"] = joined(splits["test"], further)
    answers = {
        job: np.concatenate([said(folder), answer(run, folder, further)]) for job, folder in folders.items()
    }
    test = Truth(*truth(splits["test"]))
    parts = []
    for job, folder in folders.items():
        part = Result.start(run.recipe, run.scale, run.seed, run.command)
        part.sizes = {split: len(sample) for split, sample in splits.items()}
        part.metrics = measured(
            job, answers[job], folder, test, scanned=bool(settings.taggers[job.method].parts)
        )
        parts.append(part)
    result = combine(parts)
    if run.only is not None:
        return run.part(result)
    result.metrics += gains(answers, test)
    result.metrics = with_references(result.metrics, read_references(Path(__file__).with_suffix(".csv")))
    first = {job.method: folder for job, folder in folders.items() if job.seed == 1 and job.part == 1}
    for method, folder in first.items():
        shutil.copytree(folder / "model", run.out / method, dirs_exist_ok=True)
    result.artifacts = list(first)
    judged = {job.method: answers[job] for job, folder in folders.items() if folder in first.values()}
    report = page(settings, run, result, Judged(*test, splits["test"], first, judged))
    return run.finish(report, result, settings)


def jobs_of(settings: JetHistorySettings) -> list[Job]:
    """All trainings: each method once, then the smaller samples, then further seeds."""
    chosen = {name: settings.taggers[name] for name in settings.methods}
    return [
        *(Job(name, one.seeds[0]) for name, one in chosen.items()),
        *(Job(name, seed) for name, one in chosen.items() for seed in one.seeds[1:]),
        *(Job(name, one.seeds[0], part) for name, one in chosen.items() for part in one.parts),
    ]


class Truth(NamedTuple):
    """Class and weight of the test jets."""

    labels: NDArray[np.int64]
    weights: NDArray[np.float64]


def measured(job: Job, probabilities: Floats, folder: Path, test: Truth, scanned: bool) -> list[Metric]:
    """What JetClass asks for, and what it cost; of a training on fewer jets the accuracy alone."""
    numbers = json.loads((folder / "numbers.json").read_text())
    make: Any = partial(Metric, method=job.method, sample="ten classes", seeds=[job.seed])
    right = accuracy(probabilities, *test)
    found = []
    if scanned and job.seed == 1:
        at = {"train_jets": numbers["train_jets"]}
        found.append(make(name="accuracy_at_size", at=at, value=right.value, error=right.error))
    if job.part > 1:
        return found
    area = one_vs_one_auc(probabilities, *test)
    found += [
        make(name="accuracy", value=right.value, error=right.error),
        make(name="auc", value=area.value, error=area.error),
    ]
    for name, efficiency in EFFICIENCY.items():
        kept = background_rejection(probabilities, *test, JET_CLASSES.index(name), 0, efficiency)
        limit = None if np.isfinite(kept.value) else kept.lower_limit
        found.append(make(name="rejection", at={"class": name, "signal_efficiency": efficiency},
                          value=kept.value, error=kept.error, lower_limit=limit))  # fmt: skip
    for name in ("parameters", "flops", "train_rate", "predict_rate"):
        found.append(make(name=name, value=numbers.get(name)))
    return found


def gains(answers: Mapping[Job, Floats], test: Truth) -> list[Metric]:
    """Differences in accuracy on the same jets."""
    of: dict[str, list[Floats]] = {}
    for job, probabilities in answers.items():
        if job.part == 1:
            of.setdefault(job.method, []).append(probabilities)
    found = []
    for before, after in ORDER:
        if before in of and after in of:
            gain = accuracy_gain(of[before], of[after], *test)
            found.append(Metric(name="accuracy_gain", at={"over": before}, method=after, sample="ten classes",
                                value=gain.value, error=gain.error))  # fmt: skip
    return found
