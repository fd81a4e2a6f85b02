"""A transformer on the reconstructed objects of an event whose attention sees masses and distances."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from femtobarn.classification.objects import PAIR_FEATURES, TRAINING, Objects, object_inputs
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.heads import dense
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import ordered_pairs, segment_softmax, segment_sum, segments_of

__all__ = ["EventTransformer"]


@method
class EventTransformer(Classifier):
    r"""Self-attention between an event's objects, biased by their pairs [1706.03762; 2202.03772, Eq. 4].

    $$ h_i \leftarrow h_i + W \sum_j \mathrm{softmax}_j\Big( \frac{q_i \cdot k_j}{\sqrt d} + b(a_{ij}) \Big)
       \big(v_j + c(a_{ij})\big) $$

    with the mass and distance $a_{ij}$ of each pair, followed by a dense network on each object. Of what
    2202.03772 does, the values' term c is ours: with few objects the masses themselves matter, not only who
    attends to whom.

    Attributes:
        width: numbers per object.
        heads: of each attention.
        layers: of attention and dense network.
        dropout: chance of a hidden number of the last network to be left out in training.
    """

    label: ClassVar[str] = "class"

    width: PositiveInt = 64
    heads: PositiveInt = 4
    layers: PositiveInt = 2
    dropout: float = Field(default=0.0, ge=0, lt=1)

    def default_inputs(self) -> Inputs:
        """See `objects.object_inputs`."""
        return object_inputs()

    def default_training(self) -> Training:
        """AdamW and one cycle of the learning rate."""
        return TRAINING

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`.

        Raises:
            InputError: when the heads cannot share the width.
        """
        if self.width % self.heads:
            raise InputError(f"'{self.name}': a width of {self.width} cannot be shared by {self.heads} heads")
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Objects and pairs -> attention -> the sum over objects -> logits."""

    def __init__(self, former: EventTransformer, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.objects = Objects(inputs, statistics, former.name)
        width, classes = former.width, len(inputs.labels["class"].classes)
        self.node = dense([self.objects.width, width, width])
        self.pair = dense([PAIR_FEATURES, 32, 32], final=True)
        self.layers = nn.ModuleList(Layer(width, former.heads, 32) for _ in range(former.layers))
        self.head = dense([width + self.objects.event_width, width, width, classes], dropout=former.dropout)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`class` (B, classes) logits."""
        x, event, raw = self.objects(batch)
        i, j = ordered_pairs(raw.offsets, x.shape[0])
        h, a = self.node(x), self.pair(self.objects.pairs(raw, i, j))
        for layer in self.layers:
            h = layer(h, a, i, j)
        total = segment_sum(h, segments_of(raw.offsets, x.shape[0]), event.shape[0])
        return {"class": self.head(torch.cat([total, event], -1))}


class Layer(nn.Module):
    """Attention and a dense network, each added to what came in."""

    def __init__(self, width: int, heads: int, pair: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.dense_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.value, self.mix = (nn.Linear(width, width) for _ in range(3))
        self.key = nn.Linear(width, width, bias=False)  # a constant key is the same for all j
        self.bias = nn.Linear(pair, heads, bias=False)
        self.carried = nn.Linear(pair, width, bias=False)
        self.dense = dense([width, 2 * width, width])

    def forward(self, h: Tensor, a: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """h: (T, width), a: (P, pair) of the pairs i, j."""
        seen, size = self.norm(h), h.shape[1] // self.heads
        q, k, v = (layer(seen) for layer in (self.query, self.key, self.value))
        product = (q.index_select(0, i) * k.index_select(0, j)).view(-1, self.heads, size).sum(-1)
        alpha = segment_softmax(product / math.sqrt(size) + self.bias(a), i, h.shape[0])
        values = (v.index_select(0, j) + self.carried(a)).view(-1, self.heads, size)
        h = h + self.mix(segment_sum(alpha.unsqueeze(-1) * values, i, h.shape[0]).flatten(1))
        update: Tensor = self.dense(self.dense_norm(h))
        return h + update
