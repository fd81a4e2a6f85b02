"""Dropout whose random numbers cost little on processors."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from femtobarn.nn.kernels import keep

__all__ = ["Dropout", "kept"]


def kept(like: Tensor, share: float) -> Tensor:
    """1 / (1 - share) where a number is kept, 0 where it is dropped, of the shape of `like`.

    `share` is met to 1/65536. The generator is seeded from torch's, so that a run repeats.
    """
    if like.device.type != "cpu":
        return F.dropout(torch.ones_like(like), share)
    mask = torch.empty(like.shape, dtype=torch.float32)
    seed = int(torch.randint(1, 2**62, ()))
    keep(np.uint64(seed), mask.view(-1).numpy(), np.uint64(round(share * 65536)), np.float32(1 / (1 - share)))
    return mask.to(like.dtype)


class Dropout(nn.Module):
    """Dropout [1207.0580] as torch's, with `kept` for its mask."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape."""
        return x * kept(x, self.share) if self.training and self.share else x
