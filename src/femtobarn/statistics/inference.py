"""What a binned model says: best fit, discovery significance, CLs upper limits.

    >>> model = Model.of(workspace(channels, luminosity=0.01))
    >>> discovery(model, model.asimov(mu=1)).z              # expected
    >>> upper_limit(model).expected                         # -2, -1, 0, 1, 2 standard deviations

Test statistics and their asymptotic distributions are those of Cowan, Cranmer, Gross and Vitells
[1007.1727]: q0 for discovery, q~ with CLs [Read 2002] for limits, as in pyhf, which reads the same workspace
and says the same (`benchmarks/likelihoods.py`). Fits are those of `statistics.minimise`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm
from torch import Tensor

from femtobarn.errors import InputError
from femtobarn.statistics.asymptotic import asymptotic_cls
from femtobarn.statistics.minimise import Minimum, minimise
from femtobarn.statistics.twin import Data, Twin
from femtobarn.statistics.twin_json import read_twin

__all__ = ["Discovery", "Fit", "Limit", "Model", "cls", "discovery", "fit", "upper_limit"]

Floats = NDArray[np.float64]
BANDS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


@dataclass(frozen=True)
class Model:
    """A binned model with what was observed.

    Attributes:
        spec: pyhf workspace.
        twin: the same as tensors.
        observed: counts (1, B) and measured constraints (1, P).
    """

    spec: dict[str, Any]
    twin: Twin
    observed: Data

    @classmethod
    def of(cls, spec: dict[str, Any], measurement: str | None = None) -> Model:
        """From a pyhf workspace.

        Raises:
            InputError: as `read_twin`.
        """
        twin, data = read_twin(spec, measurement)
        return cls(spec, twin, Data(data.main[None], data.aux[None]))

    def with_negative_signal(self) -> Model:
        """The same with mu down to minus its upper bound, as measurements of mu want it; limits do not."""
        lower = self.twin.parameters.lower.clone()
        lower[self.twin.poi] = -self.twin.parameters.upper[self.twin.poi]
        parameters = replace(self.twin.parameters, lower=lower)
        return replace(self, twin=self.twin.with_(parameters=parameters))

    def at(self, mu: float, theta: Tensor | None = None) -> Tensor:
        """The model's own parameters, or `theta`, (1, P) with this signal strength."""
        point = (self.twin.parameters.start if theta is None else theta).reshape(1, -1).clone()
        point[:, self.twin.poi] = mu
        return point

    def asimov(self, mu: float = 1.0, theta: Tensor | None = None) -> Data:
        """Exactly what is expected with signal strength mu, at the nominal or at fitted parameters."""
        return self.twin.asimov(self.at(mu, theta))

    def minimum(self, data: Data, mu: float | None = None, *starts: Tensor) -> Minimum:
        """Best fit of each data set, with mu free or held; of fits from several starts (N, P), the lowest.

        Effects that are alike up and down leave a minimum on either side, and a signal that the data refuse
        pulls hard at them.
        """
        points = [start.expand(len(data.main), -1) for start in starts or (self.twin.parameters.start,)]
        stacked = torch.stack(points)
        held = torch.zeros(stacked.shape[-1], dtype=torch.bool)
        if mu is not None:
            stacked[..., self.twin.poi] = mu
            held[self.twin.poi] = True
        return lowest(self.twin, data, stacked, held)


@dataclass(frozen=True)
class Fit:
    """Best fit of one data set.

    Attributes:
        names: of the parameters (P,).
        values, errors: (P,); a parameter that is fixed, or at a bound, has no error (0).
        covariance: (P, P), inverse of half the deviance's Hessian (the part that is expected of any
            data, where it has a negative direction).
        measured, prior: what the constraints said before, NaN for free and fixed parameters.
        deviance: -2 ln L against a model free in every bin.
    """

    names: tuple[str, ...]
    poi: int
    values: Floats
    errors: Floats
    covariance: Floats
    measured: Floats
    prior: Floats
    deviance: float

    @property
    def mu(self) -> float:
        """Best fit of the signal strength."""
        return float(self.values[self.poi])

    @property
    def mu_error(self) -> float:
        """Its standard deviation, zero at a bound."""
        return float(self.errors[self.poi])

    @property
    def pulls(self) -> Floats:
        """(fitted - measured) / prior of the constrained parameters, NaN for others."""
        pulls: Floats = (self.values - self.measured) / self.prior
        return pulls

    @property
    def constraints(self) -> Floats:
        """error / prior of the constrained parameters: below one where the data know more."""
        constraints: Floats = self.errors / self.prior
        return constraints


