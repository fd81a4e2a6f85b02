"""The rank of a number among those of events of the same mass: any score made one that knows no mass.

A cut on a score shapes the spectrum of a mass if the score's distribution changes with it. The rank of the
score at fixed mass, F(s | m), is uniform at every mass, so that a cut on it keeps the same share everywhere
[fixed efficiencies as in DDT, 1603.00027, of every efficiency at once].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from femtobarn.errors import InputError

__all__ = ["ConditionalRank"]

Array = NDArray[np.float64]
NODES, LEVELS = 15, 80


class ConditionalRank(NamedTuple):
    """Quantiles of a score against a mass, between whose nodes one interpolates.

    Attributes:
        nodes: (K,) masses, rising.
        levels: (L,) of -ln(1 - F), from 0 and equally spaced.
        table: (K, L) scores at which the level is reached.
    """

    nodes: Array
    levels: Array
    table: Array

    @classmethod
    def fit(
        cls, score: ArrayLike, mass: ArrayLike, weights: ArrayLike | None = None, *, span: float = 0.5,
        tail: float = 1e-3,
    ) -> ConditionalRank:  # fmt: skip
        """From scores (N,), masses (N,) and weights (N,), negative ones too, of background.

        At each node F is the locally linear regression of the indicator [s_j <= s] on the mass [LOESS;
        Cleveland, JASA 74 (1979) 829], made monotonous in s. The nodes hold equal weight between them.

        Args:
            span: share of the events that reach a node, with an influence that falls as (1 - |d/h|^3)^3; a
                smaller one follows what changes fast, and fluctuates more.
            tail: 1 - F down to which quantiles are taken; beyond, -ln(1 - F) goes on as a straight line.

        Raises:
            InputError: when lengths differ, a number is not finite, or no weight is positive.
        """
        s, m = np.asarray(score, dtype=np.float64), np.asarray(mass, dtype=np.float64)
        w = np.ones(len(s)) if weights is None else np.asarray(weights, dtype=np.float64)
        if not len(s) == len(m) == len(w):
            raise InputError(f"{len(s)} scores, {len(m)} masses and {len(w)} weights: expected as many each")
        if not (np.isfinite(s).all() and np.isfinite(m).all() and np.isfinite(w).all()):
            raise InputError("a score, mass or weight is not finite: no rank at fixed mass")
        if not (w > 0).any():
            raise InputError("no event of positive weight: no rank at fixed mass")
        nodes = np.unique(_reached(m, np.abs(w), np.linspace(0, 1, NODES)))
        order = np.argsort(s, kind="stable")
        s, m, w = s[order], m[order], w[order]
        levels = np.linspace(0, -np.log(tail), LEVELS)
        rows = [_quantiles(s, _local(m - node, w, span), -np.expm1(-levels)) for node in nodes]
        return cls(nodes, levels, np.array(rows))

    def __call__(self, score: ArrayLike, mass: ArrayLike) -> Array:
        """-ln(1 - F(s | m)) of scores and masses (N,); beyond the outer nodes as at them."""
        s, m = np.asarray(score, dtype=np.float64), np.asarray(mass, dtype=np.float64)
        if len(self.nodes) == 1:
            at = np.broadcast_to(self.table, (len(s), len(self.levels)))
        else:
            low = np.clip(np.searchsorted(self.nodes, m) - 1, 0, len(self.nodes) - 2)
            part = np.clip((m - self.nodes[low]) / (self.nodes[low + 1] - self.nodes[low]), 0, 1)[:, None]
            at = (1 - part) * self.table[low] + part * self.table[low + 1]
        step = float(self.levels[1])
        row = np.arange(len(s))
        below = (at <= s[:, None]).sum(1)  # levels that are reached
        left = np.clip(below - 1, 0, len(self.levels) - 2)
        width = np.maximum(at[row, left + 1] - at[row, left], 1e-300)
        within: Array = np.minimum(np.maximum(s - at[row, left], 0) / width, 1)
        inner = self.levels[left] + step * within
        half = len(self.levels) // 2
        slope = (self.levels[-1] - self.levels[half]) / np.maximum(at[:, -1] - at[:, half], 1e-12)
        beyond = slope * np.maximum(s - at[:, -1], 0)
        return np.asarray(inner + beyond, dtype=np.float64)


def _reached(values: Array, weights: Array, shares: Array) -> Array:
    """The values up to which these shares of the weight lie."""
    order = np.argsort(values, kind="stable")
    sums = np.cumsum(weights[order])
    place = np.searchsorted(sums, shares * sums[-1] * (1 - 1e-12))
    return np.asarray(values[order][np.minimum(place, len(values) - 1)], dtype=np.float64)


def _local(distance: Array, weights: Array, span: float) -> Array:
    """(N,) weights whose mean is the locally linear regression at distance zero."""
    far = np.abs(distance)
    reach = float(_reached(far, np.abs(weights), np.array([span]))[0])
    near = np.clip(1 - (far / max(reach, 1e-300)) ** 3, 0, None) ** 3 if reach > 0 else 1.0 * (far == 0)
    kernel = weights * near
    first, second = float(kernel @ distance), float(kernel @ distance**2)
    linear = kernel * (second - first * distance)
    if float(linear.sum()) > 1e-9 * max(second, 0.0) * float(np.abs(kernel).sum()):
        return linear
    return kernel if kernel.sum() > 0 else weights  # all at one mass; or negative weights have the majority


def _quantiles(score: Array, weights: Array, shares: Array) -> Array:
    """Where the rising sum of weights first reaches these shares of all."""
    sums = np.maximum.accumulate(np.cumsum(weights))
    place = np.searchsorted(sums, shares * sums[-1] * (1 - 1e-9))
    return np.asarray(score[np.minimum(place, len(score) - 1)], dtype=np.float64)
