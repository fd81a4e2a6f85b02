"""A convolutional network on jet images [1511.05190]."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.candidates import Candidates, images
from femtobarn.nn.four_momenta import transverse
from femtobarn.nn.jets import log_pt
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import segment_sum
from femtobarn.tagging.candidates import candidate_inputs

__all__ = ["JetCNN"]


@method
class JetCNN(Classifier):
    """Convolutions on pictures of jets [1511.05190].

    Each jet is centred, turned until its principal axis is vertical, flipped until most is right and up,
    and its transverse momentum filled into pixels, whose squares add up to one. Three convolutions, each
    followed by the maximum over blocks of pixels, and a dense layer. That reads the jet's pT beside, which
    the norm takes out of the picture: the paper's jets are of one pT.

    Attributes:
        pixels: on each side.
        half_width: of the picture, in deta and dphi.
        filters: of each convolution.
        hidden: size of the dense layer.
        dropout: before and after it.
    """

    contract_parameters: ClassVar[dict[str, Any]] = {"half_width": 8.0, "dropout": 0.0}

    pixels: int = Field(default=25, ge=18)
    half_width: float = Field(default=0.8, gt=0)
    filters: int = Field(default=32, ge=1)
    hidden: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)

    def default_inputs(self) -> Inputs:
        """The four-momenta alone."""
        return candidate_inputs(properties=False)

    def default_training(self) -> Training:
        """Adam with a rate of 1e-3, batches of 96 jets."""
        return Training(optimiser="adam", learning_rate=1e-3, batch_size=96, epochs=20)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Candidates -> picture -> convolutions -> logits of the classes."""

    def __init__(self, cnn: JetCNN, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.pixels, self.half_width = cnn.pixels, cnn.half_width
        self.candidates = Candidates(inputs, statistics)
        layers: list[nn.Module] = []
        channels, side = 1, cnn.pixels
        for size, block in ((11, 2), (3, 3), (3, 3)):
            layers += [
                nn.Conv2d(channels, cnn.filters, size, padding=size // 2),
                nn.ReLU(),
                nn.MaxPool2d(block),
            ]
            channels, side = cnn.filters, side // block
        self.convolutions = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(cnn.dropout))
        classes = len(inputs.labels["jet"].classes)
        self.jet = nn.Sequential(
            nn.Linear(cnn.filters * side**2 + 1 + self.candidates.event, cnn.hidden),
            nn.ReLU(),
            nn.Dropout(cnn.dropout),
            nn.Linear(cnn.hidden, classes),
        )
        for layer in (*self.convolutions, *self.jet):
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        cloud = self.candidates(batch)
        pictures = images(cloud, self.pixels, self.half_width)
        seen = self.convolutions(pictures.unsqueeze(1))
        total = segment_sum(transverse(cloud.momenta), cloud.segments, cloud.jets)
        return {"jet": self.jet(torch.cat([seen, log_pt(total), cloud.event], -1))}
