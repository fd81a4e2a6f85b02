"""Dense networks on events, on tokens with their event, and on pairs of tokens with their event."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from femtobarn.nn import kernels
from femtobarn.nn.ragged import Layout, unordered_pairs

__all__ = ["PairHead", "TokenHead", "dense", "pair_sums"]


def dense(sizes: Sequence[int], final: bool = False, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers of the given sizes with ReLU between them, and after the last one if `final`.

    Each ReLU is followed by dropout if there is any.
    """
    *inner, last = pairwise(sizes)
    layers: list[nn.Module] = []
    for before, after in [*inner, last] if final else inner:
        layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, *([] if final else [nn.Linear(*last)]))


class TokenHead(nn.Module):
    """A dense network on each token h_i with its event's vector g.

    The first layer factorises, W[h_i, g] = W1 h_i + W2 g, and W2 g is computed once per event.
    """

    def __init__(self, width: int, context: int, hidden: Sequence[int], out: int) -> None:
        super().__init__()
        self.token = nn.Linear(width, hidden[0])
        self.context = nn.Linear(context, hidden[0], bias=False)
        self.rest = dense([*hidden, out])

    def forward(self, h: Tensor, g: Tensor, layout: Layout) -> Tensor:
        """h: (T, width), g: (B, context), both in the layout's order; gives (T, out)."""
        logits: Tensor = self.rest(torch.relu(self.token(h) + layout.spread(self.context(g))))
        return logits


class PairHead(nn.Module):
    """A dense network on each unordered pair i < j of an event's tokens with the event's vector g: a logit.

    The first layer factorises, W[h_i, h_j, g] = W1 h_i + W2 h_j + W3 g, which leaves an addition per pair. It
    is taken in both orders and added after the ReLU, so that the answer does not depend on the order of the
    tokens.
    """

    def __init__(self, width: int, context: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.one = nn.Linear(width, hidden[0])
        self.other = nn.Linear(width, hidden[0], bias=False)
        self.context = nn.Linear(context, hidden[0], bias=False)
        self.rest = dense([*hidden, 1])

    def forward(self, h: Tensor, g: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
        """h: (T, width), g: (B, context) in the layout's order; (P,) logits and i, j in the batch's order."""
        one, other = self.one(h) + layout.spread(self.context(g)), self.other(h)
        i, j = unordered_pairs(layout.offsets, h.shape[0])
        if torch.compiler.is_exporting() or h.device.type != "cpu":
            both = torch.relu(one[i] + other[j]) + torch.relu(one[j] + other[i])
        else:
            full = self.one.weight.dtype
            both = pair_sums(one.to(full), other.to(full), layout.offsets)
        return self.rest(both).flatten(), layout.original(i), layout.original(j)


def pair_sums(one: Tensor, other: Tensor, offsets: Tensor) -> Tensor:
    """ReLU(one_i + other_j) + ReLU(one_j + other_i) of an event's pairs i < j: (T, D) to (P, D)."""
    both: Tensor = _PairSums.apply(one, other, offsets)  # type: ignore[no-untyped-call]
    return both


class _PairSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor, offsets: Tensor) -> Tensor:
        tokens, bounds = (one.contiguous(), other.contiguous()), offsets.numpy()
        lengths = np.diff(bounds)
        ctx.event = bounds, np.concatenate([[0], np.cumsum(lengths * (lengths - 1) // 2)])
        out = one.new_empty(int(ctx.event[1][-1]), one.shape[1])
        arrays = [x.detach().numpy() for x in tokens]
        kernels.per_event(kernels.pair_sums, ctx.event[1], *arrays, *ctx.event, out.numpy())
        ctx.save_for_backward(*tokens)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        one, other = ctx.saved_tensors
        d_one, d_other = torch.empty_like(one), torch.empty_like(other)
        arrays = [x.detach().numpy() for x in (one, other)]
        results = [x.numpy() for x in (grad.contiguous(), d_one, d_other)]
        kernels.per_event(kernels.pair_sums_backward, ctx.event[1], *arrays, *ctx.event, *results)
        return d_one, d_other, None
