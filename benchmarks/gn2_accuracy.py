"""Does GN2 here learn as much as GN2 in salt 0.13.0, of the same jets in as many epochs?

    python benchmarks/gn2_accuracy.py [--salt PYTHON] [--sample FILE] [--out FILE]

PYTHON is an interpreter with salt, see `gn2_vs_salt.py`. Both sides learn from the same file in the ATLAS
layout, written here from the training split of FILE (without it, simulated ttbar), in the same number of
epochs, with the same optimiser, rates and batches, and are judged by the same jets of its test split. Ours is
trained as `femtobarn train` does it: with its transforms and mirror images, which salt does not have.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import awkward as ak
import numpy as np
import torch

import femtobarn as fb
from femtobarn.data.atlas import AtlasWriter
from femtobarn.evaluate.flavour_metrics import flavour_metrics
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.ladder import step_metrics
from femtobarn.evaluate.result import At, Result, combine
from femtobarn.learn.training import Training
from femtobarn.simulation import simulate
from femtobarn.tagging.gn2 import GN2

HERE = Path(__file__).parent
FLAVOURS = ("b", "c", "u", "tau")
AT: At = {"b_efficiency": 0.7, "f_c": 0.05, "f_c_choice": "common"}


def write(sample: fb.Sample, count: int, path: Path) -> ak.Array:
    """The first `count` jets, in random order since salt's batches are blocks of the file."""
    rows = sample.read(0, min(count, len(sample)))
    rows = rows[np.random.default_rng(1).permutation(len(rows))]
    with AtlasWriter(path, sample.schema.classes) as writer:
        writer.append(rows)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--salt", default="/work/salt-venv/bin/python")
    parser.add_argument("--sample", type=Path)
    parser.add_argument("--train", type=int, default=30_000, help="jets to learn from")
    parser.add_argument("--test", type=int, default=60_000, help="jets to be judged by")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("results/gn2-accuracy-benchmark.json"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    first = Result.start("gn2-accuracy", "benchmark", seed=1, command=" ".join(["python", *sys.argv]))
    training = Training(
        optimiser="adamw", learning_rate=given.rate, weight_decay=1e-5, schedule="one-cycle", warmup=0.1,
        initial_rate=1e-7, final_rate=1e-5, batch_size=given.batch, epochs=given.epochs, keep="last",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = given.sample or folder / "ttbar.h5"
        if given.sample is None:
            simulate("ttbar", (given.train + given.test) // 2, path, seed=7)
        sample = fb.open(path).select(pt=(20, 250))
        train, test = folder / "train.h5", folder / "test.h5"
        first.sizes["train"] = len(write(sample.split("train"), given.train, train))
        rows = write(sample.split("test"), given.test, test)
        first.sizes["test"] = len(rows)
        jets, parts = Jets(rows), []
        for seed in given.seeds:
            tagger = GN2().fit(fb.open(train), training=training.with_(seed=seed))
            ours = FlavourScores.from_prediction(tagger.predict(fb.open(test)), "gn2", seeds=[seed])
            command = [given.salt, HERE / "salt_train.py", train, test, folder / "salt.npy"]
            for name in ("epochs", "batch", "rate", "threads"):
                command += [f"--{name}", str(getattr(given, name))]
            subprocess.run([*command, "--seed", str(seed)], check=True)
            said = dict(zip(FLAVOURS, np.load(folder / "salt.npy").T.astype(np.float64), strict=True))
            salt = FlavourScores("salt", *(said[name] for name in FLAVOURS), label="salt", seeds=(seed,))
            own = {"gn2": 0.05, "salt": 0.05}
            metrics = flavour_metrics(jets, [salt, ours], sample=path.stem, own=own)
            metrics = [m for m in metrics if m.at.get("f_c_choice") == "common" and "relative_to" not in m.at]
            metrics += step_metrics(jets, salt, ours, path.stem, AT, 0.05)
            parts.append(first.model_copy(update={"metrics": metrics}))
            result = combine(parts)
            result.write(given.out)  # after each seed, since salt takes its time
    for metric in result.metrics:
        print(metric.name, metric.method, metric.at, metric.value, metric.error, metric.error_seed)


if __name__ == "__main__":
    main()
