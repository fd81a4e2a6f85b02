"""Dense networks on events, on tokens with their event, and on pairs of tokens with their event."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from femtobarn.nn.ragged import Layout, unordered_pairs

__all__ = ["PairHead", "TokenHead", "dense"]

CACHE = 1 << 19
"""Numbers per block of hidden pair features: 2 MB of float32."""


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
        if torch.compiler.is_exporting():
            i, j = unordered_pairs(layout.offsets, h.shape[0])
            return self.score(one[i], other[j], one[j], other[i]), i, j
        # Blocks of events of equal length stay in the cache; `split` has a cheap backward, slices have not.
        runs = layout.chunks(self.one.out_features, CACHE)
        sizes = [m * n for _, m, n in runs]
        scores, firsts, seconds = [], [], []
        for (start, m, n), a, b in zip(runs, one.split(sizes), other.split(sizes), strict=True):
            i, j = torch.triu_indices(n, n, 1, device=h.device)
            a, b = a.view(m, n, -1), b.view(m, n, -1)
            pairs = [x.index_select(1, k).flatten(0, 1) for x, k in ((a, i), (b, j), (a, j), (b, i))]
            scores.append(self.score(*pairs))
            origin = torch.arange(start, start + m * n, n, device=h.device).unsqueeze(1)
            firsts.append((origin + i).flatten())
            seconds.append((origin + j).flatten())
        if not runs:
            nothing = layout.segments.new_zeros(0)
            return self.rest(one).flatten(), nothing, nothing
        return torch.cat(scores), layout.original(torch.cat(firsts)), layout.original(torch.cat(seconds))

    def score(self, one_i: Tensor, other_j: Tensor, one_j: Tensor, other_i: Tensor) -> Tensor:
        """Logits (P,) of pairs from what each token brings to the first layer, (P, hidden[0]) each."""
        both = torch.relu(one_i + other_j) + torch.relu(one_j + other_i)
        logits: Tensor = self.rest(both)
        return logits.flatten()
