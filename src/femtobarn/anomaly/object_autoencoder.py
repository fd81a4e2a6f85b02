"""An autoencoder that knows which objects are there, and that azimuths close."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from pydantic import PositiveInt
from torch import Tensor, nn

from femtobarn.anomaly.slots import Slots, object_inputs
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.nn.preprocess import Statistics

__all__ = ["TRAINING", "UNORDERED", "ObjectAutoencoder", "mapping"]

TRAINING = Training(optimiser="adamw", learning_rate=2e-3, schedule="one-cycle", batch_size=500, epochs=20,
                    clip_norm=1.0)  # fmt: skip
UNORDERED = {"permutation": "objects are known by their rank in pT, as they are read"}


@method
class ObjectAutoencoder(Scorer):
    """The autoencoder of the QCD School without its faults: see `slots` for what it reads and compares.

    Empty places are not reconstructed, only that they are empty; azimuths are periodic and measured from the
    hardest jet; momenta are read as logarithms; weights enter the loss. The score is minus the log-likelihood
    of the event under what the network rebuilds, with unit variances.

    Attributes:
        hidden: sizes of the encoder's layers; the decoder's are the same backwards.
        latent: size of the bottleneck.
    """

    contract_exempt: ClassVar[dict[str, str]] = UNORDERED

    hidden: tuple[PositiveInt, ...] = (64, 32)
    latent: PositiveInt = 4

    def default_inputs(self) -> Inputs:
        """See `slots.object_inputs`."""
        return object_inputs()

    def default_training(self) -> Training:
        """AdamW and one cycle of the learning rate."""
        return TRAINING

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Raw objects -> places -> bottleneck -> places; `score` (B,)."""

    def __init__(self, method: ObjectAutoencoder, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.slots = Slots(inputs, statistics, method.name)
        sizes = [self.slots.width + self.slots.places, *method.hidden, method.latent]
        self.encoder, self.decoder = mapping(sizes), mapping(sizes[::-1])

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`score` (B,)."""
        read = self.slots(batch)
        return {"score": self.slots.misfit(self.decoder(self.encoder(self.slots.entered(read))), read)}


def mapping(sizes: list[int]) -> nn.Sequential:
    """Linear layers with SiLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*layers[:-1])
