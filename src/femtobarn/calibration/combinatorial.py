"""Tagging efficiency of a flavour from pairs of jets: a combinatorial likelihood [1907.05120, 2109.10627].

In ttbar -> e mu events with two jets both are mostly b-jets, in W -> cs decays one of the two is a c-jet. How
many pairs have none, one or two tagged jets, in bins of both jets' pT and in regions of different purity,
fixes the efficiency of the flavour looked for, and for b-jets how pure the pairs are, both at once and from
data alone. The simulation says how the background is made up, how it divides among the regions, and how often
its jets are tagged. Of the jets of a W it says too how many are c-jets: W -> cs and W -> ud come as often and
look alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from femtobarn.errors import InputError
from femtobarn.statistics.counts import CountFit, fit_counts

__all__ = ["Efficiency", "PairLikelihood", "Pairs"]

Array = NDArray[np.float64]
FLOOR = 1e-6
"""Least expected count: a bin without simulated pairs is not impossible."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of jets, one per event.

    Attributes:
        bins: (N, 2) pT bin of each jet.
        region: (N,) in which region of purity.
        tagged: (N, 2) whether each jet passes the tagger.
        target: (N, 2) whether each jet is of the flavour looked for; known in simulation only, None for data.
        weights: (N,).
        times: (N,) how often each of them is there, in pseudo-data; None: once.
    """

    bins: NDArray[np.int64]
    region: NDArray[np.int64]
    tagged: NDArray[np.bool_]
    weights: Array
    target: NDArray[np.bool_] | None = None
    times: Array | None = None

    def __len__(self) -> int:
        return len(self.region)

    @property
    def sums(self) -> Array:
        """(N,) what each pair adds to a count."""
        return self.weights if self.times is None else self.weights * self.times

    def efficiency(self, number: int) -> Array:
        """(number,) true efficiency of the flavour looked for in each pT bin; NaN where there is no such jet.

        Raises:
            InputError: for data.
        """
        if self.target is None:
            raise InputError("the true flavour of the jets is not known: only a simulation's efficiency is")
        weights = np.repeat(self.sums, 2)[self.target.ravel()]
        bins, tagged = self.bins.ravel()[self.target.ravel()], self.tagged.ravel()[self.target.ravel()]
        with np.errstate(invalid="ignore"):
            return np.bincount(bins, weights * tagged, number) / np.bincount(bins, weights, number)


@dataclass(frozen=True)
class Efficiency:
    """Efficiency in pT bins: (B,) values and their (B, B) statistical covariance; NaN where the simulation
    has no jet of the flavour."""

    value: Array
    covariance: Array
    valid: bool


class PairLikelihood:
    """mu[c, t1, t2] = sum over f1, f2 of k_f1f2 n_f1f2[c] P(t1 | f1, c) P(t2 | f2, c), c being (b1, b2, r).

    n is the simulation's number of pairs with jets of the flavour looked for (f = 1) or others (f = 0) in pT
    bins b1, b2 and region r. For two others P(t1, t2 | c) takes the place of the product: where one of them
    is a b-jet and the other is not, their tags are not independent. Free are the efficiency P(1 | 1, b) in
    each bin, a factor k on the signal in each pair of bins, and one on the background, if there is any, in
    each bin of the second jet. Kinds of pairs that data cannot tell apart, as W -> cs and W -> ud, have to
    share a factor: both are then signal. Weights may be negative, but not their sum in a cell of the
    simulation or of data: such cells count as empty.

    Args:
        simulation: with the true flavour.
        bins: number of pT bins.
        regions: number of regions.
        signal: the kinds of pairs (f1, f2) that are the signal; all others are background.

    Raises:
        InputError: when the simulation does not say which jets are of the flavour, or has bins or regions
            beyond those there are.
    """

    def __init__(
        self, simulation: Pairs, bins: int, regions: int, signal: tuple[tuple[int, int], ...] = ((1, 1),)
    ) -> None:
        if simulation.target is None:
            raise InputError(
                "simulated pairs need `target`: which of their jets are of the flavour looked for"
            )
        self.bins, self.regions = bins, regions
        self._check(simulation, "simulation")
        flavour, weights = simulation.target.astype(np.int64), simulation.sums
        shape = (bins, bins, regions, 2, 2)
        pairs = _histogram([*simulation.bins.T, simulation.region, *flavour.T], shape, weights)
        pairs = np.maximum(pairs, 0.0)
        self.pairs = torch.from_numpy(pairs)
        # (position, cell, own flavour, partner's): background is another mixture of b- and light jets in each
        # kind of pair, pT bin and region.
        self.known = torch.zeros(2, *shape, dtype=torch.float64)
        cell, tagged = [*simulation.bins.T, simulation.region], simulation.tagged.astype(np.int64)
        for position in (0, 1):
            where = [*cell, flavour[:, position], flavour[:, 1 - position]]
            passed = _histogram(where, shape, weights * tagged[:, position])
            every = _histogram(where, shape, weights)
            self.known[position] = torch.from_numpy(passed / np.maximum(every, FLOOR)).clamp(0, 1)
        others = np.maximum(_histogram([*cell, *tagged.T], shape, weights * (flavour == 0).all(axis=1)), 0.0)
        every = np.maximum(others.sum(axis=(-1, -2), keepdims=True), FLOOR)
        self.others = torch.from_numpy(others / every)
        self.signal = torch.zeros(2, 2, dtype=torch.bool)
        for kind in signal:
            self.signal[kind] = True
        kinds = self.signal.numpy()
        self.free = torch.from_numpy(np.argwhere(pairs[..., kinds].sum(axis=(2, 3)) > 0))
        self.background = torch.from_numpy(np.flatnonzero(pairs[..., ~kinds].sum(axis=(0, 2, 3)) > 0))
        truth = simulation.efficiency(bins)
        self.there = np.isfinite(truth)
        truth = np.clip(np.nan_to_num(truth, nan=0.5), 0.01, 0.99)
        self.start = np.concatenate(
            [np.log(truth / (1 - truth)), np.zeros(len(self.free) + len(self.background))]
        )

    def fit(self, data: Pairs) -> Efficiency:
        """The efficiency in data, whose weights enter its covariance.

        Raises:
            InputError: when data have bins or regions that there are not.
        """
        counts, variances = self.counts(data)
        # As many pairs as there are in data: from there the fit is short.
        start = self.start.copy()
        start[self.bins :] = np.log(counts.sum() / float(self.pairs.sum()))
        fit: CountFit = fit_counts(self.expected, start, counts, variances)
        value = np.where(self.there, expit(fit.values[: self.bins]), np.nan)
        slope = value * (1 - value)
        covariance = fit.covariance[: self.bins, : self.bins] * np.outer(slope, slope)
        return Efficiency(value, covariance, fit.valid)

    def counts(self, data: Pairs) -> tuple[Array, Array]:
        """(B, B, R, 2, 2) sums of weights by pT bins, region and tags, and their variances."""
        self._check(data, "data")
        where = [*data.bins.T, data.region, *data.tagged.astype(np.int64).T]
        shape = (self.bins, self.bins, self.regions, 2, 2)
        found = _histogram(where, shape, data.sums)
        return np.maximum(found, 0.0), _histogram(where, shape, data.sums * data.weights)

    def _check(self, pairs: Pairs, name: str) -> None:
        """Raises InputError when pairs are in bins or regions that there are not."""
        for what, values, number in (("bin", pairs.bins, self.bins), ("region", pairs.region, self.regions)):
            outside = np.flatnonzero((values < 0) | (values >= number))
            if len(outside):
                found = values.ravel()[outside[0]]
                raise InputError(
                    f"{name}: a pair in {what} {found}, but they are 0 to {number - 1}; "
                    "leave out pairs with a jet beyond the edges"
                )

    def expected(self, theta: Tensor) -> Tensor:
        """Expected counts, in the shape of `counts`, from logits of the efficiency and logarithms of k."""
        efficiency = torch.sigmoid(theta[: self.bins])
        free = len(self.free)
        scale = torch.zeros(self.bins, self.bins, dtype=torch.float64)
        scale = scale.index_put(tuple(self.free.T), theta[self.bins : self.bins + free])
        second = torch.zeros(self.bins, dtype=torch.float64)
        second = second.index_put((self.background,), theta[self.bins + free :])
        signal = self.pairs * torch.exp(scale)[:, :, None, None, None] * self.signal
        background = self.pairs * torch.exp(second)[None, :, None, None, None] * ~self.signal
        looked_for = torch.tensor([0.0, 1.0], dtype=torch.float64)[None, :, None]
        own = torch.stack([efficiency[:, None].expand(scale.shape), efficiency.expand(scale.shape)])
        passes = self.known * (1 - looked_for) + own[..., None, None, None] * looked_for
        tags = torch.stack([1 - passes, passes], -1)
        # tags[position, cell, own flavour, partner's flavour, tag]; the second jet's partner is the first.
        every = signal + background
        others = every[..., :1, :1] * self.others
        with_target = every * torch.tensor([[0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
        return torch.einsum("abrfg,abrfgs,abrgft->abrst", with_target, tags[0], tags[1]) + others + FLOOR


def _histogram(indices: list[NDArray[np.int64]], shape: tuple[int, ...], weights: Array) -> Array:
    """Sums of weights by several indices at once."""
    flat = np.ravel_multi_index(tuple(indices), shape)
    return np.asarray(np.bincount(flat, weights, int(np.prod(shape))).reshape(shape), dtype=np.float64)
