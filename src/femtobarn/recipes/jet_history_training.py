"""The sample and the trainings of `jet-history`: every tagger on the same jets, each training cached."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import torch
from pydantic import Field
from torch.utils.flop_counter import FlopCounterMode

from femtobarn import registry
from femtobarn.data import Sample, open_sample, reweight
from femtobarn.data.atomic import atomic
from femtobarn.data.inputs import Inputs
from femtobarn.data.packing import to_batch
from femtobarn.learn.method import Classifier
from femtobarn.learn.training import Training
from femtobarn.progress import progress_bar
from femtobarn.recipes.run import Run, Settings
from femtobarn.simulation import JetSettings, simulate
from femtobarn.simulation.jet_classes import JET_CLASSES
from femtobarn.tagging.candidates import candidate_inputs

__all__ = [
    "METHODS",
    "PREDICTED",
    "JetHistorySettings",
    "Job",
    "TaggerSettings",
    "said",
    "samples",
    "trained",
]

METHODS = {
    "substructure_bdt": ("Substructure BDT", "substructure_bdt"),
    "pfn": ("PFN", "pfn"),
    "pcnn": ("P-CNN", "pcnn"),
    "particlenet": ("ParticleNet", "particlenet"),
    "efn": ("EFN", "efn"),
    "cnn": ("Image CNN", "jet_cnn"),
    "part": ("ParT", "part"),
    "lorentz": ("LorentzNet", "lorentz"),
    "part_plain": ("ParT (plain)", "part_plain"),
    "abcnet": ("ABCNet", "abcnet"),
    "rnn": ("RNN", "jet_rnn"),
    "graph_network": ("Graph network", "graph_network"),
}
"""Labels and registered names, in the order of training: what is cheap, or asked about most, comes first.

Found by name, so that a change of one tagger leaves the trainings of the others as they are.
"""
PREDICTED = 500
"""Jets answered at once: pairs of many more do not fit a processor's memory, and take twice as long."""
SPECTRUM = {"pt": [500, 600, 700, 800, 900, 1000]}
MIRRORS = {
    "y": ["candidates.py", "candidates.d0", "candidates.charge"],
    "z": ["candidates.pz", "candidates.dz"],
}
"""Reflections of the detector, charges with its field as in `tagging.tracks`, and what changes its sign."""
FLOP_CANDIDATES = 50
"""Of the jet whose forward pass is counted: as many as behind the published numbers."""


class TaggerSettings(Settings):
    """How one tagger is built and trained here.

    Attributes:
        sizes: hyper-parameters that differ from the published ones.
        epochs: passes over the jets.
        batch_size: jets per step.
        longest: candidates read of a jet, the hardest.
        seeds: of the trainings.
        parts: also trained, with the first seed, on these parts of the jets: 4 is a quarter.
    """

    sizes: dict[str, Any] = Field(default_factory=dict)
    epochs: int = 1
    batch_size: int = 200
    longest: int = 128
    seeds: tuple[int, ...] = (1,)
    parts: tuple[int, ...] = ()


class JetHistorySettings(Settings):
    """What differs between the scales.

    Attributes:
        collisions: simulated, of all classes together.
        simulation: beams, detector, jets.
        training: of all networks, but for epochs, batch and seed.
        taggers: by method.
        methods: those of `taggers` that are trained and shown.
    """

    collisions: int
    simulation: JetSettings = JetSettings()
    training: Training
    taggers: dict[str, TaggerSettings]
    methods: tuple[str, ...] = tuple(METHODS)


class Job(NamedTuple):
    """One training: method, seed, and part of the training jets (1: all, 4: a quarter)."""

    method: str
    seed: int
    part: int = 1

    def __str__(self) -> str:
        return f"{self.method}-{self.seed}" + (f"-part{self.part}" if self.part > 1 else "")


def samples(settings: JetHistorySettings, run: Run) -> tuple[Path, dict[str, Sample]]:
    """The file, and its splits, weighted so that all classes have one spectrum and equal sums."""

    def build(path: Path) -> None:
        with progress_bar("simulate jets", "collisions") as progress:
            simulate("jets", settings.collisions, path, seed=run.seed, workers=run.workers,
                     settings=settings.simulation, progress=progress)  # fmt: skip

    simulation = settings.simulation.model_dump(mode="json")
    key = {"events": settings.collisions, "seed": run.seed, "settings": simulation}
    path = run.cached("simulate jets", key, build, code=["simulation.simulate"], suffix=".parquet")
    sample = open_sample(path, name="jets")
    splits = {split: sample.split(split).named(split) for split in ("train", "valid", "test")}
    return path, {
        split: reweight(one, "jet_label", SPECTRUM, weight="mcEventWeight") for split, one in splits.items()
    }


