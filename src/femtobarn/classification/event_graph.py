"""A graph network on the reconstructed objects of an event, with masses and distances on its edges."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from femtobarn.classification.objects import PAIR_FEATURES, TRAINING, Objects, object_inputs
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.heads import dense
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import ordered_pairs, segment_mean, segment_sum, segments_of

__all__ = ["EventGraph"]


@method
class EventGraph(Classifier):
    r"""Message passing between all objects of an event [interaction networks 1612.00222; PRD 104, 056003].

    Every pair is an edge that knows its mass and distance, $a_{ij}$. In each layer

    $$ e_{ij} \leftarrow e_{ij} + f_e(h_i, h_j, e_{ij}), \qquad
       h_i \leftarrow h_i + f_h\big(h_i, \tfrac1n \textstyle\sum_j e_{ij}\big) $$

    with $e_{ij}$ at first a network on $a_{ij}$; the answer is made of the sums of nodes and mean of edges.

    Attributes:
        width: numbers per object.
        edge_width: numbers per pair.
        layers: of message passing.
        dropout: chance of a hidden number of the last network to be left out in training.
    """

    label: ClassVar[str] = "class"

    width: PositiveInt = 64
    edge_width: PositiveInt = 32
    layers: PositiveInt = 2
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
    """Objects and pairs -> messages -> the event -> logits."""

    def __init__(self, graph: EventGraph, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.objects = Objects(inputs, statistics, graph.name)
        width, edge, classes = graph.width, graph.edge_width, len(inputs.labels["class"].classes)
        self.node = dense([self.objects.width, width, width])
        self.edge = dense([PAIR_FEATURES, edge, edge])
        self.layers = nn.ModuleList(Layer(width, edge) for _ in range(graph.layers))
        self.head = dense(
            [width + edge + self.objects.event_width, width, width, classes], dropout=graph.dropout
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`class` (B, classes) logits."""
        x, event, raw = self.objects(batch)
        i, j = ordered_pairs(raw.offsets, x.shape[0])
        h, e = self.node(x), self.edge(self.objects.pairs(raw, i, j))
        for layer in self.layers:
            h, e = layer(h, e, i, j)
        owner, events = segments_of(raw.offsets, x.shape[0]), event.shape[0]
        pooled = segment_sum(h, owner, events), segment_mean(e, owner.index_select(0, i), events)
        return {"class": self.head(torch.cat([*pooled, event], -1))}


class Layer(nn.Module):
    """One exchange of messages; the first linear map of a pair is taken of its objects one by one."""

    def __init__(self, width: int, edge: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.one = nn.Linear(width, edge)
        self.other = nn.Linear(width, edge, bias=False)
        self.own = nn.Linear(edge, edge, bias=False)
        self.message = nn.Linear(edge, edge)
        self.update = dense([width + edge, width, width])

    def forward(self, h: Tensor, e: Tensor, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
        """h: (T, width), e: (P, edge) of the pairs i, j."""
        seen = self.norm(h)
        pair = self.one(seen).index_select(0, i) + self.other(seen).index_select(0, j) + self.own(e)
        e = e + self.message(torch.relu(pair))
        heard = segment_mean(e, i, h.shape[0])
        return h + self.update(torch.cat([seen, heard], -1)), e
