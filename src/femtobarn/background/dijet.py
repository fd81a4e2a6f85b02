"""The dijet functions of three to six parameters, chosen by an F-test [1911.03947, PRL 132 (2024) 081801].

    f(m) = p1 (1 - x)^p2 x^(p3 + p4 ln x + p5 ln^2 x + p6 ln^3 x),   x = m / sqrt(s)

The logarithm of f is linear in its parameters. The fit writes it in powers of ln x minus its mean over the
spectrum, since powers of ln x itself are all but proportional to each other; f is integrated over each bin.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import f as f_distribution

from femtobarn.errors import InputError
from femtobarn.learn.background_model import Background, BackgroundModel, Mask
from femtobarn.learn.method import method
from femtobarn.statistics.shape_fit import Shape, fit_shapes, log_linear, modes
from femtobarn.statistics.spectrum import Spectrum

__all__ = ["Dijet", "DijetFit", "fewest_needed"]

Array = NDArray[np.float64]
FEWEST, MOST = 3, 6


class DijetFit(NamedTuple):
    """One fit: parameters p1, p2, ... as in the formula (f in counts per GeV), deviance, degrees of freedom.

    `f_test` is the probability that an idle last parameter lowers the deviance as much, None for the shortest
    function.
    """

    parameters: Array
    deviance: float
    dof: int
    valid: bool
    f_test: float | None


@method
class Dijet(BackgroundModel):
    """Smooth function of a dijet mass, with as many parameters as an F-test asks for.

    Attributes:
        sqrt_s: collision energy in GeV; all masses lie below it.
        terms: number of parameters, 3 to 6; None: another one is taken as long as its F-test is below `size`.
        size: of the F-test.
    """

    sqrt_s: Annotated[float, Field(gt=0)] = 13_000.0
    terms: Annotated[int, Field(ge=FEWEST, le=MOST)] | None = None
    size: Annotated[float, Field(gt=0, lt=1)] = 0.05

    def estimate(self, edges: Array, counts: Array, blind: Mask | None = None) -> Background:
        """See `BackgroundModel.estimate`."""
        spectrum = Spectrum.of(edges, counts)
        terms = self.terms or fewest_needed(self.fits(edges, counts, blind), self.size)
        shape, used = self.shape(edges, terms), None if blind is None else ~blind
        fit = fit_shapes(spectrum.counts, shape, used)
        return Background(fit.expected[0], modes(shape, fit.theta[0], used))

    def repeat(self, edges: Array, counts: Array, pseudo: Array, blind: Mask | None = None) -> Array:
        """See `BackgroundModel.repeat`; the number of parameters is that of `counts`."""
        terms = self.terms or fewest_needed(self.fits(edges, counts, blind), self.size)
        shape, used = self.shape(edges, terms), None if blind is None else ~blind
        start = fit_shapes(counts, shape, used).theta[0]
        return fit_shapes(pseudo, shape, used, start=start).expected

    def fits(self, edges: Array, counts: Array, blind: Mask | None = None) -> dict[int, DijetFit]:
        """The fits with three to six parameters, by number of parameters, as many as the bins allow."""
        spectrum = Spectrum.of(edges, counts)
        used = np.ones(len(counts), dtype=np.bool_) if blind is None else ~blind
        found: dict[int, DijetFit] = {}
        for terms in range(FEWEST, MOST + 1):
            if terms > FEWEST and used.sum() <= terms:
                break
            fit = fit_shapes(spectrum.counts, self.shape(edges, terms), used)
            deviance, dof, test = float(fit.deviance[0]), int(used.sum()) - terms, None
            if terms - 1 in found:
                gain = max(found[terms - 1].deviance - deviance, 0.0)
                test = float(f_distribution.sf(gain / (deviance / dof), 1, dof)) if deviance > 0 else 1.0
            parameters = self._uncentred(fit.theta[0], edges)
            found[terms] = DijetFit(parameters, deviance, dof, bool(fit.valid[0]), test)
        return found

    def shape(self, edges: Array, terms: int) -> Shape:
        """The function with `terms` parameters on these bins.

        Raises:
            InputError: when the spectrum reaches to zero or beyond sqrt(s).
        """
        edges = np.asarray(edges, dtype=np.float64)
        if not 0 < edges[0] < edges[-1] < self.sqrt_s:
            raise InputError(
                f"the spectrum reaches from {edges[0]:g} to {edges[-1]:g} GeV, but the dijet function lives "
                f"between 0 and sqrt_s = {self.sqrt_s:g} GeV"
            )
        centre = self._centre(edges)

        def functions(mass: Array) -> Array:
            x = mass / self.sqrt_s
            powers = [(np.log(x) - centre) ** k for k in range(1, terms - 1)]
            return np.stack([np.ones_like(x), np.log1p(-x), *powers], axis=-1)

        return log_linear(edges, functions)

    def _centre(self, edges: Array) -> float:
        return float(np.log(edges / self.sqrt_s).mean())

    def _uncentred(self, theta: Array, edges: Array) -> Array:
        """p1, p2, p3, ... from the coefficients of powers of ln x minus its mean."""
        around = np.polynomial.Polynomial([0.0, *theta[2:]])
        plain = around(np.polynomial.Polynomial([-self._centre(np.asarray(edges)), 1.0])).coef
        return np.array([np.exp(theta[0] + plain[0]), theta[1], *plain[1:]])


def fewest_needed(fits: dict[int, DijetFit], size: float = 0.05) -> int:
    """The number of parameters after which one more is not significant.

    A later parameter may be needed where the next one is idle, so the largest significant one decides.
    """
    return max((terms for terms, fit in fits.items() if fit.f_test is not None and fit.f_test < size),
               default=min(fits))  # fmt: skip
