"""A Gaussian process for the logarithm of a spectrum, with the Poisson likelihood of its counts.

[Frate et al., 1709.05681; Rasmussen and Williams, Gaussian Processes for Machine Learning, 3.4 and 5.5.]
ln mu_b = ln width_b + m(u_b) + g(u_b) with u = ln x, x = mass/sqrt(s): m is the dijet function of three
parameters, c_1 + c_2 ln(1-x) + c_3 ln x, with wide priors, and g whatever smooth correction it needs, with
the covariance a^2 exp(-(u - u')^2 / (2 l^2)). The posterior is a Gaussian about its maximum (Laplace's
approximation), a and l maximise the evidence. The likelihood makes empty bins and bins left blind ordinary:
the one count zero events, the other say nothing.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import minimize
from scipy.special import gammaln

from femtobarn.errors import InputError
from femtobarn.learn.background_model import Background, BackgroundModel, Mask
from femtobarn.learn.method import method
from femtobarn.statistics.spectrum import Spectrum

__all__ = ["GaussianProcess"]

Array = NDArray[np.float64]
STEPS = 100
MEAN_PRIOR = 3.0
"""Standard deviation of each part of the mean about a first fit, in natural logarithms."""


class Prior(NamedTuple):
    """Mean (B,) and covariance (B, B) of ln mu."""

    mean: Array
    covariance: Array


@method
class GaussianProcess(BackgroundModel):
    """A smooth spectrum near the dijet function, without a formula for what separates the two.

    Attributes:
        sqrt_s: collision energy in GeV; all masses lie below it.
        shortest: the least correlation length, in the logarithm of the mass (a relative width): what is
            narrower counts as a signal.
        longest: the greatest.
        largest: greatest standard deviation of g.
    """

    sqrt_s: Annotated[float, Field(gt=0)] = 13_000.0
    shortest: Annotated[float, Field(gt=0)] = 0.3
    longest: Annotated[float, Field(gt=0)] = 5.0
    largest: Annotated[float, Field(gt=0)] = 5.0

    def estimate(self, edges: Array, counts: Array, blind: Mask | None = None) -> Background:
        """See `BackgroundModel.estimate`."""
        spectrum = Spectrum.of(edges, counts)
        used = _used(counts, blind)
        prior = self._prior(spectrum, used)
        mode = _posterior_mode(spectrum.counts[None], prior, used)[0]
        expected = np.exp(mode)
        weight = used * expected
        root = np.sqrt(weight)
        inner = np.eye(len(mode)) + root[:, None] * prior.covariance * root
        half = np.linalg.solve(np.linalg.cholesky(inner), root[:, None] * prior.covariance)
        covariance = prior.covariance - half.T @ half
        values, vectors = np.linalg.eigh(covariance)
        return Background(expected, np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T * expected)

    def repeat(self, edges: Array, counts: Array, pseudo: Array, blind: Mask | None = None) -> Array:
        """See `BackgroundModel.repeat`; the covariance is that chosen on `counts`."""
        used = _used(counts, blind)
        prior = self._prior(Spectrum.of(edges, counts), used)
        return np.exp(_posterior_mode(np.asarray(pseudo, dtype=np.float64), prior, used))

    def _prior(self, spectrum: Spectrum, used: Array) -> Prior:
        """The prior whose two parameters make the counts most probable."""
        edges, counts, _ = spectrum
        width = np.diff(edges)
        if not 0 < edges[0] < edges[-1] < self.sqrt_s:
            raise InputError(
                f"the spectrum reaches from {edges[0]:g} to {edges[-1]:g} GeV, but masses must lie between "
                f"0 and sqrt_s = {self.sqrt_s:g} GeV"
            )
        x = 0.5 * (edges[1:] + edges[:-1]) / self.sqrt_s
        u = np.log(x)
        basis, _ = np.linalg.qr(np.stack([np.ones_like(x), u, np.log1p(-x)], axis=1))
        basis *= np.sqrt(len(x))
        weight = used * (counts + 0.5)
        height = np.log((counts + 0.5) / width)
        matrix = (basis * weight[:, None]).T @ basis
        mean = np.log(width) + basis @ np.linalg.solve(matrix, (basis * weight[:, None]).T @ height)
        free = MEAN_PRIOR**2 * basis @ basis.T
        distance = (u[:, None] - u) ** 2

        def prior(parameters: Array) -> Prior:
            amplitude, length = np.exp(parameters)
            smooth = amplitude**2 * np.exp(-0.5 * distance / length**2)
            return Prior(mean, free + smooth + 1e-9 * np.eye(len(u)))

        bounds = [(np.log(1e-2), np.log(self.largest)), (np.log(self.shortest), np.log(self.longest))]
        tries = [
            minimize(lambda p: -_log_evidence(counts, prior(p), used), np.log(start), bounds=bounds,
                     method="L-BFGS-B")
            for start in ([1.0, 2 * self.shortest], [0.3, np.sqrt(self.shortest * self.longest)])
        ]  # fmt: skip
        return prior(min(tries, key=lambda found: float(found.fun)).x)


def _used(counts: Array, blind: Mask | None) -> Array:
    used = np.ones(len(counts)) if blind is None else (~blind).astype(np.float64)
    if used.sum() <= 2:
        raise InputError(f"{int(used.sum())} bins are too few for a Gaussian process: widen the sideband")
    if not (used * counts).any():
        raise InputError("the bins in use are all empty, nothing can be fitted: widen the sideband")
    return used


def _posterior_mode(counts: Array, prior: Prior, used: Array) -> Array:
    """The most probable ln mu (T, B) of spectra (T, B), by Newton's method [R&W, algorithm 3.1].

    A step is shortened where it would leave the region in which exp is tame.
    """
    covariance = prior.covariance
    mode = np.broadcast_to(prior.mean, counts.shape).copy()
    for _ in range(STEPS):
        expected = np.exp(mode)
        weight = used * expected
        root = np.sqrt(weight)
        right = weight * (mode - prior.mean) + used * (counts - expected)
        inner = root[:, :, None] * covariance * root[:, None, :]
        inner[:, range(len(used)), range(len(used))] += 1.0
        solved = np.linalg.solve(inner, (root * (right @ covariance))[..., None])[..., 0]
        step = prior.mean + (right - root * solved) @ covariance - mode
        largest = np.abs(step).max(axis=1, keepdims=True)
        mode += step * np.minimum(1.0, 1.0 / np.maximum(largest, 1e-12))
        if largest.max() < 1e-6:
            break
    return mode


def _log_evidence(counts: Array, prior: Prior, used: Array) -> float:
    """Laplace's approximation to ln p(counts), without constants [R&W, equation 3.32]."""
    mode = _posterior_mode(counts[None], prior, used)[0]
    expected = np.exp(mode)
    root = np.sqrt(used * expected)
    inner = np.eye(len(mode)) + root[:, None] * prior.covariance * root
    pull = used * (counts - expected)  # at the mode, the inverse covariance times the distance from the mean
    likelihood = np.sum(used * (counts * mode - expected - gammaln(counts + 1)))
    return float(
        likelihood - 0.5 * pull @ (mode - prior.mean) - np.log(np.diag(np.linalg.cholesky(inner))).sum()
    )
