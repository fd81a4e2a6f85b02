"""Boosted trees through femtobarn against scikit-learn called directly, and a scan on both cores.

    python benchmarks/boosted_trees.py [--out results/boosted-trees-benchmark.json] [--events N]

1 M events of 28 features and a weight, two classes. Both sides grow 100 trees on them and score them, in
turn, ROUNDS times, on one thread each (OMP_NUM_THREADS=1 is set here): ours from a `Sample` in memory to
records of probabilities, scikit-learn from arrays of numbers to an array. Ratios are of the medians of
processor times, since the machine may be shared; errors are half the spread over rounds. The scan fits eight
candidates on 300,000 events in one process and in two; its speed-up is of wall times, with what it takes to
start the processes: the imports of the first scan are in the first round.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from femtobarn.classification.boosted_trees import BoostedTrees
from femtobarn.data.inputs import Inputs, Label
from femtobarn.data.sample import Sample, from_memory
from femtobarn.evaluate.result import Metric, Result
from femtobarn.learn.scan import scan

EVENTS, FEATURES, ROUNDS, SCANNED = 1_000_000, 28, 3, 300_000
NAMES = [f"x{k}" for k in range(FEATURES)]
INPUTS = Inputs(
    event=list(NAMES),
    labels={"class": Label(field="label", classes={"s": ["signal"], "b": ["background"]})},
    weight="weight",
)
NOTES = {
    "fit_predict_ratio": "processor time of fit and predict over scikit-learn's, 100 trees, one thread",
    "fit_ratio": "of fit alone",
    "predict_ratio": "of predict alone",
    "fit_predict_seconds": "ours, processor time",
    "median_difference": "of the two probabilities of signal: bins come from other subsamples",
    "scan_speedup": "wall time of eight fits in one process over that in two, on two cores",
}


def events(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values (N, 28), labels (N,) and weights (N,)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    values = rng.normal(size=(count, FEATURES), scale=1 + 0.02 * np.arange(FEATURES)).astype(np.float32)
    values[:, :10] += 0.3 * labels[:, None]
    values[:, 10] *= 1 + 0.5 * labels
    return values, labels, rng.uniform(0.5, 1.5, count)


def sample_of(values: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Sample:
    fields = {name: values[:, k] for k, name in enumerate(NAMES)}
    array = ak.zip({**fields, "label": labels.astype(np.int8), "weight": weights.astype(np.float32)})
    return from_memory(array, {"label": ["background", "signal"]})


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    answer = action()
    return time.process_time() - start, answer


def against_scikit_learn(count: int) -> dict[str, tuple[float, float]]:
    values, labels, weights = events(count, 1)
    sample = sample_of(values, labels, weights)
    times: dict[str, list[float]] = {"our fit": [], "our predict": [], "their fit": [], "their predict": []}
    for _ in range(ROUNDS):
        seconds, ours = timed(lambda: BoostedTrees(patience=None).fit(sample, inputs=INPUTS))
        times["our fit"].append(seconds)
        seconds, said = timed(lambda ours=ours: ours.predict(sample))
        times["our predict"].append(seconds)
        peer = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=1)
        seconds, theirs = timed(lambda peer=peer: peer.fit(values, labels, weights))
        times["their fit"].append(seconds)
        seconds, probability = timed(lambda theirs=theirs: theirs.predict_proba(values))
        times["their predict"].append(seconds)
        print({name: round(found[-1], 1) for name, found in times.items()}, file=sys.stderr, flush=True)
    each = {name: np.array(found) for name, found in times.items()}
    both = {side: each[f"{side} fit"] + each[f"{side} predict"] for side in ("our", "their")}
    # Their own subsample of 200,000 that bins are made from is drawn by weight, so trees differ a little.
    difference = float(np.median(np.abs(ak.to_numpy(said["boosted_trees_ps"]) - probability[:, 1])))
    return {
        "fit_predict_ratio": ratio(both["our"], both["their"]),
        "fit_ratio": ratio(each["our fit"], each["their fit"]),
        "predict_ratio": ratio(each["our predict"], each["their predict"]),
        "fit_predict_seconds": (float(np.median(both["our"])), float(np.ptp(both["our"])) / 2),
        "median_difference": (difference, 0.0),
    }


def ratio(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    return float(np.median(ours) / np.median(theirs)), float(np.ptp(ours / theirs)) / 2


def area(said: ak.Array, sample: Sample) -> float:
    return float(roc_auc_score(sample.column("label"), ak.to_numpy(said["boosted_trees_ps"])))


def scanned() -> dict[str, tuple[float, float]]:
    train, valid = (sample_of(*events(SCANNED, seed)) for seed in (2, 3))
    candidates = [BoostedTrees(leaves=leaves, learning_rate=rate, patience=None)
                  for leaves in (4, 8, 16, 31) for rate in (0.05, 0.1)]  # fmt: skip
    times: dict[int, list[float]] = {1: [], 2: []}
    found = {}
    for _ in range(ROUNDS):
        for workers in times:
            start = time.perf_counter()
            found[workers] = scan(candidates, train, valid, area, inputs=INPUTS, workers=workers)
            times[workers].append(time.perf_counter() - start)
        print({k: round(v[-1], 1) for k, v in times.items()}, file=sys.stderr, flush=True)
    assert found[1] == found[2]
    return {"scan_speedup": ratio(np.array(times[1]), np.array(times[2]))}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results/boosted-trees-benchmark.json"))
    parser.add_argument("--events", type=int, default=EVENTS)
    options = parser.parse_args()
    command = " ".join(["python", *sys.argv])
    result = Result.start("boosted-trees-benchmark", "benchmark", seed=1, command=command)
    values = against_scikit_learn(options.events) | scanned()
    result.sizes = {"events": options.events, "features": FEATURES, "scan": SCANNED}
    result.metrics = [
        Metric(name=name, method="boosted_trees", sample="gaussians", value=value, error=error,
               note=NOTES[name])
        for name, (value, error) in values.items()
    ]  # fmt: skip
    result.write(options.out)
    print(json.dumps({name: value for name, (value, _) in values.items()}, indent=1))


if __name__ == "__main__":
    main()
