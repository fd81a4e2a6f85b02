"""Shuffled packed batches from the cache against ATLAS-layout HDF5 read the way salt reads it.

One run, one process bound to one core, the same jets, both from a warm page cache. The peer does what
`SaltDataset.__getitem__` of salt 0.13 does: `read_direct` of contiguous padded rows into a reused structured
buffer of the fields a training needs, then a padded float32 tensor, padding set to zero, a check for finite
values, labels as int64; and packing by mask as salt's network does first. It does not shuffle within a batch.
Ours delivers the same content in shuffled order, reading ahead in a thread whose time counts too. Rates are
per CPU-second, so that other work on the machine does not enter. Prints JSON: `read_ratio`, and both rates.

    python benchmarks/read.py [--jets 200000] [--out read.json]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import torch
from numpy.lib.recfunctions import structured_to_unstructured

from femtobarn.data import Collection, Inputs, Label, Loader, PackedCache, open_sample
from femtobarn.data.atlas import AtlasWriter
from femtobarn.data.packing import Classes

FLOATS = [
    "qOverP", "deta", "dphi", "d0", "z0SinTheta", "qOverPUncertainty", "thetaUncertainty", "phiUncertainty",
    "IP3D_signed_d0_significance", "IP3D_signed_z0_significance",
]  # fmt: skip
HITS = [
    "numberOfPixelHits", "numberOfSCTHits", "numberOfInnermostPixelLayerHits",
    "numberOfNextToInnermostPixelLayerHits", "numberOfInnermostPixelLayerSharedHits",
    "numberOfInnermostPixelLayerSplitHits", "numberOfPixelSharedHits", "numberOfPixelSplitHits",
    "numberOfSCTSharedHits", "numberOfPixelHoles", "numberOfSCTHoles",
]  # fmt: skip
MORE = [
    "pt", "eta", "phi", "dr", "theta", "z0", "d0Uncertainty", "z0SinThetaUncertainty", "IP3D_signed_d0",
    "IP3D_signed_z0",
]  # fmt: skip
"""What a simulated file holds besides the inputs."""
ORIGINS = ["Pileup", "Fake", "Primary", "FromB", "FromBC", "FromC", "FromTau", "OtherSecondary"]
CLASSES: Classes = {"flavour_label": ["bjets", "cjets", "ujets"], "tracks.ftagTruthOriginLabel": ORIGINS}
INPUTS = Inputs(
    event=["pt", "eta"],
    labels={"jet": Label(field="flavour_label", classes={"b": ["bjets"], "c": ["cjets"], "u": ["ujets"]})},
    weight="mcEventWeight",
    collections={
        "tracks": Collection(
            features=[*FLOATS, *HITS],
            labels={
                "origin": Label(field="ftagTruthOriginLabel", classes={name: [name] for name in ORIGINS})
            },
            fields=["ftagTruthVertexIndex"],
        )
    },
)


def synthetic(jets: int, seed: int) -> ak.Array:
    """Jets with as many tracks as in simulated ttbar: mean 7.2, 95th percentile 14; measurements and hit
    counts as float32."""
    rng = np.random.default_rng(seed)
    # Poisson with a gamma-distributed mean: overdispersed like jets of different pT and flavour.
    counts = np.minimum(rng.poisson(rng.gamma(5.0, 7.2 / 5.0, jets)), 40)
    total = int(counts.sum())
    columns: dict[str, Any] = {name: rng.normal(size=total).astype(np.float32) for name in [*FLOATS, *MORE]}
    columns |= {name: np.abs(columns[name]) for name in columns if name.endswith("Uncertainty")}
    columns |= {name: rng.poisson(2.0, total).astype(np.float32) for name in HITS}
    columns["ftagTruthOriginLabel"] = rng.integers(0, 8, total).astype(np.int8)
    columns["leptonID"] = np.zeros(total, np.int8)
    columns["ftagTruthVertexIndex"] = rng.integers(-2, 4, total).astype(np.int16)
    return ak.Array(
        {
            "pt": rng.uniform(20, 250, jets).astype(np.float32),
            "eta": rng.uniform(-2.5, 2.5, jets).astype(np.float32),
            "mcEventWeight": np.ones(jets, np.float32),
            "flavour_label": rng.integers(0, 3, jets).astype(np.int8),
            "tracks": ak.unflatten(ak.zip(columns), counts),
        }
    )


def dense(rows: np.ndarray) -> torch.Tensor:
    """Structured rows as one float32 tensor."""
    return torch.from_numpy(np.ascontiguousarray(structured_to_unstructured(rows, dtype=np.float32)))


def salt_way(path: Path, size: int) -> Iterator[tuple[torch.Tensor, ...]]:
    """Batches as `SaltDataset.__getitem__` of salt 0.13 makes them, then packed by mask."""
    event, labels = ["pt_btagJes", "eta_btagJes"], ["flavour_label", "mcEventWeight"]
    features, truth = [*FLOATS, *HITS], ["ftagTruthOriginLabel", "ftagTruthVertexIndex"]
    with h5py.File(path, "r") as file:
        jets, tracks = file["jets"], file["tracks"]
        jet_rows = np.empty(size, [(name, jets.dtype[name]) for name in (*labels, *event)])
        shape = (size, tracks.shape[1])
        track_rows = np.empty(shape, [(name, tracks.dtype[name]) for name in (*truth, *features, "valid")])
        for start in range(0, len(jets) - size + 1, size):
            jets.read_direct(jet_rows, np.s_[start : start + size])
            tracks.read_direct(track_rows, np.s_[start : start + size])
            batch = [dense(jet_rows[event])]
            values = dense(track_rows[features])
            padding = ~torch.from_numpy(track_rows["valid"])
            values[padding] = 0
            if not all(torch.isfinite(entry).all() for entry in (batch[0], values)):
                raise ValueError("not finite")
            batch += [torch.from_numpy(jet_rows[name].copy()) for name in labels]
            token_labels = [torch.as_tensor(track_rows[name].copy(), dtype=torch.long) for name in truth]
            valid = ~padding
            yield (*batch, valid.sum(1).cumsum(0), values[valid], *(label[valid] for label in token_labels))


def rate(batches: Iterator[Any], size: int) -> float:
    """Jets per CPU-second (all threads) of an iterator of batches of one size."""
    started, count = time.process_time(), 0
    for _ in batches:
        count += 1
    return count * size / (time.process_time() - started)


def measure(jets: int, size: int, folder: Path) -> dict[str, float]:
    path = folder / "jets.h5"
    with AtlasWriter(path, CLASSES) as writer:
        for number, start in enumerate(range(0, jets, 20_000)):
            writer.append(synthetic(min(20_000, jets - start), number))
    started = time.process_time()
    cache = PackedCache.build(open_sample(path), INPUTS, folder / "cache")
    build = len(cache) / (time.process_time() - started)
    loader = Loader(cache, size)
    salt, ours = [], []
    for epoch in range(5):  # taken in turns; the first round warms both
        salt.append(rate(salt_way(path, size), size))
        ours.append(rate((batch for step in range(5) for batch in loader.iterate(5 * epoch + step)), size))
    peer, own = float(np.median(salt[1:])), float(np.median(ours[1:]))
    return {"read_ratio": own / peer, "jets_per_second": own, "salt_way_jets_per_second": peer,
            "build_jets_per_second": build, "jets": jets, "batch_size": size}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jets", type=int, default=200_000)
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = json.dumps(measure(arguments.jets, arguments.batch_size, Path(folder)), indent=1)
    if arguments.out:
        arguments.out.write_text(result + "\n")
    print(result)


if __name__ == "__main__":
    main()
