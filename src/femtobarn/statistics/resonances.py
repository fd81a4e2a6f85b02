"""Gaussian resonances on a smooth spectrum: significance, upper limits, spurious and injected signals.

The background is a shape (`statistics.shape_fit`) whose parameters are free in every fit. Limits are CLs
limits at 95 % from the profile likelihood ratio q~ and its asymptotic distribution [Cowan et al., 1007.1727;
Read, J. Phys. G 28 (2002) 2693]; `toy_cls` repeats the same with pseudo-experiments. All hypotheses of mass
and width are fitted together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, ndtr, ndtri

from femtobarn.errors import InputError
from femtobarn.statistics.asymptotic import asymptotic_cls
from femtobarn.statistics.shape_fit import Shape, fit_shapes

__all__ = [
    "Limits",
    "Scan",
    "gaussian_signals",
    "injected",
    "signal_scan",
    "spurious",
    "toy_cls",
    "upper_limits",
]

Array = NDArray[np.float64]
BISECTIONS = 40
BANDS = (-2, -1, 0, 1, 2)


class Scan(NamedTuple):
    """Fits of H signal hypotheses: strength in events, its error, signed significance, background (H, B)."""

    strength: Array
    error: Array
    significance: Array
    background: Array
    valid: NDArray[np.bool_]


class Limits(NamedTuple):
    """Upper limits in events: observed (H,), and expected (5, H) at -2, -1, 0, 1, 2 standard deviations."""

    observed: Array
    expected: Array


def gaussian_signals(edges: Array, mass: Array, width: Array) -> Array:
    """Fractions (H, B) of Gaussian signals that fall into each bin.

    Args:
        edges: (B+1,).
        mass: (H,) means.
        width: (H,) standard deviations over mean, or one for all.

    Raises:
        InputError: when a width is not positive or a mass lies outside the spectrum.
    """
    mass = np.atleast_1d(np.asarray(mass, dtype=np.float64))
    width = np.broadcast_to(np.asarray(width, dtype=np.float64), mass.shape)
    if not np.all(width > 0):
        raise InputError("a signal needs a width above zero: give that of the mass resolution")
    outside = (mass < edges[0]) | (mass > edges[-1])
    if outside.any():
        raise InputError(
            f"a signal at {mass[outside][0]:g} lies outside the spectrum, {edges[0]:g} to {edges[-1]:g}"
        )
    z = (edges - mass[:, None]) / (width * mass)[:, None]
    return np.asarray(np.diff(0.5 * erf(z / np.sqrt(2)), axis=1))


def signal_scan(counts: Array, shape: Shape, signals: Array) -> Scan:
    """Fit background and signal, the signal's strength of either sign, for each of H hypotheses.

    Args:
        counts: (B,) or (H, B).
        shape: of the background.
        signals: (H, B) of unit strength.
    """
    data = np.broadcast_to(counts, signals.shape)
    null = fit_shapes(data if np.ndim(counts) == 2 else data[:1], shape)
    free = fit_shapes(data, shape, signal=signals, start=null.theta)
    gain = np.sqrt(np.maximum(null.deviance - free.deviance, 0.0))
    return Scan(
        free.strength, _errors(shape, free.theta, free.strength, signals), np.sign(free.strength) * gain,
        free.expected, free.valid,
    )  # fmt: skip


def _errors(shape: Shape, theta: Array, strength: Array, signals: Array) -> Array:
    """Standard deviations (H,) of strengths from the inverse information, background parameters free."""
    values = np.exp(np.einsum("bqp,hp->hbq", shape.basis, theta)) * shape.weights
    slopes = np.einsum("hbq,bqp->hbp", values, shape.basis)
    total = np.maximum(values.sum(axis=2) + strength[:, None] * signals, 1e-9)
    root = 1 / np.sqrt(total)
    basis, _ = np.linalg.qr(slopes * root[..., None])
    own = signals * root
    rest = own - np.einsum("hbp,hp->hb", basis, np.einsum("hbp,hb->hp", basis, own))
    return np.asarray(1 / np.linalg.norm(rest, axis=1))


def upper_limits(counts: Array, shape: Shape, signals: Array, level: float = 0.95) -> Limits:
    """CLs upper limits on the strength of each of H signals, and what the background alone would give.

    The expected ones use the data set that equals the background fitted to the data.
    """
    null = fit_shapes(counts, shape)
    data = np.broadcast_to(counts, signals.shape)
    asimov = np.broadcast_to(null.expected[0], signals.shape)
    at_zero, at_best = _reference(data, shape, signals, null.theta)
    alpha = 1 - level

    def root_qa(strength: Array) -> Array:
        fixed = fit_shapes(asimov, shape, added=strength[:, None] * signals, start=null.theta)
        return np.sqrt(np.maximum(fixed.deviance, 0.0))

    def cls(strength: Array) -> Array:
        fixed = fit_shapes(data, shape, added=strength[:, None] * signals, start=null.theta)
        return asymptotic_cls(_q(fixed.deviance, strength, at_zero, at_best), root_qa(strength) ** 2)

    scale = _errors(shape, np.repeat(null.theta, len(signals), 0), np.zeros(len(signals)), signals)
    high = 5 * scale + 10 + np.maximum(at_best.strength, 0)
    observed = _crossing(lambda s: cls(s) - alpha, np.zeros_like(high), high)
    wanted = [float(ndtri(1 - alpha * ndtr(n)) + n) for n in BANDS]
    expected = [_crossing(lambda s, z=z: z - root_qa(s), np.zeros_like(high), high) for z in wanted]  # type: ignore[misc]
    return Limits(observed, np.stack(expected))


class _Best(NamedTuple):
    """Deviance (T,) and strength (T,) of the best fit with a strength of zero or more."""

    deviance: Array
    strength: Array


def _reference(data: Array, shape: Shape, signals: Array, start: Array) -> tuple[Array, _Best]:
    """Deviance (T,) without signal, and the best with one."""
    zero = fit_shapes(data, shape, start=start)
    free = fit_shapes(data, shape, signal=signals, start=zero.theta)
    positive = free.strength > 0
    best = _Best(np.where(positive, free.deviance, zero.deviance), np.where(positive, free.strength, 0.0))
    return zero.deviance, best


def _q(fixed: Array, strength: Array, zero: Array, best: _Best) -> Array:
    """q~ of a strength: zero when the best fit is above it."""
    return np.where(best.strength > strength, 0.0, np.maximum(fixed - best.deviance, 0.0))


def _crossing(function: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where falling functions of H numbers cross zero, by bisection; the upper end moves out if it must."""
    low, high = low.copy(), high.copy()
    for _ in range(20):
        beyond = function(high) > 0
        if not beyond.any():
            break
        low, high = np.where(beyond, high, low), np.where(beyond, 2 * high, high)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        above = function(middle) > 0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
        if np.all(high - low < 1e-4 * high):
            break
    return 0.5 * (low + high)


