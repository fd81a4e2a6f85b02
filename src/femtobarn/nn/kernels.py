"""What is computed on pairs of an event's tokens, compiled for processors: no pair is ever written to memory.

A pair of tokens costs a few operations per feature, far less than reading and writing its features. These
loops keep an event's tokens in the fastest cache and each pair in registers. Each kernel does the events from
`first` to `last`; `per_event` shares them among threads. Arrays are C-contiguous and of one floating type.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "attend",
    "attend_backward",
    "gather_pairs",
    "keep",
    "nearest",
    "pair_sums",
    "pair_sums_backward",
    "per_event",
    "spread_pairs",
]

Array = NDArray[Any]
PAIRS_PER_THREAD = 50_000
"""Fewer are not worth a thread's start."""

compiled = njit(
    nogil=True, fastmath={"reassoc", "contract", "arcp", "nsz", "afn"}, error_model="numpy", cache=True
)
"""Sums may be taken in any order; NaN and infinity stay what they are."""


def per_event(kernel: Callable[..., None], pairs: Array, *arguments: Any) -> None:
    """Call `kernel(*arguments, first, last)` for all events, as many threads as PyTorch uses sharing them.

    pairs: (B+1,) number of pairs before each event, by which the work is shared.
    """
    total = int(pairs[-1])
    threads = min(torch.get_num_threads(), 1 + total // PAIRS_PER_THREAD)
    if threads == 1:
        kernel(*arguments, 0, len(pairs) - 1)
        return
    inner = np.searchsorted(pairs, [total * k // threads for k in range(1, threads)])
    bounds = [0, *inner.tolist(), len(pairs) - 1]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda a, b: kernel(*arguments, a, b), bounds[:-1], bounds[1:]))


@compiled  # type: ignore[untyped-decorator]
def attend(
    left: Array,
    right: Array,
    score: Array,
    slope: np.floating[Any],
    offsets: Array,
    pairs: Array,
    alpha: Array,
    out: Array,
    first: int,
    last: int,
) -> None:
    """Attention weights and what they gather, for `nn.attention.GATv2`.

    LeakyReLU(x) = s x + (1-s) ReLU(x) and ReLU(l + r) = max(l, -r) + r; the softmax over j does not see terms
    of i alone. So e_ij = (1-s) a.max(l_i, -r_j) + a.r_j will do.

    Args:
        left: (T, H*D), l_i.
        right: (T, H*D), r_j.
        score: (H, D), a of each head.
        slope: s.
        offsets: (B+1,) of the events' tokens.
        pairs: (B+1,) of the events' ordered pairs.
        alpha: (P, H), filled with the weights alpha_ij, sorted by i, then j.
        out: (T, H*D), filled with sum_j alpha_ij r_j.
        first: the first event.
        last: the one after the last.
    """
    heads, width = score.shape
    zero = left.dtype.type(0)
    rest = left.dtype.type(1) - slope
    for event in range(first, last):
        start, n = offsets[event], offsets[event + 1] - offsets[event]
        own = np.empty(n, left.dtype)
        for h in range(heads):
            a, columns = score[h], slice(h * width, (h + 1) * width)
            for j in range(n):
                r, total = right[start + j, columns], zero
                for d in range(width):
                    total += a[d] * r[d]
                own[j] = total
            for i in range(n):
                row = pairs[event] + i * n
                own_l, o = left[start + i, columns], out[start + i, columns]
                largest = left.dtype.type(-np.inf)
                for j in range(n):
                    r, total = right[start + j, columns], zero
                    for d in range(width):
                        total += a[d] * max(own_l[d], -r[d])
                    e = rest * total + own[j]
                    alpha[row + j, h] = e
                    largest = max(largest, e)
                total = zero
                for j in range(n):
                    weight = np.exp(alpha[row + j, h] - largest)
                    alpha[row + j, h] = weight
                    total += weight
                o[:] = zero
                for j in range(n):
                    weight = alpha[row + j, h] / total
                    alpha[row + j, h] = weight
                    r = right[start + j, columns]
                    for d in range(width):
                        o[d] += weight * r[d]


@compiled  # type: ignore[untyped-decorator]
def attend_backward(
    left: Array,
    right: Array,
    score: Array,
    slope: np.floating[Any],
    offsets: Array,
    pairs: Array,
    alpha: Array,
    grad: Array,
    d_left: Array,
    d_right: Array,
    d_score: Array,
    first: int,
    last: int,
) -> None:
    """Gradients of `attend`: fills `d_left` (T, H*D), `d_right` (T, H*D) and the events' `d_score` (B, H, D).

    With M_ij = [l_i > -r_j] and g_ij = dL/de_ij, whose sum over j vanishes, they follow from
    D_i = sum_j g_ij M_ij, E_j = sum_i g_ij M_ij and G_j = sum_i g_ij: dL/dl_i = (1-s) a D_i,
    dL/dr_j = sum_i alpha_ij grad_i + a F_j with F_j = (1-s) E_j + s G_j, and
    dL/da = (1-s) sum_i l_i D_i + sum_j r_j F_j.
    """
    heads, width = score.shape
    zero = left.dtype.type(0)
    rest = left.dtype.type(1) - slope
    by_left = np.empty(width, left.dtype)
    for event in range(first, last):
        start, n = offsets[event], offsets[event + 1] - offsets[event]
        g, g_sum = np.empty(n, left.dtype), np.empty(n, left.dtype)
        by_right = np.empty((n, width), left.dtype)
        for h in range(heads):
            a, d_a, columns = score[h], d_score[event, h], slice(h * width, (h + 1) * width)
            d_a[:] = zero
            by_right[:] = zero
            g_sum[:] = zero
            for j in range(n):
                d_right[start + j, columns] = zero
            for i in range(n):
                row = pairs[event] + i * n
                own_l, u = left[start + i, columns], grad[start + i, columns]
                mean = zero
                for j in range(n):
                    r, total = right[start + j, columns], zero
                    for d in range(width):
                        total += u[d] * r[d]
                    g[j] = total
                    mean += alpha[row + j, h] * total
                by_left[:] = zero
                for j in range(n):
                    r, d_r, by_r = right[start + j, columns], d_right[start + j, columns], by_right[j]
                    weight = alpha[row + j, h]
                    g_ij = weight * (g[j] - mean)
                    g_sum[j] += g_ij
                    for d in range(width):
                        passed = g_ij if own_l[d] > -r[d] else zero
                        by_left[d] += passed
                        by_r[d] += passed
                        d_r[d] += weight * u[d]
                d_l = d_left[start + i, columns]
                for d in range(width):
                    d_l[d] = rest * a[d] * by_left[d]
                    d_a[d] += rest * own_l[d] * by_left[d]
            for j in range(n):
                r, d_r = right[start + j, columns], d_right[start + j, columns]
                for d in range(width):
                    f = rest * by_right[j, d] + slope * g_sum[j]
                    d_r[d] += a[d] * f
                    d_a[d] += r[d] * f


@compiled  # type: ignore[untyped-decorator]
def pair_sums(
    one: Array, other: Array, offsets: Array, pairs: Array, out: Array, first: int, last: int
) -> None:
    """ReLU(one_i + other_j) + ReLU(one_j + other_i) of all pairs i < j, sorted by i, then j.

    Args:
        one: (T, D).
        other: (T, D).
        offsets: (B+1,) of the events' tokens.
        pairs: (B+1,) of the events' unordered pairs.
        out: (P, D), filled.
        first: the first event.
        last: the one after the last.
    """
    zero = one.dtype.type(0)
    for event in range(first, last):
        p = pairs[event]
        for i in range(offsets[event], offsets[event + 1]):
            one_i, other_i = one[i], other[i]
            for j in range(i + 1, offsets[event + 1]):
                one_j, other_j, both = one[j], other[j], out[p]
                for d in range(len(both)):
                    both[d] = max(one_i[d] + other_j[d], zero) + max(one_j[d] + other_i[d], zero)
                p += 1


@compiled  # type: ignore[untyped-decorator]
def pair_sums_backward(
    one: Array,
    other: Array,
    offsets: Array,
    pairs: Array,
    grad: Array,
    d_one: Array,
    d_other: Array,
    first: int,
    last: int,
) -> None:
    """Gradients of `pair_sums`: fills `d_one` and `d_other`, (T, D), from `grad` (P, D)."""
    zero = one.dtype.type(0)
    for event in range(first, last):
        p = pairs[event]
        d_one[offsets[event] : offsets[event + 1]] = zero
        d_other[offsets[event] : offsets[event + 1]] = zero
        for i in range(offsets[event], offsets[event + 1]):
            one_i, other_i, d_one_i, d_other_i = one[i], other[i], d_one[i], d_other[i]
            for j in range(i + 1, offsets[event + 1]):
                one_j, other_j, d_one_j, d_other_j = one[j], other[j], d_one[j], d_other[j]
                g = grad[p]
                for d in range(len(g)):
                    forth = g[d] if one_i[d] + other_j[d] > zero else zero
                    back = g[d] if one_j[d] + other_i[d] > zero else zero
                    d_one_i[d] += forth
                    d_other_j[d] += forth
                    d_one_j[d] += back
                    d_other_i[d] += back
                p += 1


@compiled  # type: ignore[untyped-decorator]
def spread_pairs(values: Array, offsets: Array, before: Array, out: Array, first: int, last: int) -> None:
    """Values of pairs i <= j as symmetric matrices, for `nn.pairs`.

    Args:
        values: (P, H), sorted by i, then j.
        offsets: (B+1,) of the events' tokens.
        before: (B+1,) of the events' pairs i <= j.
        out: (H * Q,) with Q ordered pairs, filled with (H, n, n) for each event in turn.
        first: the first event.
        last: the one after the last.
    """
    heads = values.shape[1]
    for event in range(first, last):
        p, n = before[event], offsets[event + 1] - offsets[event]
        # Of n (n + 1) / 2 pairs summed over events twice, less the diagonal: n n summed.
        block = heads * (2 * p - offsets[event])
        for i in range(n):
            for j in range(i, n):
                for h in range(heads):
                    out[block + (h * n + i) * n + j] = values[p, h]
                    out[block + (h * n + j) * n + i] = values[p, h]
                p += 1


@compiled  # type: ignore[untyped-decorator]
def gather_pairs(
    matrices: Array, offsets: Array, before: Array, values: Array, first: int, last: int
) -> None:
    """The transpose of `spread_pairs`: fills `values` (P, H) with m_ij + m_ji, or m_ii."""
    heads = values.shape[1]
    for event in range(first, last):
        p, n = before[event], offsets[event + 1] - offsets[event]
        block = heads * (2 * p - offsets[event])
        for i in range(n):
            for j in range(i, n):
                for h in range(heads):
                    total = matrices[block + (h * n + i) * n + j]
                    if j > i:
                        total += matrices[block + (h * n + j) * n + i]
                    values[p, h] = total
                p += 1


@compiled  # type: ignore[untyped-decorator]
def nearest(points: Array, offsets: Array, pairs: Array, found: Array, first: int, last: int) -> None:
    """The nearest other tokens of each token's event, nearest first.

    Args:
        points: (T, D).
        offsets: (B+1,) of the events' tokens.
        pairs: (B+1,) of the events' ordered pairs, by which the work is shared.
        found: (T, k), filled; T where an event has no more tokens.
        first: the first event.
        last: the one after the last.
    """
    tokens, k = found.shape
    away = np.empty(k, points.dtype)
    for event in range(first, last):
        for i in range(offsets[event], offsets[event + 1]):
            own, best, count = points[i], found[i], 0
            best[:] = tokens
            for j in range(offsets[event], offsets[event + 1]):
                if j == i:
                    continue
                other, square = points[j], points.dtype.type(0)
                for d in range(len(own)):
                    step = own[d] - other[d]
                    square += step * step
                if count == k and square >= away[k - 1]:
                    continue
                place = min(count, k - 1)
                while place > 0 and away[place - 1] > square:
                    away[place], best[place] = away[place - 1], best[place - 1]
                    place -= 1
                away[place], best[place] = square, j
                count = min(count + 1, k)


@compiled  # type: ignore[untyped-decorator]
def keep(seed: np.uint64, out: Array, threshold: np.uint64, scale: np.float32) -> None:
    """Fill `out` (N,) with `scale`, or with 0 at a chance of threshold / 65536.

    Four numbers of 16 bits to a draw of xorshift64* [Vigna, 1402.6246], a fraction of the cost of torch's
    generator; `seed` is not zero.
    """
    state, count = seed, len(out)
    for i in range(0, count, 4):
        state ^= state >> np.uint64(12)
        state ^= state << np.uint64(25)
        state ^= state >> np.uint64(27)
        drawn = state * np.uint64(2685821657736338717)
        for k in range(min(4, count - i)):
            bits = (drawn >> np.uint64(16 * k)) & np.uint64(65535)
            out[i + k] = scale if bits >= threshold else np.float32(0)
