"""From the tokens of an event, read one after the other, to one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import pack_padded_sequence

from femtobarn.nn.ragged import segments_of

__all__ = ["Memory"]


class Memory(nn.Module):
    """The state of a long short-term memory after an event's last token, or its `longest`-th.

    An event without tokens gets a learned vector. Exported to ONNX the steps are written out.

    Args:
        features: numbers per token.
        size: of the state.
        longest: tokens that are read; of more the first.
        backwards: read them from the last to the first, which is then remembered best.
    """

    def __init__(self, features: int, size: int, longest: int, backwards: bool = False) -> None:
        super().__init__()
        self.longest, self.backwards = longest, backwards
        self.memory = nn.LSTM(features, size, batch_first=True)
        self.empty = nn.Parameter(torch.zeros(size))

    def forward(self, values: Tensor, offsets: Tensor) -> Tensor:
        """Packed (T, features) and (B+1,) offsets to (B, size)."""
        lengths = offsets[1:] - offsets[:-1]
        event = segments_of(offsets, values.shape[0])
        place = torch.arange(values.shape[0], device=event.device) - offsets.index_select(0, event)
        exporting = torch.compiler.is_exporting()
        longest = self.longest if exporting else min(self.longest, max([1, *lengths.tolist()]))
        lengths = lengths.clamp(max=longest)
        if self.backwards:
            last = lengths.index_select(0, event) - 1
            place = torch.where(place <= last, last - place, place)
        # Tokens beyond the longest that is read fall off the end.
        padded = values.new_zeros(lengths.shape[0], longest + 1, values.shape[-1])
        padded = padded.index_put((event, place.clamp(max=longest)), values)[:, :longest]
        state = self._unrolled(padded, lengths) if exporting else self._last(padded, lengths)
        return torch.where((lengths > 0).unsqueeze(-1), state, self.empty)

    def _last(self, padded: Tensor, lengths: Tensor) -> Tensor:
        """(B, L, F) and the lengths (B,) to the state after each event's last token, (B, size)."""
        if len(lengths) == 0:
            return padded.new_zeros(0, self.memory.hidden_size)
        packed = pack_padded_sequence(
            padded, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
        )
        state: Tensor = self.memory(packed)[1][0][0]
        return state

    def _unrolled(self, padded: Tensor, lengths: Tensor) -> Tensor:
        """The same, step by step, for ONNX: events whose tokens are all read keep their state."""
        parameters: dict[str, Tensor] = dict(self.memory.named_parameters())
        state = padded.new_zeros(padded.shape[0], self.memory.hidden_size)
        cell = torch.zeros_like(state)
        for step in range(padded.shape[1]):
            gates = linear(padded[:, step], parameters["weight_ih_l0"], parameters["bias_ih_l0"])
            gates = gates + linear(state, parameters["weight_hh_l0"], parameters["bias_hh_l0"])
            enter, forget, content, out = gates.chunk(4, -1)
            after = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(content)
            reads = (step < lengths).unsqueeze(-1)
            state = torch.where(reads, torch.sigmoid(out) * torch.tanh(after), state)
            cell = torch.where(reads, after, cell)
        return state