class Discovery(NamedTuple):
    """Significance of a signal, its one-sided p-value, q0 = Z^2 and the fitted signal strength."""

    z: float
    p: float
    q0: float
    mu: float


class Limit(NamedTuple):
    """Upper limit on mu, and those expected without signal at -2, -1, 0, 1, 2 standard deviations."""

    observed: float
    expected: Floats


def fit(model: Model, data: Data | None = None, *, mu: float | None = None) -> Fit:
    """Best fit with errors from the curvature of the likelihood; mu free or held.

    Raises:
        InputError: when the fit does not converge.
    """
    data = model.observed if data is None else data
    minimum = _best(model, data) if mu is None else _converged(model.minimum(data, mu))
    p, theta = model.twin.parameters, minimum.theta
    free = ~(p.fixed | (theta[0] <= p.lower) | (theta[0] >= p.upper))
    if mu is not None:
        free[model.twin.poi] = False
    _, hessian, second = model.twin.derivatives(theta, data)
    covariance = torch.zeros_like(hessian[0])
    index = free.nonzero()[:, 0]
    curvature = hessian[0][index[:, None], index]
    if torch.linalg.cholesky_ex(curvature)[1]:  # no maximum to second order: what is expected of the data
        curvature = curvature - second[0][index[:, None], index]
    covariance[index[:, None], index] = 2 * torch.linalg.pinv(curvature, hermitian=True)
    prior = p.prior
    return Fit(
        p.names, model.twin.poi, theta[0].numpy(), covariance.diagonal().clamp(min=0).sqrt().numpy(),
        covariance.numpy(), torch.where(prior.isnan(), prior, data.aux[0]).numpy(), prior.numpy(),
        float(minimum.deviance[0]),
    )  # fmt: skip


def discovery(model: Model, data: Data | None = None) -> Discovery:
    """Significance against the model without signal, in the asymptotic approximation.

    Args:
        model: with a signal strength not below zero.
        data: None: the observed; `model.asimov(mu=1)` gives the expected significance.

    Raises:
        InputError: when a fit does not converge.
    """
    data = model.observed if data is None else data
    best = _best(model, data)
    nothing = _converged(model.minimum(data, 0.0, best.theta, model.at(0.0)))
    q0 = max(0.0, float(nothing.deviance[0] - best.deviance[0]))
    mu = float(best.theta[0, model.twin.poi])
    return Discovery(q0**0.5, float(norm.sf(q0**0.5)), q0, mu)


def cls(model: Model, mu: float = 1.0, data: Data | None = None) -> Limit:
    """CLs of a signal strength: observed, and expected without signal at -2 to 2 standard deviations.

    Raises:
        InputError: when a fit does not converge.
    """
    scan = _Scan(model, model.observed if data is None else data)
    observed, root_asimov = scan.observed(mu)
    return Limit(observed, norm.sf(root_asimov - BANDS) / norm.sf(-BANDS))


def upper_limit(model: Model, data: Data | None = None, *, level: float = 0.95) -> Limit:
    """Signal strength excluded by CLs at a confidence level, with the limits expected without signal.

    Args:
        model: with a signal strength not below zero.
        data: None: the observed; `model.asimov(mu=0)` before anybody has looked.
        level: of confidence.

    Raises:
        InputError: when a fit does not converge, nothing can be excluded, or the level is none.
    """
    if not 0 < level < 1:
        raise InputError(f"a confidence level of {level:g} is not between 0 and 1: give 0.95 for 95 %")
    scan = _Scan(model, model.observed if data is None else data)
    # CLs = (1 - Phi(root - N)) / Phi(N) at N standard deviations, root = sqrt(q~) of the Asimov data.
    roots = norm.isf((1 - level) * norm.cdf(BANDS)) + BANDS
    expected = expected_limits(model.twin, scan.nothing.theta, roots)[0].numpy()
    low, high = 0.3 * expected[0], expected[-1]
    while scan.observed(low)[0] < 1 - level:
        low /= 3
    while scan.observed(high)[0] > 1 - level:
        high *= 3
    observed = brentq(lambda mu: np.log(scan.observed(mu)[0] / (1 - level)), low, high, xtol=1e-12, rtol=1e-7)
    return Limit(float(observed), expected)


