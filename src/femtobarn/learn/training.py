"""`Training`: optimiser, schedule, batch and epochs, apart from the method that is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

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
        warmup: fraction of all steps in which the rate rises (a linear rise if not one-cycle).
        initial_rate: rate of the first step of a one-cycle, None: peak / 25.
        final_rate: rate of the last step of one-cycle and cosine, None: initial rate / 1e4 and 0.
        clip_norm: largest norm of the gradient, None: no clipping.
        ema: decay per step of the moving average of the weights that is validated and kept; None: none.
        patience: epochs without a better validation loss after which training stops; None: never.
        keep: weights kept at the end, those of the `best` validation loss or the `last`.
        precision: of the network's arithmetic, as Lightning Fabric names it.
        accelerator: `cpu`, `cuda`, `mps`, or `auto` to take what is there.
        devices: processes that share each batch (data parallel).
        seed: of initial weights, order of events and dropout.
        checkpoint_seconds: time between checkpoints when fitting with `resume`; each epoch writes one too.
        progress: on stderr: a `bar`, `lines` (one per epoch), `none`, or `auto`: a bar on a terminal, else lines.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=1000, ge=1)
    optimiser: Literal["adam", "adamw", "nadam", "radam", "sgd"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    schedule: Literal["constant", "one-cycle", "cosine"] = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    initial_rate: float | None = Field(default=None, gt=0)
    final_rate: float | None = Field(default=None, ge=0)
    clip_norm: float | None = Field(default=None, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    patience: int | None = Field(default=None, ge=1)
    keep: Literal["best", "last"] = "best"
    precision: Literal["32-true", "64-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = Field(default=1, ge=1)
    seed: int = Field(default=1, ge=0)
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    progress: Literal["auto", "bar", "lines", "none"] = "auto"

    def with_(self, **changes: object) -> Training:
        """The same training with some values changed, all of them checked."""
        return Training(**{**self.model_dump(), **changes})
