"""Batch normalisation of packed tokens, pairs and edges: of what is there, padding being none."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BatchNorm", "normalised"]


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation [1502.03167] of (N, F) rows; a single one is taken as when predicting."""

    def forward(self, rows: Tensor) -> Tensor:
        """(N, F) to (N, F)."""
        if self.training and rows.shape[0] > 1:
            return super().forward(rows)
        factor, shift = self.affine_map
        return factor * rows + shift

    @property
    def affine_map(self) -> tuple[Tensor, Tensor]:
        """What the norm does when predicting: (F,) factor and (F,) shift."""
        assert self.running_mean is not None and self.running_var is not None
        factor = self.weight * torch.rsqrt(self.running_var + self.eps)
        return factor, self.bias - factor * self.running_mean


def normalised(linear: nn.Linear, norm: BatchNorm, rows: Tensor) -> Tensor:
    """The norm of a linear layer of (N, F) rows: one matrix product when predicting, not two passes."""
    if norm.training:
        normed: Tensor = norm(linear(rows))
        return normed
    factor, shift = norm.affine_map
    bias = shift if linear.bias is None else shift + factor * linear.bias
    return F.linear(rows, factor.unsqueeze(-1) * linear.weight, bias)
