"""Our side of `jets_vs_weaver.py`: rates of training, prediction and loading.

python benchmarks/jets_step.py part|particlenet|load FILE --batch 512 --threads 2
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

import femtobarn as fb
import gn2_clock
from femtobarn.data import Loader, PackedCache
from femtobarn.data.packing import to_batch
from femtobarn.tagging.candidates import candidate_inputs
from femtobarn.tagging.part import ParT
from femtobarn.tagging.particlenet import ParticleNet

BATCHES = 4
"""The first warms up."""


def step(what: str, file: Path, size: int) -> dict[str, float]:
    """Rates of one network."""
    torch.manual_seed(1)
    method, sample = (ParT() if what == "part" else ParticleNet()), fb.open(file)
    inputs = method.inputs = method.default_inputs()
    batches = [
        to_batch(sample.read(k * size, (k + 1) * size), inputs, sample.schema.classes) for k in range(BATCHES)
    ]
    network = method.module = method.network(inputs)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def train(index: int) -> None:
        optimiser.zero_grad()
        method.loss(network(batches[index]), batches[index])["jet"].backward()
        optimiser.step()

    parameters = sum(p.numel() for p in network.parameters())
    measured = gn2_clock.measure(network, train, lambda index: method.run(batches[index]), size, BATCHES)
    return measured | {"parameters": parameters}


def load(file: Path, size: int) -> dict[str, float]:
    """Jets per second of processor time that come out of the loader, and that go into its cache."""
    sample = fb.open(file)
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        cache = PackedCache.build(sample, candidate_inputs(), Path(folder) / "cache")
        built = len(cache) / (time.process_time() - started)
        loader = Loader(cache, size)
        count = sum(len(batch) for batch in loader.iterate(0))
        started, count = time.process_time(), 0
        for epoch in range(1, 4):
            count += sum(len(batch) for batch in loader.iterate(epoch))
        return {"load_rate": count / (time.process_time() - started), "build_rate": built}


def main() -> None:
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
