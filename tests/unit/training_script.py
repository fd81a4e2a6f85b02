"""A training to be killed, or shared by processes: `training_script.py OUT [field=value of Training ...]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from synthetic import synthetic

from femtobarn.learn import Training
from femtobarn.tagging.gn1 import GN1

__all__ = ["TRAINING", "synthetic", "train"]

TRAINING = Training(
    epochs=4,
    batch_size=40,
    accelerator="cpu",
    learning_rate=2e-3,
    ema=0.9,
    clip_norm=1.0,
    schedule="one-cycle",
    progress="none",
    checkpoint_seconds=0,
)


def train(resume: Path | None = None, **changes: Any) -> GN1:
    """GN1, small, on synthetic jets."""
    gn1 = GN1(width=16, layers=1)
    train, valid = (synthetic(gn1.default_inputs(), size, seed) for size, seed in ((1600, 1), (400, 2)))
    return gn1.fit(train, valid, training=TRAINING.with_(**changes), resume=resume)


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    changes = {key: yaml.safe_load(value) for key, value in (entry.split("=") for entry in sys.argv[2:])}
    train(out / "run", **changes).save(out / "model")
