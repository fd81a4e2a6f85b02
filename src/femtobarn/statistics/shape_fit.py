"""Poisson fits of smooth shapes to binned spectra, to thousands of spectra at once.

A shape is f(x) = exp(sum_k theta_k phi_k(x)), integrated over each bin by Gauss-Legendre quadrature. The
expected count of a bin is mu_b = int_b f dx + S s_b + a_b, with an optional signal of free strength S and a
fixed addition. Fisher's scoring finds the maximum of the likelihood: a Newton step with the expected second
derivatives, shortened where the deviance would rise. All spectra take their steps together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from femtobarn.errors import InputError

__all__ = ["Shape", "ShapeFits", "deviance", "fit_shapes", "log_linear", "modes"]

Array = NDArray[np.float64]
BLOCK = 500
"""Spectra at once: small enough for the processor's cache."""
STEPS, HALVINGS = 60, 12
TOLERANCE, ROUNDING = 1e-6, 1e-7
"""A fit is done when the deviance can fall no further than the one; it is not known better than the other."""


class Shape(NamedTuple):
    """phi_k at the nodes of all bins (B, Q, P), and the quadrature weights (B, Q)."""

    basis: Array
    weights: Array

    @property
    def parameters(self) -> int:
        """P."""
        return int(self.basis.shape[2])


class ShapeFits(NamedTuple):
    """Fits of T spectra.

    Attributes:
        theta: (T, P) parameters of the shape.
        strength: (T,) of the signal, 0 without one.
        expected: (T, B) the smooth part alone.
        deviance: (T,) 2 sum_b (mu - n + n ln(n/mu)) over the bins used.
        valid: (T,) whether the maximum was found.
    """

    theta: Array
    strength: Array
    expected: Array
    deviance: Array
    valid: NDArray[np.bool_]


def log_linear(edges: Array, functions: Callable[[Array], Array], nodes: int = 4) -> Shape:
    """The shape exp(theta . phi(x)) on bins; `functions` maps x (...) to phi (..., P)."""
    at, weight = np.polynomial.legendre.leggauss(nodes)
    half = np.diff(edges)[:, None] / 2
    x = (edges[1:] + edges[:-1])[:, None] / 2 + half * at
    return Shape(np.asarray(functions(x), dtype=np.float64), half * weight)


