"""Attention between the tokens of an event, without padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from femtobarn.nn.kernels import attend, attend_backward, per_event
from femtobarn.nn.ragged import Layout, ordered_pairs, segment_softmax, segment_sum

__all__ = ["GATv2", "gatv2_attention", "gatv2_pairwise"]


class GATv2(nn.Module):
    """Fully connected dynamic graph attention, each token among its neighbours [2105.14491, Eq. 7].

        e_ij = a^T LeakyReLU(W_l h_i + W_r h_j),   alpha_i = softmax_j(e_ij),   h'_i = sum_j alpha_ij W_r h_j

    for each head, with the heads' outputs concatenated: (T, width) to (T, heads * head_width).
    """

    def __init__(self, width: int, heads: int, head_width: int, slope: float = 0.2) -> None:
        super().__init__()
        self.slope = slope
        self.left = nn.Linear(width, heads * head_width)
        self.right = nn.Linear(width, heads * head_width)
        self.score = nn.Parameter(torch.empty(heads, head_width))
        nn.init.xavier_uniform_(self.score)

    def forward(self, h: Tensor, layout: Layout) -> Tensor:
        """h: (T, width) in the layout's order."""
        left, right = self.left(h), self.right(h)
        if torch.compiler.is_exporting() or left.device.type != "cpu":
            return gatv2_pairwise(left, right, self.score, layout.offsets, self.slope)
        return gatv2_attention(left, right, self.score, layout.offsets, self.slope)


def gatv2_pairwise(left: Tensor, right: Tensor, score: Tensor, offsets: Tensor, slope: float) -> Tensor:
    """The formula as it stands, over all pairs at once; left, right: (T, H*D), score: (H, D).

    It takes memory for every pair: for devices other than processors, for export, and as the reference of
    `gatv2_attention`.
    """
    tokens = left.shape[0]
    i, j = ordered_pairs(offsets, tokens)
    message = right.index_select(0, j)
    pairs = F.leaky_relu(left.index_select(0, i) + message, slope)
    alpha = segment_softmax(F.linear(pairs, _block_diagonal(score)), i, tokens)
    weighted = alpha.unsqueeze(-1) * message.view(-1, *score.shape)
    return segment_sum(weighted, i, tokens).flatten(1)


def gatv2_attention(left: Tensor, right: Tensor, score: Tensor, offsets: Tensor, slope: float) -> Tensor:
    """As `gatv2_pairwise`, by the compiled loops of `nn.kernels`, which leave only the weights in memory."""
    # Half precision, if any, is that of the linear layers around it.
    left, right = left.to(score.dtype), right.to(score.dtype)
    out: Tensor = _Attention.apply(left, right, score, offsets, slope)  # type: ignore[no-untyped-call]
    return out


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, left: Tensor, right: Tensor, score: Tensor, offsets: Tensor, slope: float
    ) -> Tensor:
        tokens = left.contiguous(), right.contiguous(), score.contiguous()
        arrays = [x.detach().numpy() for x in tokens]
        bounds = offsets.numpy()
        pairs = np.concatenate([[0], np.cumsum(np.diff(bounds) ** 2)])
        ctx.event = arrays[0].dtype.type(slope), bounds, pairs
        alpha, out = left.new_empty(int(pairs[-1]), len(score)), torch.empty_like(tokens[1])
        per_event(attend, pairs, *arrays, *ctx.event, alpha.numpy(), out.numpy())
        ctx.save_for_backward(*tokens, alpha)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        left, right, score, alpha = ctx.saved_tensors
        slope, bounds, pairs = ctx.event
        d_left, d_right = torch.empty_like(left), torch.empty_like(right)
        d_score = score.new_empty(len(bounds) - 1, *score.shape)
        arrays = [x.detach().numpy() for x in (left, right, score)]
        results = [x.numpy() for x in (alpha, grad.contiguous(), d_left, d_right, d_score)]
        per_event(attend_backward, pairs, *arrays, slope, bounds, pairs, *results)
        return d_left, d_right, d_score.sum(0), None, None


def _block_diagonal(score: Tensor) -> Tensor:
    """(H, D) as (H, H*D), zero outside the blocks: all heads' products in one."""
    heads = torch.eye(len(score), dtype=score.dtype, device=score.device)
    return (heads.unsqueeze(-1) * score).flatten(1)