class _Scan:
    """Fits at many signal strengths to data and to Asimov data without signal, each from the last."""

    def __init__(self, model: Model, data: Data) -> None:
        self.model, self.data = model, data
        self.best = _best(model, data)
        self.nothing = _converged(model.minimum(data, 0.0, self.best.theta, model.at(0.0)))
        self.asimov = model.twin.asimov(self.nothing.theta)
        self.both = Data(torch.cat([data.main, self.asimov.main]), torch.cat([data.aux, self.asimov.aux]))
        self.theta = torch.cat([self.best.theta, self.nothing.theta])
        self.known: dict[float, tuple[float, float]] = {}  # two minima could answer one question twice

    def observed(self, mu: float) -> tuple[float, float]:
        """CLs, and the root of q~ of the Asimov data."""
        if mu in self.known:
            return self.known[mu]
        starts = (self.theta, self.nothing.theta, self.model.at(mu))
        held = _converged(self.model.minimum(self.both, mu, *starts))
        self.theta = held.theta
        mu_hat = float(self.best.theta[0, self.model.twin.poi])
        q = max(0.0, float(held.deviance[0] - self.best.deviance[0])) if mu > mu_hat else 0.0
        q_asimov = max(0.0, float(held.deviance[1]))
        self.known[mu] = float(asymptotic_cls(q, q_asimov)), q_asimov**0.5
        return self.known[mu]


def expected_limits(twin: Twin, nothing: Tensor, roots: Floats) -> tuple[Tensor, Tensor]:
    """Signal strengths (K,) at which the Asimov data's q~ has these roots, and the fits there (K, P).

    Newton's method: along the profile only mu has a slope, everything else is at rest. Fits start from the
    last mu's and from no signal, and the lower one counts: the last may lie in another minimum.

    Args:
        twin: the model.
        nothing: (1, P) parameters without signal that the Asimov data are made with.
        roots: (K,) square roots of q~.

    Raises:
        InputError: when they are not reached.
    """
    wanted, count = torch.as_tensor(roots), len(roots)
    data = Data(*(part.expand(count, -1) for part in twin.asimov(nothing)))
    theta = nothing.expand(count, -1).clone()
    held = torch.zeros(theta.shape[1], dtype=torch.bool)
    held[twin.poi] = True
    first = mu = _deviation(twin, nothing) * wanted
    low, high = torch.zeros_like(mu), torch.full_like(mu, torch.inf)
    for _ in range(100):
        starts = torch.stack([theta, nothing.expand(count, -1)])
        starts[..., twin.poi] = mu
        minimum = _converged(lowest(twin, data, starts, held))
        theta = minimum.theta
        root = minimum.deviance.clamp(min=0).sqrt()
        if ((wanted - root).abs() < 1e-7).logical_or(high - low < 1e-9 * mu).all():
            return mu, theta
        low, high = torch.where(root < wanted, mu, low), torch.where(root < wanted, high, mu)
        if (mu > 1e6 * first).any():
            break
        slope = twin.derivatives(theta, data)[0][:, twin.poi]
        newton = mu + (wanted - root) * 2 * root / slope
        middle = torch.where(high.isinf(), 4 * mu, (low + high) / 2)
        mu = torch.where((newton > low) & (newton < high.clamp(max=10 * mu)), newton, middle)
    raise InputError("no signal strength can be excluded: does the signal add anything to the channels?")


def _deviation(twin: Twin, nothing: Tensor) -> Tensor:
    """Standard deviation of mu without signal."""
    _, hessian, second = twin.derivatives(nothing, twin.asimov(nothing))
    p, theta = twin.parameters, nothing[0]
    free = ~(p.fixed | (theta <= p.lower) | (theta >= p.upper))
    free[twin.poi] = True
    index = free.nonzero()[:, 0]
    information = (hessian - second)[0][index[:, None], index] / 2
    place = int(free[: twin.poi].sum())
    variance: Tensor = torch.linalg.pinv(information, hermitian=True)[place, place]
    return variance.sqrt()


def lowest(twin: Twin, data: Data, starts: Tensor, held: Tensor) -> Minimum:
    """The lowest of the fits from several starts (S, N, P), some parameters held; one that converged, if any
    did."""
    many = Data(data.main.repeat(len(starts), 1), data.aux.repeat(len(starts), 1))
    found = minimise(twin, many, starts.flatten(0, 1), held)
    count = len(data.main)
    ranked = torch.where(found.converged, found.deviance, torch.inf).reshape(-1, count)
    rows = ranked.argmin(0) * count + torch.arange(count)
    return Minimum(*(part[rows] for part in found))


def _best(model: Model, data: Data) -> Minimum:
    """The fit with mu free, begun at the nominal parameters and where the fit without signal ends."""
    nothing = model.minimum(data, 0.0)
    return _converged(model.minimum(data, None, model.twin.parameters.start, nothing.theta))


def _converged(minimum: Minimum) -> Minimum:
    if not minimum.converged.all():
        raise InputError(
            "a fit did not converge: is there a bin that only the signal fills, or a parameter that nothing "
            "constrains?"
        )
    return minimum
