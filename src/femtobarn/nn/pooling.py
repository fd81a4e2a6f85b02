"""From the tokens of an event to one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from femtobarn.nn.ragged import Layout, segment_softmax, segment_sum

__all__ = ["AttentionPooling", "attention_pool"]


def attention_pool(h: Tensor, scores: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """sum_i a_i h_i over an event's tokens, a_i = softmax_i(s_i); h: (T, width), scores: (T, 1).

    Gives the sums (B, width) and the shares a_i (T, 1).
    """
    share = segment_softmax(scores, layout.segments, layout.events)
    return segment_sum(share * h, layout.segments, layout.events), share


class AttentionPooling(nn.Module):
    """sum_i softmax_i(g(h_i)) h_i over an event's tokens [global attention, Li et al., 1511.05493, Eq. 7].

    g is a network of one hidden layer. An event without tokens gets a learned vector.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.empty = nn.Parameter(torch.zeros(width))

    def forward(self, h: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """h: (T, width) in the layout's order; gives (B, width) and each token's share (T, 1)."""
        pooled, share = attention_pool(h, self.gate(h), layout)
        without = (layout.offsets[1:] == layout.offsets[:-1]).unsqueeze(-1)
        return torch.where(without, self.empty, pooled), share
