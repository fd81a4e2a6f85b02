"""The one training loop. Lightning Fabric owns devices, precision and processes; the loop owns the rest.

Everything random is a pure function of (seed, epoch, step, rank): the order of events (`data.loader`) and,
through a seed set before each step, whatever the network draws. A checkpoint is therefore weights, optimiser,
schedule, average and two counters, and a run that goes on from one, in the middle of an epoch too, is bit for
bit the run left alone.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import tempfile
import time
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from femtobarn.data.atomic import atomic
from femtobarn.data.cache import PackedCache
from femtobarn.data.inputs import Inputs
from femtobarn.data.loader import Loader
from femtobarn.data.sample import Sample
from femtobarn.errors import InputError
from femtobarn.learn.common import check_classes, check_features
from femtobarn.learn.progress import Interrupt, Reporter
from femtobarn.learn.reproducible import read_tensors, reproducible, seed_of
from femtobarn.learn.training import Training
from femtobarn.nn.preprocess import Statistics

__all__ = ["cache_folder", "fit"]

VALIDATION = 2000
"""Events per validation batch at least."""

_PLAIN = ("epoch", "step", "sums", "seconds", "best", "history")


def cache_folder() -> Path:
    """Where packed samples are kept between trainings: $FEMTOBARN_CACHE, else ~/.cache/femtobarn."""
    return Path(os.environ.get("FEMTOBARN_CACHE") or Path.home() / ".cache" / "femtobarn")


def fit(
    method: Any,
    train: Sample,
    valid: Sample | None,
    inputs: Inputs,
    training: Training,
    resume: str | Path | None,
) -> None:
    """Train `method`'s network: sets its `module`, `inputs` and `history`.

    One process per device. Those of `Training.devices` are started here (a script then needs the usual
    `if __name__ == "__main__"`), unless torchrun started the script: then its processes share each batch.

    Raises:
        InputError: for what the samples lack; for a checkpoint made with other settings; when the loss
            diverges.
    """
    launched = TorchElasticEnvironment.detect()
    spawns = training.devices > 1 and not launched
    fabric = Fabric(
        accelerator=training.accelerator,
        devices=int(os.environ["LOCAL_WORLD_SIZE"]) if launched else training.devices,
        num_nodes=int(os.environ["GROUP_WORLD_SIZE"]) if launched else 1,
        precision=training.precision,
        strategy="ddp_spawn" if spawns else "ddp" if launched else "auto",
    )
    if not spawns:
        fabric.launch()
    with fabric.rank_zero_first() if launched else nullcontext():
        caches = [
            None if sample is None else PackedCache.build(sample, inputs, cache_folder()).folder
            for sample in (train, valid)
        ]
    blank = copy.copy(method)
    blank.inputs, blank.module, blank.history = inputs, None, []
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.pt"
        arguments = (blank, caches, training, None if resume is None else Path(resume))
        if spawns:
            # Weights return through a file: the launcher's queue would block on anything larger than a pipe.
            fabric.launch(_train_and_write, result, *arguments)  # type: ignore[arg-type]
            state = read_tensors(result)
        else:
            state = _train(fabric, *arguments)
    method.inputs, method.history = inputs, state["history"]
    method.restore({name: value.numpy() for name, value in state["weights"].items()})


def _train(
    fabric: Fabric, method: Any, caches: list[Path | None], training: Training, resume: Path | None
) -> dict[str, Any]:
    """The training of one process: final weights and history."""
    with ExitStack() as stack:
        train, valid = (
            stack.enter_context(closing(PackedCache(folder))) if folder else None for folder in caches
        )
        assert train is not None
        stack.enter_context(reproducible(training.seed))
        run = _Run(fabric, method, training, train, valid, resume)
        interrupt = stack.enter_context(Interrupt()) if resume else None
        run.go(interrupt)
        return {"weights": run.final_weights(), "history": run.history}


def _train_and_write(fabric: Fabric, result: Path, *arguments: Any) -> None:
    outcome = _train(fabric, *arguments)
    if fabric.is_global_zero:
        torch.save(outcome, result)
    # Together to the end: a process that leaves takes its connections from those still at work.
    fabric.barrier()
    torch.distributed.destroy_process_group()


class _Run:
    """A training: what is built once, and the state that a checkpoint holds."""

    def __init__(
        self,
        fabric: Fabric,
        method: Any,
        training: Training,
        train: PackedCache,
        valid: PackedCache | None,
        resume: Path | None,
    ) -> None:
        self.fabric, self.method, self.training = fabric, method, training
        world, rank = fabric.world_size, fabric.global_rank
        if training.batch_size % world:
            raise InputError(f"a batch of {training.batch_size} cannot be shared evenly by {world} devices")
        size = training.batch_size // world
        self.loader = Loader(train, size, seed=training.seed, rank=rank, world=world)
        # Terms are means over a batch: in large ones, so that a few tokens of a rare class do not weigh too
        # much and the loss hardly depends on how many processes share the sample.
        large = max(size, VALIDATION)
        self.valid = None if valid is None else Loader(valid, large, shuffle=False, rank=rank, world=world)
        counts = {task: train.class_counts(task).tolist() for task in train.classes}
        check_classes(method, train)
        check_features(method, train)
        module = method.network(train.inputs, Statistics(train.scaling, counts))
        self.average: AveragedModel | None = None
        if training.ema:
            blend = get_ema_multi_avg_fn(training.ema)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(module, multi_avg_fn=blend).to(fabric.device)
        self.bare: nn.Module = module
        optimiser = training.make_optimiser(module.parameters())
        self.module, self.optimiser = fabric.setup(module, optimiser)
        self.steps = self.loader.steps_per_epoch
        self.schedule = training.make_schedule(optimiser, self.steps * training.epochs)
        self.epoch, self.step = 0, 0
        self.sums: dict[str, float] = {}
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Any] = {"loss": float("inf"), "epoch": -1, "weights": {}}
        self.file = resume and resume / "checkpoint.pt"
        settings = training.model_dump(exclude={"progress", "checkpoint_seconds"})
        folders = [cache.folder.name for cache in (train, valid) if cache is not None]
        key = json.dumps([method.parameters, settings, world, folders], default=str)
        self.key = hashlib.sha256(key.encode()).hexdigest()
        if self.file and self.file.is_file():
            self.restore(read_tensors(self.file))

    def go(self, interrupt: Interrupt | None) -> None:
        """Train to the end, from wherever the run is."""
        training, done = self.training, self.epoch * self.steps + self.step
        mode = training.progress if self.fabric.is_global_zero else "none"
        saved = time.monotonic()
        with Reporter(self.method.name, training.epochs * self.steps, done, mode) as reporter:
            while not self.finished:
                clock = time.monotonic()
                # A checkpoint may lie between an epoch's last step and its validation.
                left = self.loader.iterate(self.epoch, self.step) if self.step < self.steps else ()
                for batch in left:
                    reporter.step(self.train_step(batch.to(self.fabric.device)))
                    now = time.monotonic()
                    self.seconds, clock = self.seconds + now - clock, now
                    # A process alone may be interrupted between steps; several would have to agree.
                    asked = interrupt is not None and interrupt.asked
                    if self.fabric.world_size == 1 and (asked or now - saved > training.checkpoint_seconds):
                        self.save()
                        saved = now
                    if asked:
                        raise KeyboardInterrupt
                entry = self.end_epoch(clock)
                self.save()
                reporter.epoch(entry, training.epochs)

    @property
    def finished(self) -> bool:
        """All epochs are done, or the validation loss has not fallen for `patience` of them."""
        patience = self.training.patience
        waited = self.epoch - 1 - self.best["epoch"]
        stopped = patience is not None and self.valid is not None and self.step == 0 and waited >= patience
        return self.epoch >= self.training.epochs or stopped

    def train_step(self, batch: Any) -> float:
        """One step of the optimiser; returns the loss."""
        training, fabric = self.training, self.fabric
        torch.manual_seed(seed_of(training.seed, self.epoch, self.step, fabric.global_rank))
        self.module.train()
        terms = self.method.loss(self.module(batch), batch)
        total = torch.stack(list(terms.values())).sum()
        loss = float(total.detach())
        if not loss - loss == 0:  # neither NaN nor infinite
            raise InputError(
                f"the loss of '{self.method.name}' became {loss} in epoch {self.epoch + 1}, "
                f"step {self.step + 1}; lower learning_rate or set clip_norm"
            )
        self.optimiser.zero_grad()
        fabric.backward(total)
        if training.clip_norm:
            fabric.clip_gradients(self.module, self.optimiser, max_norm=training.clip_norm)
        self.optimiser.step()
        self.schedule.step()
        if self.average:
            self.average.update_parameters(self.bare)
        self.step += 1
        _add(self.sums, terms, batch.weights)
        return loss

    def end_epoch(self, clock: float) -> dict[str, float]:
        """Validate, write the history, keep the best weights, and stand at the start of the next epoch."""
        entry = {"epoch": self.epoch + 1.0, "learning_rate": self.optimiser.param_groups[0]["lr"]}
        entry |= self._means("train", self.sums)
        if self.valid is not None:
            entry |= self._means("valid", self.validate())
            if entry["valid_total"] < self.best["loss"]:
                self.best = {"loss": entry["valid_total"], "epoch": self.epoch, "weights": self.weights()}
        entry["seconds"] = self.seconds + time.monotonic() - clock
        self.history.append(entry)
        self.epoch, self.step, self.sums, self.seconds = self.epoch + 1, 0, {}, 0.0
        return entry

    def validate(self) -> dict[str, float]:
        """Sums of the loss terms over the validation sample."""
        assert self.valid is not None
        sums: dict[str, float] = {}
        module = self.average.module if self.average else self.bare
        module.eval()
        with torch.no_grad(), self.fabric.autocast():
            for batch in self.valid.iterate():
                batch = batch.to(self.fabric.device)
                _add(sums, self.method.loss(module(batch), batch), batch.weights)
        return sums

    def _means(self, split: str, sums: dict[str, float]) -> dict[str, float]:
        """Means of the loss terms over batches and processes, each batch by its weight, and their total."""
        values = torch.tensor(list(sums.values()), dtype=torch.float64, device=self.fabric.device)
        if self.fabric.world_size > 1:
            values = cast(Tensor, self.fabric.all_reduce(values, reduce_op="sum"))
        summed = dict(zip(sums, values.tolist(), strict=True))
        weight = summed.pop("weight") or 1.0
        means = {f"{split}_{task}": value / weight for task, value in summed.items()}
        return means | {f"{split}_total": sum(means.values())}

    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights as they would be kept now."""
        module = self.average.module if self.average else self.bare
        return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}

    def final_weights(self) -> dict[str, Tensor]:
        """The weights to keep at the end."""
        best: dict[str, Tensor] = self.best["weights"]
        return best if best and self.training.keep == "best" else self.weights()

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        if self.file and self.fabric.is_global_zero:
            average = self.average.state_dict() if self.average else None
            state = {"key": self.key, "bare": self.bare.state_dict(), "average": average}
            state |= {"optimiser": self.optimiser.state_dict(), "schedule": self.schedule.state_dict()}
            state |= {name: getattr(self, name) for name in _PLAIN}
            with atomic(self.file) as temporary:
                torch.save(state, temporary)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        if state["key"] != self.key:
            raise InputError(
                f"{self.file} was written by a training with other settings, inputs or samples; "
                "use those, or another folder"
            )
        self.bare.load_state_dict(state["bare"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average:
            self.average.load_state_dict(state["average"])
        for name in _PLAIN:
            setattr(self, name, state[name])


def _add(sums: dict[str, float], terms: dict[str, Tensor], weights: Tensor) -> None:
    weight = float(weights.abs().sum())
    for task, term in terms.items():
        sums[task] = sums.get(task, 0.0) + weight * float(term.detach())
    sums["weight"] = sums.get("weight", 0.0) + weight
