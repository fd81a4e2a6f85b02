"""A deep set on the reconstructed objects of an event."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from femtobarn.classification.objects import TRAINING, Objects, object_inputs
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.heads import dense
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import segment_sum, segments_of

__all__ = ["DeepSets"]


@method
class DeepSets(Classifier):
    r"""$p = F\big(\sum_i \phi(x_i), \mathrm{MET}\big)$ over an event's objects [1703.06114, 1810.05165].

    What is additive in the objects comes easily: multiplicities, scalar sums, the total momentum. The mass of
    two objects does not, which `event_graph` and `event_transformer` are given.

    Attributes:
        width: of all layers.
        dropout: chance of a hidden number to be left out in training.
    """

    label: ClassVar[str] = "class"

    width: PositiveInt = 64
    dropout: float = Field(default=0.0, ge=0, lt=1)

    def default_inputs(self) -> Inputs:
        """See `objects.object_inputs`."""
        return object_inputs()

    def default_training(self) -> Training:
        """AdamW and one cycle of the learning rate."""
        return TRAINING

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Objects -> a vector each -> their sum -> logits."""

    def __init__(self, sets: DeepSets, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.objects = Objects(inputs, statistics, sets.name)
        width, classes = sets.width, len(inputs.labels["class"].classes)
        self.phi = dense([self.objects.width, width, width, width], final=True, dropout=sets.dropout)
        self.f = dense([width + self.objects.event_width, width, width, classes], dropout=sets.dropout)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`class` (B, classes) logits."""
        x, event, raw = self.objects(batch)
        total = segment_sum(self.phi(x), segments_of(raw.offsets, x.shape[0]), event.shape[0])
        return {"class": self.f(torch.cat([total, event], -1))}
