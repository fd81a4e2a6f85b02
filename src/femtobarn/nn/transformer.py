"""A transformer encoder on the packed tokens of events of any length, without padding or mask."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from femtobarn.nn.dropout import kept
from femtobarn.nn.heads import dense
from femtobarn.nn.ragged import Layout, segment_softmax, segment_sum

__all__ = [
    "Encoder",
    "SelfAttention",
    "dot_product_attention",
    "dot_product_padded",
    "dot_product_pairwise",
]

CACHE = 1 << 22
"""Numbers of a block of events, were each of its pairs as wide as a token's query, key and value together.
Measured at 8 tokens an event and a width of 256: 85 events, whose 2 MB the L2 cache of a core holds."""


class Encoder(nn.Module):
    """Layers of self-attention and feed-forward, normalised before each [1706.03762, 2002.04745], projected.

        h <- h + Attention(LayerNorm(h)),   h <- h + W_2 ReLU(W_1 LayerNorm(h)),   out = LayerNorm(W h)

    The norms have no weights, the linear layers behind them have. Each event gets `registers` learned tokens
    more [2309.16588], so that none is without a token.
    """

    def __init__(
        self, width: int, layers: int, heads: int, hidden: int, out: int, registers: int = 1
    ) -> None:
        super().__init__()
        self.registers = nn.Parameter(1e-4 * torch.randn(registers, width))
        self.layers = nn.ModuleList(EncoderLayer(width, heads, hidden) for _ in range(layers))
        self.project = nn.Linear(width, out)
        self.norm = nn.LayerNorm(out, elementwise_affine=False)

    def forward(self, h: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """h: (T, width) in the layout's order; gives (T + registers * B, out) and their layout.

        An event's registers follow its own tokens: `layout.places(registers)` finds these again.
        """
        wide, source = layout.extended(len(self.registers))
        h = torch.cat([h, self.registers.repeat(layout.events, 1)]).index_select(0, source)
        for layer in self.layers:
            h = layer(h, wide)
        return self.norm(self.project(h)), wide


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each added to what came in."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = SelfAttention(width, heads)
        self.forward_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.feed_forward = dense([width, hidden, width])

    def forward(self, h: Tensor, layout: Layout) -> Tensor:
        """h: (T, width) in the layout's order."""
        h = h + self.attention(self.attention_norm(h), layout)
        update: Tensor = self.feed_forward(self.forward_norm(h))
        return h + update


class SelfAttention(nn.Module):
    """Every token of an event attends to every one, itself included [1706.03762, Section 3.2].

        h'_i = W_o concat_heads sum_j softmax_j(q_i . k_j / sqrt(d)) v_j,   (q, k, v) = W h

    with d = width / heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)

    def forward(self, h: Tensor, layout: Layout) -> Tensor:
        """h: (T, width) in the layout's order."""
        qkv = self.qkv(h)
        if torch.compiler.is_exporting():
            attended = dot_product_padded(qkv, self.heads, layout)
        else:
            attended = dot_product_attention(qkv, self.heads, layout)
        mixed: Tensor = self.mix(attended)
        return mixed


