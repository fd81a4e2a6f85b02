"""ParticleNet: convolutions over the edges of a graph that each layer builds anew [1902.08570]."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.neighbours import nearest
from femtobarn.nn.norm import BatchNorm, normalised
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import segment_mean
from femtobarn.tagging.candidates import Candidates, candidate_inputs

__all__ = ["ParticleNet"]

EDGES = 4096
"""Edges at once when predicting: what fits the processor's cache."""


@method
class ParticleNet(Classifier):
    """Edge convolutions on a dynamic graph [1902.08570].

    Each candidate gathers the mean of a network on itself and the way to each of its nearest neighbours,

        x_i' = ReLU(W x_i + mean_j h(x_i, x_j - x_i))

    where near means (deta, dphi) at first, and the features of the layer before from then on. A jet of few
    candidates has neighbours without features in place of those it lacks, as in weaver.

    Attributes:
        neighbours: of each candidate.
        blocks: sizes of the layers of h, block by block.
        hidden: size of the dense layer on the mean of the candidates.
        dropout: after it.
    """

    contract_parameters: ClassVar[dict[str, Any]] = {"neighbours": 4, "blocks": ((12, 12), (16, 16))}

    neighbours: int = Field(default=16, ge=1)
    blocks: tuple[tuple[int, ...], ...] = ((64, 64, 64), (128, 128, 128), (256, 256, 256))
    hidden: int = Field(default=256, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)

    def default_inputs(self) -> Inputs:
        """See `candidate_inputs`."""
        return candidate_inputs()

    def default_training(self) -> Training:
        """AdamW on batches of 384 jets, one cycle of the rate up to 3e-3 over 20 epochs (Section 3.3)."""
        return Training(
            optimiser="adamw", learning_rate=3e-3, weight_decay=1e-4, batch_size=384, epochs=20,
            schedule="one-cycle", initial_rate=3e-4, final_rate=5e-7,
        )  # fmt: skip

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Candidates -> edge convolutions -> mean -> logits of the classes."""

    def __init__(self, net: ParticleNet, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.neighbours = net.neighbours
        self.candidates = Candidates(inputs, statistics)
        self.norm = BatchNorm(self.candidates.features)
        widths = [self.candidates.features, *(sizes[-1] for sizes in net.blocks)]
        self.blocks = nn.ModuleList(
            EdgeConvolution(width, sizes) for width, sizes in zip(widths[:-1], net.blocks, strict=True)
        )
        classes = len(inputs.labels["jet"].classes)
        self.jet = nn.Sequential(
            nn.Linear(widths[-1] + self.candidates.event, net.hidden),
            nn.ReLU(),
            nn.Dropout(net.dropout),
            nn.Linear(net.hidden, classes),
        )

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        cloud = self.candidates(batch)
        x, place = self.norm(cloud.features), cloud.place
        for block in self.blocks:
            x = place = block(x, nearest(place, cloud.offsets, self.neighbours))
        mean = segment_mean(x, cloud.segments, cloud.jets)
        return {"jet": self.jet(torch.cat([mean, cloud.event], -1))}


class EdgeConvolution(nn.Module):
    """The network h on edges, its mean over neighbours, and the shortcut W.

    The first layer of h factorises, W_1 x_i + W_2 (x_j - x_i) = (W_1 - W_2) x_i + W_2 x_j, and is computed
    per candidate.
    """

    def __init__(self, width: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        pairs = list(pairwise([2 * width, *sizes]))
        self.first, *rest = (nn.Linear(before, after, bias=False) for before, after in pairs)
        self.layers = nn.ModuleList(rest)
        self.width = sizes[-1]
        self.norms = nn.ModuleList(BatchNorm(size) for size in sizes)
        self.short = nn.Linear(width, sizes[-1], bias=False) if width != sizes[-1] else None
        self.short_norm = BatchNorm(sizes[-1]) if width != sizes[-1] else None

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        """x: (T, width), near: (T, k) positions of neighbours, T for none; (T, sizes[-1])."""
        to_own, to_other = self.first.weight.chunk(2, 1)
        own = F.linear(x, to_own - to_other)
        # Neighbours that are not there have no features: W_2 0 = 0.
        other = torch.cat([F.linear(x, to_other), x.new_zeros(1, own.shape[1])])
        if self.training or torch.compiler.is_exporting():
            gathered = self.of_edges(own, other, near)
        else:
            step = max(1, EDGES // near.shape[1])
            parts = [
                self.of_edges(own[k : k + step], other, near[k : k + step]) for k in range(0, len(x), step)
            ]
            gathered = torch.cat(parts) if parts else x.new_zeros(0, self.width)
        if self.short is None or self.short_norm is None:
            return torch.relu(x + gathered)
        return torch.relu(normalised(self.short, self.short_norm, x) + gathered)

    def of_edges(self, own: Tensor, other: Tensor, near: Tensor) -> Tensor:
        """Mean over neighbours of h, from what the first layer makes of candidates (T, S) and neighbours."""
        neighbours = torch.unflatten(other.index_select(0, near.flatten()), 0, near.shape)
        first = (own.unsqueeze(1) + neighbours).flatten(0, 1)
        h: Tensor = torch.relu(self.norms[0](first))
        for linear, norm in zip(self.layers, self.norms[1:], strict=True):
            assert isinstance(linear, nn.Linear) and isinstance(norm, BatchNorm)
            h = torch.relu(normalised(linear, norm, h))
        return torch.unflatten(h, 0, near.shape).mean(1)
