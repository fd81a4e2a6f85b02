"""Vertices in one run on one core: clustering from pairs, the fit, and the two taggers built on it.

    OMP_NUM_THREADS=1 python benchmarks/vertexing.py [--jets FILE] [--out FILE]

Jets have as many tracks as in ttbar (7.2 on average). Clustering: probabilities of pairs near 0 and 1; the
peer is scipy's mean linkage, jet by jet. The fit: vertices of four tracks; the peer is scipy's
least squares with the same residuals, one vertex at a time. The taggers are fitted on the valid split of
FILE, which `femtobarn simulate` writes, and timed on 10 000 jets of its test split, from packed batches to
scores; without it they are left out. Medians of rounds timed in turn, in CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import least_squares

from femtobarn.data import open_sample
from femtobarn.data.packing import to_batch
from femtobarn.data.ragged import Batch
from femtobarn.physics.groups import offsets_of, pairs
from femtobarn.physics.helix import perigee
from femtobarn.physics.kinematics import cartesian
from femtobarn.physics.linkage import vertices_from_pairs
from femtobarn.physics.vertexing import MeasuredTracks, fit_vertices, residuals
from femtobarn.tagging.jetfitter import JetFitter
from femtobarn.tagging.sv1 import SV1

JETS, VERTICES, ROUNDS = 20_000, 2000, 3
SOME_JETS, SOME_VERTICES = 2000, 30
"""As many does a peer get."""


def timed(*actions: Callable[[], Any], rounds: int = ROUNDS) -> list[float]:
    """Median CPU seconds of each action, the actions in turn."""
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds):
        for action, taken in zip(actions, seconds, strict=True):
            start = time.process_time()
            action()
            taken.append(time.process_time() - start)
    return [statistics.median(taken) for taken in seconds]


def clustering() -> dict[str, float]:
    """Jets per second of `vertices_from_pairs`, and over scipy's mean linkage jet by jet."""
    rng = np.random.default_rng(1)
    counts = np.minimum(rng.negative_binomial(4.7, 4.7 / (4.7 + 7.2), JETS), 40)
    offsets = offsets_of(counts)
    first, second = pairs(counts)
    probability = rng.beta(0.3, 0.5, len(first))
    # scipy's condensed matrix goes by the first track of a pair.
    distance = 1 - probability[np.lexsort((second, first))]
    bounds = np.append(0, np.cumsum(counts * (counts - 1) // 2))

    def one_by_one() -> None:
        for jet in range(SOME_JETS):
            if counts[jet] > 1:
                tree = linkage(distance[bounds[jet] : bounds[jet + 1]], "average")
                fcluster(tree, 0.5, "distance")

    vertices_from_pairs(first, second, probability, offsets)  # compiled
    ours, peer = timed(lambda: vertices_from_pairs(first, second, probability, offsets), one_by_one)
    return {"clustering_rate": JETS / ours, "clustering_ratio": peer / SOME_JETS / (ours / JETS)}


def fitting() -> dict[str, float]:
    """Vertices of four tracks per second, and over scipy's least squares one by one."""
    rng = np.random.default_rng(2)
    vertex = np.repeat(np.arange(VERTICES), 4)
    n = len(vertex)
    point = rng.normal(0, 2, (VERTICES, 3))
    momentum = cartesian(rng.uniform(1, 20, n), rng.normal(0, 0.3, n), rng.normal(0, 0.3, n))
    track = perigee(tuple(point[vertex].T), momentum, rng.choice([-1.0, 1.0], n), 2.0)
    error = rng.normal(0, 0.02, (2, n))
    sigma = (np.full(n, 0.02), np.full(n, 0.1), np.full(n, 1e-3), np.full(n, 1e-3))
    tracks = MeasuredTracks.of(
        track.d0 + error[0], track.z0 * np.sin(track.theta) + 5 * error[1], track.phi, track.theta,
        track.q_over_p, sigma,
    )  # fmt: skip

    def one_by_one() -> None:
        for k in range(SOME_VERTICES):
            mine = tracks.take(vertex == k)

            def pulls(x: Any, mine: MeasuredTracks = mine) -> Any:
                r = residuals(mine, np.tile(x, (4, 1)))
                return np.concatenate([r.d / np.sqrt(r.var_d), r.l / np.sqrt(r.var_l)])

            least_squares(pulls, np.zeros(3))

    ours, peer = timed(lambda: fit_vertices(tracks, vertex, VERTICES), one_by_one)
    return {"fit_rate": VERTICES / ours, "fit_ratio": peer / SOME_VERTICES / (ours / VERTICES)}


def predict(method: SV1 | JetFitter, batches: list[Batch]) -> None:
    """All batches, the scores thrown away."""
    for batch in batches:
        method.predict_batch(batch)


def taggers(path: Path) -> dict[str, float]:
    """Jets per second of both taggers, from packed batches of 5000 jets to scores."""
    sample = open_sample(path)
    rates = {}
    for method in (SV1(), JetFitter()):
        method.fit(sample.split("valid"))
        rows = sample.split("test").read(0, 10_000)
        inputs = method.fitted_inputs.without_labels()
        batches = [to_batch(rows[k : k + 5000], inputs) for k in range(0, len(rows), 5000)]
        (seconds,) = timed(partial(predict, method, batches))
        rates[f"{method.name}_rate"] = len(rows) / seconds
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jets", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    values = {**clustering(), **fitting(), **(taggers(arguments.jets) if arguments.jets else {})}
    text = json.dumps({name: round(value, 1) for name, value in values.items()}, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
