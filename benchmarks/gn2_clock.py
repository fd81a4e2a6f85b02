"""The same clock for both sides of `gn2_vs_salt.py`; needs torch and nothing of ours."""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from torch import nn

BATCHES = 6
"""Batches each side reads; the first warms up, and is not timed."""


def arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What both sides are told."""
    parser.add_argument("file", type=Path)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def measure(
    network: nn.Module,
    train: Callable[[int], None],
    predict: Callable[[int], None],
    size: int,
    batches: int = BATCHES,
) -> dict[str, float]:
    """Jets per second of wall clock, medians over batches, and the memory (MB) that training took."""
    before = _memory()
    network.train()
    train_rate = size / _seconds(train, batches)
    memory = _memory() - before
    network.eval()
    return {"train_rate": train_rate, "predict_rate": size / _seconds(predict, batches), "memory": memory}


def _seconds(step: Callable[[int], None], batches: int) -> float:
    step(0)
    times = []
    for index in range(1, batches):
        start = time.perf_counter()
        step(index)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _memory() -> float:
    """The most that this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
