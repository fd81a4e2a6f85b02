"""`Training`: optimiser, schedule, batch and epochs, apart from the method that is trained."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

__all__ = ["Training"]


class Training(BaseModel):
    """How a network is trained. A method's `default_training()` gives its paper's values.

    Change some of them with `method.default_training().with_(epochs=10, schedule="one-cycle")`.

    Attributes:
        epochs: passes over the training sample.
        batch_size: events per step, summed over all devices.
        optimiser: one of torch.optim's.
        learning_rate: the constant rate, or the peak of the schedule.
        weight_decay: L2 penalty (adam, sgd) or decoupled decay (adamw).
        momentum: of sgd.
        schedule: `constant`, `one-cycle` (cosine rise and fall, OneCycleLR) or `cosine` (fall only).
        warmup: fraction of all steps in which the rate rises: None is 0.3 for one-cycle, and no rise (which
            would be linear) for the others.
        initial_rate: rate of the first step of a one-cycle, None: peak / 25.
        final_rate: rate of the last step of one-cycle (None: peak / 250_000) and of cosine (None: 0).
        clip_norm: largest norm of the gradient, None: no clipping.
        ema: decay per step of the moving average of the weights that is validated and kept; None: none.
        patience: epochs without a better validation loss after which training stops; None: never.
        keep: weights kept at the end, those of the `best` validation loss or the `last`.
        precision: of the network's arithmetic, as Lightning Fabric names it.
        accelerator: `cpu`, `cuda`, `mps`, or `auto` to take what is there.
        devices: processes that share each batch (data parallel).
        seed: of initial weights, order of events and what the network draws.
        checkpoint_seconds: time between checkpoints when fitting with `resume`; each epoch writes one too.
        progress: on stderr a `bar`, `lines` (one per epoch), `none`, or `auto`: a bar on a terminal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=1000, ge=1)
    optimiser: Literal["adam", "adamw", "nadam", "radam", "sgd"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    schedule: Literal["constant", "one-cycle", "cosine"] = "constant"
    warmup: float | None = Field(default=None, ge=0, lt=1)
    initial_rate: float | None = Field(default=None, gt=0)
    final_rate: float | None = Field(default=None, ge=0)
    clip_norm: float | None = Field(default=None, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    patience: int | None = Field(default=None, ge=1)
    keep: Literal["best", "last"] = "best"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = Field(default=1, ge=1)
    seed: int = Field(default=1, ge=0)
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    progress: Literal["auto", "bar", "lines", "none"] = "auto"

    def with_(self, **changes: object) -> Training:
        """The same training with some values changed, all of them checked."""
        return Training(**{**self.model_dump(), **changes})

    def make_optimiser(self, parameters: Iterable[torch.nn.Parameter]) -> Optimizer:
        """The optimiser, of torch.optim."""
        rate, decay = self.learning_rate, self.weight_decay
        # One pass over all weights. Gradient scaling has to come between the gradients and the step.
        fused = self.precision != "16-mixed"
        if self.optimiser == "sgd":
            return torch.optim.SGD(parameters, rate, self.momentum, weight_decay=decay, fused=fused)
        if self.optimiser == "nadam":
            return torch.optim.NAdam(parameters, rate, weight_decay=decay)
        if self.optimiser == "radam":
            return torch.optim.RAdam(parameters, rate, weight_decay=decay)
        kind = torch.optim.AdamW if self.optimiser == "adamw" else torch.optim.Adam
        return kind(parameters, rate, weight_decay=decay, fused=fused)

    def make_schedule(self, optimiser: Optimizer, steps: int) -> LRScheduler:
        """The learning rate over `steps` steps of the optimiser."""
        peak = self.learning_rate
        if self.schedule == "one-cycle":
            initial = self.initial_rate or peak / 25
            return OneCycleLR(
                optimiser,
                max_lr=peak,
                # One more than is done: the scheduler has a last step that no optimiser step uses.
                total_steps=steps + 1,
                pct_start=0.3 if self.warmup is None else self.warmup,
                div_factor=peak / initial,
                final_div_factor=initial / (self.final_rate or peak / 250_000),
                cycle_momentum=False,
            )
        rise = round((self.warmup or 0.0) * steps)
        floor = (self.final_rate or 0.0) / peak

        def factor(step: int) -> float:
            if step < rise:
                return (step + 1) / (rise + 1)
            if self.schedule == "constant":
                return 1.0
            fallen = min((step - rise) / max(steps - rise, 1), 1.0)
            return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * fallen))

        return LambdaLR(optimiser, factor)
