"""The bump hunt here against pyBumpHunter 0.5.1, on its own example, in one run.

    pip install --no-deps --target /tmp/peer pyBumpHunter==0.5.1
    OMP_NUM_THREADS=1 PYTHONPATH=/tmp/peer python benchmarks/bump_hunt.py [--data data.root] [--out FILE]

Both histogram the example's 100,147 data and 99,996 background events into 60 bins of 0 to 20, scan windows
of 2 to 6 bins, and do so for 10,000 pseudo-experiments of the background, on one core. The two take turns,
ROUNDS times; ratios are of the medians of their processor times, the error is the spread over rounds. Then
ours with a background fitted to the data (exp of a parabola) and fitted again in each pseudo-experiment,
which the other cannot do; and the extrapolation of the tail from 10,000 pseudo-experiments against a count
of a million.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from femtobarn.evaluate.result import At, Metric, Result
from femtobarn.statistics.bump_hunt import Hunt, hunt, pseudo_experiments, strongest, windows
from femtobarn.statistics.shape_fit import fit_shapes, log_linear
from femtobarn.statistics.tails import tail_probability

Array = NDArray[np.float64]
HERE = Path(__file__).parents[1]
DATA = Path(os.environ.get("FEMTOBARN_TEST_DATA", HERE.parent / "shared" / "data"))
ROUNDS, TOYS, MANY, FAR = 7, 10_000, 1_000_000, 4.5
EDGES = np.linspace(0.0, 20.0, 61)
AT: At = {"toys": TOYS, "windows": "2-6 bins"}
EXAMPLE = "pyBumpHunter's example"


def histograms(data: Array, background: Array) -> tuple[Array, Array, Array]:
    """Edges, data and background, without empty bins of the background at the ends."""
    counts, expected = (np.histogram(values, EDGES)[0].astype(np.float64) for values in (data, background))
    filled = np.flatnonzero(expected)
    inside = slice(filled[0], filled[-1] + 1)
    return EDGES[filled[0] : filled[-1] + 2], counts[inside], expected[inside]


def ours(data: Array, background: Array, seed: int) -> Hunt:
    """The background is the one given."""
    _, counts, expected = histograms(data, background)
    where = windows(len(counts), 2, 6)
    return hunt(counts, expected, where, toys=TOYS, rng=np.random.default_rng(seed))


def fitted(data: Array, background: Array, seed: int) -> Hunt:
    """The background is fitted to the data, and to each pseudo-experiment."""
    edges, counts, _ = histograms(data, background)
    shape = log_linear(edges, lambda x: np.stack([(x / 10 - 1) ** k for k in range(3)], axis=-1))
    fit = fit_shapes(counts, shape)

    def refit(pseudo: Array) -> Array:
        return fit_shapes(pseudo, shape, start=fit.theta[0]).expected

    where = windows(len(counts), 2, 6)
    return hunt(counts, fit.expected[0], where, toys=TOYS, refit=refit, rng=np.random.default_rng(seed))


def peer(data: Array, background: Array, seed: int) -> tuple[float, float]:
    """Smallest local and global p-value of pyBumpHunter."""
    from pyBumpHunter import BumpHunter1D

    hunter = BumpHunter1D(
        rang=(0, 20), bins=60, width_min=2, width_max=6, width_step=1, scan_step=1, npe=TOYS,
        nworker=1, seed=seed,
    )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        hunter.bump_scan(data, background)
    return float(hunter.min_Pval_ar[0]), float(hunter.global_Pval)


def tails(expected: Array) -> tuple[float, float, list[float]]:
    """p of a local excess of FAR standard deviations: counted, its error, and extrapolated many times."""
    rng, where, t = np.random.default_rng(3), windows(len(expected), 2, 6), -np.log(ndtr(-FAR))
    above, parts = 0, []
    for _ in range(0, MANY, TOYS):
        toys = -np.log(strongest(pseudo_experiments(expected, TOYS, rng), expected, where)[0])
        above += int((toys >= t).sum())
        parts.append(tail_probability(toys, float(t)))
    inside = float(np.mean([part.low < above / MANY < part.high for part in parts]))
    return above / MANY, np.sqrt(above) / MANY, [float(np.median([part.p for part in parts])), inside]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA / "pybumphunter" / "data.root")
    parser.add_argument("--out", type=Path, default=Path("results/bump-hunt-benchmark.json"))
    given = parser.parse_args()
    try:
        release = version("pyBumpHunter")
        import pyBumpHunter  # noqa: F401  # before the clock starts
    except ImportError:
        raise SystemExit(
            "pyBumpHunter is not there: pip install --no-deps --target /tmp/peer pyBumpHunter==0.5.1, and "
            "put /tmp/peer on PYTHONPATH"
        ) from None
    result = Result.start("bump-hunt", "benchmark", seed=1, command=" ".join(["python", *sys.argv]))
    with uproot.open(given.data) as file:
        data, background = (file[name][name].array(library="np") for name in ("data", "bkg"))

    sides: dict[str, Callable[[Array, Array, int], object]] = {"known": ours, "fitted": fitted, "peer": peer}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    found: dict[str, list[Any]] = {name: [] for name in sides}
    for number in range(ROUNDS):
        for name, side in sides.items():
            start = time.process_time()
            found[name].append(side(data, background, 666 + number))
            seconds[name].append(time.process_time() - start)
        print({name: round(times[-1], 3) for name, times in seconds.items()}, flush=True)

    def metric(name: str, method: str, value: float, error: float | None = None, **more: object) -> None:
        entry = {"name": name, "at": AT, "method": method, "sample": EXAMPLE, "value": value, "error": error}
        result.metrics.append(Metric.model_validate({**entry, **more}))

    source = f"pyBumpHunter {release}, this run"
    local, p_peer = found["peer"][0]
    for name in ("known", "fitted"):
        first = found[name][0]
        p = statistics.mean(h.tail.p for h in found[name])
        error = np.sqrt(p * (1 - p) / (TOYS * ROUNDS))
        slope = error / (np.exp(-0.5 * ndtri(p) ** 2) / np.sqrt(2 * np.pi))
        same = name == "known"
        metric(
            "local_significance",
            name,
            first.local_significance,
            reference=-ndtri(local) if same else None,
            source=source if same else None,
        )
        metric(
            "global_p", name, p, error, reference=p_peer if same else None, source=source if same else None
        )
        metric(
            "global_significance",
            name,
            -ndtri(p),
            slope,
            reference=-ndtri(p_peer) if same else None,
            source=source if same else None,
        )
        ratios = [b / a for a, b in zip(seconds[name], seconds["peer"], strict=True)]
        ratio = statistics.median(seconds["peer"]) / statistics.median(seconds[name])
        metric("speed_ratio", name, ratio, statistics.stdev(ratios), note="times as fast as pyBumpHunter")
    for name, times in seconds.items():
        method = "pybumphunter" if name == "peer" else name
        metric("seconds", method, statistics.median(times), statistics.stdev(times), note="of one core")
    p = statistics.mean(p for _, p in found["peer"])
    metric("global_p", "pybumphunter", p, np.sqrt(p * (1 - p) / (TOYS * ROUNDS)))
    counted, error, (extrapolated, inside) = tails(histograms(data, background)[2])
    far: At = {"local_significance": FAR}
    few: At = {**far, "toys": TOYS}
    result.metrics += [
        Metric(name="tail_p", at={**far, "toys": MANY}, method="counted", sample=EXAMPLE, value=counted,
               error=error),
        Metric(name="tail_p", at=few, method="extrapolated", sample=EXAMPLE, value=extrapolated,
               reference=counted, source="counted, this run", note=f"median of {MANY // TOYS}"),
        Metric(name="tail_coverage", at=few, method="extrapolated", sample=EXAMPLE, value=inside,
               error=np.sqrt(inside * (1 - inside) * TOYS / MANY), note="of one standard deviation"),
    ]  # fmt: skip
    result.seconds = {name: statistics.median(times) for name, times in seconds.items()}
    result.write(given.out)
    for entry in result.metrics:
        print(
            f"{entry.name} {entry.method} {entry.value:.4g} +- {entry.error or 0:.2g}, not {entry.reference}"
        )


if __name__ == "__main__":
    main()
