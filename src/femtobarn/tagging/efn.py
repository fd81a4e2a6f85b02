"""EFN: energy flow networks, infrared- and collinear-safe deep sets [1810.05165]."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.four_momenta import transverse
from femtobarn.nn.heads import dense
from femtobarn.nn.jets import log_pt
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import segment_sum
from femtobarn.tagging.candidates import Candidates, candidate_inputs

__all__ = ["EFN"]

SPREAD = 0.1
"""Of the places of a boosted jet's momentum. Layers that start without bias are linear on a smaller scale."""


@method
class EFN(Classifier):
    r"""Energy flow network [1810.05165, Eq. 1.2]: $F\big(\sum_i z_i \Phi(\hat p_i)\big)$.

    z_i is the candidate's share of the jet's transverse momentum (of the scalar sum), and Phi sees nothing
    but its place (deta, dphi): soft candidates and collinear splittings change nothing. F reads the sum of
    the momenta beside, as safe as the rest, since shares and places alone say m/pT and not the mass: the
    paper's jets are of one pT.

    Attributes:
        particle: sizes of the layers of Phi.
        jet: sizes of the hidden layers of F.
    """

    particle: tuple[int, ...] = (100, 100, 256)
    jet: tuple[int, ...] = (100, 100, 100)

    def default_inputs(self) -> Inputs:
        """The four-momenta alone."""
        return candidate_inputs(properties=False)

    def default_training(self) -> Training:
        """Adam with a rate of 1e-3, batches of 500 jets (Section 4)."""
        return Training(optimiser="adam", learning_rate=1e-3, batch_size=500, epochs=50)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Places -> Phi -> sum weighted with momentum -> F -> logits of the classes. Sizes of Section 4."""

    def __init__(self, efn: EFN, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.candidates = Candidates(inputs, statistics)
        self.particle = dense([2, *efn.particle], final=True)
        classes = len(inputs.labels["jet"].classes)
        self.jet = dense([efn.particle[-1] + 1 + self.candidates.event, *efn.jet, classes])
        for layer in (*self.particle, *self.jet):
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")  # as in the paper
                nn.init.zeros_(layer.bias)

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        cloud = self.candidates(batch)
        pt = transverse(cloud.momenta)
        total = segment_sum(pt, cloud.segments, cloud.jets)
        share = pt / cloud.to_tokens(total)
        weighted = share.unsqueeze(-1) * self.particle(cloud.place / SPREAD)
        pooled = segment_sum(weighted, cloud.segments, cloud.jets)
        return {"jet": self.jet(torch.cat([pooled, log_pt(total), cloud.event], -1))}
