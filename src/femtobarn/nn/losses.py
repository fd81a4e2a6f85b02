"""Weighted losses: sum(w l) / sum(|w|), zero where nothing is known; and the balance of classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["binary_cross_entropy", "cross_entropy", "inverse_frequencies", "weighted_mean"]


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """sum(w l) / sum(|w|), a scalar; 0 when all weights are 0. Weights may be negative."""
    total = weights.abs().sum()
    return (weights * losses).sum() / torch.where(total > 0, total, torch.ones_like(total))


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor, balance: Tensor | None = None) -> Tensor:
    """Weighted mean cross-entropy of (N, C) logits; a label of -1 counts nothing.

    `balance` (C,) multiplies the weight of each entry by a factor of its class.
    """
    known = labels >= 0
    index = labels.clamp(min=0)
    weights = weights * known
    if balance is not None:
        weights = weights * balance.index_select(0, index)
    return weighted_mean(F.cross_entropy(logits.float(), index, reduction="none"), weights)


def binary_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean cross-entropy of (N,) logits against labels in {0, 1}."""
    losses = F.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="none")
    return weighted_mean(losses, weights)


def inverse_frequencies(counts: Sequence[float]) -> Tensor:
    """Factor per class inversely proportional to its count: 1 if all are equal, 0 for an absent class."""
    values = torch.tensor(counts, dtype=torch.float64)
    present = values > 0
    factors = torch.where(present, values.sum() / values.clamp(min=1e-30), 0.0)
    return (factors / max(int(present.sum()), 1)).float()
