"""GN2 here against GN2 in salt 0.13.0: training and prediction, in one run, on the same file.

    python benchmarks/gn2_vs_salt.py [--salt PYTHON] [--sample FILE] [--out FILE]

PYTHON is the interpreter of an environment with `salt-ml==0.13.0`; made, beside torch, by

    pip install torch==2.13.0 h5py hdf5plugin pyyaml filelock scipy tqdm rich requests
    pip install --no-deps salt-ml==0.13.0 lightning==2.6.1 torchmetrics==1.8.2 lightning-utilities packaging \
        atlas-ftag-tools==0.3.3

Both sides read the same HDF5 file in the ATLAS layout, written here: jets as they are in the sample (without
FILE, simulated ttbar), and the same tracks dealt out 20 to a jet. The model is the published GN2 on both,
2.34 M parameters, in single precision, on batches of 1000 jets, salt's default, with two threads. A training
step is forward, the three losses, backward and AdamW; prediction is the network's answer without the
clustering of vertices. Batches are in memory before the clock starts. Each side has a process of its own, the
two in turn, ROUNDS times, and the medians over rounds are divided; the error is the standard deviation over
rounds. Needs a machine that does nothing else, and 16 GB: salt pads all jets to 40 tracks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import awkward as ak
import numpy as np

import femtobarn as fb
import gn2_clock
from femtobarn.data.atlas import AtlasWriter
from femtobarn.evaluate.result import Metric, Result
from femtobarn.simulation import simulate

HERE = Path(__file__).parent
ROUNDS, EVENTS, MANY = 3, 4500, 20


def write(sample: Path, own: Path, many: Path, count: int) -> dict[Path, float]:
    """The two files, `count` jets each, from the first jets of the sample; and their tracks per jet."""
    source = fb.open(sample)
    jets = source.read(0, min(4 * count, len(source)))
    tracks = ak.flatten(jets.tracks)
    if len(jets) < count or len(tracks) < count * MANY:
        raise SystemExit(f"{sample} has too few jets: {count} with {MANY} tracks each are to be made")
    jets, tracks = jets[:count], tracks[: count * MANY]
    dealt = ak.with_field(jets, ak.unflatten(tracks, np.full(count, MANY)), "tracks")
    for path, rows in ((own, jets), (many, dealt)):
        with AtlasWriter(path, source.schema.classes) as writer:
            writer.append(rows)
    return {own: float(ak.mean(ak.num(jets.tracks))), many: float(MANY)}


def rates(python: str, script: str, file: Path, batch: int, threads: int) -> dict[str, float]:
    """What one side prints."""
    command = [python, HERE / script, file, "--batch", str(batch), "--threads", str(threads)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    values: dict[str, float] = json.loads(printed.splitlines()[-1])
    return values


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--salt", default="/work/salt-venv/bin/python")
    parser.add_argument("--sample", type=Path)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=Path("results/gn2-vs-salt-benchmark.json"))
    given = parser.parse_args()
    result = Result.start("gn2-vs-salt", "benchmark", seed=1, command=" ".join(["python", *sys.argv]))
    sides = {"gn2": (sys.executable, "gn2_step.py"), "salt": (given.salt, "salt_gn2.py")}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sample = given.sample or folder / "ttbar.h5"
        if given.sample is None:
            simulate("ttbar", EVENTS, sample, seed=7)
        count = given.batch * gn2_clock.BATCHES
        for file, tracks in write(sample, folder / "own.h5", folder / "many.h5", count).items():
            measured: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
            for _ in range(given.rounds):
                for side, (python, script) in sides.items():
                    measured[side].append(rates(python, script, file, given.batch, given.threads))
                    print(f"{tracks:.1f} tracks a jet, {side}: {measured[side][-1]}", flush=True)
            at = {"tracks_per_jet": round(tracks, 2), "batch": given.batch, "threads": given.threads}
            result.metrics += metrics(measured, at, given.sample.stem if given.sample else "ttbar")
    result.write(given.out)
    for metric in result.metrics:
        print(f"{metric.name} {metric.method} {metric.at}: {metric.value}")


def metrics(
    measured: dict[str, list[dict[str, float]]], at: dict[str, float | int | str], sample: str
) -> list[Metric]:
    """Ratios of the medians over rounds, and what they are ratios of."""
    answer = []
    for what, note in (("train", "jets/s of a training step"), ("predict", "jets/s of a prediction")):
        ours, salt = ([entry[f"{what}_rate"] for entry in measured[side]] for side in ("gn2", "salt"))
        ratios = [a / b for a, b in zip(ours, salt, strict=True)]
        error = statistics.stdev(ratios) if len(ratios) > 1 else None
        value = statistics.median(ours) / statistics.median(salt)
        ratio = Metric(name=f"{what}_ratio", at=at, method="gn2", sample=sample, value=value, error=error)
        answer.append(ratio.model_copy(update={"note": f"{note}, over salt 0.13.0"}))
    names = {"train_rate": "jets/s", "predict_rate": "jets/s", "memory": "MB taken by training"}
    for name, note in {**names, "parameters": "of the network"}.items():
        for side, entries in measured.items():
            value = statistics.median(entry[name] for entry in entries)
            answer.append(Metric(name=name, at=at, method=side, sample=sample, value=value, note=note))
    return answer


if __name__ == "__main__":
    main()