def toy_cls(counts: Array, shape: Shape, signal: Array, strength: float, toys: int,
            rng: np.random.Generator) -> tuple[float, float]:  # fmt: skip
    """CLs of one strength of one signal (B,) by pseudo-experiments, and its statistical error.

    They are drawn from the fits to the data, with this strength and with none, and fitted as the data are.
    """
    data = np.atleast_2d(counts)
    null = fit_shapes(data, shape)
    with_signal = fit_shapes(data, shape, added=strength * signal, start=null.theta)

    def q(of: Array) -> Array:
        template = np.broadcast_to(signal, of.shape)
        fixed = fit_shapes(of, shape, added=strength * template, start=with_signal.theta)
        zero, best = _reference(of, shape, template, null.theta)
        return _q(fixed.deviance, np.full(len(of), strength), zero, best)

    observed = float(q(data)[0]) - 1e-9
    means = (with_signal.expected[0] + strength * signal, null.expected[0])
    tails = [
        float((q(rng.poisson(mean, (toys, len(mean))).astype(np.float64)) >= observed).mean())
        for mean in means
    ]
    cls = tails[0] / max(tails[1], 1 / toys)
    relative = sum((1 - tail) / max(tail * toys, 1.0) for tail in tails)
    return cls, float(cls * np.sqrt(relative))


def spurious(truth: Array, shape: Shape, signals: Array) -> Scan:
    """Signals (H,) fitted to a smooth background `truth` (B,) that has none: what the shape gets wrong.

    Their strength is the bias; strength over error below 0.5 or so says the shape is good enough there.
    """
    return signal_scan(truth, shape, signals)


def injected(truth: Array, shape: Shape, signal: Array, strengths: Array, toys: int,
             rng: np.random.Generator) -> tuple[Array, Array, Array]:  # fmt: skip
    """Signals (S,) put into pseudo-experiments from `truth` (B,) and measured again.

    Returns:
        Mean (S,) and its error (S,) of the strength found, and mean and width (S, 2) of the pulls.
    """
    found, error, pulls = [], [], []
    for strength in np.asarray(strengths, dtype=np.float64):
        pseudo = rng.poisson(truth + strength * signal, (toys, len(truth))).astype(np.float64)
        scan = signal_scan(pseudo, shape, np.broadcast_to(signal, pseudo.shape))
        pull = (scan.strength - strength) / scan.error
        found.append(scan.strength.mean())
        error.append(scan.strength.std(ddof=1) / np.sqrt(toys))
        pulls.append((pull.mean(), pull.std(ddof=1)))
    return np.array(found), np.array(error), np.array(pulls)
