"""Arithmetic on packed tokens: reductions per event, pairs of tokens, events sorted by length."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = [
    "Layout",
    "falling",
    "ordered_pairs",
    "other_pairs",
    "segment_max",
    "segment_mean",
    "segment_softmax",
    "segment_sum",
    "segments_of",
    "summed_at",
    "unordered_pairs",
]


def segments_of(offsets: Tensor, tokens: int) -> Tensor:
    """The event of each of `tokens` tokens, from the events' (B+1,) offsets: (T,) int64.

    Each event that begins adds one from its first token on; unlike repeat_interleave this exports to ONNX.
    """
    begins = summed_at(offsets.new_zeros(tokens + 1), offsets[1:-1], torch.ones_like(offsets[1:-1]))
    return torch.cumsum(begins[:tokens], 0)


def segment_sum(values: Tensor, segments: Tensor, count: int) -> Tensor:
    """Sum of (T, ...) values over the tokens of each of `count` events, zero for an empty one: (B, ...).

    Tokens of one event lie together, `segments` rises.
    """
    if torch.compiler.is_exporting() and values.ndim > 1:
        return _sum_of_rows(values, segments, count)
    return summed_at(values.new_zeros((count, *values.shape[1:])), segments, values)


def _sum_of_rows(values: Tensor, segments: Tensor, count: int) -> Tensor:
    """As `segment_sum`, by padding: onnxruntime's ScatterElements takes ten times as long on wide rows."""
    tokens, device = values.shape[0], values.device
    lengths = summed_at(segments.new_zeros(count), segments, torch.ones_like(segments))
    longest = torch.cat([lengths, lengths.new_zeros(1)]).max().item()
    assert not isinstance(longest, float)
    torch._check(longest >= 0)  # type: ignore[no-untyped-call]
    step = torch.arange(longest, device=device)
    first = torch.cumsum(lengths, 0) - lengths
    place = torch.where(step < lengths.unsqueeze(1), first.unsqueeze(1) + step, tokens)
    padded = torch.cat([values, values.new_zeros((1, *values.shape[1:]))])
    return padded.index_select(0, place.flatten()).view(count, longest, *values.shape[1:]).sum(1)


