"""P-CNN: a residual network of one-dimensional convolutions over a jet's candidates [1902.08570]."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.four_momenta import transverse
from femtobarn.nn.norm import BatchNorm, normalised
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import falling, segment_mean, segments_of
from femtobarn.tagging.candidates import Candidates, candidate_inputs

__all__ = ["PCNN"]


@method
class PCNN(Classifier):
    """Convolutions over the candidates by falling transverse momentum [1902.08570, Section 4; DeepAK8].

    A convolution, and residual units of two convolutions each over three neighbours; every stage but the
    first begins with every second candidate. Their mean goes through a dense layer. Only real candidates are
    convolved, with zeros beyond the last one, and count in the mean.

    Attributes:
        first: channels of the first convolution.
        stages: channels of the residual units, stage by stage.
        hidden: size of the dense layer.
        dropout: after it.
    """

    first: int = Field(default=32, ge=1)
    stages: tuple[tuple[int, ...], ...] = ((64, 64), (64, 64), (128, 128))
    hidden: int = Field(default=512, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)

    def default_inputs(self) -> Inputs:
        """See `candidate_inputs`."""
        return candidate_inputs()

    def default_training(self) -> Training:
        """Adam with a rate of 1e-3, batches of 512 jets: ours where the paper is silent."""
        return Training(optimiser="adam", learning_rate=1e-3, batch_size=512, epochs=20)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Candidates in order -> convolutions -> mean -> logits of the classes."""

    def __init__(self, pcnn: PCNN, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.candidates = Candidates(inputs, statistics)
        self.norm = BatchNorm(self.candidates.features)
        self.first = Convolution(self.candidates.features, pcnn.first)
        channels = [pcnn.first, *(size for stage in pcnn.stages for size in stage)]
        halves = [k == 0 and n > 0 for n, stage in enumerate(pcnn.stages) for k in range(len(stage))]
        self.units = nn.ModuleList(
            Unit(before, after, half)
            for (before, after), half in zip(pairwise(channels), halves, strict=True)
        )
        classes = len(inputs.labels["jet"].classes)
        self.jet = nn.Sequential(
            nn.Linear(channels[-1] + self.candidates.event, pcnn.hidden),
            nn.ReLU(),
            nn.Dropout(pcnn.dropout),
            nn.Linear(pcnn.hidden, classes),
        )

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        cloud = self.candidates(batch)
        order = falling(transverse(cloud.momenta), cloud.offsets)
        offsets = cloud.offsets
        x = self.first(self.norm(cloud.features).index_select(0, order), windows(offsets, len(order), 1)[0])
        for unit in self.units:
            x, offsets = unit(x, offsets)
        mean = segment_mean(x, segments_of(offsets, x.shape[0]), cloud.jets)
        return {"jet": self.jet(torch.cat([mean, cloud.event], -1))}


class Unit(nn.Module):
    """x + conv(conv(x)); where the channels change or the candidates are halved, a linear map of x."""

    def __init__(self, before: int, after: int, half: bool) -> None:
        super().__init__()
        self.stride = 2 if half else 1
        self.one, self.other = Convolution(before, after), Convolution(after, after)
        self.short = nn.Linear(before, after, bias=False) if half or before != after else None

    def forward(self, x: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """x: (T, before) with (B+1,) offsets; (T', after) and theirs."""
        near, fewer = windows(offsets, x.shape[0], self.stride)
        y = self.one(x, near)
        y = self.other(y, near if self.stride == 1 else windows(fewer, y.shape[0], 1)[0])
        if self.stride == 2:
            x = x.index_select(0, near[:, 1])
        return y + (x if self.short is None else self.short(x)), fewer


class Convolution(nn.Module):
    """A convolution over three neighbours with norm and ReLU."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3 * before, after), BatchNorm(after)

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        """x: (T, before), near: (T', 3) of `windows`; (T', after)."""
        padded = torch.cat([x, x.new_zeros(1, x.shape[1])])
        rows = padded.index_select(0, near.flatten()).view(near.shape[0], 3 * x.shape[1])
        return torch.relu(normalised(self.linear, self.norm, rows))


def windows(offsets: Tensor, tokens: int, stride: int) -> tuple[Tensor, Tensor]:
    """The one before, itself and the one after, of every `stride`-th token of each jet; `tokens` for none.

    Gives (T', 3) positions and the (B+1,) offsets of the T' tokens.
    """
    lengths = (offsets[1:] - offsets[:-1] + stride - 1) // stride
    fewer = torch.cat([offsets[:1], torch.cumsum(lengths, 0)])
    if stride == 1:
        count = tokens
    else:
        count = fewer[-1].item()  # type: ignore[assignment]
        torch._check(count >= 0)  # type: ignore[no-untyped-call]
    jet = segments_of(fewer, count)
    first, last = offsets.index_select(0, jet), offsets[1:].index_select(0, jet) - 1
    own = first + stride * (torch.arange(count, device=jet.device) - fewer.index_select(0, jet))
    before, after = torch.where(own > first, own - 1, tokens), torch.where(own < last, own + 1, tokens)
    return torch.stack([before, own, after], -1), fewer
