"""Pseudo-experiments: what the asymptotic formulas approximate, counted.

All toys of a set are fitted at once. As in pyhf and ROOT, the true nuisance parameters are those fitted to
the data with mu held at the value tested, and measurements of constraints fluctuate with the counts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from femtobarn.errors import InputError
from femtobarn.statistics.inference import Model
from femtobarn.statistics.twin import NORMAL, POISSON, Data, Twin

__all__ = ["ToyCLs", "ToyP", "q0", "q_tilde", "throw", "toy_cls", "toy_discovery"]


class ToyP(NamedTuple):
    """A p-value counted in toys, with its binomial error, and the test statistics (N,)."""

    value: float
    error: float
    statistics: Tensor


class ToyCLs(NamedTuple):
    """CLs counted in toys, with its error, the p-values with and without signal, and q~ of the data."""

    value: float
    error: float
    signal: ToyP
    background: ToyP
    seen: float


def throw(twin: Twin, theta: Tensor, count: int, seed: int) -> Data:
    """Toys of a world with parameters theta (1, P): Poisson counts, and what constraints measure anew."""
    generator = torch.Generator().manual_seed(seed)
    p, expected = twin.parameters, twin.expected(theta).expand(count, -1)
    main = torch.poisson(expected, generator)
    noise = torch.randn(count, len(p.names), generator=generator, dtype=theta.dtype)
    counts = torch.poisson((p.tau * theta).clamp(min=0).expand(count, -1), generator)
    aux = torch.where(p.constraint == NORMAL, theta + p.sigma * noise, theta)
    aux = torch.where(p.constraint == POISSON, counts / p.tau, aux)
    return Data(main, torch.where(p.fixed, p.aux, aux))


def q_tilde(model: Model, data: Data, mu: float, *start: Tensor) -> Tensor:
    """Test statistic of upper limits (N,): zero where more than mu is fitted."""
    best = model.minimum(data, None, *start)
    held = model.minimum(data, mu, best.theta, *start)
    _mostly(best.converged & held.converged)
    above = best.theta[:, model.twin.poi] > mu
    return torch.where(above, 0.0, (held.deviance - best.deviance).clamp(min=0))


def q0(model: Model, data: Data, *start: Tensor) -> Tensor:
    """Test statistic of discovery (N,): zero where no signal is fitted."""
    best = model.minimum(data, None, *start)
    nothing = model.minimum(data, 0.0, best.theta, *start)
    _mostly(best.converged & nothing.converged)
    return (nothing.deviance - best.deviance).clamp(min=0)


def toy_cls(model: Model, mu: float = 1.0, data: Data | None = None, *, count: int, seed: int = 1) -> ToyCLs:
    """CLs of a signal strength from `count` toys with and as many without signal.

    Raises:
        InputError: when the fit to the data, or more than one in a thousand to toys, does not converge.
    """
    data = model.observed if data is None else data
    seen = q_tilde(model, data, mu)
    tails = []
    for strength, number in ((mu, 2 * seed), (0.0, 2 * seed + 1)):
        truth = _truth(model, data, strength)
        toys = q_tilde(model, throw(model.twin, truth, count, number), mu, truth)
        tails.append(_tail(toys, seen))
    signal, background = tails
    value = signal.value / background.value
    relative = [tail.error / max(tail.value, 0.5 / count) for tail in tails]
    return ToyCLs(
        value, value * (relative[0] ** 2 + relative[1] ** 2) ** 0.5, signal, background, float(seen)
    )


def toy_discovery(model: Model, data: Data | None = None, *, count: int, seed: int = 1) -> ToyP:
    """p-value of the data without signal, from `count` toys.

    Raises:
        InputError: when the fit to the data, or more than one in a thousand to toys, does not converge.
    """
    data = model.observed if data is None else data
    truth = _truth(model, data, 0.0)
    return _tail(q0(model, throw(model.twin, truth, count, seed), truth), q0(model, data))


def _truth(model: Model, data: Data, mu: float) -> Tensor:
    """Parameters (1, P) of the best fit to the data with mu held: those toys are thrown with."""
    found = model.minimum(data, mu)
    _mostly(found.converged)
    return found.theta


def _tail(toys: Tensor, seen: Tensor) -> ToyP:
    """The fraction of toys at least as extreme; a rounding error below what was seen is as extreme."""
    p = float((toys >= seen - 1e-9).double().mean())
    return ToyP(p, (max(p * (1 - p), 1 / len(toys)) / len(toys)) ** 0.5, toys)


def _mostly(converged: Tensor) -> None:
    failed = int((~converged).sum())
    if failed > 1e-3 * len(converged):
        raise InputError(
            f"{failed} of {len(converged)} fits of toys or of the data did not converge: simplify the model"
        )
