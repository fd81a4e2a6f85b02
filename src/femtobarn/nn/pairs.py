"""Numbers of pairs of tokens as additions to attention scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from femtobarn.nn import kernels
from femtobarn.nn.ragged import segments_of

__all__ = ["matrices", "pairs_with_self"]


def pairs_with_self(offsets: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """All pairs i <= j of tokens of one event: two (P,) int64, sorted by i, then j."""
    own = torch.arange(tokens, device=offsets.device)
    partners = offsets[1:].index_select(0, segments_of(offsets, tokens)) - own
    i = torch.repeat_interleave(own, partners)
    starts = torch.cumsum(partners, 0) - partners
    return i, i + torch.arange(len(i), device=i.device) - starts.index_select(0, i)


def matrices(values: Tensor, offsets: Tensor) -> Tensor:
    """Numbers (P, heads) of the pairs i <= j as the `bias` of `nn.transformer.dot_product_attention`.

    For each event of n tokens in turn symmetric (heads, n, n), flat. On processors.
    """
    spread: Tensor = _Matrices.apply(values, offsets)  # type: ignore[no-untyped-call]
    return spread


class _Matrices(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, offsets: Tensor) -> Tensor:
        bounds = offsets.numpy()
        lengths = np.diff(bounds)
        ctx.event = bounds, np.concatenate([[0], np.cumsum(lengths * (lengths + 1) // 2)])
        ctx.shape = values.shape
        out = values.new_empty(values.shape[1] * int((lengths**2).sum()))
        arrays = values.detach().contiguous().numpy(), *ctx.event, out.numpy()
        kernels.per_event(kernels.spread_pairs, ctx.event[1], *arrays)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        d_values = grad.new_empty(ctx.shape)
        arrays = grad.contiguous().numpy(), *ctx.event, d_values.numpy()
        kernels.per_event(kernels.gather_pairs, ctx.event[1], *arrays)
        return d_values, None
