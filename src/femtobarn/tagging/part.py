"""ParT: the particle transformer, attention that sees pairs of candidates [2202.03772]."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.dropout import Dropout
from femtobarn.nn.four_momenta import PAIRS, pair_kinematics
from femtobarn.nn.norm import BatchNorm, normalised
from femtobarn.nn.pairs import matrices, pairs_with_self
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import Layout, ordered_pairs, segment_softmax, summed_at
from femtobarn.nn.transformer import dot_product_attention, dot_product_pairwise
from femtobarn.tagging.candidates import Candidates, candidate_inputs

if TYPE_CHECKING:
    from femtobarn.tagging.part_plain import PlainParT

__all__ = ["ParT"]

BLOCK = 8192
"""Pairs at once when predicting: what fits the processor's cache."""


@method
class ParT(Classifier):
    """Particle transformer [2202.03772].

    Blocks of self-attention between the candidates of a jet, whose scores are raised or lowered by what a
    small network makes of each pair's ln kT, ln z, ln dR and ln m2:

        softmax(q_i . k_j / sqrt(d) + U_ij) v_j

    and blocks of class attention, in which one learned token asks all candidates. Normalised, and scaled by
    learned factors, as in NormFormer [2110.09456]. The pairs' network runs over i <= j of real candidates.

    Attributes:
        width: numbers per candidate between blocks.
        blocks: blocks of self-attention.
        class_blocks: blocks of class attention.
        heads: attention heads.
        feed_forward: the hidden size of a block's dense part, in widths.
        embedding: hidden sizes of the network per candidate.
        pair: hidden sizes of the network per pair; empty is ParT (plain), without pairs.
        dropout: of attention weights, activations and updates in blocks of self-attention.
    """

    contract_parameters: ClassVar[dict[str, Any]] = {
        "width": 16, "blocks": 2, "heads": 2, "embedding": (16,), "pair": (8,),
    }  # fmt: skip

    width: int = Field(default=128, ge=1)
    blocks: int = Field(default=8, ge=1)
    class_blocks: int = Field(default=2, ge=1)
    heads: int = Field(default=8, ge=1)
    feed_forward: int = Field(default=4, ge=1)
    embedding: tuple[int, ...] = (128, 512)
    pair: tuple[int, ...] = (64, 64, 64)
    dropout: float = Field(default=0.1, ge=0, lt=1)

    def default_inputs(self) -> Inputs:
        """See `candidate_inputs`."""
        return candidate_inputs()

    def default_training(self) -> Training:
        """Batches of 512 jets, a rate of 1e-3 held and then brought down.

        The paper's optimiser is Lookahead over RAdam; here it is RAdam, with one slow fall in place of a fall
        in the last 30 %. 50 passes over 10 M jets in the paper.
        """
        return Training(
            optimiser="radam", learning_rate=1e-3, batch_size=512, epochs=50, schedule="cosine",
            final_rate=1e-5, clip_norm=1.0,
        )  # fmt: skip

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Candidates -> self-attention, with pairs -> class attention -> logits of the classes."""

    def __init__(self, part: ParT | PlainParT, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.heads, width = part.heads, part.width
        self.candidates = Candidates(inputs, statistics)
        self.embed = Embedding(self.candidates.features, [*part.embedding, width])
        self.pair = PairEmbedding([len(PAIRS), *part.pair, part.heads]) if part.pair else None
        sizes = (width, part.heads, part.feed_forward * width)
        self.blocks = nn.ModuleList(Block(*sizes, part.dropout) for _ in range(part.blocks))
        self.class_blocks = nn.ModuleList(Block(*sizes, 0.0) for _ in range(part.class_blocks))
        self.token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, width), std=0.02))
        self.norm = nn.LayerNorm(width)
        self.jet = nn.Linear(width + self.candidates.event, len(inputs.labels["jet"].classes))
        # The deeper a block, the smaller its updates begin, as weaver does.
        with torch.no_grad():
            for depth, block in enumerate(self.blocks):
                assert isinstance(block, Block)
                for linear in (block.mix, block.contract):
                    linear.weight.div_(math.sqrt(2 * (depth + 1)))

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        cloud = self.candidates(batch)
        layout = Layout.of(cloud.offsets, cloud.features.shape[0])
        h = self.embed(layout.sort_tokens(cloud.features))
        attend = self.attention(layout.sort_tokens(cloud.momenta), layout)
        for block in self.blocks:
            h = block(h, attend(block))
        jets = torch.arange(layout.events, device=h.device)
        token, owner = self.token.expand(layout.events, -1), torch.cat([jets, layout.segments])
        for block in self.class_blocks:
            assert isinstance(block, Block)
            token = block(token, block.ask(token, torch.cat([token, h]), owner))
        event = layout.sort_events(cloud.event)
        return {"jet": layout.unsort_events(self.jet(torch.cat([self.norm(token), event], -1)))}

    def attention(self, momenta: Tensor, layout: Layout) -> Any:
        """The self-attention of each block as a function of its input, the pairs' numbers computed once."""
        tokens = momenta.shape[0]
        if torch.compiler.is_exporting() or momenta.device.type != "cpu":
            i, j = ordered_pairs(layout.offsets, tokens)
            bias = self.pair(pair_kinematics(momenta, i, j)) if self.pair else None
            return lambda block: lambda h: dot_product_pairwise(block.qkv(h), self.heads, i, j, bias)
        if self.pair:
            i, j = pairs_with_self(layout.offsets, tokens)
            bias = matrices(self.pair(pair_kinematics(momenta, i, j)), layout.offsets)
        else:
            bias = None

        def of_block(block: Block) -> Any:
            dropout = block.dropout.share if self.training else 0.0
            return lambda h: dot_product_attention(block.qkv(h), self.heads, layout, bias, dropout)

        return of_block


