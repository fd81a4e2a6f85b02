"""Flavour-tagging discriminants and the choice of their charm fraction.

D_b = log( p_b / ((1 - f_c - f_tau) p_u + f_c p_c + f_tau p_tau) ), f_c = 0.018 for DL1r and 0.05 for GN1 in
ATL-PHYS-PUB-2022-027; D_c = log( p_c / ((1 - f_b - f_tau) p_u + f_b p_b + f_tau p_tau) ), f_b = 0.2.
A larger f_c
buys c-rejection with light-rejection, so taggers are compared each at its own best f_c and all at a common
one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from femtobarn.evaluate.metrics import Floats, Rejection, Survival, rejection

__all__ = ["Frontier", "discriminant", "discriminant_b", "discriminant_c", "frontier", "own_fraction"]

SMALLEST = 1e-45
FRACTIONS: Floats = np.concatenate([[0.0, 0.001, 0.002], np.geomspace(0.005, 0.6, 30)])


def discriminant(signal: ArrayLike, backgrounds: dict[str, ArrayLike], fractions: dict[str, float]) -> Floats:
    """log( p_signal / sum_k f_k p_k ): probabilities (N,) by name, each background with its fraction.

    Raises:
        ValueError: when a background has no fraction, or one below zero.
    """
    mixture = np.zeros(np.shape(signal))
    for name, probability in backgrounds.items():
        if fractions.get(name, -1.0) < 0:
            raise ValueError(f"the fraction of '{name}' must be given and not below zero")
        mixture = mixture + fractions[name] * np.asarray(probability, dtype=np.float64)
    return _log(signal) - _log(mixture)


def _log(probability: ArrayLike) -> Floats:
    logarithm: Floats = np.log(np.maximum(np.asarray(probability, dtype=np.float64), SMALLEST))
    return logarithm


def discriminant_b(
    pb: ArrayLike, pc: ArrayLike, pu: ArrayLike, f_c: float, ptau: ArrayLike | None = None, f_tau: float = 0.0
) -> Floats:
    """D_b of probabilities (N,) for b, c, light and, if there is one, tau."""
    backgrounds, fractions = {"c": pc, "u": pu}, {"c": f_c, "u": 1 - f_c - f_tau}
    if ptau is not None:
        backgrounds["tau"], fractions["tau"] = ptau, f_tau
    return discriminant(pb, backgrounds, fractions)


def discriminant_c(
    pb: ArrayLike,
    pc: ArrayLike,
    pu: ArrayLike,
    f_b: float = 0.2,
    ptau: ArrayLike | None = None,
    f_tau: float = 0.0,
) -> Floats:
    """D_c of probabilities (N,) for b, c, light and, if there is one, tau."""
    backgrounds, fractions = {"b": pb, "u": pu}, {"b": f_b, "u": 1 - f_b - f_tau}
    if ptau is not None:
        backgrounds["tau"], fractions["tau"] = ptau, f_tau
    return discriminant(pc, backgrounds, fractions)


class Frontier(NamedTuple):
    """c- against light-rejection at one b-efficiency, one entry per f_c."""

    f_c: Floats
    c: Rejection
    light: Rejection


def frontier(
    probabilities: Mapping[str, NDArray[np.floating]],
    flavour: NDArray[np.str_],
    efficiency: float = 0.70,
    weights: ArrayLike | None = None,
    fractions: ArrayLike = FRACTIONS,
) -> Frontier:
    """Scan f_c: the c- and light-rejections at one b-efficiency.

    Args:
        probabilities: by flavour `b`, `c`, `u` and perhaps `tau` (weighed as nothing), each (N,).
        flavour: (N,) true flavours, `b`, `c`, `u`; others are not used.
        efficiency: the b-efficiency.
        weights: (N,) or None.
        fractions: the values of f_c.
    """
    scan = np.asarray(fractions, dtype=np.float64)
    weight = np.ones(len(flavour)) if weights is None else np.asarray(weights, dtype=np.float64)
    which = {name: flavour == name for name in ("b", "c", "u")}
    results: dict[str, list[Rejection]] = {"c": [], "u": []}
    for f_c in scan:
        score = discriminant_b(
            probabilities["b"], probabilities["c"], probabilities["u"], float(f_c), probabilities.get("tau")
        )
        signal = Survival(score[which["b"]], weight[which["b"]], "b-jets")
        for name in ("c", "u"):
            background = Survival(score[which[name]], weight[which[name]], f"{name}-jets")
            results[name].append(rejection(signal, background, efficiency))
    c, light = (
        Rejection(*(np.array(column) for column in zip(*results[name], strict=True))) for name in ("c", "u")
    )
    return Frontier(scan, c, light)


def own_fraction(scan: Frontier) -> float:
    """A tagger's own f_c: the one with the largest geometric mean of c- and light-rejection, sqrt(R_c R_u).

    The maximum is flat and its top noisy, so it is that of a parabola in log f_c through the neighbourhood in
    which the mean lies within a tenth of the largest, if it lies in there. Choose it on the validation split,
    never on the jets it is judged by. Where no jet passes, the lower limit stands for the rejection.
    """
    mean = np.ones(len(scan.f_c))
    for part in (scan.c, scan.light):
        mean = mean * np.sqrt(np.where(np.isnan(part.value), part.lower_limit, part.value))
    top = int(np.argmax(mean))
    low, high = top, top
    while low > 0 and scan.f_c[low - 1] > 0 and mean[low - 1] > 0.9 * mean[top]:
        low -= 1
    while high < len(mean) - 1 and mean[high + 1] > 0.9 * mean[top]:
        high += 1
    if high - low < 3 or scan.f_c[low] == 0:
        return float(scan.f_c[top])
    x = np.log(scan.f_c[low : high + 1])
    square, slope, _ = np.polyfit(x, np.log(mean[low : high + 1]), 2)
    peak = -slope / (2 * square) if square < 0 else np.nan
    return float(np.exp(peak)) if x[0] <= peak <= x[-1] else float(scan.f_c[top])
