"""How HistFactory goes from the yields at -1, 0 and +1 standard deviations to any value of a nuisance.

The two choices that published likelihoods use and that pyhf has by default: code 4p for shapes (a polynomial
within one standard deviation, straight lines outside) and code 4 for normalisations (a polynomial within,
exponentials outside), both smooth to the second derivative [HistFactory, CERN-OPEN-2012-016].
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["code4", "code4p"]


def code4p(alpha: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """What a shape adds to a yield is up * f(alpha) + down * g(alpha): f and g.

    Here `up` is the yield at +1 minus nominal, `down` nominal minus the yield at -1.

    Args:
        alpha: nuisance parameters, of any shape.

    Returns:
        f with its first and second derivative, and the same of g, in the shape of alpha.
    """
    square, above, below = alpha**2, alpha > 1, alpha < -1
    bend = square * (15 - square * (10 - 3 * square)) / 16
    slope = alpha * (30 - square * (40 - 18 * square)) / 16
    curve = (30 - square * (120 - 90 * square)) / 16
    zero, one = torch.zeros_like(alpha), torch.ones_like(alpha)

    def pieces(sign: int, line: Tensor, none: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        inside = alpha / 2 + sign * bend, 0.5 + sign * slope, sign * curve
        outside = (alpha, one, zero)
        value, first, second = (
            torch.where(line, out, torch.where(none, 0.0, inner))
            for out, inner in zip(outside, inside, strict=True)
        )
        return value, first, second

    return pieces(1, above, below), pieces(-1, below, above)


def code4(alpha: Tensor, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The logarithm of the factor of a normalisation, with its first and second derivative in alpha.

    Args:
        alpha: (..., E) nuisance parameters.
        up, down: (E,) factors at +1 and -1, positive.
    """
    log_up, log_down = up.log(), -down.log()
    inner = alpha.clamp(-1, 1)  # keeps the polynomial positive where it is not used
    factor, slope, half = torch.zeros_like(inner), torch.zeros_like(inner), torch.zeros_like(inner)
    for coefficient in (*reversed(_coefficients(up, down, log_up, log_down)), torch.ones_like(up)):
        half = half * inner + slope
        slope = slope * inner + factor
        factor = factor * inner + coefficient
    line = torch.where(alpha > 0, log_up, log_down)
    outside = alpha.abs() >= 1
    first = slope / factor
    second = 2 * half / factor - first**2
    pieces = (alpha * line, factor.log()), (line, first), (torch.zeros_like(second), second)
    value, first, second = (torch.where(outside, *piece) for piece in pieces)
    return value, first, second


def _coefficients(up: Tensor, down: Tensor, log_up: Tensor, log_down: Tensor) -> list[Tensor]:
    """a_1 to a_6 of 1 + sum a_k alpha^k that meets both exponentials with two derivatives at +1 and -1."""
    value = (up + down) / 2 - 1, (up - down) / 2  # even and odd parts
    slope = (up * log_up - down * log_down) / 2, (up * log_up + down * log_down) / 2
    bend = (up * log_up**2 + down * log_down**2) / 2, (up * log_up**2 - down * log_down**2) / 2
    odd = (
        (15 * value[1] - 7 * slope[1] + bend[1]) / 8,
        (-10 * value[1] + 10 * slope[1] - 2 * bend[1]) / 8,
        (3 * value[1] - 3 * slope[1] + bend[1]) / 8,
    )
    even = (
        (24 * value[0] - 9 * slope[0] + bend[0]) / 8,
        (-24 * value[0] + 14 * slope[0] - 2 * bend[0]) / 8,
        (8 * value[0] - 5 * slope[0] + bend[0]) / 8,
    )
    return [odd[0], even[0], odd[1], even[1], odd[2], even[2]]
