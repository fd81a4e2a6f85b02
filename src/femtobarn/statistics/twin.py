"""A differentiable HistFactory: the models of pyhf as torch tensors, in the same JSON.

Every yield is a cell: one bin of one process in one channel. With nuisance parameters theta,

    cell = (nominal + sum shapes(theta)) exp(sum log normalisations(theta)) prod theta_factor
    L = prod_bins Poisson(n | sum of its cells) prod Normal(a | theta, sigma) prod Poisson(a | tau theta)

[HistFactory, CERN-OPEN-2012-016]. Parameters come in batches (N, P), so that a thousand toys are fitted at
once, with derivatives in closed form for the fit (`statistics.minimise`). Nominal yields, shapes and errors
are tensors as well: give ones that require gradients, and what is fitted is differentiable in them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from femtobarn.statistics.interpolation import code4, code4p

__all__ = ["NORMAL", "NOTHING", "POISSON", "Data", "Twin"]

FREE, NORMAL, POISSON = 0, 1, 2
"""Kinds of constraint."""
NOTHING = 1e-10
"""Events: shapes may add up to less than nothing, which counts as this."""


class Data(NamedTuple):
    """Counts (..., B), and measurements of the constrained parameters (..., P): others are not looked at."""

    main: Tensor
    aux: Tensor


@dataclass(frozen=True)
class Parameters:
    """All parameters, (P,) each: where fits start and end, and what constrains them."""

    names: tuple[str, ...]
    start: Tensor
    lower: Tensor
    upper: Tensor
    fixed: Tensor
    constraint: Tensor
    sigma: Tensor
    """Of normal constraints, one elsewhere."""
    tau: Tensor
    """Expected count of Poisson constraints, one elsewhere."""
    aux: Tensor
    """What the constraints have measured."""

    @property
    def prior(self) -> Tensor:
        """Standard deviation of each constraint, NaN for parameters that are free or fixed."""
        prior = torch.where(self.constraint == NORMAL, self.sigma, torch.nan)
        prior = torch.where(self.constraint == POISSON, self.tau**-0.5, prior)
        return torch.where(self.fixed, torch.nan, prior)


@dataclass(frozen=True)
class Twin:
    """A model with B bins, C cells and P parameters.

    Attributes:
        bin: (C,) of each cell; `row`: (C,) process and channel of each cell.
        nominal: (C,) yields.
        factors: (C, L) parameters that multiply each cell, P where there are fewer.
        shape_*: (E,) parameter, cell, and yields at +1 minus nominal and nominal minus yields at -1.
        norm_*: (F,) parameter, cell, and factors at +1 and -1.
        poi: index of the parameter of interest.
        spec: the pyhf workspace it was read from.
        rows: names (channel, process) of the rows; `bins`: names (channel, number) of the bins.
    """

    parameters: Parameters
    poi: int
    spec: dict[str, Any]
    rows: tuple[tuple[str, str], ...]
    bins: tuple[tuple[str, int], ...]
    bin: Tensor
    row: Tensor
    nominal: Tensor
    factors: Tensor
    shape_parameter: Tensor
    shape_cell: Tensor
    shape_up: Tensor
    shape_down: Tensor
    norm_parameter: Tensor
    norm_cell: Tensor
    norm_up: Tensor
    norm_down: Tensor

    def with_(self, **tensors: Any) -> Twin:
        """The same model with other yields: `nominal`, `shape_up`, `shape_down`, `norm_up`, `norm_down`."""
        return replace(self, **tensors)

    def cells(self, theta: Tensor) -> Tensor:
        """Expected events (..., C) of every cell."""
        base, scale, factors = self._parts(theta)
        return base * scale * factors.prod(-1)

    def expected(self, theta: Tensor) -> Tensor:
        """Expected events (..., B), none below zero."""
        return _positive(self._binned(self.cells(theta)))[0]

    def asimov(self, theta: Tensor) -> Data:
        """What would be measured if the world were exactly like that, theta (..., P)."""
        return Data(self.expected(theta), theta)

    def deviance(self, theta: Tensor, data: Data) -> Tensor:
        """-2 ln L (...) relative to a model that is free in every bin."""
        return _terms(self.expected(theta), theta, data, self.parameters)

    def log_likelihood(self, theta: Tensor, data: Data) -> Tensor:
        """ln L (...), with all constants, as `pyhf.Model.logpdf` has it."""
        n, a, p = data.main, data.aux, self.parameters
        main = torch.xlogy(n, n) - n - torch.lgamma(n + 1)
        normal = -(p.sigma * (2 * torch.pi) ** 0.5).log()
        count = torch.where(p.constraint == POISSON, a * p.tau, 0.0)
        poisson = torch.xlogy(count, count) - count - torch.lgamma(count + 1)
        constants = torch.where(p.constraint == NORMAL, normal, 0.0).sum() + poisson.sum(-1)
        return main.sum(-1) + constants - self.deviance(theta, data) / 2

    def derivatives(self, theta: Tensor, data: Data) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient (N, P) and Hessian (N, P, P) of the deviance, and the Hessian's second part alone.

        The Hessian is H1 + H2: H1, from first derivatives of the yields, is never negative; H2 vanishes where
        yields agree with counts. Closed forms: a cell is A(theta) M(theta), A a sum and M a product, with
        a = dA/dtheta and m = dlnM/dtheta its second derivative is M (a m' + m a' + A m m') plus a diagonal.
        """
        rising, falling = code4p(theta)
        up, down = self._shapes
        logs, log_slope, log_curve = code4(theta[:, self.norm_parameter], self.norm_up, self.norm_down)
        count, cells = len(self.parameters.names), len(self.nominal)
        factors = torch.cat([theta, torch.ones_like(theta[:, :1])], 1)[:, self.factors]
        factors = torch.where(factors.abs() < 1e-10, 1e-10, factors)  # a signal of zero still has a slope
        base = self.nominal + rising[0] @ up + falling[0] @ down
        product = _summed(logs, self.norm_cell, cells).exp() * factors.prod(-1)
        at_norm = self.norm_cell * (count + 1) + self.norm_parameter
        at_factor = (torch.arange(cells)[:, None] * (count + 1) + self.factors).reshape(-1)
        per_factor = (1 / factors).reshape(len(theta), -1)
        logarithms = _summed(log_slope, at_norm, cells * (count + 1)).index_add(1, at_factor, per_factor)
        m = logarithms.reshape(len(theta), cells, count + 1)[..., :count]
        a = rising[1][:, None] * up.T + falling[1][:, None] * down.T
        grown = base[..., None] * m
        jacobian = self._binned((product[..., None] * (a + grown)).transpose(1, 2))  # (N, P, B)
        rate, slope, bend = _positive(self._binned(base * product))
        residual = (1 - data.main / rate) * slope
        gradient, stiffness = _constraint_slopes(theta, data, self.parameters)
        gradient = gradient + 2 * (jacobian @ residual[..., None])[..., 0]
        curve = data.main / rate**2 * slope**2 + (1 - data.main / rate) * bend
        first = 2 * (jacobian * curve[:, None]) @ jacobian.transpose(1, 2)
        weight = 2 * residual[:, self.bin] * product
        second = (weight[..., None] * m).transpose(1, 2) @ (a + grown / 2)
        bends = rising[2] * (weight @ up.T) + falling[2] * (weight @ down.T)
        weight = weight * base
        diagonal = torch.zeros_like(theta).index_add(
            1, self.norm_parameter, log_curve * weight[:, self.norm_cell]
        )
        squares = theta.new_zeros(len(theta), count + 1).index_add(
            1, self.factors.reshape(-1), per_factor**2 * weight.repeat_interleave(self.factors.shape[1], 1)
        )
        diagonal = diagonal + bends - squares[:, :count]
        second = second + second.transpose(1, 2) + torch.diag_embed(diagonal)
        return gradient, first + second + torch.diag_embed(stiffness), second

    @cached_property
    def _shapes(self) -> tuple[Tensor, Tensor]:
        """(P, C) what each parameter adds to each cell at +1, and takes from it at -1."""
        place = self.shape_parameter, self.shape_cell
        none = self.nominal.new_zeros(len(self.parameters.names), len(self.nominal))
        return none.index_put(place, self.shape_up), none.index_put(place, self.shape_down)

    def _parts(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each cell: nominal and shapes, product of normalisations, factors (..., C, L)."""
        rising, falling = code4p(theta)
        base = self.nominal + rising[0] @ self._shapes[0] + falling[0] @ self._shapes[1]
        logs, _, _ = code4(theta[..., self.norm_parameter], self.norm_up, self.norm_down)
        scale = _summed(logs, self.norm_cell, len(self.nominal)).exp()
        padded = torch.cat([theta, torch.ones_like(theta[..., :1])], -1)
        return base, scale, padded[..., self.factors]

    def _binned(self, cells: Tensor) -> Tensor:
        return _summed(cells, self.bin, len(self.bins))


def _summed(values: Tensor, index: Tensor, count: int) -> Tensor:
    """Sums of values (..., E) by index (E,): (..., count)."""
    return values.new_zeros(*values.shape[:-1], count).index_add(-1, index, values)


def _positive(yields: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Yields, none below zero, with first and second derivatives in what they were: a hyperbola, which
    differs from them where they are a few times `NOTHING`.

    Counts that are zero make a fit walk there, and where a yield is cut off at zero the likelihood has an
    edge at which no slope vanishes.
    """
    root = (yields**2 + 4 * NOTHING**2).sqrt()
    large = (root + yields.abs()) / 2
    value = torch.where(yields > 0, large, NOTHING**2 / large)
    return value, value / root, 2 * NOTHING**2 / root**3


def _constraint_slopes(theta: Tensor, data: Data, p: Parameters) -> tuple[Tensor, Tensor]:
    """First and second derivatives (N, P) of the constraints' deviance."""
    normal, poisson, a = p.constraint == NORMAL, p.constraint == POISSON, data.aux
    safe = torch.where(poisson, theta, 1.0)
    first = torch.where(poisson, 2 * p.tau * (1 - a / safe), 0.0)
    second = torch.where(poisson, 2 * p.tau * a / safe**2, 0.0)
    return (
        torch.where(normal, 2 * (theta - a) / p.sigma**2, first),
        torch.where(normal, 2 / p.sigma**2, second),
    )


def _terms(expected: Tensor, theta: Tensor, data: Data, p: Parameters) -> Tensor:
    """Twice the Poisson terms of the bins and the constraints, each zero at its best."""
    n = data.main
    bins = expected - n + torch.xlogy(n, n) - torch.xlogy(n, expected)
    a = data.aux
    safe = torch.where(p.constraint == POISSON, theta, 1.0)
    ratio = torch.where(p.constraint == POISSON, a, 1.0)
    poisson = p.tau * (safe - ratio + torch.xlogy(ratio, ratio / safe))
    pull = torch.where(p.constraint == NORMAL, (a - theta) / p.sigma, 0.0)
    return 2 * bins.sum(-1) + 2 * poisson.sum(-1) + (pull**2).sum(-1)
