"""Attention between the tokens of an event, without padding."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from femtobarn.nn.ragged import Layout, ordered_pairs, segment_softmax, segment_sum

__all__ = ["GATv2", "gatv2_attention", "gatv2_pairwise"]

CACHE = 1 << 20
"""Numbers per block of pairs: 4 MB of float32, which a core's share of the L2 and L3 caches holds."""


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
        if torch.compiler.is_exporting():
            return gatv2_pairwise(left, right, self.score, layout.offsets, self.slope)
        return gatv2_attention(left, right, self.score, layout, self.slope)


def gatv2_pairwise(left: Tensor, right: Tensor, score: Tensor, offsets: Tensor, slope: float) -> Tensor:
    """The formula as it stands, over all pairs at once; left, right: (T, H*D), score: (H, D).

    It takes memory for every pair: for export, and as the reference of `gatv2_attention`.
    """
    tokens = left.shape[0]
    i, j = ordered_pairs(offsets, tokens)
    message = right.index_select(0, j)
    pairs = F.leaky_relu(left.index_select(0, i) + message, slope)
    alpha = segment_softmax(F.linear(pairs, _block_diagonal(score)), i, tokens)
    weighted = alpha.unsqueeze(-1) * message.view(-1, *score.shape)
    return segment_sum(weighted, i, tokens).flatten(1)


def gatv2_attention(left: Tensor, right: Tensor, score: Tensor, layout: Layout, slope: float) -> Tensor:
    """As `gatv2_pairwise`, in blocks of events of equal length that fit the cache, backward recomputed."""
    with torch.autocast(left.device.type, enabled=False):
        out: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
            left.float(), right.float(), score.float(), layout, slope
        )
    return out.to(left.dtype)


class _Attention(torch.autograd.Function):
    """GATv2 attention with l_i = W_l h_i and r_j = W_r h_j, and its gradient.

    Three identities keep the arithmetic on pairs to one maximum forward and one comparison backward:
    LeakyReLU(x) = s x + (1-s) ReLU(x); ReLU(l + r) = max(l, -r) + r; and the softmax over j does not see
    terms of i alone. So e_ij = (1-s) a.max(l_i, -r_j) + a.r_j. With M_ij = [l_i > -r_j] and g_ij = dL/de_ij,
    whose sum over j vanishes, the gradients follow from D_i = sum_j g_ij M_ij and E_j = sum_i g_ij M_ij:
    dL/dl_i = (1-s) a D_i, dL/dr_j = a ((1-s) E_j + s sum_i g_ij), dL/da = (1-s) (sum_i l_i D_i +
    sum_j r_j E_j) + s sum_j r_j sum_i g_ij.
    """

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, score: Tensor, layout: Layout, slope: float) -> Tensor:
        heads, width = score.shape
        ctx.chunks = layout.chunks(heads * width, CACHE if left.device.type == "cpu" else 64 * CACHE)
        ctx.slope = slope
        project = _block_diagonal(score)
        own, minus_right = F.linear(right, project), -right
        out, weights = torch.empty_like(right), []
        buffer = _buffer(left, ctx.chunks)
        for start, m, n in ctx.chunks:
            run = slice(start, start + m * n)
            pairs = buffer[: m * n * n * heads * width].view(m, n, n, heads * width)
            torch.maximum(left[run].view(m, n, 1, -1), minus_right[run].view(m, 1, n, -1), out=pairs)
            e = F.linear(pairs.view(m * n * n, -1), (1 - slope) * project).view(m, n, n, heads)
            e += own[run].view(m, 1, n, heads)
            # torch.softmax is slow on rows as short as a jet's.
            alpha = e.permute(0, 3, 1, 2).contiguous()
            alpha.sub_(alpha.amax(-1, keepdim=True)).exp_().div_(alpha.sum(-1, keepdim=True))
            out[run].view(m, n, heads, width).copy_((alpha @ _by_head(right[run], m, heads)).transpose(1, 2))
            weights.append(alpha)
        ctx.save_for_backward(left, right, score, *weights)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        left, right, score, *weights = ctx.saved_tensors
        heads, width = score.shape
        slope, minus_right = ctx.slope, -right
        by_left, by_right, d_right = (torch.empty_like(right) for _ in range(3))
        g_sum = left.new_empty(len(left), heads, 1)
        buffer = _buffer(left, ctx.chunks)
        for (start, m, n), alpha in zip(ctx.chunks, weights, strict=True):
            run = slice(start, start + m * n)
            grad_run = _by_head(grad[run], m, heads)
            d_right[run].view(m, n, heads, width).copy_((alpha.transpose(2, 3) @ grad_run).transpose(1, 2))
            d_alpha = (grad_run @ _by_head(right[run], m, heads).transpose(2, 3)).mul_(alpha)
            g = d_alpha.addcmul_(alpha, d_alpha.sum(-1, keepdim=True), value=-1)
            g = g.permute(0, 2, 3, 1).contiguous()
            mask = buffer[: m * n * n * heads * width].view(m, n, n, heads * width)
            torch.gt(left[run].view(m, n, 1, -1), minus_right[run].view(m, 1, n, -1), out=mask)
            mask.view(m, n, n, heads, width).mul_(g.unsqueeze(-1))
            torch.sum(mask, 2, out=by_left[run].view(m, n, -1))
            torch.sum(mask, 1, out=by_right[run].view(m, n, -1))
            torch.sum(g, 1, out=g_sum[run].view(m, n, heads))
        r = right.view(-1, heads, width)
        d_score = (1 - slope) * ((left * by_left) + (right * by_right)).sum(0).view(heads, width)
        d_score += slope * (r * g_sum).sum(0)
        flat = score.flatten()
        d_right.addcmul_(by_right, flat, value=1 - slope)
        d_right.view(-1, heads, width).addcmul_(score * slope, g_sum)
        return by_left.mul_((1 - slope) * flat), d_right, d_score, None, None


def _block_diagonal(score: Tensor) -> Tensor:
    """(H, D) as (H, H*D), zero outside the blocks: all heads' products in one."""
    heads = torch.eye(len(score), dtype=score.dtype, device=score.device)
    return (heads.unsqueeze(-1) * score).flatten(1)


def _by_head(values: Tensor, events: int, heads: int) -> Tensor:
    """(m*n, H*D) as (m, H, n, D)."""
    return values.view(events, len(values) // events, heads, -1).transpose(1, 2)


def _buffer(like: Tensor, chunks: list[tuple[int, int, int]]) -> Tensor:
    """Memory for the pairs of any one of the chunks."""
    return like.new_empty(max((m * n * n for _, m, n in chunks), default=0) * like.shape[1])
