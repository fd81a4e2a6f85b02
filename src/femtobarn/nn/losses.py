"""Weighted losses: sum(w l) / sum(|w|), zero where nothing is known; and the balance of classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "binary_cross_entropy",
    "cross_entropy",
    "distance_correlation",
    "inverse_frequencies",
    "weighted_mean",
]


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


def distance_correlation(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    r"""Squared distance correlation of (N,) x and y, 0 where independent, 1 where one is linear in the other.

    With a_ij = |x_i - x_j|, its weighted means taken out of rows and columns, A = a - a_i. - a_.j + a_.., and
    B likewise of y: dCov^2 = sum_ij w_i w_j A_ij B_ij / W^2 and dCorr^2 = dCov^2(x, y) / [dCov^2(x, x)
    dCov^2(y, y)]^(1/2) [DisCo, 2001.05310, eq. 4-6]. 0 where x or y is constant, or the weights, which may
    be negative, leave no variance. Takes memory and time of N^2.
    """
    w = weights / weights.abs().sum().clamp(min=1e-30)
    total = w.sum()
    share = w / torch.where(total == 0, torch.ones_like(total), total)

    def centred(values: Tensor) -> Tensor:
        a = (values[:, None] - values[None, :]).abs()
        rows = a @ share
        return a - rows[:, None] - rows[None, :] + rows @ share

    a, b = centred(x.float()), centred(y.float())
    cov, var_x, var_y = (torch.einsum("i,ij,j->", share, c, share) for c in (a * b, a * a, b * b))
    known = (var_x > 1e-12) & (var_y > 1e-12)
    both = torch.where(known, var_x * var_y, torch.ones_like(var_x))
    return torch.where(known, cov / both.sqrt(), torch.zeros_like(cov))
