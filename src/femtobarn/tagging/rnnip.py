"""RNNIP: a recurrent network that reads a jet's tracks one after the other [ATL-PHYS-PUB-2017-003]."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import pack_padded_sequence

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.heads import dense
from femtobarn.nn.preprocess import Preprocess, Statistics
from femtobarn.nn.ragged import segments_of
from femtobarn.tagging.dips import impact_inputs

__all__ = ["RNNIP"]


@method
class RNNIP(Classifier):
    """Long short-term memory over a jet's tracks, largest |s(d0)| first [ATL-PHYS-PUB-2017-003].

    Unlike IP3D it does not take the tracks as independent: a second displaced track means more after a first.
    The memory after the last track goes through a dense network to the flavours.

    Attributes:
        memory: size of the LSTM.
        hidden: sizes of the layers behind it.
        longest: tracks read of a jet.
    """

    contract_exempt: ClassVar[dict[str, str]] = {"permutation": "the tracks are read in an order"}

    memory: int = 100
    hidden: tuple[int, ...] = (20,)
    longest: int = 15

    def default_inputs(self) -> Inputs:
        """See `dips.impact_inputs`."""
        return impact_inputs(self.longest)

    def default_training(self) -> Training:
        """Adam with a rate of 1e-3, batches of 1000 jets, 50 epochs: ours, the note gives none."""
        return Training(optimiser="adam", learning_rate=1e-3, batch_size=1000, epochs=50)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Tracks -> LSTM -> its last state (learned where there are no tracks) -> logits of the flavours."""

    def __init__(self, rnnip: RNNIP, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        features = len(inputs.event) + len(inputs.collections["tracks"].features)
        self.longest = inputs.collections["tracks"].max_length or rnnip.longest
        self.preprocess = Preprocess(inputs, statistics)
        self.memory = nn.LSTM(features, rnnip.memory, batch_first=True)
        self.empty = nn.Parameter(torch.zeros(rnnip.memory))
        self.jet = dense([rnnip.memory, *rnnip.hidden, len(inputs.labels["jet"].classes)])

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        batch = self.preprocess(batch)
        tracks = batch.collections["tracks"]
        lengths = tracks.offsets[1:] - tracks.offsets[:-1]
        jet = segments_of(tracks.offsets, tracks.values.shape[0])
        place = torch.arange(tracks.values.shape[0], device=jet.device) - tracks.offsets.index_select(0, jet)
        values = torch.cat([tracks.values, batch.event.index_select(0, jet)], -1)
        exporting = torch.compiler.is_exporting()
        longest = self.longest if exporting else min(self.longest, max([1, *lengths.tolist()]))
        # Tracks beyond the longest that is read fall off the end.
        padded = values.new_zeros(batch.event.shape[0], longest + 1, values.shape[-1])
        padded = padded.index_put((jet, place.clamp(max=longest)), values)[:, :longest]
        lengths = lengths.clamp(max=longest)
        state = self._unrolled(padded, lengths) if exporting else self._last(padded, lengths)
        return {"jet": self.jet(torch.where((lengths > 0).unsqueeze(-1), state, self.empty))}

    def _last(self, padded: Tensor, lengths: Tensor) -> Tensor:
        """(B, L, F) and the lengths (B,) to the state after each jet's last track, (B, memory)."""
        if len(lengths) == 0:
            return padded.new_zeros(0, self.memory.hidden_size)
        packed = pack_padded_sequence(
            padded, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
        )
        state: Tensor = self.memory(packed)[1][0][0]
        return state

    def _unrolled(self, padded: Tensor, lengths: Tensor) -> Tensor:
        """The same, step by step, for ONNX: jets whose tracks are all read keep their state."""
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
