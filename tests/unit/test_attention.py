"""Attention and heads against plain padded implementations and finite differences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from femtobarn.data.ragged import Ragged
from femtobarn.nn import kernels
from femtobarn.nn.attention import GATv2, gatv2_attention, gatv2_pairwise
from femtobarn.nn.heads import PairHead, TokenHead, pair_sums
from femtobarn.nn.pooling import AttentionPooling
from femtobarn.nn.ragged import Layout

LENGTHS = torch.tensor([3, 0, 1, 5, 3, 0, 2, 9])


def offsets_of(lengths: Tensor) -> Tensor:
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])


def padded_gatv2(layer: GATv2, dense: Tensor, mask: Tensor) -> Tensor:
    """The formula of Brody et al. on (B, L, F), with a mask."""
    heads, width = layer.score.shape
    left = layer.left(dense).unflatten(-1, (heads, width))
    right = layer.right(dense).unflatten(-1, (heads, width))
    pairs = F.leaky_relu(left.unsqueeze(2) + right.unsqueeze(1), layer.slope)
    scores = (pairs * layer.score).sum(-1).masked_fill(~mask[:, None, :, None], -torch.inf)
    return torch.einsum("bijh,bjhd->bihd", scores.softmax(2).nan_to_num(), right).flatten(2)


@pytest.mark.parametrize("threads", [1, 3])
def test_equals_padded(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Values and all gradients, with the events shared among threads too."""
    monkeypatch.setattr(kernels, "PAIRS_PER_THREAD", 10)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    torch.manual_seed(1)
    layer = GATv2(6, heads=2, head_width=4).double()
    offsets = offsets_of(LENGTHS)
    h = torch.randn(int(offsets[-1]), 6, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(len(h), 8, dtype=torch.float64)
    layout = Layout.of(offsets, len(h))
    ours = layout.unsort_tokens(layer(layout.sort_tokens(h), layout))
    dense, mask = Ragged(h, offsets).padded()
    theirs = padded_gatv2(layer, dense, mask)[mask]
    torch.testing.assert_close(ours, theirs)
    parameters = [h, *layer.parameters()]
    for a, b in zip(
        torch.autograd.grad((ours * direction).sum(), parameters),
        torch.autograd.grad((theirs * direction).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_gradients() -> None:
    torch.manual_seed(2)
    offsets = offsets_of(torch.tensor([2, 0, 3, 2]))
    left, right = (torch.randn(7, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    score = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *x: gatv2_attention(*x, offsets, 0.2), (left, right, score))
    assert torch.autograd.gradcheck(lambda *x: pair_sums(*x, offsets), (left, right))


def test_pairwise_is_the_same_in_float32() -> None:
    torch.manual_seed(3)
    offsets = offsets_of(LENGTHS)
    left, right, score = torch.randn(23, 8), torch.randn(23, 8), torch.randn(2, 4)
    ours = gatv2_attention(left, right, score, offsets, 0.2)
    torch.testing.assert_close(ours, gatv2_pairwise(left, right, score, offsets, 0.2))


def test_what_is_not_a_number_stays_none() -> None:
    """A network that diverges must be seen to: in the jet of the token, and in no other."""
    offsets = offsets_of(torch.tensor([2, 3, 1]))
    left, right, score = torch.randn(6, 8), torch.randn(6, 8), torch.randn(2, 4)
    left[3, 2] = torch.nan
    out = gatv2_attention(left, right, score, offsets, 0.2)
    assert out[3].isnan().any() and not out[[0, 1, 5]].isnan().any()
    pairs = pair_sums(left, right, offsets).isnan().any(-1)
    assert pairs.tolist() == [False, True, False, True]


def test_mixed_precision() -> None:
    """Half the digits in the linear layers, all of them among the pairs."""
    torch.manual_seed(6)
    layer, h = GATv2(6, 2, 4), torch.randn(23, 6, requires_grad=True)
    head, g = PairHead(8, 3, [5, 4]), torch.randn(8, 3)
    layout = Layout.of(offsets_of(LENGTHS), 23)
    exact = head(layer(h, layout), g, layout)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = head(layer(h, layout).bfloat16(), g, layout)[0]
    torch.testing.assert_close(half.float(), exact, rtol=0.05, atol=0.05)
    half.sum().backward()
    assert h.grad is not None and torch.isfinite(h.grad).all()


def test_no_tokens_at_all() -> None:
    offsets = torch.zeros(4, dtype=torch.int64)
    layout = Layout.of(offsets, 0)
    h = torch.zeros(0, 6, requires_grad=True)
    layer, pool = GATv2(6, 2, 4), AttentionPooling(8)
    pooled, _ = pool(layer(h, layout), layout)
    assert pooled.shape == (3, 8)
    logits, i, j = PairHead(8, 8, [5, 4])(layer(h, layout), pooled, layout)
    assert logits.shape == i.shape == j.shape == (0,)
    (pooled.sum() + logits.sum()).backward()
    assert all(
        torch.isfinite(p.grad).all() for p in [*pool.parameters(), *layer.parameters()] if p.grad is not None
    )


def test_pooling_is_a_weighted_mean() -> None:
    torch.manual_seed(4)
    pool, offsets = AttentionPooling(6), offsets_of(LENGTHS)
    torch.nn.init.normal_(pool.empty)
    h = torch.randn(23, 6)
    layout = Layout.of(offsets, 23)
    ours, shares = pool(layout.sort_tokens(h), layout)
    ours, shares = layout.unsort_events(ours), layout.unsort_tokens(shares)
    for event, (a, b) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        share = pool.gate(h[a:b]).softmax(0)
        expected = (share * h[a:b]).sum(0) if b > a else pool.empty
        torch.testing.assert_close(ours[event], expected)
        torch.testing.assert_close(shares[a:b], share)


def test_heads_factorise_a_dense_first_layer() -> None:
    """W[h_i, g] and W[h_i, h_j, g] written out, the pair's first layer in both orders."""
    torch.manual_seed(5)
    offsets = offsets_of(LENGTHS)
    layout = Layout.of(offsets, 23)
    h, g = torch.randn(23, 6), torch.randn(len(LENGTHS), 3)
    sorted_h, sorted_g = layout.sort_tokens(h), layout.sort_events(g)
    segments = Ragged(h, offsets).segments

    tokens = TokenHead(6, 3, [5, 4], 2)
    weight = torch.cat([tokens.token.weight, tokens.context.weight], 1)
    first = torch.cat([h, g[segments]], 1) @ weight.T + tokens.token.bias
    torch.testing.assert_close(
        layout.unsort_tokens(tokens(sorted_h, sorted_g, layout)), tokens.rest(first.relu())
    )

    pairs = PairHead(6, 3, [5, 4])
    logits, i, j = pairs(sorted_h, sorted_g, layout)
    weight = torch.cat([pairs.one.weight, pairs.other.weight, pairs.context.weight], 1)
    one = torch.cat([h[i], h[j], g[segments[i]]], 1) @ weight.T + pairs.one.bias
    other = torch.cat([h[j], h[i], g[segments[i]]], 1) @ weight.T + pairs.one.bias
    torch.testing.assert_close(logits, pairs.rest(one.relu() + other.relu()).flatten())
    expected = {(a, b) for a in range(23) for b in range(a + 1, 23) if segments[a] == segments[b]}
    assert {tuple(sorted(pair)) for pair in zip(i.tolist(), j.tolist(), strict=True)} == expected
    assert len(i) == len(expected)
