"""GN1's training on one thread as a fraction of the floating-point rate of a matrix product, in one run.

    python benchmarks/gn1_training.py [--out FILE]

Jets have as many tracks as in ttbar: 7.2 on average, 95th percentile 14 to 15, at most 40. A step is forward,
loss with both auxiliary tasks, backward and Adam, on batches of 4000 jets, the paper's. FLOPs are what the
arithmetic on real tracks and pairs takes: 2 n m for each row of a linear layer, 6 per ordered pair and
feature of the attention (add, maximum, and the products with the score and with the weight); backward counts
as twice forward. The peer is the product of a 3600 x 64 and a 64 x 64 matrix in float32. The two are timed in
turn, and the medians compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from femtobarn.data.ragged import Batch, Ragged
from femtobarn.nn.attention import GATv2
from femtobarn.nn.ragged import Layout
from femtobarn.tagging.gn1 import GN1

JETS, ROUNDS = 4000, 7


def jets(count: int, seed: int) -> Batch:
    """Made-up jets with ttbar's numbers of tracks."""
    rng = np.random.default_rng(seed)
    lengths = np.minimum(rng.negative_binomial(4.7, 4.7 / (4.7 + 7.2), count), 40)
    offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    tracks = int(offsets[-1])
    generator = torch.Generator().manual_seed(seed)
    fields = {
        "origin": torch.randint(0, 7, (tracks,), generator=generator),
        "ftagTruthVertexIndex": torch.randint(-2, 4, (tracks,), generator=generator),
    }
    # Positive, since some features are read as logarithms.
    ragged = Ragged(torch.rand(tracks, 21, generator=generator) + 0.1, offsets, fields)
    labels = {"jet": torch.randint(0, 3, (count,), generator=generator)}
    return Batch(torch.rand(count, 2, generator=generator), {"tracks": ragged}, labels, torch.ones(count))


def forward_flops(network: nn.Module, batch: Batch) -> float:
    """Floating-point operations of a forward pass, from the rows that each layer is given."""
    total = 0.0

    def linear(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        total += 2 * output.numel() * inputs[0].shape[-1]

    def attention(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        layout = inputs[1]
        assert isinstance(layout, Layout)
        total += 6 * sum(m * n * n for n, m in layout.groups) * output.shape[1]

    kinds = {nn.Linear: linear, GATv2: attention}
    handles = [m.register_forward_hook(kinds[type(m)]) for m in network.modules() if type(m) in kinds]
    with torch.no_grad():
        network(batch)
    for handle in handles:
        handle.remove()
    return total


def seconds(function: Callable[[], object]) -> float:
    """CPU seconds of a call on one thread."""
    start = time.process_time()
    function()
    return time.process_time() - start


def measure() -> dict[str, float]:
    """The numbers, as printed."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    gn1 = GN1()
    network = gn1.network(gn1.default_inputs())
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    batch = jets(JETS, seed=1)

    def step() -> None:
        optimiser.zero_grad()
        torch.stack(list(gn1.loss(network(batch), batch).values())).sum().backward()
        optimiser.step()

    tall, small = torch.randn(3600, 64), torch.randn(64, 64)

    def product(repeats: int = 3000) -> None:
        for _ in range(repeats):
            tall @ small

    step(), product(300)
    times = [(seconds(step), seconds(product)) for _ in range(ROUNDS)]
    step_time, product_time = (statistics.median(column) for column in zip(*times, strict=True))
    flops_per_jet = 3 * forward_flops(network, batch) / JETS
    train_rate, matmul_rate = JETS / step_time, 3000 * 2 * 3600 * 64 * 64 / product_time
    lengths = batch.collections["tracks"].lengths.float()
    return {
        "train_rate": train_rate,
        "flops_per_jet": flops_per_jet,
        "train_gflops": train_rate * flops_per_jet / 1e9,
        "matmul_gflops": matmul_rate / 1e9,
        "train_flops_fraction": train_rate * flops_per_jet / matmul_rate,
        "parameters": sum(p.numel() for p in network.parameters()),
        "tracks_per_jet": float(lengths.mean()),
        "tracks_95th_percentile": float(lengths.quantile(0.95)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="also write the JSON there")
    arguments = parser.parse_args()
    text = json.dumps(measure(), indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