def deviance(counts: Array, expected: Array, used: Array | float = 1.0) -> Array:
    """Poisson deviance, summed over the last axis; `used` is 1 for bins that count."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = expected - counts + xlogy(counts, counts / expected)
    return np.asarray(2 * np.sum(used * terms, axis=-1))


def fit_shapes(
    counts: Array,
    shape: Shape,
    used: NDArray[np.bool_] | None = None,
    signal: Array | None = None,
    added: Array | None = None,
    start: Array | None = None,
) -> ShapeFits:
    """Fit a shape to each of T spectra.

    Args:
        counts: (T, B), zero or more.
        shape: what is fitted.
        used: (B,) or (T, B) bins that count; None: all.
        signal: (B,) or (T, B) template whose strength is fitted too; it may come out negative.
        added: (B,) or (T, B) counts added to the expectation.
        start: (P,) or (T, P) first guess. None: three straight-line fits of the logarithms of the counts,
            which trust high counts more or less, and the best of what they lead to is kept.

    Raises:
        InputError: when a spectrum has fewer bins in use than parameters, or no entry there.
    """
    counts = np.atleast_2d(np.asarray(counts, dtype=np.float64))
    size, bins = counts.shape
    mask = np.broadcast_to(np.ones(bins, bool) if used is None else used, counts.shape).astype(np.float64)
    free = shape.parameters + (signal is not None)
    short = mask.sum(axis=1) <= free
    if short.any():
        number = int(mask.sum(axis=1).min())
        raise InputError(
            f"{number} bins are too few to fit {free} parameters: widen the sideband or take fewer parameters"
        )
    if not (counts * mask).sum(axis=1).all():
        raise InputError("the bins in use are all empty, nothing can be fitted: widen the sideband")
    template = None if signal is None else np.broadcast_to(signal, counts.shape)
    extra = None if added is None else np.broadcast_to(added, counts.shape)
    guess = None if start is None else np.broadcast_to(start, (size, shape.parameters))

    # In these coordinates the parameters of a typical spectrum are uncorrelated and of unit size.
    share = np.maximum(counts.mean(axis=0), 1e-3 * counts.mean())[:, None] / shape.weights.shape[1]
    flat = (shape.basis * np.sqrt(share)[..., None]).reshape(-1, shape.parameters)
    turn: Array = np.linalg.qr(flat)[1]
    turned = np.asarray(
        np.linalg.solve(turn.T, shape.basis.reshape(-1, shape.parameters).T).T, dtype=np.float64
    )
    inner = Shape(turned.reshape(shape.basis.shape), shape.weights)
    parts = []
    for first in range(0, size, BLOCK):
        rows = slice(first, first + BLOCK)
        some = [None if a is None else a[rows] for a in (template, extra)]
        starts = [guess[rows] @ turn.T] if guess is not None else _starts(counts[rows], inner, mask[rows])
        tries = [_climb(counts[rows], inner, mask[rows], some[0], some[1], theta) for theta in starts]
        parts.append(_best(tries))
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    return ShapeFits(np.linalg.solve(turn, joined[0].T).T, *joined[1:])


def modes(shape: Shape, theta: Array, used: NDArray[np.bool_] | None = None) -> Array:
    """Independent changes (P, B) of the expectation by one standard deviation; their squares add up."""
    values = np.exp(shape.basis @ theta) * shape.weights
    expected = values.sum(axis=1)
    slopes = np.einsum("bq,bqp->bp", values, shape.basis)
    scale = np.sqrt((slopes**2 / expected[:, None]).sum(axis=0))  # condition the information matrix
    slopes = slopes / scale
    mask = np.ones(len(expected)) if used is None else np.asarray(used, dtype=np.float64)
    information = (slopes * (mask / expected)[:, None]).T @ slopes
    root = np.linalg.inv(np.linalg.cholesky(information))
    return np.asarray(root @ slopes.T)


def _starts(counts: Array, shape: Shape, mask: Array) -> list[Array]:
    """Weighted straight-line fits of ln((n + 1/2) / width)."""
    height = np.log((counts + 0.5) / shape.weights.sum(axis=1))
    basis = shape.basis.mean(axis=1)
    starts = []
    for power in (1.0, 0.5, 0.1):
        weight = mask * (counts + 0.5) ** power
        matrix = np.einsum("tb,bp,br->tpr", weight, basis, basis)
        matrix += 1e-10 * np.einsum("tpp->t", matrix)[:, None, None] * np.eye(shape.parameters)
        right = np.einsum("tb,bp->tp", weight * height, basis)
        starts.append(np.linalg.solve(matrix, right[..., None])[..., 0])
    return starts


def _best(tries: list[ShapeFits]) -> ShapeFits:
    """Of several fits of the same spectra the one of least deviance, spectrum by spectrum."""
    best = tries[0]
    for other in tries[1:]:
        better = other.deviance < best.deviance - 1e-9
        chosen = [np.where(better.reshape(-1, *[1] * (a.ndim - 1)), b, a)
                  for a, b in zip(best, other, strict=True)]  # fmt: skip
        best = ShapeFits(*chosen)
    return best


class _State(NamedTuple):
    """Spectra run along the last axis here, so that all arithmetic is on long rows."""

    values: Array  # (B, Q, T) the shape at the nodes, times quadrature weights
    smooth: Array  # (B, T)
    total: Array  # (B, T)
    deviance: Array  # (T,)


def _climb(counts: Array, shape: Shape, mask: Array, signal: Array | None, added: Array | None,
           theta: Array) -> ShapeFits:  # fmt: skip
    """Fisher's scoring from one start."""
    n, use = np.ascontiguousarray(counts.T), np.ascontiguousarray(mask.T)
    template = None if signal is None else np.ascontiguousarray(signal.T)
    extra = 0.0 if added is None else np.ascontiguousarray(added.T)
    flat = shape.basis.reshape(-1, shape.parameters)
    across = np.ascontiguousarray(shape.basis.transpose(0, 2, 1))  # (B, P, Q)
    logarithm = np.log(np.where(n > 0, n, 1.0))
    size = len(counts)
    point = np.zeros((shape.parameters + (template is not None), size))
    point[: shape.parameters] = theta.T

    def evaluate(at: Array) -> _State:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            values = np.exp(flat @ at[: shape.parameters]).reshape(*shape.weights.shape, size)
            values *= shape.weights[..., None]
            smooth = values.sum(axis=1)
            total = smooth + extra if template is None else smooth + extra + at[-1] * template
            terms = total - n + n * (logarithm - np.log(total))
            value = 2 * np.sum(np.where(use > 0, terms, 0.0), axis=0)
        allowed = np.isfinite(value) & np.all((total > 0) | (use == 0), axis=0)
        return _State(values, smooth, total, np.where(allowed, value, np.inf))

    state = evaluate(point)
    done = np.zeros(size, dtype=np.bool_)
    for _ in range(STEPS):
        slopes = np.matmul(across, state.values).transpose(1, 0, 2)  # (P, B, T)
        if template is not None:
            slopes = np.concatenate([slopes, template[None]])
        safe = np.where(use > 0, state.total, 1.0)
        pull = use * (n / safe - 1)
        weighted = slopes * (use / safe)
        gradient = np.einsum("pbt,bt->tp", slopes, pull)
        count = len(slopes)
        information = np.empty((size, count, count))
        for a in range(count):
            for b in range(a + 1):
                product = np.einsum("bt,bt->t", weighted[a], slopes[b])
                information[:, a, b] = information[:, b, a] = product
        trace = np.einsum("tpp->tp", information)
        information[:, range(count), range(count)] = trace * (1 + 1e-12) + 1e-300
        step = np.linalg.solve(information, gradient[..., None])[..., 0].T
        fall = np.einsum("pt,tp->t", step, gradient)
        done = ~(fall > TOLERANCE) & np.isfinite(state.deviance)
        if done.all():
            break
        scale = np.where(done, 0.0, 1.0)
        trial = point + step * scale
        new = evaluate(trial)
        for _ in range(HALVINGS):
            worse = ~(new.deviance <= state.deviance + ROUNDING)
            if not worse.any():
                break
            scale = np.where(worse, scale / 4, scale)
            trial = point + step * scale
            new = evaluate(trial)
        worse = ~(new.deviance <= state.deviance + ROUNDING)
        if worse.any():
            trial = np.where(worse, point, trial)
            new = evaluate(trial)
        point, state = trial, new
        if (done | worse).all():
            break
    strength = point[-1] if template is not None else np.zeros(size)
    return ShapeFits(point[: shape.parameters].T, strength, state.smooth.T, state.deviance, done)
