"""Ragged tensors and batches: what flows from files into networks, without padding."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Batch", "Ragged"]


@dataclass
class Ragged:
    """A collection of variable length per event, stored packed.

    Attributes:
        values: (T, F) float, the inputs of all tokens of all events, one after the other.
        offsets: (B+1,) int64, event b owns tokens `offsets[b]:offsets[b+1]`.
        fields: further tensors per token, (T, ...) of any type: labels, identifiers, coordinates.
        source: where the collection was put in order or cut when packed: the offsets (B+1,) it had before,
            and the place (T,) each token had; None where nothing was moved.
    """

    values: Tensor
    offsets: Tensor
    fields: dict[str, Tensor] = field(default_factory=dict)
    source: tuple[Tensor, Tensor] | None = None

    @property
    def lengths(self) -> Tensor:
        """(B,) int64, tokens per event."""
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def segments(self) -> Tensor:
        """(T,) int64, the event each token belongs to."""
        events = torch.arange(len(self.offsets) - 1, device=self.offsets.device)
        return torch.repeat_interleave(events, self.lengths, output_size=self.values.shape[0])

    def to(self, device: torch.device | str) -> Ragged:
        """The same collection on another device."""
        return Ragged(
            self.values.to(device, non_blocking=True),
            self.offsets.to(device, non_blocking=True),
            {name: value.to(device, non_blocking=True) for name, value in self.fields.items()},
            self.source,
        )

    def as_read(self, values: NDArray[Any], missing: float) -> NDArray[Any]:
        """Values per token (T, ...) in the order the tokens were read, `missing` for those that were cut."""
        if self.source is None:
            return values
        offsets, place = (part.numpy() for part in self.source)
        answer = np.full((int(offsets[-1]), *values.shape[1:]), missing, dtype=values.dtype)
        answer[place] = values
        return answer

    @property
    def counts_as_read(self) -> NDArray[np.int64]:
        """(B,) tokens per event before any were cut."""
        offsets = (self.offsets if self.source is None else self.source[0]).cpu().numpy()
        return np.asarray(np.diff(offsets))

    def replace(self, values: Tensor) -> Ragged:
        """The same collection with other values."""
        return replace(self, values=values)

    def padded(self, length: int | None = None) -> tuple[Tensor, Tensor]:
        """Values as (B, L, F), zero where there is no token, and the mask (B, L), True where there is one."""
        lengths = self.lengths
        longest = int(lengths.max()) if length is None and len(lengths) else (length or 0)
        mask = torch.arange(longest, device=lengths.device)[None, :] < lengths[:, None]
        dense = self.values.new_zeros((*mask.shape, self.values.shape[-1]))
        if length is None:
            dense[mask] = self.values
            return dense, mask
        position = torch.arange(len(self.values), device=lengths.device) - self.offsets[:-1][self.segments]
        dense[mask] = self.values[position < length]
        return dense, mask


@dataclass
class Batch:
    """Events as a network sees them.

    Attributes:
        event: (B, J) float, dense inputs per event (or per jet).
        collections: ragged inputs by name, e.g. `tracks`.
        labels: (B,) int64 per classification task, -1 where unknown, or (B, ...) float per regression target.
        weights: (B,) float, event weights, negative ones too.
        fields: observers, (B, ...) of any type, carried along unused.
    """

    event: Tensor
    collections: dict[str, Ragged]
    labels: dict[str, Tensor]
    weights: Tensor
    fields: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.weights)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            self.event.to(device, non_blocking=True),
            {name: ragged.to(device) for name, ragged in self.collections.items()},
            {name: label.to(device, non_blocking=True) for name, label in self.labels.items()},
            self.weights.to(device, non_blocking=True),
            {name: value.to(device, non_blocking=True) for name, value in self.fields.items()},
        )
