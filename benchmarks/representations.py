"""Events and jets per second of the representations in `physics`, on one core.

The rapidity-mass matrix has the ATLAS choice of 35 objects and missing momentum, filled as full as the events
are (half of the places), and completely full; a plain numpy version that computes the same cells is its peer.

    OMP_NUM_THREADS=1 python benchmarks/representations.py [--out FILE]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np

from femtobarn.evaluate.result import Metric, Result
from femtobarn.physics.object_list import QCD_SCHOOL, object_list, padded_objects
from femtobarn.physics.rapidity_mass import ATLAS_TYPES, rapidity_mass_inputs, rapidity_mass_matrix
from femtobarn.physics.substructure import energy_correlators, n_subjettiness

EVENTS = 20_000


def rate(work: Callable[[], object], count: int, repeat: int = 3) -> float:
    """Items per second, the best of some runs after one that compiles."""
    work()
    best = np.inf
    for _ in range(repeat):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return count / best


def events(rng: np.random.Generator, fullness: float) -> ak.Array:
    fields = {"met": rng.exponential(50, EVENTS), "met_phi": rng.uniform(-3, 3, EVENTS)}
    for name, size in ATLAS_TYPES.items():
        counts = rng.binomial(size, fullness, EVENTS)
        n = int(counts.sum())
        columns = {
            "pt": rng.exponential(60, n) + 20,
            "eta": rng.normal(0, 1, n),
            "phi": rng.uniform(-3, 3, n),
        }
        objects = ak.unflatten(ak.zip({**columns, "mass": rng.exponential(5, n)}), counts)
        fields[name] = objects[ak.argsort(objects.pt, ascending=False)]
    return ak.zip(fields, depth_limit=1)


def plain(
    missing: np.ndarray, missing_phi: np.ndarray, objects: np.ndarray, sqrt_s: float = 13_000.0
) -> np.ndarray:
    """The masses and rapidity differences alone, with numpy, for full events."""
    pt, eta, phi, mass = np.moveaxis(objects, -1, 0)
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    energy = np.sqrt(px**2 + py**2 + pz**2 + mass**2)
    y = 0.5 * np.log((energy + pz) / (energy - pz))
    e, x, w, z = (a[:, :, None] + a[:, None, :] for a in (energy, px, py, pz))
    masses = np.sqrt(np.maximum(e**2 - x**2 - w**2 - z**2, 0)) / sqrt_s
    return np.triu(masses, 1) + np.tril(np.cosh((y[:, :, None] - y[:, None, :]) / 2) - 1, -1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results/representations-benchmark.json"))
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    half, full = events(rng, 0.5), events(rng, 1.0)
    met, met_phi = np.asarray(full["met"]), np.asarray(full["met_phi"])
    objects = padded_objects(full, ATLAS_TYPES)
    counts = rng.integers(20, 80, 2000)
    pt, y, phi = rng.exponential(10, counts.sum()), *rng.normal(0, 0.3, (2, counts.sum()))
    values = {
        "matrix_rate": rate(lambda: rapidity_mass_matrix(met, met_phi, objects, ATLAS_TYPES), EVENTS),
        "matrix_rate_numpy": rate(lambda: plain(met[:2000], met_phi[:2000], objects[:2000]), 2000),
        "inputs_rate_full": rate(lambda: rapidity_mass_inputs(full), EVENTS),
        "inputs_rate_half": rate(lambda: rapidity_mass_inputs(half), EVENTS),
        "object_list_rate": rate(lambda: object_list(full, QCD_SCHOOL), EVENTS),
        "subjettiness_rate": rate(lambda: n_subjettiness(counts, pt, y, phi), len(counts)),
        "correlators_rate": rate(lambda: energy_correlators(counts, pt, y, phi), len(counts)),
    }
    result = Result.start("representations", "benchmark", seed=1, command=" ".join(["python", *sys.argv]))
    for name, value in values.items():
        of = "jets of 50 constituents" if name[:3] in ("sub", "cor") else "events of 36 objects"
        peer = "numpy" if name.endswith("numpy") else "femtobarn"
        result.metrics.append(Metric(name=name.removesuffix("_numpy"), method=peer, sample=of, value=value,
                                     note="per second of one core"))  # fmt: skip
        print(name, f"{value:.4g}")
    result.write(arguments.out)


if __name__ == "__main__":
    main()
