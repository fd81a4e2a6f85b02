"""ParT and ParticleNet here against those of weaver-core 0.5.3: training, prediction and loading, in one run.

    python benchmarks/jets_vs_weaver.py [--weaver PYTHON] [--out FILE]

PYTHON is the interpreter of an environment with weaver-core, made by

    pip install torch==2.13.0 && pip install --no-deps weaver-core==0.5.3
    pip install numpy numba awkward uproot pyarrow pyyaml tqdm

Both sides take the same jets, drawn with as many candidates as realistic ones have (mean 45, 5 % above
76, at most 128), 17 features each, ten classes, from Parquet, weaver's in the layout of JetClass. Networks
are those published, in single precision. A step is forward, cross-entropy, backward and AdamW; batches are in
memory before the clock starts. Weaver pads to 128 and, as is its default, cuts that to the longest jet of a
batch when it predicts, and to a random quantile between 0.9 and 1 of the lengths when it trains, dropping
what is beyond; here nothing is dropped. Ours includes the kinematics of the four-momenta, which weaver takes
from its loader.

Loading is shuffled batches of 512 jets ready for the network, in one process without workers: weaver's
SimpleIterDataset and DataLoader (with its thread that reads ahead) against a packed cache, made once
(`build_rate`), per second of processor time of all threads; one epoch warms up, three are timed.

Each side has a process of its own, the two in turn, ROUNDS times, LOADING times for the loading, which takes
seconds; medians over rounds are divided; the error is the standard deviation over rounds. Needs a machine
that does nothing else, and 12 GB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.data.formats import open_writer
from femtobarn.evaluate.result import Metric, Result
from femtobarn.tagging.candidates import CLASSES

HERE = Path(__file__).parent
ROUNDS, LOADING, LOADED = 3, 8, 30_000
BATCH = {"part": 256, "particlenet": 96}
PROPERTIES = ("charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
IMPACT = {
    "d0": "part_d0val",
    "d0Uncertainty": "part_d0err",
    "dz": "part_dzval",
    "dzUncertainty": "part_dzerr",
}


def lengths(jets: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Candidates per jet: Poisson with a gamma-distributed mean of 45 and a width of 17."""
    return np.clip(rng.poisson(rng.gamma(8.0, 45 / 8, jets)), 2, 128)


def draw(jets: int, seed: int) -> tuple[NDArray[np.int8], NDArray[np.int64], dict[str, NDArray[np.float32]]]:
    """Labels, candidates per jet, and columns of candidates by our names."""
    rng = np.random.default_rng(seed)
    counts = lengths(jets, rng)
    jet, size = np.repeat(np.arange(jets), counts), int(counts.sum())
    pt = 0.5 + rng.exponential(15.0, size)
    order = np.lexsort((-pt, jet))
    eta = rng.uniform(-1.5, 1.5, jets)[jet] + rng.normal(0, 0.2, size)
    phi = rng.uniform(-3, 3, jets)[jet] + rng.normal(0, 0.2, size)
    columns = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    columns["energy"] = np.sqrt(np.square(np.stack(list(columns.values()))).sum(0) + 0.14**2)
    columns |= {name: rng.integers(0, 2, size) for name in PROPERTIES}
    columns |= {name: np.abs(rng.normal(0, 0.3, size)) for name in IMPACT}
    return rng.integers(0, 10, jets).astype(np.int8), counts, {
        name: column[order].astype(np.float32) for name, column in columns.items()
    }  # fmt: skip