def dot_product_padded(qkv: Tensor, heads: int, layout: Layout) -> Tensor:
    """The formula as it stands, on events padded to the longest; qkv: (T, 3*width), gives (T, width).

    For export, and as the reference of `dot_product_attention`.
    """
    first, lengths = layout.offsets[:-1], layout.offsets[1:] - layout.offsets[:-1]
    longest = torch.cat([lengths, torch.ones_like(layout.offsets[:1])]).max().item()
    assert not isinstance(longest, float)
    torch._check(longest >= 1)  # type: ignore[no-untyped-call]
    place = torch.arange(longest, device=qkv.device)
    real = place < lengths.unsqueeze(1)
    rows = torch.where(real, first.unsqueeze(1) + place, 0).flatten()
    padded = qkv.index_select(0, rows).view(-1, longest, 3, heads, qkv.shape[1] // (3 * heads))
    q, k, v = padded.permute(2, 0, 3, 1, 4).unbind(0)
    scores = (q @ k.transpose(2, 3)) / math.sqrt(q.shape[-1])
    alpha = torch.softmax(scores.masked_fill(~real[:, None, None, :], -torch.inf), -1)
    attended = (alpha @ v).transpose(1, 2).flatten(2).flatten(0, 1)
    own = torch.arange(qkv.shape[0], device=qkv.device) - first.index_select(0, layout.segments)
    return attended.index_select(0, layout.segments * longest + own)


def dot_product_pairwise(qkv: Tensor, heads: int, i: Tensor, j: Tensor, bias: Tensor | None = None) -> Tensor:
    """The formula over all ordered pairs i, j (P,) of an event's tokens, `bias` (P, heads) added to scores.

    It takes memory for every pair: for devices other than processors, for export, and as a reference.
    """
    tokens, width = qkv.shape[0], qkv.shape[1] // 3
    q, k, v = qkv.view(tokens, 3, heads, width // heads).unbind(1)
    scores = (q.index_select(0, i) * k.index_select(0, j)).sum(-1) / math.sqrt(width // heads)
    alpha = segment_softmax(scores if bias is None else scores + bias, i, tokens)
    weighted = alpha.unsqueeze(-1) * v.index_select(0, j)
    return segment_sum(weighted, i, tokens).flatten(1)


def dot_product_attention(
    qkv: Tensor, heads: int, layout: Layout, bias: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """As `dot_product_padded`, in blocks of events of equal length that fit the cache.

    Args:
        qkv: (T, 3*width) in the layout's order.
        heads: by which the width is divided.
        layout: of the events.
        bias: added to the scores, flat: for each event of n tokens (heads, n, n), see `nn.pairs`.
        dropout: share of the weights that is left out.
    """
    if bias is not None and not dropout and not torch.is_grad_enabled():
        return _fused(qkv, heads, layout, bias)
    with torch.autocast(qkv.device.type, enabled=False):
        given = None if bias is None else bias.float()
        out: Tensor = _Attention.apply(qkv.float(), heads, layout, given, dropout)  # type: ignore[no-untyped-call]
    return out.to(qkv.dtype)


class _Attention(torch.autograd.Function):
    """Products of small matrices, one per event and head, and their gradients.

    torch's softmax goes through rows of fewer than sixteen numbers one by one; maximum, exponential and sum
    over whole blocks take a quarter of its time. With g = dL/dh' and s = q k^T / sqrt(d) + bias the gradients
    are dv = alpha^T g, ds = alpha (g v^T - sum_j alpha g v^T), dq = ds k / sqrt(d), dk = ds^T q / sqrt(d),
    and ds for the bias. Weights that are dropped pass nothing either way, and the others are scaled up.
    """

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, heads: int, layout: Layout, bias: Tensor | None = None, dropout: float = 0.0
    ) -> Tensor:
        width = qkv.shape[1] // 3
        ctx.heads = heads
        ctx.chunks = layout.chunks(3 * width, CACHE if qkv.device.type == "cpu" else 64 * CACHE)
        ctx.scale = 1 / math.sqrt(width // heads)
        out, by_head = qkv.new_empty(len(qkv), width), torch.empty_like(qkv)
        alphas = qkv.new_empty(heads * sum(m * n * n for _, m, n in ctx.chunks))
        mask = kept(alphas, dropout) if dropout else None
        for run, (m, n), (q, k, v), block in _blocks(by_head, len(alphas), ctx.chunks, heads):
            alpha = alphas[block].view(-1, n, n)
            rows = qkv[run].view(m, n, 3, heads, -1)
            by_head[run].view(3, m, heads, n, -1).copy_(rows.permute(2, 0, 3, 1, 4))
            if bias is None:
                torch.baddbmm(alpha, q, k.transpose(1, 2), beta=0, alpha=ctx.scale, out=alpha)
            else:
                torch.baddbmm(bias[block].view(-1, n, n), q, k.transpose(1, 2), alpha=ctx.scale, out=alpha)
            alpha.sub_(alpha.amax(-1, keepdim=True)).exp_().div_(alpha.sum(-1, keepdim=True))
            used = alpha if mask is None else alpha * mask[block].view(-1, n, n)
            out[run].view(m, n, heads, -1).copy_((used @ v).view(m, heads, n, -1).transpose(1, 2))
        ctx.save_for_backward(by_head, alphas, *([] if mask is None else [mask]))
        ctx.biased = bias is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        by_head, alphas, *masks = ctx.saved_tensors
        heads, grad, d_qkv = ctx.heads, grad.contiguous(), torch.empty_like(by_head)
        d_bias = torch.empty_like(alphas) if ctx.biased and ctx.needs_input_grad[3] else None
        for run, (m, n), (q, k, v), block in _blocks(by_head, len(alphas), ctx.chunks, heads):
            alpha = used = alphas[block].view(-1, n, n)
            g = grad[run].view(m, n, heads, -1).transpose(1, 2).reshape(m * heads, n, -1)
            d_alpha = torch.bmm(g, v.transpose(1, 2))
            if masks:
                mask = masks[0][block].view(-1, n, n)
                used, d_alpha = alpha * mask, d_alpha.mul_(mask)
            d_alpha.mul_(alpha)
            d_scores = d_alpha.addcmul_(alpha, d_alpha.sum(-1, keepdim=True), value=-1)
            if d_bias is not None:
                d_bias[block].view(-1, n, n).copy_(d_scores)
            parts = g.new_empty(3, *g.shape)
            dq, dk, dv = parts
            torch.baddbmm(dq, d_scores, k, beta=0, alpha=ctx.scale, out=dq)
            torch.baddbmm(dk, d_scores.transpose(1, 2), q, beta=0, alpha=ctx.scale, out=dk)
            torch.bmm(used.transpose(1, 2), g, out=dv)
            rows = parts.view(3, m, heads, n, -1).permute(1, 3, 0, 2, 4)
            d_qkv[run].view(m, n, 3, heads, -1).copy_(rows)
        return d_qkv, None, None, d_bias, None


def _fused(qkv: Tensor, heads: int, layout: Layout, bias: Tensor) -> Tensor:
    """The same without gradients, run by run in torch's own kernel, which keeps no weights."""
    out, pairs = qkv.new_empty(len(qkv), qkv.shape[1] // 3), 0
    for start, m, n in layout.chunks(qkv.shape[1], CACHE if qkv.device.type == "cpu" else 64 * CACHE):
        run, size = slice(start, start + m * n), heads * m * n * n
        q, k, v = qkv[run].view(m, n, 3, heads, -1).permute(2, 0, 3, 1, 4)
        added = bias[pairs : pairs + size].view(m, heads, n, n)
        attended = F.scaled_dot_product_attention(q, k, v, added)
        out[run].view(m, n, heads, -1).copy_(attended.transpose(1, 2))
        pairs += size
    return out


def _blocks(
    by_head: Tensor, scores: int, chunks: list[tuple[int, int, int]], heads: int
) -> Iterator[tuple[slice, tuple[int, int], Tensor, slice]]:
    """Of each chunk: its tokens, (m, n), q, k, v (3, m*heads, n, d), and where its m*heads*n*n scores are."""
    pairs = 0
    for start, m, n in chunks:
        run, size = slice(start, start + m * n), heads * m * n * n
        yield run, (m, n), by_head[run].view(3, m * heads, n, -1), slice(pairs, pairs + size)
        pairs += size
    assert pairs == scores