def inputs_of(tagger: Classifier, longest: int) -> Inputs:
    """The tagger's own, four-momenta alone or all properties; in training every jet is mirrored at random."""
    properties = len(tagger.default_inputs().collection_features("candidates")) > 4
    mirrors = {name: odd if properties else odd[:1] for name, odd in MIRRORS.items()}
    return candidate_inputs(properties, longest).model_copy(update={"mirrors": mirrors})


def trained(settings: JetHistorySettings, run: Run, job: Job, file: Path, jets: dict[str, Sample]) -> Path:
    """Train one tagger: a folder of `model`, probabilities of the test jets, sizes and rates."""
    chosen = settings.taggers[job.method]
    tagger: Classifier = registry.find("methods", METHODS[job.method][1])(**chosen.sizes)
    inputs = inputs_of(tagger, chosen.longest)
    training = settings.training.with_(seed=job.seed, epochs=chosen.epochs, batch_size=chosen.batch_size)

    def build(path: Path) -> None:
        train = jets["train"].take(np.arange(0, len(jets["train"]), job.part))
        checkpoints = path.with_name(f"{path.name}.checkpoints")
        started = time.process_time()
        tagger.fit(train, jets["valid"], inputs, training, checkpoints)
        seconds = time.process_time() - started
        test = ak.to_packed(tagger.predict(jets["test"], PREDICTED))
        classes = [ak.to_numpy(test[f"{tagger.name}_p{name.lower()}"]) for name in JET_CLASSES]
        numbers = {"train_jets": len(train), **cost(tagger, jets, training, seconds)}
        with atomic(path) as folder:
            tagger.save(folder / "model")
            np.save(folder / "test.npy", np.stack(classes, 1).astype(np.float32))
            (folder / "numbers.json").write_text(json.dumps(numbers))
        shutil.rmtree(checkpoints, ignore_errors=True)

    key = {"sample": file.name, "part": job.part, "tagger": tagger.parameters, "longest": chosen.longest}
    key |= {"training": training.model_dump(mode="json")}
    code = ["learn", type(tagger).__module__, __name__]
    return run.cached(str(job), key, build, code=code)


def said(folder: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Probabilities (N, 10) of the test jets."""
    return np.asarray(np.load(folder / "test.npy"), dtype=np.float64)


def cost(tagger: Classifier, jets: dict[str, Sample], training: Training, seconds: float) -> dict[str, float]:
    """Jets per second of processor time in training and prediction; of networks weights and forward FLOPs.

    Steps and batches are timed by themselves, since a training may have been interrupted.
    """
    inputs, test = tagger.fitted_inputs, jets["test"]
    size = min(training.batch_size, len(test) // 4)
    fields = ["candidates", "jet_label", "mcEventWeight"]
    batches = [
        to_batch(test.read(k * size, (k + 1) * size, fields), inputs, test.schema.classes) for k in range(4)
    ]

    def timed(step: Any) -> float:
        spent = []
        for batch in batches:
            begin = time.process_time()
            step(batch)
            spent.append(time.process_time() - begin)
        return size / min(spent[1:])

    rate = timed(tagger.predict_batch)
    if tagger.module is None:
        return {"train_rate": len(jets["train"]) / seconds, "predict_rate": rate}
    network = tagger.network(inputs)
    optimiser = training.make_optimiser(network.parameters())

    def step(batch: Any) -> None:
        optimiser.zero_grad()
        sum(tagger.loss(network(batch), batch).values()).backward()  # type: ignore[union-attr]
        optimiser.step()

    numbers = {"train_rate": timed(step), "predict_rate": rate}
    numbers["parameters"] = sum(p.numel() for p in network.parameters())
    rows = test.read(0, 2000, fields)
    longest = int(np.argmax(ak.to_numpy(ak.num(rows.candidates))))
    one = rows[longest : longest + 1]
    one["candidates"] = one.candidates[:, :FLOP_CANDIDATES]
    network.eval().requires_grad_(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(to_batch(one, inputs, test.schema.classes))
    # The counter knows no LSTM: each candidate is multiplied with all of its weights.
    memory = sum(
        p.numel()
        for module in network.modules()
        if isinstance(module, torch.nn.LSTM)
        for name, p in module.named_parameters()
        if name.startswith("weight")
    )
    flops = counter.get_total_flops() + 2 * memory * len(one.candidates[0])
    return {**numbers, "flops": float(flops)}