def write(ours: Path, theirs: Path, jets: int) -> float:
    """The same jets in our layout and in that of JetClass; gives the candidates per jet."""
    label, counts, columns = draw(jets, 1)
    rows = ak.zip(
        {"jet_label": label, "mcEventWeight": np.ones(jets, np.float32),
         "candidates": ak.unflatten(ak.zip(columns), counts)}, depth_limit=1,
    )  # fmt: skip
    with open_writer(ours, {"jet_label": list(CLASSES)}) as writer:
        writer.append(rows)
    jet = np.repeat(np.arange(jets), counts)
    px, py, pz, energy = (np.bincount(jet, columns[name], jets) for name in ("px", "py", "pz", "energy"))
    pt = np.hypot(columns["px"], columns["py"])
    deta = np.arcsinh(columns["pz"] / pt) - np.arcsinh(pz / np.hypot(px, py))[jet]
    dphi = np.arctan2(columns["py"], columns["px"]) - np.arctan2(py, px)[jet]
    named = {f"part_{name}": columns[name] for name in ("px", "py", "pz", "energy", *PROPERTIES)}
    named |= {theirs: columns[name] for name, theirs in IMPACT.items()}
    named |= {"part_deta": deta, "part_dphi": (dphi + np.pi) % (2 * np.pi) - np.pi}
    named = {name: ak.unflatten(np.asarray(column, np.float32), counts) for name, column in named.items()}
    named |= {"jet_pt": np.hypot(px, py).astype(np.float32), "jet_energy": energy.astype(np.float32)}
    named |= {f"label_{name}": (label == k).astype(np.int32) for k, name in enumerate(CLASSES)}
    ak.to_parquet(ak.zip(named, depth_limit=1), theirs, row_group_size=10_000)
    return float(counts.mean())


def rates(python: str, script: str, *arguments: Any) -> dict[str, float]:
    """What one side prints."""
    command = [python, HERE / script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script}: {done.stderr[-3000:]}")
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weaver", default="/work/h/weaver-venv/bin/python")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--jets", type=int, default=LOADED)
    parser.add_argument("--out", type=Path, default=Path("results/jets-vs-weaver-benchmark.json"))
    given = parser.parse_args()
    result = Result.start("jets-vs-weaver", "benchmark", seed=1, command=" ".join(["python", *sys.argv]))
    sides = {"ours": (sys.executable, "jets_step.py"), "weaver": (given.weaver, "jets_weaver.py")}
    with tempfile.TemporaryDirectory() as scratch:
        files = {"ours": Path(scratch) / "ours.parquet", "weaver": Path(scratch) / "weaver.parquet"}
        mean = write(*files.values(), given.jets)
        for what in (*BATCH, "load"):
            measured: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
            for _ in range(LOADING if what == "load" else given.rounds):
                for side, (python, script) in sides.items():
                    size = BATCH.get(what, 512)
                    found = rates(
                        python, script, what, files[side], "--batch", size, "--threads", given.threads
                    )
                    measured[side].append(found)
                    print(f"{what}, {side}: {found}", flush=True)
            at = {"candidates_per_jet": round(mean, 1), "batch": size, "threads": given.threads}
            result.metrics += metrics(what, measured, at)
    result.write(given.out)
    for metric in result.metrics:
        print(f"{metric.name} {metric.method} {metric.at}: {metric.value} +- {metric.error}")


def metrics(
    what: str, measured: dict[str, list[dict[str, float]]], at: dict[str, float | int | str]
) -> list[Metric]:
    """Ratios of medians over rounds, and what they are ratios of."""
    answer = []
    for name in measured["ours"][0]:
        if not name.endswith("_rate"):
            continue
        ours, weaver = ([entry.get(name, 0.0) for entry in measured[side]] for side in ("ours", "weaver"))
        if all(weaver):
            ratios = [a / b for a, b in zip(ours, weaver, strict=True)]
            error = statistics.stdev(ratios) if len(ratios) > 1 else None
            value = statistics.median(ours) / statistics.median(weaver)
            ratio = Metric(name=name.replace("_rate", "_ratio"), at=at, method=what, sample="drawn jets",
                           value=value, error=error, note="jets/s over weaver-core 0.5.3")  # fmt: skip
            answer.append(ratio)
    for side, entries in measured.items():
        for name in entries[0]:
            label = what if side == "ours" else f"weaver {what}"
            value = statistics.median(entry[name] for entry in entries)
            note = {"memory": "MB taken by training", "parameters": "of the network"}.get(name, "jets/s")
            answer.append(Metric(name=name, at=at, method=label, sample="drawn jets", value=value, note=note))
    return answer


if __name__ == "__main__":
    main()
