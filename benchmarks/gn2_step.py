"""GN2 here: rates of training and prediction, as `gn2_vs_salt.py` asks for them.

    python benchmarks/gn2_step.py FILE --batch 1000 --threads 2

A training step is forward, the three losses, backward and AdamW, as `salt_gn2.py` does them in salt.
"""

from __future__ import annotations

import argparse
import json

import torch

import femtobarn as fb
import gn2_clock
from femtobarn.data.packing import to_batch
from femtobarn.data.scaling import ScalingFit
from femtobarn.nn.preprocess import Statistics
from femtobarn.tagging.gn2 import GN2


def main() -> None:
    arguments = gn2_clock.arguments(argparse.ArgumentParser(description=__doc__))
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    gn2, size, sample = GN2(), arguments.batch, fb.open(arguments.file)
    inputs = gn2.inputs = gn2.default_inputs()
    batches = []
    for index in range(gn2_clock.BATCHES):
        rows = sample.read(index * size, (index + 1) * size)
        batches.append(to_batch(rows, inputs, sample.schema.classes))
    fit = ScalingFit(inputs)
    for batch in batches:
        fit.add(batch)
    network = gn2.module = gn2.network(inputs, Statistics(fit.result()))
    optimiser = gn2.default_training().make_optimiser(network.parameters())

    def train(index: int) -> None:
        optimiser.zero_grad()
        losses = gn2.loss(network(batches[index]), batches[index])
        torch.stack(list(losses.values())).sum().backward()
        optimiser.step()

    def predict(index: int) -> None:
        gn2.run(batches[index])

    parameters = sum(p.numel() for p in network.parameters())
    print(json.dumps(gn2_clock.measure(network, train, predict, size) | {"parameters": parameters}))


if __name__ == "__main__":
    main()
