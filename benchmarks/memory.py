"""Peak resident memory of every streaming stage at two sample sizes: it must not grow with the sample.

Simulating, writing, converting to Parquet, ROOT and HDF5, packing, reading, training, predicting: each in a
process of its own, so that its peak is its own. The simulation, slower than the rest, makes a tenth of the
jets.

    python benchmarks/memory.py [--sizes 100000 1000000] [--out results/memory-benchmark.json]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from femtobarn.data import Loader, PackedCache, append_columns, convert, open_sample, open_writer
from femtobarn.evaluate.result import Metric, Result
from femtobarn.learn import load as load_model
from femtobarn.learn.training import Training
from femtobarn.simulation import simulate as simulate_sample
from femtobarn.tagging.gn1 import GN1
from read import CLASSES, INPUTS, synthetic

BLOCK = 20_000
JETS_PER_EVENT = 5
SMALL = GN1(width=8, layers=1, heads=1, initial=(8,), jet_head=(8,), origin_head=(8,), vertex_head=(8,))


def simulate(folder: Path, jets: int) -> None:
    simulate_sample("ttbar", jets // (10 * JETS_PER_EVENT), folder / "simulated.h5")


def write(folder: Path, jets: int) -> None:
    with open_writer(folder / "jets.h5", CLASSES) as writer:
        for number, start in enumerate(range(0, jets, BLOCK)):
            writer.append(synthetic(min(BLOCK, jets - start), number))


def to_parquet(folder: Path, jets: int) -> None:
    convert(folder / "jets.h5", folder / "jets.parquet")


def to_root(folder: Path, jets: int) -> None:
    convert(folder / "jets.parquet", folder / "jets.root")


def to_hdf5(folder: Path, jets: int) -> None:
    convert(folder / "jets.root", folder / "again.h5")


def pack(folder: Path, jets: int) -> None:
    PackedCache.build(open_sample(folder / "jets.h5").split("train", by="row"), INPUTS, folder / "cache")


def load(folder: Path, jets: int) -> None:
    sample = open_sample(folder / "jets.h5").split("train", by="row")
    for _ in Loader(PackedCache.build(sample, INPUTS, folder / "cache"), 1000).iterate():
        pass


def train(folder: Path, jets: int) -> None:
    sample = open_sample(folder / "jets.h5")
    training = Training(epochs=1, batch_size=1000, progress="none")
    SMALL.fit(sample.split("train", by="row"), sample.split("valid", by="row"), training=training)
    SMALL.save(folder / "model")


def predict(folder: Path, jets: int) -> None:
    append_columns(
        open_sample(folder / "jets.h5"), load_model(folder / "model").predict, folder / "scored.h5"
    )


STAGES = {
    stage.__name__: stage
    for stage in (simulate, write, to_parquet, to_root, to_hdf5, pack, load, train, predict)
}


def peaks(jets: int, folder: Path) -> dict[str, float]:
    """Peak resident megabytes of each stage, each in its own process."""
    found = {}
    for stage in STAGES:
        command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder), "--sizes", str(jets)]
        environment = {**os.environ, "FEMTOBARN_CACHE": str(folder / "cache")}
        printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        found[stage] = float(printed)
        print(f"{jets} jets, {stage}: {found[stage]:.0f} MB", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--out", type=Path, default=Path("results/memory-benchmark.json"))
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.stage:
        STAGES[arguments.stage](arguments.folder, arguments.sizes[0])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    result = Result.start("memory-benchmark", "benchmark", seed=1, command=" ".join(["python", *sys.argv]))
    found = []
    for jets in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            found.append(peaks(jets, Path(folder)))
        for stage, value in found[-1].items():
            at: dict[str, float | int | str] = {
                "stage": stage,
                "jets": jets // (10 if stage == "simulate" else 1),
            }
            result.metrics.append(
                Metric(name="peak_memory_mb", at=at, method="femtobarn", sample="synthetic", value=value)
            )
    note = f"largest peak at {arguments.sizes[1]:,} jets over that at {arguments.sizes[0]:,}, of all stages"
    growth = max(found[1][stage] / found[0][stage] for stage in STAGES)
    result.metrics.append(
        Metric(name="memory_growth", method="femtobarn", sample="synthetic", value=growth, note=note)
    )
    result.write(arguments.out)


if __name__ == "__main__":
    main()
