"""Fits of the twin: Newton's method on many data sets at once, within bounds, differentiable in yields."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from femtobarn.statistics.twin import NOTHING, Data, Twin

__all__ = ["Minimum", "attached", "minimise"]

PART = 1e6
"""Numbers in one array: more data sets are fitted in parts that stay in the processor's cache."""

AT_REST = 1e-6
"""Deviance still to be gained, at most, where a step finds nothing lower: with a million events the sum of
their terms is hardly known better, and no test statistic needs it to be."""


class Minimum(NamedTuple):
    """Parameters (N, P), deviance -2 ln L (N,), and whether Newton's method came to rest (N,) where something
    is expected wherever something was seen."""

    theta: Tensor
    deviance: Tensor
    converged: Tensor


def minimise(
    twin: Twin,
    data: Data,
    start: Tensor | None = None,
    held: Tensor | None = None,
    *,
    tolerance: float = 1e-11,
    iterations: int = 200,
) -> Minimum:
    """Maximum likelihood of each of N data sets.

    Args:
        twin: the model.
        data: counts (N, B) and constraints (N, P).
        start: (N, P) or (P,); None: the model's own.
        held: (N, P) or (P,) parameters that stay where they start, those the model fixes besides.
        tolerance: on the deviance still to be gained.
        iterations: at most.
    """
    p, count = twin.parameters, len(data.main)
    theta = (p.start if start is None else start).expand(count, -1)
    held = (p.fixed if held is None else held | p.fixed).expand(count, -1)
    most = max(1, int(PART / (len(twin.nominal) * len(p.names) + len(p.names) ** 2)))
    with torch.no_grad():
        parts = [
            _newton(twin, Data(data.main[k : k + most], data.aux[k : k + most]), theta[k : k + most].clone(),
                    held[k : k + most], tolerance, iterations)
            for k in range(0, count, most)
        ]  # fmt: skip
    return Minimum(*(torch.cat(part) for part in zip(*parts, strict=True)))


def attached(twin: Twin, data: Data, theta: Tensor, held: Tensor | None = None) -> Tensor:
    """The same parameters (N, P), but differentiable in the twin's yields and in the data.

    By the implicit function theorem: at a minimum the gradient stays zero, so that dtheta/dy is minus the
    inverse Hessian times the gradient's derivative in y. Parameters held or at a bound do not move.
    """
    p = twin.parameters
    theta = theta.detach()
    frozen = p.fixed if held is None else held | p.fixed
    free = ~(frozen | (theta <= p.lower) | (theta >= p.upper))
    with torch.no_grad():
        _, hessian, _ = twin.derivatives(theta, data)
    point = theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(twin.deviance(point, data).sum(), point, create_graph=True)
    return theta + _solve(hessian, gradient, free)


def _newton(
    twin: Twin, data: Data, theta: Tensor, held: Tensor, tolerance: float, iterations: int
) -> Minimum:
    lower = torch.where(held, theta, twin.parameters.lower)
    upper = torch.where(held, theta, twin.parameters.upper)
    theta = theta.clamp(lower, upper)
    deviance = twin.deviance(theta, data)
    bad = ~deviance.isfinite()
    if bad.any():  # yields below zero: begin where the model does
        theta[bad] = torch.where(held[bad], theta[bad], twin.parameters.start)
        deviance = twin.deviance(theta, data)
    converged = torch.zeros(len(theta), dtype=torch.bool)
    todo = torch.arange(len(theta))
    for _ in range(iterations):
        x, part, bounds = theta[todo], Data(data.main[todo], data.aux[todo]), (lower[todo], upper[todo])
        gradient, hessian, _ = twin.derivatives(x, part)
        step = _step(x, gradient, hessian, bounds)
        gain, before = -(step * gradient).sum(-1) / 2, deviance[todo]
        theta[todo], deviance[todo], moved = _search(twin, x, step, gradient, part, bounds, before)
        stuck = ~moved | (before - deviance[todo] < 1e-3 * AT_REST)
        done = (gain.abs() < tolerance) | (stuck & (gain.abs() < AT_REST)) | ~moved
        converged[todo[done]] = gain[done].abs() < AT_REST
        todo = todo[~done]
        if not len(todo):
            break
    seen, expected = data.main > 1e3 * NOTHING, twin.expected(theta) > 1e3 * NOTHING
    return Minimum(theta, deviance, converged & ~(seen & ~expected).any(-1))


def _step(x: Tensor, gradient: Tensor, hessian: Tensor, bounds: tuple[Tensor, Tensor]) -> Tensor:
    """Newton's step (N, P) within bounds: what would leave them stops there, and the rest is solved again.

    What lies within a millionth of a bound and is pushed outwards counts as at the bound. A long way to
    bounds may lead uphill; where it does the step is that of what is free now, downhill if short enough
    [Bertsekas, SIAM J. Control Optim. 20 (1982) 221].
    """
    low, high = bounds
    near = 1e-6 * (high - low)
    at_bound = ((x <= low + near) & (gradient >= 0)) | ((x >= high - near) & (gradient <= 0))
    held = at_bound
    step = torch.where(held, torch.where(gradient >= 0, low, high) - x, 0.0)
    for _ in range(3):
        pushed = gradient + (hessian @ torch.where(held, step, 0.0)[..., None])[..., 0]
        step = torch.where(held, step, _solve(hessian, pushed, ~held))
        leaves = ~held & ((x + step < low) | (x + step > high))
        if not leaves.any():
            break
        step = torch.where(leaves, (x + step).clamp(low, high) - x, step)
        held = held | leaves
    uphill = (step * gradient).sum(-1) > 0
    if uphill.any():
        step[uphill] = _solve(hessian[uphill], gradient[uphill], ~at_bound[uphill])
    return step


def _solve(hessian: Tensor, gradient: Tensor, free: Tensor) -> Tensor:
    """Newton's step (N, P), zero where not free.

    Where the Hessian is not positive, the absolute values of its eigenvalues stand in for them: downhill
    along directions of negative curvature, and no further than its size allows.
    """
    both = free[:, :, None] & free[:, None, :]
    matrix = torch.where(both, hessian, torch.eye(hessian.shape[-1], dtype=hessian.dtype))
    slope = torch.where(free, gradient, 0.0)[..., None]
    factor, failed = torch.linalg.cholesky_ex(matrix)
    step = -torch.cholesky_solve(slope, factor)
    saddle = (failed > 0).nonzero()[:, 0]
    if len(saddle):
        values, vectors = torch.linalg.eigh(matrix[saddle])
        sizes = values.abs().clamp(min=1e-9 * float(values.abs().max()))
        along = (vectors.transpose(1, 2) @ slope[saddle]) / sizes[..., None]
        step = step.index_put((saddle,), -(vectors @ along))
    return step[..., 0]


def _search(
    twin: Twin,
    x: Tensor,
    step: Tensor,
    gradient: Tensor,
    data: Data,
    bounds: tuple[Tensor, Tensor],
    before: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The first of the steps 1, 1/2, 1/4 ... that gains enough: parameters, deviance, success."""
    best, deviance, moved = x.clone(), before.clone(), torch.zeros(len(x), dtype=torch.bool)
    length = 1.0
    for _ in range(40):
        candidate = (x + length * step).clamp(*bounds)
        value = twin.deviance(candidate, data)
        allowed = before + 1e-4 * (gradient * (candidate - x)).sum(-1) + 1e-13 * (1 + before.abs())
        good = ~moved & (value <= allowed)
        best[good], deviance[good] = candidate[good], value[good]
        moved |= good
        if moved.all():
            break
        length /= 2
    return best, deviance, moved
