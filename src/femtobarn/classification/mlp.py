"""A dense network on the features of an event."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from femtobarn.classification.textbook import textbook_inputs
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.losses import cross_entropy
from femtobarn.nn.preprocess import Preprocess, Statistics

__all__ = ["MLP", "Network"]

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}


@method
class MLP(Classifier):
    """Multilayer perceptron [Rumelhart, Hinton, Williams, Nature 323 (1986) 533], as built for tables now.

    Standardised features are drawn in softly, x / sqrt(1 + (x / squash)^2), so that tails do not rule the
    first layer [RealMLP, 2407.04491]. Dense layers come first, residual blocks on normalised numbers after
    them [2106.11959]. `members` networks are trained together as one: they share the weights W and differ by
    factors r, s and biases b of their own, y = s (W (r x)) + b, each has its own loss, and their
    probabilities are averaged [TabM, 2410.24210].

    Attributes:
        hidden: sizes of the dense layers.
        blocks: residual blocks of the last of these sizes.
        activation: between layers.
        dropout: chance of a hidden number to be left out in training.
        squash: in standard deviations; None: features stay as they are.
        members: networks averaged.
    """

    label: ClassVar[str] = "class"
    contract_exempt: ClassVar[dict[str, str]] = {
        "overfit": "with two features, 64 overlapping events are not learnt by heart in 160 steps"
    }

    hidden: tuple[PositiveInt, ...] = Field(default=(64, 64), min_length=1)
    blocks: NonNegativeInt = 0
    activation: Literal["relu", "silu", "tanh"] = "silu"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    squash: PositiveFloat | None = 3.0
    members: PositiveInt = 1

    def default_inputs(self) -> Inputs:
        """See `textbook.textbook_inputs`."""
        return textbook_inputs()

    def default_training(self) -> Training:
        """AdamW and one cycle of the learning rate; the moving average of the weights is kept."""
        return Training(
            optimiser="adamw",
            weight_decay=1e-2,
            learning_rate=5e-3,
            schedule="one-cycle",
            ema=0.98,
            batch_size=250,
            epochs=20,
        )

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)

    def loss(self, output: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of each member, averaged."""
        logits = output["class"]
        _, members, classes = logits.shape
        labels, weights = batch.labels["class"].repeat_interleave(members), batch.weights
        return {
            "class": cross_entropy(logits.reshape(-1, classes), labels, weights.repeat_interleave(members))
        }

    def answer(self, output: dict[str, Tensor]) -> dict[str, Tensor]:
        """The members' mean probability (B, classes)."""
        return {"class": torch.softmax(output["class"].float(), dim=-1).mean(dim=1)}


class Network(nn.Module):
    """Features -> dense layers -> residual blocks -> logits of each member."""

    def __init__(self, mlp: MLP, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.members, self.squash = mlp.members, mlp.squash
        self.preprocess = Preprocess(inputs, statistics)
        sizes, width = [len(inputs.event), *mlp.hidden], mlp.hidden[-1]
        act, dropout = ACTIVATIONS[mlp.activation](), nn.Dropout(mlp.dropout)
        dense: list[nn.Module] = []
        for k, (before, after) in enumerate(pairwise(sizes)):
            dense += [Shared(before, after, mlp.members, signs=k == 0), act, dropout]
        self.dense = nn.Sequential(*dense)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), Shared(width, width, mlp.members), act, dropout)
            for _ in range(mlp.blocks)
        )
        self.out = Shared(width, len(inputs.labels["class"].classes), mlp.members)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`class` (B, members, classes) logits."""
        x = self.preprocess(batch).event
        if self.squash is not None:
            x = x * torch.rsqrt(1 + (x / self.squash) ** 2)
        x = self.dense(x[:, None].expand(-1, self.members, -1))
        for block in self.blocks:
            x = x + block(x)
        return {"class": self.out(x)}


class Shared(nn.Module):
    """One linear layer for all members, each with factors of its inputs and outputs and a bias of its own.

    With random signs in the first layer the members begin as different networks.
    """

    def __init__(self, before: int, after: int, members: int, signs: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(before, after, bias=False)
        bound = before**-0.5
        self.bias = nn.Parameter(torch.empty(members, after).uniform_(-bound, bound))
        self.several = members > 1
        if self.several:
            ones = torch.ones(members, before)
            self.factors_in = nn.Parameter(
                torch.where(torch.rand_like(ones) < 0.5, -ones, ones) if signs else ones
            )
            self.factors_out = nn.Parameter(torch.ones(members, after))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, members, before); gives (B, members, after)."""
        if not self.several:
            return torch.as_tensor(self.linear(x) + self.bias)
        return torch.as_tensor(self.linear(x * self.factors_in) * self.factors_out + self.bias)
