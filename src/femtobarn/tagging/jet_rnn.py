"""A recurrent jet tagger: a memory that reads the candidates, hardest first [as ATL-PHYS-PUB-2017-003]."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.four_momenta import transverse
from femtobarn.nn.heads import dense
from femtobarn.nn.norm import BatchNorm
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import falling, segment_sum
from femtobarn.nn.recurrent import Memory
from femtobarn.tagging.candidates import Candidates, Cloud, candidate_inputs

__all__ = ["JetRNN"]


@method
class JetRNN(Classifier):
    """A long short-term memory over the candidates of a jet, one after the other.

    RNNIP's network [ATL-PHYS-PUB-2017-003] with particles for tracks: what the memory holds after the last
    candidate goes through dense layers. The order is made here, so that it does not matter how they come.
    Candidates are normalised first, their angles being a hundred times smaller than their other numbers.

    Attributes:
        order: of the candidates: by falling transverse momentum, or by rising angle to the hardest one, which
            is the order of radiation backwards.
        particle: sizes of the layers on each candidate before the memory.
        memory: size of the memory.
        hidden: sizes of the dense layers after it.
        longest: candidates read, the hardest.
    """

    contract_parameters: ClassVar[dict[str, Any]] = {"longest": 12, "memory": 32}

    order: Literal["momentum", "angle"] = "momentum"
    particle: tuple[PositiveInt, ...] = (64,)
    memory: int = Field(default=100, ge=1)
    hidden: tuple[PositiveInt, ...] = (64,)
    longest: int = Field(default=60, ge=1)

    def default_inputs(self) -> Inputs:
        """See `candidate_inputs`."""
        return candidate_inputs()

    def default_training(self) -> Training:
        """Adam with a rate of 1e-3, batches of 512 jets: ours."""
        return Training(optimiser="adam", learning_rate=1e-3, batch_size=512, epochs=20)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Candidates in order -> numbers of each -> memory -> logits of the classes."""

    def __init__(self, rnn: JetRNN, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.order = rnn.order
        self.candidates = Candidates(inputs, statistics)
        self.norm = BatchNorm(self.candidates.features)
        widths = [self.candidates.features, *rnn.particle]
        self.particle = dense(widths, final=True) if rnn.particle else nn.Identity()
        self.memory = Memory(widths[-1], rnn.memory, rnn.longest)
        classes = len(inputs.labels["jet"].classes)
        self.jet = dense([rnn.memory + self.candidates.event, *rnn.hidden, classes])

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        cloud = self.candidates(batch)
        order = falling(transverse(cloud.momenta), cloud.offsets)
        if self.order == "angle":
            order = from_the_hardest(cloud, order)
        said = self.particle(self.norm(cloud.features))
        read = self.memory(said.index_select(0, order), cloud.offsets)
        return {"jet": self.jet(torch.cat([read, cloud.event], -1))}


def from_the_hardest(cloud: Cloud, order: Tensor) -> Tensor:
    """Candidates (T,) of each jet by rising distance from its first in `order`, which comes first."""
    tokens = torch.arange(order.shape[0], device=order.device)
    first = (tokens == cloud.to_tokens(cloud.offsets[:-1])).unsqueeze(-1)
    hardest = segment_sum(first * cloud.place.index_select(0, order), cloud.segments, cloud.jets)
    away = cloud.place - cloud.to_tokens(hardest)
    return falling(-away.square().sum(-1), cloud.offsets)
