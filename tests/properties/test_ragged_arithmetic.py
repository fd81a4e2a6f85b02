"""Packed arithmetic against plain Python, for any lengths, empty events among them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from femtobarn.nn.ragged import (
    Layout,
    ordered_pairs,
    segment_max,
    segment_mean,
    segment_softmax,
    segment_sum,
    segments_of,
    unordered_pairs,
)
from femtobarn.physics.linkage import vertices_from_pairs

LENGTHS = st.lists(st.integers(0, 7), min_size=0, max_size=12)


def offsets_of(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *np.cumsum(lengths, dtype=np.int64)])


def events(lengths: list[int]) -> list[range]:
    ends = np.cumsum([0, *lengths]).tolist()
    return [range(a, b) for a, b in pairwise(ends)]


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(0, 2**31))
def test_reductions(lengths: list[int], seed: int) -> None:
    tokens = sum(lengths)
    values = torch.randn(tokens, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    segments = segments_of(offsets_of(lengths), tokens)
    assert segments.tolist() == [b for b, event in enumerate(events(lengths)) for _ in event]
    zero = torch.zeros(3, dtype=torch.float64)
    expected = {
        segment_sum: [values[list(e)].sum(0) for e in events(lengths)],
        segment_mean: [values[list(e)].mean(0) if e else zero for e in events(lengths)],
        segment_max: [values[list(e)].amax(0) if e else zero for e in events(lengths)],
    }
    for function, rows in expected.items():
        ours = function(values, segments, len(lengths))
        torch.testing.assert_close(ours, torch.stack(rows) if rows else values.new_zeros(0, 3))
    soft = segment_softmax(values, segments, len(lengths))
    for event in events(lengths):
        torch.testing.assert_close(soft[list(event)], values[list(event)].softmax(0))


@settings(max_examples=60, deadline=None)
@given(LENGTHS)
def test_pairs(lengths: list[int]) -> None:
    offsets, tokens = offsets_of(lengths), sum(lengths)
    every = [(i, j) for event in events(lengths) for i in event for j in event]
    assert list(zip(*(x.tolist() for x in ordered_pairs(offsets, tokens)), strict=True)) == every
    half = [(i, j) for i, j in every if i < j]
    assert list(zip(*(x.tolist() for x in unordered_pairs(offsets, tokens)), strict=True)) == half


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 200))
def test_layout(lengths: list[int], limit: int) -> None:
    offsets, tokens = offsets_of(lengths), sum(lengths)
    layout = Layout.of(offsets, tokens)
    here = torch.arange(tokens)
    assert layout.unsort_tokens(layout.sort_tokens(here)).tolist() == here.tolist()
    there = torch.arange(len(lengths))
    assert layout.unsort_events(layout.sort_events(there)).tolist() == there.tolist()
    assert layout.original(torch.arange(tokens)).tolist() == layout.sort_tokens(here).tolist()
    owner = segments_of(offsets, tokens)
    assert (layout.sort_events(there)[layout.segments] == layout.sort_tokens(owner)).all()
    assert (layout.offsets[1:] - layout.offsets[:-1]).tolist() == sorted(lengths)
    assert [n for n, m in layout.groups for _ in range(m)] == sorted(n for n in lengths if n)
    covered = []
    for start, m, n in layout.chunks(1, limit):
        assert m == 1 or m * n * n <= limit
        covered += list(range(start, start + m * n))
    assert covered == list(range(tokens))


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(0, 2**31))
def test_vertices_against_scipy(lengths: list[int], seed: int) -> None:
    """The same tree as scipy's mean linkage, jet by jet, with 1 - p as distance."""
    offsets, tokens = offsets_of(lengths), sum(lengths)
    i, j = (x.numpy() for x in unordered_pairs(offsets, tokens))
    probability = np.random.default_rng(seed).random(len(i))
    order = np.random.default_rng(seed).permutation(len(i))
    ours = vertices_from_pairs(i[order], j[order], probability[order], offsets.numpy(), 0.6)
    for event in events(lengths):
        if len(event) < 2:
            assert ours[list(event)].tolist() == [0] * len(event)
            continue
        square = np.zeros((len(event), len(event)))
        own = (i >= event.start) & (i < event.stop)
        square[i[own] - event.start, j[own] - event.start] = 1 - probability[own]
        groups = fcluster(linkage(squareform(square + square.T), "average"), 0.4, "distance")
        numbers = {r: n for n, r in enumerate(dict.fromkeys(groups.tolist()))}
        assert ours[list(event)].tolist() == [numbers[r] for r in groups.tolist()]
