"""GN2 in salt 0.13.0: trained on one file, its scores on another. Run by `gn2_accuracy.py`.

    python benchmarks/salt_train.py TRAIN TEST OUT.npy --epochs 4 --seed 1

The model is `salt_gn2.py`'s; as in salt a batch is a block of the file, and blocks come in random order.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
import yaml
from salt.data.datasets import SaltDataset
from salt.models import InputNorm
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from salt_gn2 import LABELS, VARIABLES, model, scaling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("train", "test", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    rng = np.random.default_rng(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        norm = Path(folder) / "norm.yaml"
        norm.write_text(yaml.safe_dump(scaling(given.train)))
        train, test = (
            SaltDataset(file, norm, VARIABLES, "fit", labels=LABELS) for file in (given.train, given.test)
        )
        names = {"jets": "jets", "tracks": "tracks"}
        network = nn.ModuleDict({"norm": InputNorm(norm, VARIABLES, "jets", names), "model": model()})
    steps = len(train) // given.batch
    optimiser = torch.optim.AdamW(network.parameters(), lr=given.rate, weight_decay=1e-5)
    schedule = OneCycleLR(
        optimiser, given.rate, given.epochs * steps, pct_start=0.1, div_factor=given.rate / 1e-7,
        final_div_factor=1e-7 / 1e-5,
    )  # fmt: skip
    network.train()
    for epoch in range(given.epochs):
        total = 0.0
        for start in (given.batch * rng.permutation(steps)).tolist():
            inputs, masks, truth = train[slice(start, start + given.batch)]
            optimiser.zero_grad()
            _, losses = network["model"](network["norm"](dict(inputs)), dict(masks), truth)
            loss = sum(losses.values())
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{given.epochs}: {total / steps:.4f}", flush=True)
    network.eval()
    scores = []
    with torch.inference_mode():
        for start in range(0, len(test), given.batch):
            inputs, masks, _ = test[slice(start, min(start + given.batch, len(test)))]
            answer, _ = network["model"](network["norm"](dict(inputs)), dict(masks), None)
            scores.append(torch.softmax(answer["jets"]["jets_classification"], -1).numpy())
    np.save(given.out, np.concatenate(scores))


if __name__ == "__main__":
    main()
