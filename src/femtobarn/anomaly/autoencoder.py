"""Unusual is what a narrow network cannot carry through: the dense autoencoder of the QCD School."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from pydantic import PositiveInt
from torch import Tensor, nn

from femtobarn.anomaly.columns import column_inputs
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.nn.preprocess import Preprocess, Statistics

__all__ = ["Autoencoder", "layers"]

SLOPE = 0.3


@method
class Autoencoder(Scorer):
    """Dense autoencoder of columns [QCD School exercise], by default as published: F-32-16-3-16-32-F.

    Batch normalisation and LeakyReLU(0.3) behind each hidden layer; columns are standardised, and empty
    places of an object list are zeros like any other number. The score is the mean squared difference of
    input and output; weights of events enter the loss, which the exercise left out.

    Attributes:
        hidden: sizes of the encoder's layers; the decoder's are the same backwards.
        latent: size of the bottleneck.
    """

    contract_exempt: ClassVar[dict[str, str]] = {
        "overfit": "with the exercise's learning rate 160 steps teach hardly anything"
    }

    hidden: tuple[PositiveInt, ...] = (32, 16)
    latent: PositiveInt = 3

    def default_inputs(self) -> Inputs:
        """See `columns.column_inputs`."""
        return column_inputs()

    def default_training(self) -> Training:
        """The exercise's Adam; its number of epochs is not given, this many passes converge."""
        return Training(optimiser="adam", learning_rate=1e-5, batch_size=1024, epochs=150)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Raw columns -> standardised -> bottleneck -> columns; `score` (B,) is their mean squared difference."""

    def __init__(self, method: Autoencoder, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.preprocess = Preprocess(inputs, statistics)
        sizes = [len(inputs.event), *method.hidden, method.latent]
        self.encoder, self.decoder = layers(sizes), layers(sizes[::-1])

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`score` (B,)."""
        columns = self.preprocess(batch).event
        return {"score": (self.decoder(self.encoder(columns)) - columns).square().mean(-1)}


def layers(sizes: list[int]) -> nn.Sequential:
    """Linear layers, with batch normalisation (which has the bias) and LeakyReLU behind all but the last."""
    *inner, last = pairwise(sizes)
    found: list[nn.Module] = []
    for before, after in inner:
        found += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*found, nn.Linear(*last))
