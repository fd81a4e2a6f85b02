"""Do the data follow the reference? A kernel method fits the ratio of the two [2204.02317, EPJC 82, 879].

With n(x|w) = n(x|R) exp f(x; w), the logistic loss of reference events (weight w_R each, so that they stand
for N(R) expected events) and data (weight one),

    sum_R w_R ln(1 + e^f) + sum_D ln(1 + e^-f) + lambda' |f|^2 / 2,

has its minimum where f is the logarithm of the ratio. f is a sum of Gaussians about M events of the reference
(Nystroem centres). The test statistic is the log-likelihood ratio of 1806.02350,
t = 2 (sum_D f - sum_R w_R (e^f - 1)), and pseudo-experiments of the reference give its distribution.

What belongs to the reference is prepared once: its kernel matrix, in coordinates in which the second
derivatives of the loss are about the unit matrix, so that each data set costs about twenty steps of L-BFGS.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.distance import pdist
from torch import Tensor

from femtobarn.errors import InputError

__all__ = ["KernelFit", "KernelReference", "kernel_test", "prepare_kernel"]

Array = NDArray[np.floating[Any]]
BLOCK = 20_000


class KernelReference(NamedTuple):
    """A reference sample prepared for many tests.

    Attributes:
        centres: (M, d) standardised.
        mean, deviation: (d,) of the reference.
        sigma: width of the Gaussians, after standardisation.
        turn: (M, M) from kernel values to the coordinates of the fit.
        features: (N_R, M) of the reference in these coordinates, float32.
        weight: w_R, expected events over reference events.
        penalty: (M, M) of the squared norm, times lambda'.
    """

    centres: Tensor
    mean: Array
    deviation: Array
    sigma: float
    turn: Tensor
    features: Tensor
    weight: float
    penalty: Tensor


class KernelFit(NamedTuple):
    """Test statistic t, the coefficients (M,) of f, and the steps the fit took."""

    t: float
    coefficients: Tensor
    steps: int


def prepare_kernel(
    reference: Array,
    expected: float,
    centres: int | None = None,
    sigma: float | None = None,
    penalty: float = 1e-6,
    seed: int = 1,
) -> KernelReference:
    """Prepare a reference sample.

    Args:
        reference: (N_R, d) events.
        expected: N(R), events expected in the data.
        centres: M; None: the square root of the number of all events, the least that is enough.
        sigma: of the Gaussians, in standard deviations of the reference; None: the 90th percentile of the
            distances of pairs of events.
        penalty: lambda; lambda' is twice that times the sum of all weights.
        seed: of the choice of centres.

    Raises:
        InputError: when a feature is constant, or there are fewer events than centres.
    """
    x, rng = np.asarray(reference, dtype=np.float64), np.random.default_rng(seed)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    if not np.all(deviation > 0):
        raise InputError(f"feature {int(np.argmin(deviation))} of the reference is constant: leave it out")
    count = centres or math.ceil(math.sqrt(len(x) + expected))
    if count > len(x):
        raise InputError(f"{len(x)} reference events are too few for {count} centres")
    z = torch.as_tensor((x - mean) / deviation)
    chosen = z[torch.as_tensor(rng.choice(len(x), count, replace=False))]
    if sigma is None:
        some = rng.choice(len(x), min(len(x), 1000))
        sigma = float(np.quantile(pdist(z[torch.as_tensor(some)].numpy()), 0.9))
    weight = expected / len(x)
    between = _kernel(chosen, chosen, sigma)
    regular = between + 1e-9 * count * torch.eye(count, dtype=torch.float64)
    strength = 2 * penalty * 2 * expected
    # Second derivatives at f = 0, the data being like the reference: every event counts a quarter.
    second = strength * regular
    for rows in torch.split(z, BLOCK):
        part = _kernel(rows, chosen, sigma)
        second += 0.5 * weight * part.T @ part
    second += 1e-10 * second.diagonal().mean() * torch.eye(count, dtype=torch.float64)
    one = torch.eye(count, dtype=torch.float64)
    turn = torch.linalg.solve_triangular(torch.linalg.cholesky(second).T, one, upper=True)
    blocks = torch.split(z, BLOCK)
    features = torch.cat([(_kernel(rows, chosen, sigma) @ turn).float() for rows in blocks])
    squared = strength * turn.T @ regular @ turn
    return KernelReference(chosen, mean, deviation, sigma, turn, features, weight, squared)


def kernel_test(prepared: KernelReference, data: Array, steps: int = 200) -> KernelFit:
    """Test one data set (N_D, d) against the reference.

    Raises:
        InputError: when there is no event, or one is not a number.
    """
    own = _features(prepared, data)
    reference, weight = prepared.features, prepared.weight

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        point = torch.as_tensor(values)
        short = point.float()
        f, g = reference @ short, own @ short
        smooth = prepared.penalty @ point
        value = weight * torch.nn.functional.softplus(f).double().sum() + (
            torch.nn.functional.softplus(-g).double().sum() + 0.5 * point @ smooth
        )
        slope = weight * (torch.sigmoid(f) @ reference) - torch.sigmoid(-g) @ own
        return float(value), (slope.double() + smooth).numpy()

    found = minimize(loss, np.zeros(len(prepared.turn)), jac=True, method="L-BFGS-B",
                     options={"maxiter": steps, "ftol": 1e-9, "gtol": 1e-3, "maxcor": 20})  # fmt: skip
    best = torch.as_tensor(found.x)
    f, g = (reference @ best.float()).double(), (own @ best.float()).double()
    t = 2 * (g.sum() - weight * torch.expm1(f).sum())
    return KernelFit(float(t), prepared.turn @ best, int(found.nit))


def _features(prepared: KernelReference, data: Array) -> Tensor:
    """Features (N, M) of events (N, d) in the coordinates of the fit: f is linear in them."""
    x = np.asarray(data, dtype=np.float64)
    if not len(x):
        raise InputError("the data hold no event, so nothing can be tested")
    if not np.isfinite(x).all():
        raise InputError(f"event {int(np.argwhere(~np.isfinite(x))[0][0])} of the data is not a number")
    z = torch.as_tensor((x - prepared.mean) / prepared.deviation)
    blocks = torch.split(z, BLOCK)
    parts = [(_kernel(rows, prepared.centres, prepared.sigma) @ prepared.turn).float() for rows in blocks]
    return torch.cat(parts)


def log_ratio(prepared: KernelReference, fit: KernelFit, data: Array) -> NDArray[np.float64]:
    """The fitted f (N,) of events (N, d)."""
    z = torch.as_tensor((np.asarray(data, dtype=np.float64) - prepared.mean) / prepared.deviation)
    blocks = torch.split(z, BLOCK)
    parts = [_kernel(rows, prepared.centres, prepared.sigma) @ fit.coefficients for rows in blocks]
    return np.asarray(torch.cat(parts).numpy())


def _kernel(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """exp(-|x - y|^2 / (2 sigma^2))."""
    square = torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist").square_()
    return square.mul_(-0.5 / sigma**2).exp_()
