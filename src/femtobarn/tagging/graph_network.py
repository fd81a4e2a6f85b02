"""A graph network with updates of edges, nodes and the whole [1806.01261]."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.four_momenta import PAIRS, pair_kinematics
from femtobarn.nn.heads import dense
from femtobarn.nn.neighbours import nearest
from femtobarn.nn.norm import BatchNorm
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import segment_mean
from femtobarn.tagging.candidates import Candidates, candidate_inputs

__all__ = ["GraphNetwork"]


@method
class GraphNetwork(Classifier):
    """Edges, candidates and the jet in turn, each updated from what it touches [1806.01261, Algorithm 1].

        e_ij <- e_ij + phi_e(e_ij, v_i, v_j, u),   v_i <- v_i + phi_v(v_i, mean_j e_ij, u),
        u <- u + phi_u(u, mean_i v_i, mean_ij e_ij)

    Edges join each candidate to its nearest in (deta, dphi), and begin as ln kT, ln z, ln dR and ln m2 of the
    pair; the answer is read off u.

    Attributes:
        neighbours: of each candidate.
        width: of edges, candidates and jet.
        layers: rounds of updates.
        hidden: size of the dense layer that reads u.
    """

    contract_parameters: ClassVar[dict[str, Any]] = {"neighbours": 4, "width": 16, "layers": 2}

    neighbours: int = Field(default=12, ge=1)
    width: int = Field(default=48, ge=1)
    layers: int = Field(default=3, ge=1)
    hidden: int = Field(default=64, ge=1)

    def default_inputs(self) -> Inputs:
        """See `candidate_inputs`."""
        return candidate_inputs()

    def default_training(self) -> Training:
        """AdamW with a rate of 1e-3, batches of 256 jets: ours."""
        return Training(optimiser="adamw", learning_rate=1e-3, weight_decay=1e-2, batch_size=256, epochs=20)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Candidates and their edges -> rounds of updates -> logits of the classes."""

    def __init__(self, net: GraphNetwork, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.neighbours, width = net.neighbours, net.width
        self.candidates = Candidates(inputs, statistics)
        self.node_norm, self.edge_norm = BatchNorm(self.candidates.features), BatchNorm(len(PAIRS))
        self.node, self.edge = nn.Linear(self.candidates.features, width), nn.Linear(len(PAIRS), width)
        self.whole = nn.Parameter(0.1 * torch.randn(width))
        self.rounds = nn.ModuleList(Update(width) for _ in range(net.layers))
        classes = len(inputs.labels["jet"].classes)
        self.jet = dense([width + self.candidates.event, net.hidden, classes])

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        cloud = self.candidates(batch)
        tokens = cloud.features.shape[0]
        near = nearest(cloud.place, cloud.offsets, self.neighbours)
        own = torch.arange(tokens, device=near.device).unsqueeze(-1)
        there = (near < tokens).to(cloud.features.dtype)  # fewer candidates leave places open
        near = torch.where(near < tokens, near, own).flatten()
        i = own.expand(-1, self.neighbours).flatten()
        e = self.edge(self.edge_norm(pair_kinematics(cloud.momenta, i, near)))
        v, u = self.node(self.node_norm(cloud.features)), self.whole.expand(cloud.jets, -1)
        for update in self.rounds:
            e, v, u = update(e, v, u, near, there, cloud.segments)
        return {"jet": self.jet(torch.cat([u, cloud.event], -1))}


class Update(nn.Module):
    """One round. The first layers factorise: what v and u add to an edge is computed per candidate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.edge, self.one, self.other = (nn.Linear(width, width) for _ in range(3))
        self.edge_out = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width))
        self.node = nn.Sequential(
            nn.Linear(3 * width, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width)
        )
        self.whole = nn.Sequential(
            nn.Linear(3 * width, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width)
        )
        self.to_node = nn.Linear(width, width)

    def forward(
        self, e: Tensor, v: Tensor, u: Tensor, near: Tensor, there: Tensor, jet: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """e: (T*k, D), v: (T, D), u: (B, D); near: (T*k,), there: (T, k) 0 or 1, jet: (T,)."""
        k = there.shape[1]
        own = self.one(v) + self.to_node(u).index_select(0, jet)
        first = self.edge(e) + own.repeat_interleave(k, 0) + self.other(v).index_select(0, near)
        e = e + self.edge_out(first)
        share = there / there.sum(1, keepdim=True).clamp(min=1)
        gathered = (share.unsqueeze(-1) * torch.unflatten(e, 0, there.shape)).sum(1)
        v = v + self.node(torch.cat([v, gathered, u.index_select(0, jet)], -1))
        means = [segment_mean(x, jet, u.shape[0]) for x in (v, gathered)]
        return e, v, u + self.whole(torch.cat([u, *means], -1))
