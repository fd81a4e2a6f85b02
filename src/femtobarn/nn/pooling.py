"""From the tokens of an event to one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from femtobarn.nn.ragged import Layout, segment_softmax, segment_sum

__all__ = ["AttentionPooling", "attention_pool"]


def attention_pool(h: Tensor, scores: Tensor, layout: Layout) -> Tensor:
    """sum_i softmax_i(s_i) h_i over an event's tokens; h: (T, width), scores: (T, 1), gives (B, width)."""
    share = segment_softmax(scores, layout.segments, layout.events)
    return segment_sum(share * h, layout.segments, layout.events)


class AttentionPooling(nn.Module):
    """sum_i softmax_i(g(h_i)) h_i over an event's tokens [global attention, Li et al., 1511.05493, Eq. 7].

    g is a network of one hidden layer. An event without tokens gets a learned vector.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.empty = nn.Parameter(torch.zeros(width))

    def forward(self, h: Tensor, layout: Layout) -> Tensor:
        """h: (T, width) in the layout's order; gives (B, width)."""
        pooled = attention_pool(h, self.gate(h), layout)
        without = (layout.offsets[1:] == layout.offsets[:-1]).unsqueeze(-1)
        return torch.where(without, self.empty, pooled)
