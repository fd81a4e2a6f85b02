"""Arithmetic on packed tokens: reductions per event, pairs of tokens, events sorted by length."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = [
    "Layout",
    "ordered_pairs",
    "segment_max",
    "segment_mean",
    "segment_softmax",
    "segment_sum",
    "unordered_pairs",
]


def segment_sum(values: Tensor, segments: Tensor, count: int) -> Tensor:
    """Sum of (T, ...) values over the tokens of each of `count` events, zero for an empty one: (B, ...)."""
    return values.new_zeros((count, *values.shape[1:])).index_add(0, segments, values)


def segment_mean(values: Tensor, segments: Tensor, count: int) -> Tensor:
    """Mean of (T, ...) values over the tokens of each event, zero for an empty one: (B, ...)."""
    tokens = segment_sum(torch.ones_like(segments), segments, count).clamp(min=1)
    return segment_sum(values, segments, count) / tokens.view(-1, *[1] * (values.ndim - 1))


def segment_max(values: Tensor, segments: Tensor, count: int, empty: float = 0.0) -> Tensor:
    """Largest of (T, ...) values over the tokens of each event, `empty` where there is none: (B, ...)."""
    index = segments.view(-1, *[1] * (values.ndim - 1)).expand_as(values)
    start = values.new_full((count, *values.shape[1:]), empty)
    return start.scatter_reduce(0, index, values, reduce="amax", include_self=False)


def segment_softmax(scores: Tensor, segments: Tensor, count: int) -> Tensor:
    """Softmax of (T, ...) scores over the tokens of each event: (T, ...)."""
    largest = segment_max(scores.detach(), segments, count)
    weights = torch.exp(scores - largest.index_select(0, segments))
    total = segment_sum(weights, segments, count)
    return weights / total.index_select(0, segments)


def ordered_pairs(offsets: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """All pairs (i, j) of tokens of one event, i = j among them: two (P,) int64, sorted by i, then j.

    `tokens` is the number of tokens T. Vectorised over events: token i has as many partners as its event
    tokens.
    """
    lengths = offsets[1:] - offsets[:-1]
    first = torch.repeat_interleave(offsets[:-1], lengths, output_size=tokens)
    partners = torch.repeat_interleave(lengths, lengths, output_size=tokens)
    i = torch.repeat_interleave(torch.arange(tokens, device=offsets.device), partners)
    start = torch.cumsum(partners, 0) - partners
    j = first.index_select(0, i) + torch.arange(len(i), device=offsets.device) - start.index_select(0, i)
    return i, j


def unordered_pairs(offsets: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """All pairs i < j of tokens of one event: two (P,) int64, sorted by i, then j."""
    lengths = offsets[1:] - offsets[:-1]
    last = torch.repeat_interleave(offsets[1:], lengths, output_size=tokens)
    token = torch.arange(tokens, device=offsets.device)
    partners = last - token - 1
    i = torch.repeat_interleave(token, partners)
    start = torch.cumsum(partners, 0) - partners
    j = i + 1 + torch.arange(len(i), device=offsets.device) - start.index_select(0, i)
    return i, j


@dataclass
class Layout:
    """Events sorted by length, so that those of equal length lie together and need neither padding nor mask.

    A network sorts its inputs once (`sort_tokens`, `sort_events`: no gradient passes there), works in this
    order and puts its outputs back (`unsort_*`). While exporting to ONNX the order stays as it is and there
    are no groups: a graph cannot depend on the data.

    Attributes:
        offsets: (B+1,) int64 of the events in sorted order.
        segments: (T,) int64, the sorted event of each sorted token.
        groups: (length, count) of events of equal length, shortest first, empty events left out.
    """

    offsets: Tensor
    segments: Tensor
    groups: list[tuple[int, int]] = field(default_factory=list)
    _events: Tensor | None = None
    _tokens: Tensor | None = None

    @staticmethod
    def of(offsets: Tensor, tokens: int) -> Layout:
        """The layout of events with these (B+1,) offsets and `tokens` tokens altogether."""
        lengths = offsets[1:] - offsets[:-1]
        count = lengths.shape[0]
        if torch.compiler.is_exporting():
            events = torch.arange(count, device=offsets.device)
            return Layout(offsets, torch.repeat_interleave(events, lengths, output_size=tokens))
        lengths, order = torch.sort(lengths, stable=True)
        sorted_offsets = torch.cat([offsets[:1], torch.cumsum(lengths, 0)])
        segments = torch.repeat_interleave(torch.arange(count, device=offsets.device), lengths)
        shift = offsets[:-1].index_select(0, order) - sorted_offsets[:-1]
        permutation = torch.arange(tokens, device=offsets.device) + shift.index_select(0, segments)
        sizes, counts = torch.unique_consecutive(lengths, return_counts=True)
        groups = [(n, m) for n, m in zip(sizes.tolist(), counts.tolist(), strict=True) if n]
        return Layout(sorted_offsets, segments, groups, order, permutation)

    @property
    def events(self) -> int:
        """Number of events B."""
        return self.offsets.shape[0] - 1

    def sort_tokens(self, values: Tensor) -> Tensor:
        """(T, ...) from the batch's order to the sorted one."""
        return values if self._tokens is None else values.index_select(0, self._tokens)

    def sort_events(self, values: Tensor) -> Tensor:
        """(B, ...) from the batch's order to the sorted one."""
        return values if self._events is None else values.index_select(0, self._events)

    def unsort_tokens(self, values: Tensor) -> Tensor:
        """(T, ...) from the sorted order back to the batch's."""
        return values if self._tokens is None else values.index_select(0, _inverse(self._tokens))

    def unsort_events(self, values: Tensor) -> Tensor:
        """(B, ...) from the sorted order back to the batch's."""
        return values if self._events is None else values.index_select(0, _inverse(self._events))

    def original(self, tokens: Tensor) -> Tensor:
        """Positions of tokens in the sorted order as positions in the batch."""
        return tokens if self._tokens is None else self._tokens.index_select(0, tokens)

    def spread(self, values: Tensor) -> Tensor:
        """(B, F) of sorted events copied onto their tokens: (T, F)."""
        return values.index_select(0, self.segments)

    def chunks(self, cost: int, limit: int) -> list[tuple[int, int, int]]:
        """(first token, events, length) of runs of equal length, `events * length**2 * cost` at most `limit`.

        What is computed run by run then stays in the processor's cache.
        """
        runs, start = [], 0
        for length, count in self.groups:
            step = max(1, limit // (length * length * cost))
            runs += [(start + k * length, min(step, count - k), length) for k in range(0, count, step)]
            start += count * length
        return runs


def _inverse(permutation: Tensor) -> Tensor:
    inverse = torch.empty_like(permutation)
    inverse[permutation] = torch.arange(len(permutation), device=permutation.device)
    return inverse
