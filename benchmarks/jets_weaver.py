"""Weaver's side of `jets_vs_weaver.py`; needs weaver-core 0.5.3 and nothing of ours.

PYTHON benchmarks/jets_weaver.py part|particlenet|load FILE --batch 512 --threads 2
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path

import torch
import yaml
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from weaver.nn.model.ParticleNet import ParticleNet
from weaver.nn.model.ParticleTransformer import ParticleTransformer
from weaver.utils.dataset import SimpleIterDataset

import gn2_clock

BATCHES = 4
"""The first warms up."""
CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
SCALED = [["part_pt_log", 1.7, 0.7], ["part_e_log", 2.0, 0.7], ["part_logptrel", -4.7, 0.7],
          ["part_logerel", -4.7, 0.7], ["part_deltaR", 0.2, 4.0]]  # fmt: skip
PLAIN = ["part_charge", "part_isChargedHadron", "part_isNeutralHadron", "part_isPhoton", "part_isElectron",
         "part_isMuon", "part_d0", "part_dz", "part_deta", "part_dphi"]  # fmt: skip
NEW = {
    "part_mask": "ak.ones_like(part_energy)", "part_pt": "np.hypot(part_px, part_py)",
    "part_pt_log": "np.log(part_pt)", "part_e_log": "np.log(part_energy)",
    "part_logptrel": "np.log(part_pt/jet_pt)", "part_logerel": "np.log(part_energy/jet_energy)",
    "part_deltaR": "np.hypot(part_deta, part_dphi)", "part_d0": "np.tanh(part_d0val)",
    "part_dz": "np.tanh(part_dzval)",
}  # fmt: skip


def configuration() -> dict[str, object]:
    """The inputs of ParT to JetClass, as its authors give them to weaver."""
    features = [
        *SCALED,
        *([name, None] for name in PLAIN),
        ["part_d0err", 0, 1, 0, 1],
        ["part_dzerr", 0, 1, 0, 1],
    ]
    groups = {
        "pf_points": [["part_deta", None], ["part_dphi", None]],
        "pf_features": features,
        "pf_vectors": [[f"part_{name}", None] for name in ("px", "py", "pz", "energy")],
        "pf_mask": [["part_mask", None]],
    }
    inputs = {name: {"length": 128, "pad_mode": "constant", "vars": group} for name, group in groups.items()}
    return {
        "new_variables": NEW, "preprocess": {"method": "manual"}, "inputs": inputs,
        "labels": {"type": "simple", "value": [f"label_{name}" for name in CLASSES]},
    }  # fmt: skip


def loader_of(file: Path, size: int, folder: Path) -> DataLoader:
    """Shuffled batches, everything read at once and ahead in a thread."""
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(configuration(), sort_keys=False))
    data = SimpleIterDataset({"jets": [str(file)]}, str(path), for_training=True, fetch_step=1, name="train")
    return DataLoader(data, batch_size=size, drop_last=True)


def step(what: str, file: Path, size: int) -> dict[str, float]:
    """Rates of one network, its trimming warm."""
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        taken = zip(range(BATCHES), loader_of(file, size, Path(folder)), strict=False)
        batches = [(x, next(iter(y.values())).long()) for _, (x, y, _) in taken]
    if what == "part":
        network = ParticleTransformer(17, 10, pair_input_dim=4, use_pre_activation_pair=False)
    else:
        sizes = [(16, (64, 64, 64)), (16, (128, 128, 128)), (16, (256, 256, 256))]
        network = ParticleNet(17, 10, conv_params=sizes, fc_params=[(256, 0.1)], use_fusion=False)
    network.trimmer._counter.fill_(network.trimmer.warmup_steps)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def answer(index: int) -> torch.Tensor:
        x = {name: torch.as_tensor(value) for name, value in batches[index][0].items()}
        mask = x["pf_mask"].bool()
        if what == "part":
            return network(x["pf_features"], v=x["pf_vectors"], mask=mask)
        return network(x["pf_points"], x["pf_features"], mask)

    def train(index: int) -> None:
        optimiser.zero_grad()
        cross_entropy(answer(index), batches[index][1]).backward()
        optimiser.step()

    def predict(index: int) -> None:
        with torch.inference_mode():
            torch.softmax(answer(index), -1)

    parameters = sum(p.numel() for p in network.parameters())
    return gn2_clock.measure(network, train, predict, size, BATCHES) | {"parameters": parameters}


def load(file: Path, size: int) -> dict[str, float]:
    """Jets per second of processor time that come out of the loader."""
    with tempfile.TemporaryDirectory() as folder:
        loader = loader_of(file, size, Path(folder))
        for _ in loader:  # compiles what it compiles, and leaves no thread behind that still reads ahead
            pass
        started, count = time.process_time(), 0
        for _ in range(3):
            count += sum(len(next(iter(y.values()))) for _, y, _ in loader)
        return {"load_rate": count / (time.process_time() - started)}


def main() -> None:
    logging.disable(logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["part", "particlenet", "load"])
    arguments = gn2_clock.arguments(parser)
    torch.set_num_threads(arguments.threads)
    if arguments.what == "load":
        print(json.dumps(load(arguments.file, arguments.batch)))
    else:
        print(json.dumps(step(arguments.what, arguments.file, arguments.batch)))


if __name__ == "__main__":
    main()
