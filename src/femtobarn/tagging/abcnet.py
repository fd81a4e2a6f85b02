"""ABCNet: attention over the nearest candidates of a point cloud [2001.05311]."""

from __future__ import annotations

from typing import Any, ClassVar

import awkward as ak
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.heads import dense
from femtobarn.nn.neighbours import nearest
from femtobarn.nn.norm import BatchNorm, normalised
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import segment_mean, summed_at
from femtobarn.tagging.candidates import Candidates, candidate_inputs

__all__ = ["ABCNet"]


@method
class ABCNet(Classifier):
    """Graph attention pooling on candidates [2001.05311, Section 3].

    In each of two layers a candidate weighs its nearest neighbours,

        c_ij = softmax_j LeakyReLU(a(x'_i) + b(y_ij)),   y_ij = g(x_i - x_j),   x_i <- ReLU(sum_j c_ij y_ij)

    beside the largest of y_ij; near means (deta, dphi) at first, then the features of the first layer. The
    sum of the self-attention of the first layer is kept for pictures.

    Attributes:
        neighbours: of each candidate.
        heads: attention heads of a layer.
        widths: of the two layers.
        hidden: sizes of the layers that read the mean of the candidates.
        dropout: after each of these.
    """

    contract_parameters: ClassVar[dict[str, Any]] = {"neighbours": 4, "widths": (12, 16), "dropout": 0.0}

    neighbours: int = Field(default=10, ge=1)
    heads: int = Field(default=2, ge=1)
    widths: tuple[int, int] = (32, 64)
    hidden: tuple[int, ...] = (128, 64)
    dropout: float = Field(default=0.2, ge=0, lt=1)

    def default_inputs(self) -> Inputs:
        """See `candidate_inputs`."""
        return candidate_inputs()

    def default_training(self) -> Training:
        """Adam with a rate of 1e-3, batches of 128 jets: ours."""
        return Training(optimiser="adam", learning_rate=1e-3, batch_size=128, epochs=20)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)

    def answer(self, output: dict[str, Tensor]) -> dict[str, Tensor]:
        """Probabilities `jet` (B, classes), and how much each candidate is looked at, `attention` (T,)."""
        return {"jet": torch.softmax(output["jet"].float(), -1), "attention": output["attention"]}

    def predict_batch(self, batch: Batch) -> ak.Array:
        """A probability per class and jet; and `attention` per candidate, 0 for one that was not read."""
        answer, candidates = self.run(batch), batch.collections["candidates"]
        looked = candidates.as_read(answer["attention"].cpu().numpy(), 0.0)
        columns = ak.unflatten(ak.zip({f"{self.name}_attention": looked}), candidates.counts_as_read)
        return self.probabilities(answer["jet"].cpu().numpy(), candidates=columns)


class Network(nn.Module):
    """Candidates -> two layers of attention -> mean -> logits of the classes."""

    def __init__(self, net: ABCNet, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.neighbours = net.neighbours
        self.candidates = Candidates(inputs, statistics)
        self.norm = BatchNorm(self.candidates.features)
        first, second = net.widths
        self.first = GAP(self.candidates.features, first, net.heads)
        self.second = GAP(first, second, net.heads)
        self.mix = nn.ModuleList([Dense(2 * net.heads * first, first), Dense(2 * net.heads * second, second)])
        classes = len(inputs.labels["jet"].classes)
        self.jet = dense([first + second + self.candidates.event, *net.hidden, classes], dropout=net.dropout)

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits and `attention` (T,), its sum over those that look at a candidate."""
        cloud = self.candidates(batch)
        near = nearest(cloud.place, cloud.offsets, self.neighbours)
        x, share = self.first(self.norm(cloud.features), near)
        x = self.mix[0](x)
        y, _ = self.second(x, nearest(x, cloud.offsets, self.neighbours))
        y = self.mix[1](y)
        mean = segment_mean(torch.cat([x, y], -1), cloud.segments, cloud.jets)
        looked = summed_at(x.new_zeros(x.shape[0] + 1), near.flatten(), share.flatten())[:-1]
        return {"jet": self.jet(torch.cat([mean, cloud.event], -1)), "attention": looked}


class Dense(nn.Module):
    """A linear layer with norm and ReLU on each candidate."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(before, after), BatchNorm(after)

    def forward(self, x: Tensor) -> Tensor:
        """(T, before) to (T, after)."""
        return torch.relu(normalised(self.linear, self.norm, x))


class GAP(nn.Module):
    """Graph attention pooling. g is linear, so that it is computed once per candidate: g(x_i) - g(x_j)."""

    def __init__(self, features: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.graph = nn.Linear(features, heads * width, bias=False)
        self.own = nn.Linear(features, heads * width)
        self.from_own = nn.Parameter(torch.empty(heads, width))
        self.from_edge = nn.Parameter(torch.empty(heads, width))
        for score in (self.from_own, self.from_edge):
            nn.init.xavier_uniform_(score)

    def forward(self, x: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
        """x: (T, F), near: (T, k), T for none; gives (T, 2 H D), attention and maximum, and c (T, k)."""
        tokens = x.shape[0]
        graph = self.graph(x)
        padded = torch.cat([graph, graph.new_zeros(1, graph.shape[1])])
        away = graph.unsqueeze(1) - torch.unflatten(padded.index_select(0, near.flatten()), 0, near.shape)
        edges = torch.relu(torch.unflatten(away, -1, (self.heads, -1)))
        there = (near < tokens).unsqueeze(-1)
        own = (torch.unflatten(torch.relu(self.own(x)), -1, (self.heads, -1)) * self.from_own).sum(-1)
        score = F.leaky_relu(own.unsqueeze(1) + (edges * self.from_edge).sum(-1), 0.2)
        # One that has no neighbour at all looks at nothing: no share of infinities.
        weight = torch.exp(score - score.detach().amax(1, keepdim=True)) * there
        share = weight / weight.sum(1, keepdim=True).clamp(min=1e-12)
        pooled = torch.relu((share.unsqueeze(-1) * edges).sum(1))
        largest = (edges * there.unsqueeze(-1)).amax(1)
        return torch.cat([pooled, largest], -1).flatten(1), share.mean(-1)
