"""Expected discovery significance from signal and background yields, with the error of a limited simulation.

With s and b expected events, v the variance of what is known of b from elsewhere (a sideband, a systematic
uncertainty), n = s + b and db = v s/(b + v) the shift of b that a fit without signal would make:

    Z^2/2 = n ln[n/(b + db)] - (b^2/v) ln(1 + db/b)          [Cowan, Cranmer, Gross, Vitells, 1007.1727;
    Z^2/2 = (s + b) ln(1 + s/b) - s      for v = 0            Cowan, Asimov significance, 2012]

A simulated yield is a sum of weights with the variance sum w^2; `var_s` and `var_b` hand these on to the
error of Z to first order. They are what a larger simulation would cure, `v` is what it would not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from femtobarn.statistics.estimate import Estimate

__all__ = ["Yields", "asimov", "combined", "s_over_sqrt_b"]

Floats = NDArray[np.float64]


class Yields(NamedTuple):
    """Expected signal and background events and the variances of their simulation, arrays of one shape.

    They go into a figure of merit as `asimov(*yields)`.
    """

    s: Floats
    b: Floats
    var_s: Floats
    var_b: Floats


def s_over_sqrt_b(s: ArrayLike, b: ArrayLike, var_s: ArrayLike = 0.0, var_b: ArrayLike = 0.0) -> Estimate:
    """s/sqrt(b) with its error: what everybody writes, and too large where s is not far below b.

    Args:
        s, b: expected events, of any shapes that broadcast.
        var_s, var_b: sum w^2 of the simulated events behind them.

    Returns:
        NaN where b is not above zero.
    """
    s, b, var_s, var_b = _broadcast(s, b, var_s, var_b)
    b = np.where(b > 0, b, np.nan)
    return Estimate(s / np.sqrt(b), np.sqrt(var_s / b + var_b * s**2 / (4 * b**3)))


def asimov(
    s: ArrayLike, b: ArrayLike, var_s: ArrayLike = 0.0, var_b: ArrayLike = 0.0, *, sigma: ArrayLike = 0.0
) -> Estimate:
    """Median significance of a discovery, the signal being there: sqrt(q0) of the Asimov data.

    Args:
        s, b: expected events, of any shapes that broadcast.
        var_s, var_b: sum w^2 of the simulated events behind them.
        sigma: standard deviation to which b is known from elsewhere, in events.

    Returns:
        Zero where s is not above zero (a deficit discovers nothing), NaN where b is not.
    """
    s, b, var_s, var_b, sigma = _broadcast(s, b, var_s, var_b, sigma)
    s, b, v = np.maximum(s, 0.0), np.where(b > 0, b, np.nan), sigma**2
    shift = v * s / (b + v)  # of b in a fit without signal
    fitted = b + shift
    ln_n, ln_b = np.log1p((s - shift) / fitted), np.log1p(shift / b)  # ln(n/fitted), ln(fitted/b)
    known = np.where(v > 0, v, 1.0)
    penalty = np.where(v > 0, b**2 / known * ln_b, s * b / (b + v))
    half = np.maximum((s + b) * ln_n - penalty, 0.0)
    z = np.sqrt(2 * half)
    slope_b = ln_n + np.where(v > 0, (shift - 2 * b * ln_b) / known, -s / b)
    small = z < 1e-6  # where Z = s/sqrt(b + v) holds to all digits
    dz_ds = np.where(small, 1 / np.sqrt(b + v), ln_n / np.where(small, 1.0, z))
    dz_db = np.where(small, 0.0, slope_b / np.where(small, 1.0, z))
    return Estimate(z, np.sqrt(var_s * dz_ds**2 + var_b * dz_db**2))


def combined(significance: Estimate, axis: int | None = None) -> Estimate:
    """Significance of independent bins or channels together: q0 adds, so Z adds in quadrature.

    Exact for the Asimov data of bins whose uncertainties have nothing in common; what is correlated needs a
    model (`statistics.model`). Bins without background (NaN) are left out.

    Args:
        significance: Z of each bin with its error.
        axis: summed over; None: all.
    """
    value, error = significance
    known = np.isfinite(value)
    value, error = np.where(known, value, 0.0), np.where(known, error, 0.0)
    z = np.sqrt(np.sum(value**2, axis=axis))
    weight = np.sqrt(np.sum((value * error) ** 2, axis=axis))
    return Estimate(z, weight / np.where(z > 0, z, 1.0))


def _broadcast(*values: ArrayLike) -> list[Floats]:
    return list(np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in values)))
