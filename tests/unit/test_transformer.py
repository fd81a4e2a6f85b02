"""The packed encoder against torch's padded one, and finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from femtobarn.data.ragged import Ragged
from femtobarn.nn import transformer
from femtobarn.nn.ragged import Layout
from femtobarn.nn.transformer import Encoder, EncoderLayer, dot_product_attention, dot_product_padded

LENGTHS = torch.tensor([3, 0, 1, 5, 3, 0, 2, 9])


def offsets_of(lengths: Tensor) -> Tensor:
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])


def torchs_own(layer: EncoderLayer, width: int, heads: int, hidden: int) -> nn.TransformerEncoderLayer:
    """torch's layer with the same weights."""
    own = nn.TransformerEncoderLayer(
        width, heads, hidden, dropout=0.0, norm_first=True, batch_first=True, dtype=torch.float64
    )
    first, last = layer.feed_forward[0], layer.feed_forward[2]
    pairs = [
        (own.self_attn.in_proj_weight, layer.attention.qkv.weight),
        (own.self_attn.in_proj_bias, layer.attention.qkv.bias),
        (own.self_attn.out_proj.weight, layer.attention.mix.weight),
        (own.self_attn.out_proj.bias, layer.attention.mix.bias),
        (own.linear1.weight, first.weight),
        (own.linear1.bias, first.bias),
        (own.linear2.weight, last.weight),
        (own.linear2.bias, last.bias),
    ]
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.copy_(ours)
    return own


@pytest.mark.parametrize("limit", [1, 600, 1 << 22])
def test_a_layer_equals_torchs_padded_one(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """With one event at a time, a few, and all of a length in a block; values and all gradients."""
    monkeypatch.setattr(transformer, "CACHE", limit)
    # Double precision past the cast to float32 that mixed precision needs.
    monkeypatch.setattr(transformer, "dot_product_attention", transformer._Attention.apply)
    torch.manual_seed(1)
    layer = EncoderLayer(8, heads=2, hidden=6).double()
    torch.nn.init.normal_(layer.attention.qkv.bias)
    own = torchs_own(layer, 8, 2, 6)
    offsets = offsets_of(LENGTHS)
    h = torch.randn(int(offsets[-1]), 8, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(len(h), 8, dtype=torch.float64)
    layout = Layout.of(offsets, len(h))
    ours = layout.unsort_tokens(layer(layout.sort_tokens(h), layout))
    dense, mask = Ragged(h, offsets).padded()
    kept = mask.any(1)
    theirs = own(dense[kept], src_key_padding_mask=~mask[kept])[mask[kept]]
    torch.testing.assert_close(ours, theirs)
    mine = [h, layer.attention.qkv.weight, layer.attention.qkv.bias, layer.feed_forward[0].weight]
    torchs = [h, own.self_attn.in_proj_weight, own.self_attn.in_proj_bias, own.linear1.weight]
    for a, b in zip(
        torch.autograd.grad((ours * direction).sum(), mine),
        torch.autograd.grad((theirs * direction).sum(), torchs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_gradients() -> None:
    torch.manual_seed(2)
    layout = Layout.of(offsets_of(torch.tensor([2, 0, 3, 2])), 7)
    qkv = torch.randn(7, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: transformer._Attention.apply(x, 2, layout), (qkv,))


def test_padded_is_the_same_in_float32() -> None:
    """And large scores overflow nowhere."""
    torch.manual_seed(3)
    offsets = offsets_of(torch.sort(LENGTHS).values)
    layout = Layout.of(offsets, 23)
    for size in (1.0, 30.0):
        qkv = size * torch.randn(23, 24)
        ours = dot_product_attention(qkv, 2, layout)
        assert ours.isfinite().all()
        torch.testing.assert_close(ours, dot_product_padded(qkv, 2, layout), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("extra", [1, 3])
def test_extended_layout(extra: int) -> None:
    """New tokens follow those of their event, and all is found again."""
    offsets = offsets_of(LENGTHS)
    layout = Layout.of(offsets, 23)
    wide, source = layout.extended(extra)
    again = Layout.of(wide.offsets, 23 + extra * len(LENGTHS))
    assert wide.groups == again.groups
    torch.testing.assert_close(wide.segments, again.segments)
    torch.testing.assert_close(source.index_select(0, layout.places(extra)), torch.arange(23))
    for event, (a, b) in enumerate(zip(wide.offsets[:-1].tolist(), wide.offsets[1:].tolist(), strict=True)):
        new = 23 + extra * event + torch.arange(extra)
        torch.testing.assert_close(source[b - extra : b], new)
        assert (layout.segments[source[a : b - extra]] == event).all()


def test_events_without_tokens_have_registers() -> None:
    torch.manual_seed(4)
    encoder = Encoder(8, layers=2, heads=2, hidden=6, out=5, registers=2)
    h = torch.zeros(0, 8, requires_grad=True)
    out, wide = encoder(h, Layout.of(torch.zeros(4, dtype=torch.int64), 0))
    assert out.shape == (6, 5) and wide.groups == [(2, 3)]
    torch.testing.assert_close(out[:2], out[2:4])
    (out * torch.randn(5)).sum().backward()
    assert encoder.registers.grad is not None and encoder.registers.grad.isfinite().all()
