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


def fit_counts(
    expected: Callable[[Tensor], Tensor], start: Array, counts: Array, variances: Array | None = None
) -> CountFit:
    """Maximise prod_k Poisson(n_k | mu_k(theta)) by iminuit, with gradients from torch.

    The covariance is the inverse of Fisher's information, I_ab = sum_k (dmu_k/da) (dmu_k/db) / mu_k, at the
    maximum. Of sums of weights w it is I^-1 J I^-1, where each term of J counts sum_k w^2 / sum_k w times as
    much as in I: the variance of such a sum is as many times its expectation.

    Args:
        expected: parameters (P,) to expected counts, of any shape; all positive.
        start: (P,) first guess.
        counts: in the shape of the expected ones; may be sums of weights.
        variances: sums of squared weights, in the same shape; None: the counts are numbers of events. Where
            there are none, a count varies as it does on average.
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
    terms = slopes / expected(best).reshape(-1, 1)
    covariance = np.linalg.pinv((slopes.T @ terms).numpy(), hermitian=True)
    if variances is not None:
        average = variances.sum() / max(counts.sum(), 1e-12)
        size = np.where(counts > 0, variances / np.where(counts > 0, counts, 1.0), average)
        scatter = (slopes * torch.as_tensor(size).reshape(-1, 1)).T @ terms
        covariance = covariance @ scatter.numpy() @ covariance
    return CountFit(best.numpy(), covariance, bool(minuit.valid))
