"""Maximum likelihood from Poisson counts whose expectation is any differentiable function of parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from iminuit import Minuit
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["CountFit", "fit_counts"]

Array = NDArray[np.float64]


class CountFit(NamedTuple):
    """Parameters (P,), their covariance (P, P), and whether the fit is to be trusted."""

    values: Array
    covariance: Array
    valid: bool


def fit_counts(expected: Callable[[Tensor], Tensor], start: Array, counts: Array) -> CountFit:
    """Maximise prod_k Poisson(n_k | mu_k(theta)) by iminuit, with gradients from torch.

    Counts may be sums of weights. The covariance is the inverse of Fisher's information,
    I_ab = sum_k (dmu_k/da) (dmu_k/db) / mu_k, at the maximum.

    Args:
        expected: parameters (P,) to expected counts, of any shape; all positive.
        start: (P,) first guess.
        counts: in the shape of the expected ones.
    """
    observed = torch.as_tensor(counts, dtype=torch.float64)

    def deviance(theta: Tensor) -> Tensor:
        mu = expected(theta)
        return 2 * (mu - observed - torch.xlogy(observed, mu / observed.clamp(min=1e-9))).sum()

    def value(theta: Array) -> float:
        with torch.no_grad():
            return float(deviance(torch.as_tensor(theta)))

    def gradient(theta: Array) -> Array:
        point = torch.as_tensor(theta).clone().requires_grad_()
        (slope,) = torch.autograd.grad(deviance(point), point)
        return np.asarray(slope.numpy(), dtype=np.float64)

    minuit = Minuit(value, np.asarray(start, dtype=np.float64), grad=gradient)
    minuit.errordef = Minuit.LEAST_SQUARES
    for strategy in (0, 1, 2):  # more careful where the quick way fails
        minuit.strategy = strategy
        if minuit.migrad().valid:
            break
    best = torch.as_tensor(np.array(minuit.values))
    slopes = torch.func.jacrev(expected)(best).reshape(-1, len(best))
    information = slopes.T @ (slopes / expected(best).reshape(-1, 1))
    return CountFit(best.numpy(), np.linalg.pinv(information.numpy(), hermitian=True), bool(minuit.valid))
