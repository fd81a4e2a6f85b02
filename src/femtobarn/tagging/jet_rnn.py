"""A recurrent jet tagger: a memory that reads the candidates, hardest first [as ATL-PHYS-PUB-2017-003]."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.four_momenta import transverse
from femtobarn.nn.heads import dense
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import falling
from femtobarn.nn.recurrent import Memory
from femtobarn.tagging.candidates import Candidates, candidate_inputs

__all__ = ["JetRNN"]


@method
class JetRNN(Classifier):
    """A long short-term memory over the candidates of a jet by falling transverse momentum.

    RNNIP's network [ATL-PHYS-PUB-2017-003] with particles for tracks: what the memory holds after the last
    candidate goes through dense layers. The order is made here, so that it does not matter how they come.

    Attributes:
        particle: sizes of the layers on each candidate before the memory.
        memory: size of the memory.
        hidden: sizes of the dense layers after it.
        longest: candidates read, the hardest.
    """

    contract_parameters: ClassVar[dict[str, Any]] = {"longest": 12, "memory": 32}

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
        self.candidates = Candidates(inputs, statistics)
        widths = [self.candidates.features, *rnn.particle]
        self.particle = dense(widths, final=True) if rnn.particle else nn.Identity()
        self.memory = Memory(widths[-1], rnn.memory, rnn.longest)
        classes = len(inputs.labels["jet"].classes)
        self.jet = dense([rnn.memory + self.candidates.event, *rnn.hidden, classes])

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        cloud = self.candidates(batch)
        order = falling(transverse(cloud.momenta), cloud.offsets)
        read = self.memory(self.particle(cloud.features).index_select(0, order), cloud.offsets)
        return {"jet": self.jet(torch.cat([read, cloud.event], -1))}