def summed_at(start: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """`start` (N, ...) with each of the (T, ...) values added to the row that `index` (T,) names.

    That is index_add; but its ONNX operator, ScatterND, loses terms when two threads of onnxruntime add to
    one row (onnxruntime issue 23396), and ScatterElements, which scatter_add becomes, does not.
    """
    if not torch.compiler.is_exporting():
        return start.index_add(0, index, values)
    if values.ndim > 1:
        index = index.view(-1, *[1] * (values.ndim - 1)).expand_as(values)
    return start.scatter_add(0, index, values)


def segment_mean(values: Tensor, segments: Tensor, count: int) -> Tensor:
    """Mean of (T, ...) values over the tokens of each event, zero for an empty one: (B, ...)."""
    tokens = segment_sum(torch.ones_like(segments), segments, count).clamp(min=1)
    return segment_sum(values, segments, count) / tokens.view(-1, *[1] * (values.ndim - 1))


def segment_max(values: Tensor, segments: Tensor, count: int, empty: float = 0.0) -> Tensor:
    """Largest of (T, ...) values over the tokens of each event, `empty` where there is none: (B, ...)."""
    index = segments.view(-1, *[1] * (values.ndim - 1)).expand_as(values)
    start = values.new_full((count, *values.shape[1:]), -torch.inf)
    largest = start.scatter_reduce(0, index, values, reduce="amax")
    return largest.masked_fill(largest == -torch.inf, empty)


def segment_softmax(scores: Tensor, segments: Tensor, count: int) -> Tensor:
    """Softmax of (T, ...) scores over the tokens of each event, in any order: (T, ...)."""
    largest = segment_max(scores.detach(), segments, count)
    weights = torch.exp(scores - largest.index_select(0, segments))
    total = summed_at(torch.zeros_like(largest), segments, weights)
    return weights / total.index_select(0, segments)


def ordered_pairs(offsets: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """All pairs (i, j) of tokens of one event, i = j among them: two (P,) int64, sorted by i, then j.

    `tokens` is the number of tokens T. Vectorised over events: all tokens of its event are partners of i.
    """
    segments = segments_of(offsets, tokens)
    first = offsets[:-1].index_select(0, segments)
    return _pairs(first, offsets[1:].index_select(0, segments) - first)


def other_pairs(offsets: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """All pairs (i, j) of different tokens of one event, in both orders: two (P,), sorted by i, then j."""
    segments = segments_of(offsets, tokens)
    first = offsets[:-1].index_select(0, segments)
    i, j = _pairs(first, offsets[1:].index_select(0, segments) - first - 1)
    return i, j + (j >= i)


def unordered_pairs(offsets: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """All pairs i < j of tokens of one event: two (P,) int64, sorted by i, then j."""
    after = torch.arange(1, tokens + 1, device=offsets.device)
    return _pairs(after, offsets[1:].index_select(0, segments_of(offsets, tokens)) - after)


def falling(values: Tensor, offsets: Tensor) -> Tensor:
    """The tokens of each event by falling (T,) values, equal ones as they come: (T,) positions.

    From the number of larger ones among an event's tokens, since a stable sort does not export to ONNX.
    """
    tokens = values.shape[0]
    i, j = ordered_pairs(offsets, tokens)
    mine, other = values.index_select(0, i), values.index_select(0, j)
    before = (other > mine) | ((other == mine) & (j < i))
    place = offsets.index_select(0, segments_of(offsets, tokens)) + segment_sum(before.long(), i, tokens)
    return torch.zeros_like(place).index_copy(0, place, torch.arange(tokens, device=place.device))


def _pairs(first: Tensor, partners: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of token i with `partners[i]` tokens from `first[i]` on."""
    starts = torch.cat([partners.new_zeros(1), torch.cumsum(partners, 0)])
    count = starts[-1].item()
    assert not isinstance(count, float)
    torch._check(count >= 0)  # type: ignore[no-untyped-call]
    i = segments_of(starts, count)
    step = torch.arange(count, device=i.device) - starts.index_select(0, i)
    return i, first.index_select(0, i) + step


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
        if torch.compiler.is_exporting():
            return Layout(offsets, segments_of(offsets, tokens))
        lengths, order = torch.sort(offsets[1:] - offsets[:-1], stable=True)
        sorted_offsets = torch.cat([offsets[:1], torch.cumsum(lengths, 0)])
        segments = segments_of(sorted_offsets, tokens)
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

    def extended(self, extra: int) -> tuple[Layout, Tensor]:
        """The same events in the same order, each with `extra` tokens more at its end, e.g. learned ones.

        And where each token of the new layout is taken from, (T + extra * B,): its position among the (T,)
        tokens followed by the (B * extra,) new ones.
        """
        tokens, device = self.segments.shape[0], self.offsets.device
        offsets = self.offsets + extra * torch.arange(self.events + 1, device=device)
        segments = segments_of(offsets, tokens + extra * self.events)
        place = torch.arange(segments.shape[0], device=device) - extra * segments
        beyond = place - self.offsets[1:].index_select(0, segments)
        source = torch.where(beyond < 0, place, tokens + extra * segments + beyond)
        if torch.compiler.is_exporting():
            return Layout(offsets, segments), source
        empty = self.events - sum(count for _, count in self.groups)
        groups = [(length + extra, count) for length, count in self.groups]
        return Layout(offsets, segments, [(extra, empty), *groups] if empty else groups), source

    def places(self, extra: int) -> Tensor:
        """Where this layout's own tokens lie in `extended(extra)`: (T,)."""
        return torch.arange(self.segments.shape[0], device=self.offsets.device) + extra * self.segments

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
