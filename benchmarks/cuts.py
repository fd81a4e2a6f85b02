"""A million combinations of cuts on 100,000 events: `Cuts`, a numpy loop, scipy's differential evolution.

    python benchmarks/cuts.py [--out results/cuts-benchmark.json]

Four features, one threshold each, 100,000 weighted events. The loop applies each combination to all events as
an analyst would write it, with numpy's masks, to `LOOP` of the combinations each round; its time is scaled
up. Differential evolution maximises the same significance without a grid. All are run alternately, `ROUNDS`
times; times and ratios are medians, `error_seed` is the spread over rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import islice, product
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from scipy.optimize import differential_evolution

from femtobarn.classification.cuts import Cuts, thresholds_per_feature
from femtobarn.classification.textbook import quantiles, textbook_inputs
from femtobarn.data.sample import Sample, from_memory
from femtobarn.evaluate.result import Metric, Result
from femtobarn.statistics.significance import asimov

EVENTS, FEATURES, COMBINATIONS, LOOP, ROUNDS = 100_000, 4, 1_100_000, 1000, 5
SIGNAL, BACKGROUND, LEAST = 100.0, 1000.0, 1e-3


def events(seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Features, which are signal, weights that sum to the yields."""
    rng = np.random.default_rng(seed)
    is_signal = np.arange(EVENTS) % 2 == 0
    x = rng.exponential(size=(EVENTS, FEATURES)) * np.where(is_signal[:, None], [2.0, 1.6, 1.4, 1.2], 1.0)
    weight = rng.uniform(0.5, 1.5, EVENTS) * np.where(rng.random(EVENTS) < 0.05, -1, 1)
    for which, total in ((is_signal, SIGNAL), (~is_signal, BACKGROUND)):
        weight[which] *= total / weight[which].sum()
    return x.astype(np.float32), is_signal, weight.astype(np.float32)


def sample(x: np.ndarray[Any, Any], is_signal: np.ndarray[Any, Any], weight: np.ndarray[Any, Any]) -> Sample:
    fields: dict[str, Any] = {f"x{i + 1}": column for i, column in enumerate(x.T)}
    fields |= {"label": (~is_signal).astype(np.int8), "weight": weight}
    return from_memory(ak.Array(fields), {"label": ["signal", "background"]})


def significance(x: Any, is_signal: Any, weight: Any, low: Any) -> float:
    """Of one combination, as an analyst would write it."""
    kept = np.ones(len(x), dtype=bool)
    for column, threshold in zip(x.T, low, strict=True):
        kept &= column > threshold
    s, b = weight[kept & is_signal].sum(), weight[kept & ~is_signal].sum()
    return float(asimov(s, b).value) if b >= LEAST * BACKGROUND else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results/cuts-benchmark.json"))
    out: Path = parser.parse_args().out
    x, is_signal, weight = events(1)
    names = [f"x{i + 1}" for i in range(FEATURES)]
    inputs = textbook_inputs().model_copy(update={"event": names})
    toys, columns = sample(x, is_signal, weight), np.asfortranarray(x)
    counts = thresholds_per_feature(["above"] * FEATURES, COMBINATIONS)
    combinations = int(np.prod(np.array(counts) + 1))
    size = np.abs(weight).astype(np.float64)
    size /= np.where(is_signal, size[is_signal].sum(), size[~is_signal].sum())
    grids = [
        [-np.inf, *quantiles(column, size, np.arange(1, n + 1) / (n + 1))]
        for column, n in zip(x.T.astype(np.float64), counts, strict=True)
    ]
    seconds: dict[str, list[float]] = {"femtobarn": [], "numpy loop": [], "differential evolution": []}
    found: dict[str, float] = {}
    for number in range(ROUNDS):
        start = time.perf_counter()
        cuts = Cuts(combinations=COMBINATIONS, sides=dict.fromkeys(names, "above"), least=LEAST)
        cuts.fit(toys, inputs=inputs)
        seconds["femtobarn"].append(time.perf_counter() - start)
        found["femtobarn"] = significance(columns, is_signal, weight, cuts.boxes[cuts.best, :, 0])
        start = time.perf_counter()
        for low in islice(product(*grids), number * LOOP, (number + 1) * LOOP):
            significance(columns, is_signal, weight, low)
        seconds["numpy loop"].append((time.perf_counter() - start) * combinations / LOOP)
        start = time.perf_counter()
        best = differential_evolution(
            lambda low: -significance(columns, is_signal, weight, low),
            [(0.0, float(np.quantile(column, 0.99))) for column in x.T], rng=number, polish=False,
        )  # fmt: skip
        seconds["differential evolution"].append(time.perf_counter() - start)
        found["differential evolution"] = max(-float(best.fun), found.get("differential evolution", 0.0))
    result = Result.start("cuts-benchmark", "benchmark", seed=1, command=" ".join(["python", *sys.argv]))
    result.sizes = {"events": EVENTS, "features": FEATURES, "combinations": combinations}
    for method, times in seconds.items():
        note = f"{LOOP} combinations a round, scaled up" if method == "numpy loop" else None
        ratios = np.array(times) / np.array(seconds["femtobarn"])
        for name, values in (("seconds", np.array(times)), ("time_ratio", ratios)):
            value, spread = float(np.median(values)), float(np.std(values, ddof=1))
            metric = Metric(name=name, method=method, sample="toy", value=value, error_seed=spread, note=note)
            result.metrics.append(metric)
        if method in found:
            metric = Metric(name="significance", method=method, sample="toy", value=found[method])
            result.metrics.append(metric)
    result.write(out)
    print(json.dumps([m.model_dump(exclude_none=True) for m in result.metrics], indent=1))


if __name__ == "__main__":
    main()
