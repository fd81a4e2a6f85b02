"""PFN: particle flow networks, deep sets of a jet's candidates [1810.05165]."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.heads import dense
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import segment_sum
from femtobarn.tagging.candidates import Candidates, candidate_inputs

__all__ = ["PFN"]


@method
class PFN(Classifier):
    r"""Particle flow network [1810.05165, Eq. 1.1]: $F\big(\sum_i \Phi(x_i)\big)$ over a jet's candidates.

    Each candidate is seen alone; what it has to do with another is known to F through the sum alone.

    Attributes:
        particle: sizes of the layers of Phi.
        jet: sizes of the hidden layers of F.
    """

    particle: tuple[int, ...] = (128, 128, 128)
    jet: tuple[int, ...] = (128, 128, 128)

    def default_inputs(self) -> Inputs:
        """See `candidate_inputs`."""
        return candidate_inputs()

    def default_training(self) -> Training:
        """Adam with a rate of 1e-3, batches of 500 jets (Section 4)."""
        return Training(optimiser="adam", learning_rate=1e-3, batch_size=500, epochs=50)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Candidates -> Phi -> sum -> F -> logits of the classes. Sizes as for JetClass [2202.03772]."""

    def __init__(self, pfn: PFN, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.candidates = Candidates(inputs, statistics)
        self.particle = dense([self.candidates.features, *pfn.particle], final=True)
        classes = len(inputs.labels["jet"].classes)
        self.jet = dense([pfn.particle[-1] + self.candidates.event, *pfn.jet, classes])

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        cloud = self.candidates(batch)
        pooled: Tensor = segment_sum(self.particle(cloud.features), cloud.segments, cloud.jets)
        return {"jet": self.jet(torch.cat([pooled, cloud.event], -1))}
