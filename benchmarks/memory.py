"""Peak resident memory of converting, packing and reading, at two sample sizes: it must not grow.

Each stage runs in a process of its own, so that its peak is its own. Prints JSON: megabytes by stage and
size, and the largest growth from the small to the large sample.

    python benchmarks/memory.py [--sizes 100000 1000000] [--out memory.json]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from femtobarn.data import Loader, PackedCache, convert, open_sample, open_writer
from read import CLASSES, INPUTS, synthetic

BLOCK = 20_000


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


STAGES = {stage.__name__: stage for stage in (write, to_parquet, to_root, to_hdf5, pack, load)}


def peaks(jets: int, folder: Path) -> dict[str, float]:
    """Peak resident megabytes of each stage, each in its own process."""
    found = {}
    for stage in STAGES:
        command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder), "--sizes", str(jets)]
        found[stage] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.stage:
        STAGES[arguments.stage](arguments.folder, arguments.sizes[0])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    result: dict[str, object] = {}
    for jets in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            result[str(jets)] = peaks(jets, Path(folder))
    small, large = (result[str(jets)] for jets in (arguments.sizes[0], arguments.sizes[-1]))
    assert isinstance(small, dict) and isinstance(large, dict)
    result["growth"] = max(large[stage] / small[stage] for stage in STAGES)
    text = json.dumps(result, indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
