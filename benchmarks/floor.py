"""The floor's claims in one run: reading, training, simulating.

    python benchmarks/floor.py [--out results/floor-benchmark.json]

Runs `read.py` and `gn1_training.py`, and simulates ttbar collisions at a pile-up of 20 in one worker. The
simulation's share is what femtobarn's own code takes of all CPU seconds, imports and the writing of the file
included, fastjet counted as ours; the pool of minimum-bias collisions is made before.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from femtobarn.evaluate.result import Metric, Result
from femtobarn.simulation import simulate

HERE = Path(__file__).parent
EVENTS = 4000
NOTES = {
    "read_ratio": "jets/s of shuffled packed batches over salt's way of reading the same ATLAS-layout HDF5",
    "train_flops_fraction": "GN1 with both auxiliary tasks on one thread over a 3600 x 64 x 64 product",
    "train_rate": "jets/s on one thread, 7.2 tracks per jet",
    "simulation_share": "femtobarn's share of the CPU time of `simulate ttbar` at a pile-up of 20",
    "simulation_rate": "jets per CPU second of `simulate ttbar` at a pile-up of 20",
}


def script(name: str) -> dict[str, float]:
    """What a benchmark of this folder prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    printed = subprocess.run(
        [sys.executable, HERE / name], env=environment, check=True, capture_output=True, text=True
    )
    values: dict[str, float] = json.loads(printed.stdout)
    return values


def cpu_seconds() -> float:
    """CPU seconds of this process and of all its children that have ended."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in usage)


def simulation() -> dict[str, float]:
    """Share and rate of the simulation."""
    with tempfile.TemporaryDirectory() as folder:
        simulate("ttbar", 1, Path(folder) / "pool.h5")
        start = cpu_seconds()
        summary = simulate("ttbar", EVENTS, Path(folder) / "ttbar.h5", seed=7)
        total = cpu_seconds() - start
    return {
        "simulation_share": 1 - summary.seconds["pythia"] / total,
        "simulation_rate": summary.jets / total,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results/floor-benchmark.json"))
    out: Path = parser.parse_args().out
    result = Result.start("floor-benchmark", "benchmark", seed=1, command=" ".join(["python", *sys.argv]))
    values = {**script("read.py"), **script("gn1_training.py"), **simulation()}
    for name, note in NOTES.items():
        metric = Metric(name=name, method="femtobarn", sample="ttbar", value=values[name], note=note)
        result.metrics.append(metric)
    result.write(out)
    print(json.dumps(values, indent=1))


if __name__ == "__main__":
    main()