class Block(nn.Module):
    """Attention and a dense part, each normalised before and after and added to what came in.

        h <- h + LayerNorm(c W_o Attention(LayerNorm(h)))
        h <- w h + W_2 LayerNorm(GELU(W_1 LayerNorm(h)))

    with a learned factor c per head and w per number.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.head_factor = nn.Parameter(torch.ones(heads))
        self.dense_before, self.dense_after = nn.LayerNorm(width), nn.LayerNorm(hidden)
        self.expand, self.contract = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.factor = nn.Parameter(torch.ones(width))
        self.dropout = Dropout(dropout)
        for linear in (self.mix, self.expand, self.contract):
            nn.init.xavier_uniform_(linear.weight)
        # As three matrices, each of its own size.
        nn.init.uniform_(self.qkv.weight, -math.sqrt(3 / width), math.sqrt(3 / width))
        for linear in (self.qkv, self.mix, self.expand, self.contract):
            nn.init.zeros_(linear.bias)

    def forward(self, h: Tensor, attend: Any) -> Tensor:
        """h: (T, width); `attend` gives the attention of what is given to it, normalised h."""
        update = self.mix(attend(self.before(h)))
        scaled = torch.unflatten(update, 1, (self.heads, -1)) * self.head_factor.unsqueeze(-1)
        h = h + self.dropout(self.after(scaled.flatten(1)))
        update = self.dropout(F.gelu(self.expand(self.dense_before(h))))
        h = self.factor * h + self.dropout(self.contract(self.dense_after(update)))
        return h

    def ask(self, token: Tensor, both: Tensor, owner: Tensor) -> Any:
        """Class attention [2103.17239]: tokens (B, width) ask all of `both` (B + T, width) of their jets."""

        def attend(_: Tensor) -> Tensor:
            jets, width = token.shape
            weight, bias = self.qkv.weight, self.qkv.bias
            q = torch.unflatten(F.linear(token, weight[:width], bias[:width]), 1, (self.heads, -1))
            keys = F.linear(self.before(both), weight[width:], bias[width:])
            k, v = torch.unflatten(keys, 1, (2, self.heads, -1)).unbind(1)
            scores = (q.index_select(0, owner) * k).sum(-1) / math.sqrt(k.shape[-1])
            share = segment_softmax(scores, owner, jets)
            return summed_at(torch.zeros_like(q), owner, share.unsqueeze(-1) * v).flatten(1)

        return attend


class Embedding(nn.Module):
    """A dense network on each candidate, normalised before each layer."""

    def __init__(self, features: int, sizes: list[int]) -> None:
        super().__init__()
        self.norm = BatchNorm(features)
        layers: list[nn.Module] = []
        for before, after in pairwise([features, *sizes]):
            layers += [nn.LayerNorm(before), nn.Linear(before, after), nn.GELU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """(T, features) to (T, width)."""
        h: Tensor = self.layers(self.norm(features))
        return h


class PairEmbedding(nn.Module):
    """A dense network on each pair of candidates, one number per head; normalised after each layer."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.norm = BatchNorm(sizes[0])
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.norms = nn.ModuleList(BatchNorm(size) for size in sizes[1:])

    def forward(self, pairs: Tensor) -> Tensor:
        """(P, 4) to (P, heads)."""
        if self.training or torch.compiler.is_exporting():
            return self.of_block(pairs)
        return torch.cat([self.of_block(block) for block in torch.split(pairs, BLOCK)])

    def of_block(self, pairs: Tensor) -> Tensor:
        """The same, at once."""
        u: Tensor = self.norm(pairs)
        for linear, norm in zip(self.layers, self.norms, strict=True):
            assert isinstance(linear, nn.Linear) and isinstance(norm, BatchNorm)
            u = F.gelu(normalised(linear, norm, u))
        return u
