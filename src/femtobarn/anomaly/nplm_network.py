"""Do the data follow the reference? A small network fits the ratio of the two [1806.02350, 2111.13633].

n(x|w) = n(x|R) exp f(x; w) with f a network of few neurons. The minimum of
L = sum_R w_R (e^f - 1) - sum_D f over w is -t/2, with t the log-likelihood ratio of the best f against none.
Weights stay in a box, which the papers call clipping: without it f could run to infinity at a single event.

Systematic uncertainties of the reference are nuisance parameters nu_k, each with a unit Gaussian constraint
and a known effect delta_k(x) on ln n(x|R) per standard deviation. They are free in both hypotheses,

    t = 2 (max_{w, nu} l(f + nu delta, nu) - max_nu l(nu delta, nu)),
    l(h, nu) = sum_D h - sum_R w_R (e^h - 1) - nu^2 / 2,

so that a deviation the nuisance parameters explain is no discovery.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from femtobarn.errors import InputError

__all__ = ["NetworkReference", "network_test", "prepare_network"]

Array = NDArray[np.floating[Any]]
Effect = Callable[[Array], Array]


class NetworkReference(NamedTuple):
    """A reference sample: standardised events (N_R, d), their weight, effects of nuisances there (N_R, K)."""

    events: Tensor
    mean: Array
    deviation: Array
    weight: float
    effects: tuple[Effect, ...]
    shifts: Tensor


def prepare_network(reference: Array, expected: float, effects: Sequence[Effect] = ()) -> NetworkReference:
    """Prepare a reference sample.

    Args:
        reference: (N_R, d) events.
        expected: N(R), events expected in the data.
        effects: for each nuisance parameter the change (N,) of ln n(x|R) at events (N, d) by one standard
            deviation.

    Raises:
        InputError: when a feature is constant.
    """
    x = np.asarray(reference, dtype=np.float64)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    if not np.all(deviation > 0):
        raise InputError(f"feature {int(np.argmin(deviation))} of the reference is constant: leave it out")
    events = torch.as_tensor((x - mean) / deviation, dtype=torch.float32)
    kept = tuple(effects)
    return NetworkReference(events, mean, deviation, expected / len(x), kept, _shifts(kept, x))


def network_test(
    prepared: NetworkReference,
    data: Array,
    hidden: Sequence[int] = (4,),
    clip: float = 7.0,
    starts: int = 3,
    steps: int = 400,
    seed: int = 1,
) -> tuple[float, NDArray[np.float64]]:
    """The test statistic of one data set (N_D, d), and its best nuisance parameters (K,).

    Args:
        prepared: the reference.
        data: events.
        hidden: neurons of the hidden layers (sigmoids).
        clip: largest weight or bias. The larger, the narrower the structures that f can have.
        starts: initial weights tried; the best is taken.
        steps: of L-BFGS at most.
        seed: of the initial weights.

    Raises:
        InputError: when there is no event, or one is not a number.
    """
    x = np.asarray(data, dtype=np.float64)
    if not len(x):
        raise InputError("the data hold no event, so nothing can be tested")
    if not np.isfinite(x).all():
        raise InputError(f"event {int(np.argwhere(~np.isfinite(x))[0][0])} of the data is not a number")
    own = torch.as_tensor((x - prepared.mean) / prepared.deviation, dtype=torch.float32)
    shifts = (prepared.shifts, _shifts(prepared.effects, x))
    sizes = [x.shape[1], *hidden, 1]
    shapes = [shape for a, b in itertools.pairwise(sizes) for shape in ((a, b), (b,))]
    weights, nuisances = sum(int(np.prod(shape)) for shape in shapes), len(prepared.effects)

    def loss(values: NDArray[np.float64], with_network: bool) -> tuple[float, NDArray[np.float64]]:
        point = torch.as_tensor(values).requires_grad_()
        nu = point[-nuisances:] if nuisances else point[:0]
        logs = [moved @ nu.float() for moved in shifts]
        if with_network:
            parts = [part.float() for part in _layers(point[:weights], shapes)]
            logs = [
                log + _network(events, parts)
                for log, events in zip(logs, (prepared.events, own), strict=True)
            ]
        value = (prepared.weight * torch.expm1(logs[0]).double().sum() - logs[1].double().sum()
                 + 0.5 * (nu**2).sum())  # fmt: skip
        (slope,) = torch.autograd.grad(value, point)
        return float(value.detach()), slope.numpy()

    null = 0.0
    if nuisances:
        null = float(minimize(loss, np.zeros(nuisances), args=(False,), jac=True, method="L-BFGS-B").fun)
    rng = np.random.default_rng(seed)
    bounds = [(-clip, clip)] * weights + [(None, None)] * nuisances
    best: Any = None
    for _ in range(starts):
        begin = np.concatenate([rng.normal(0, 1.0, weights).clip(-clip, clip), np.zeros(nuisances)])
        begin[weights - shapes[-2][0] - 1 : weights] *= 0.01  # f begins near zero
        found = minimize(loss, begin, args=(True,), jac=True, method="L-BFGS-B", bounds=bounds,
                         options={"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-8})  # fmt: skip
        best = found if best is None or found.fun < best.fun else best
    return 2 * (null - float(best.fun)), np.asarray(best.x[weights:])


def _shifts(effects: Sequence[Effect], x: Array) -> Tensor:
    """Effects of all nuisance parameters (N, K)."""
    columns = [np.asarray(effect(x), dtype=np.float32) for effect in effects]
    return torch.as_tensor(np.stack(columns, axis=1) if columns else np.zeros((len(x), 0), dtype=np.float32))


def _layers(flat: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Weights and biases out of one vector."""
    parts = torch.split(flat, [int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _network(x: Tensor, layers: Sequence[Tensor]) -> Tensor:
    """f (N,) of events (N, d)."""
    for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        x = torch.sigmoid(x @ weight + bias)
    return (x @ layers[-2] + layers[-1])[:, 0]
