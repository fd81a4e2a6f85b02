"""RNNIP: a recurrent network that reads a jet's tracks one after the other [ATL-PHYS-PUB-2017-003]."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from femtobarn.data.inputs import Inputs, Ranges
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.heads import dense
from femtobarn.nn.preprocess import Preprocess, Statistics
from femtobarn.nn.ragged import segments_of
from femtobarn.nn.recurrent import Memory
from femtobarn.tagging.dips import impact_inputs

__all__ = ["RNNIP"]


SELECTION: Ranges = {"pt": (1.0, None), "d0": (-1.0, 1.0), "z0SinTheta": (-1.5, 1.5)}
"""Tracks that are read, GeV and mm: the note's, those of IP3D."""


@method
class RNNIP(Classifier):
    """Long short-term memory over a jet's tracks, largest |s(d0)| first [ATL-PHYS-PUB-2017-003].

    It reads the tracks that IP3D reads, fewer than DIPS: pt > 1 GeV, |d0| < 1 mm, |z0 sin(theta)| < 1.5 mm.
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
        return impact_inputs(self.longest, SELECTION)

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
        tracks = inputs.collections["tracks"]
        self.preprocess = Preprocess(inputs, statistics)
        features = len(inputs.event) + len(tracks.features)
        self.memory = Memory(features, rnnip.memory, tracks.max_length or rnnip.longest)
        self.jet = dense([rnnip.memory, *rnnip.hidden, len(inputs.labels["jet"].classes)])

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        batch = self.preprocess(batch)
        tracks = batch.collections["tracks"]
        jet = segments_of(tracks.offsets, tracks.values.shape[0])
        values = torch.cat([tracks.values, batch.event.index_select(0, jet)], -1)
        return {"jet": self.jet(self.memory(values, tracks.offsets))}
