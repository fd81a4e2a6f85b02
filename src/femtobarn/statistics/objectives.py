"""Numbers to train for: expected significance, limit and error of mu, differentiable in a model's yields.

    >>> twin = twin.with_(nominal=yields)    # a smooth histogram of a network's scores
    >>> (-expected_significance(twin)).backward()

The fits inside are not differentiated step by step. Where a likelihood is at its maximum its own value has no
slope in the fitted parameters, which leaves the direct dependence on the yields alone; a crossing of mu moves
by the implicit function theorem. Losses of this kind: INFERNO [1806.04743], neos [2203.05570].
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from femtobarn.errors import InputError
from femtobarn.statistics.inference import expected_limits
from femtobarn.statistics.minimise import minimise
from femtobarn.statistics.twin import Twin

__all__ = ["expected_error", "expected_limit", "expected_significance"]


def expected_significance(twin: Twin, mu: float = 1.0) -> Tensor:
    """Median discovery significance of a signal of strength mu, sqrt(q0) of the Asimov data: a scalar.

    Raises:
        InputError: when the fit without signal does not converge.
    """
    data = twin.asimov(_nominal(twin, mu))
    nothing = minimise(twin, data, _nominal(twin, 0.0), _only_mu(twin))
    if not nothing.converged.all():
        raise InputError(
            "the fit without signal did not converge: is there a bin that only the signal fills?"
        )
    return twin.deviance(nothing.theta, data).clamp(min=1e-12).sqrt()[0]


def expected_limit(twin: Twin, level: float = 0.95) -> Tensor:
    """Median CLs upper limit on mu without signal: a scalar.

    Raises:
        InputError: when no signal strength can be excluded.
    """
    root = float(norm.isf((1 - level) / 2))
    nothing = _nominal(twin, 0.0)
    with torch.no_grad():
        mu, theta = expected_limits(twin, nothing, np.array([root]))
    data = twin.asimov(nothing)
    q = twin.deviance(theta, data)
    with torch.no_grad():
        slope = twin.derivatives(theta, data)[0][:, twin.poi]
    return (mu - (q - q.detach()) / slope)[0]


def expected_error(twin: Twin, mu: float = 1.0) -> Tensor:
    """Standard deviation of the fitted mu by Fisher's information, nuisance parameters profiled: a scalar."""
    theta = _nominal(twin, mu)
    _, hessian, _ = twin.derivatives(theta, twin.asimov(theta))
    free = (~twin.parameters.fixed).nonzero()[:, 0]
    place = int((free < twin.poi).sum())
    covariance = 2 * torch.linalg.inv(hessian[0][free[:, None], free])
    variance: Tensor = covariance[place, place]
    return variance.sqrt()


def _nominal(twin: Twin, mu: float) -> Tensor:
    theta = twin.parameters.start[None].clone()
    theta[:, twin.poi] = mu
    return theta


def _only_mu(twin: Twin) -> Tensor:
    held = torch.zeros_like(twin.parameters.fixed)
    held[twin.poi] = True
    return held
