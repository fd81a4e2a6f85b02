"""The nearest tokens of each token, in its own event."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from femtobarn.nn import kernels
from femtobarn.nn.ragged import segments_of

__all__ = ["nearest", "nearest_padded"]


def nearest(points: Tensor, offsets: Tensor, k: int) -> Tensor:
    """The k nearest other tokens of the same event by Euclidean distance of (T, D) points: (T, k) positions.

    An event of fewer than k + 1 tokens leaves places open, which hold T. No gradient passes.
    """
    points = points.detach()
    if torch.compiler.is_exporting() or points.device.type != "cpu":
        return nearest_padded(points, offsets, k)
    bounds, found = offsets.numpy(), torch.empty(points.shape[0], k, dtype=torch.int64)
    pairs = np.concatenate([[0], np.cumsum(np.diff(bounds) ** 2)])
    kernels.per_event(kernels.nearest, pairs, points.contiguous().numpy(), bounds, pairs, found.numpy())
    return found


def nearest_padded(points: Tensor, offsets: Tensor, k: int) -> Tensor:
    """As `nearest`, on events padded to the longest: for export, and other devices than processors."""
    tokens, lengths = points.shape[0], offsets[1:] - offsets[:-1]
    longest = torch.cat([lengths, torch.ones_like(offsets[:1])]).max().item()
    assert not isinstance(longest, float)
    torch._check(longest >= 1)  # type: ignore[no-untyped-call]
    place = torch.arange(longest, device=points.device)
    real = place < lengths.unsqueeze(1)
    rows = torch.where(real, offsets[:-1].unsqueeze(1) + place, 0)
    padded = torch.cat([points, points.new_zeros(1, points.shape[1])]).index_select(0, rows.flatten())
    padded = padded.view(-1, longest, points.shape[1])
    square = (padded.unsqueeze(2) - padded.unsqueeze(1)).square().sum(-1)
    usable = real.unsqueeze(1) & (place.unsqueeze(1) != place)
    square = torch.where(usable, square, torch.inf)
    # As many open places as may be needed.
    square = torch.cat([square, torch.full_like(square[:, :, :1], torch.inf).expand(-1, -1, k)], -1)
    away, chosen = torch.topk(square, k, dim=-1, largest=False)
    found = torch.where(torch.isinf(away), tokens, chosen + offsets[:-1].view(-1, 1, 1)).flatten(0, 1)
    event = segments_of(offsets, tokens)
    own = torch.arange(tokens, device=points.device) - offsets.index_select(0, event)
    return found.index_select(0, event * longest + own)
