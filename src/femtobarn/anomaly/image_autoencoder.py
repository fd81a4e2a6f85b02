"""An autoencoder of jet images: what it was never shown it paints badly."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from femtobarn.anomaly.jets import TRAINING, jet_inputs
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.nn.candidates import Candidates, images
from femtobarn.nn.preprocess import Statistics

__all__ = ["ImageAutoencoder", "decoder", "encoder", "pictures"]


@method
class ImageAutoencoder(Scorer):
    """Convolutional autoencoder of jet images [1808.08979, 1808.08992]; the sizes are ours.

    Pictures as of `nn.candidates.images`: centred, turned, flipped. Their pixels are raised to a power and
    then scaled so that their squares add up to one; the score is the sum of the squared differences. As
    published, with a power of 1, few hard pixels are all that is compared, and jets of few candidates are
    rebuilt well whatever they learnt: QCD is no anomaly among tops [2104.09051]. At 1/2 soft ones count.

    Attributes:
        pixels: on each side; an odd number has the centre in the middle of one. Black ones fill up to a
            multiple of four.
        half_width: of the picture, in deta and dphi.
        power: of the pixels.
        filters: of each convolution.
        hidden: size of the dense layers beside the bottleneck.
        latent: size of the bottleneck.
    """

    contract_parameters: ClassVar[dict[str, Any]] = {"half_width": 8.0, "pixels": 7, "filters": 16}

    pixels: int = Field(default=31, ge=7)
    half_width: float = Field(default=0.8, gt=0)
    power: float = Field(default=0.5, gt=0)
    filters: PositiveInt = 12
    hidden: PositiveInt = 64
    latent: PositiveInt = 6

    def default_inputs(self) -> Inputs:
        """The four-momenta of the candidates."""
        return jet_inputs()

    def default_training(self) -> Training:
        """AdamW and one cycle of the learning rate."""
        return TRAINING

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Candidates -> picture -> bottleneck -> picture; `score` (B,)."""

    def __init__(self, method: ImageAutoencoder, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.pixels, self.half_width, self.power = method.pixels, method.half_width, method.power
        self.candidates = Candidates(inputs, statistics)
        self.encoder = encoder(method.pixels, method.filters, method.hidden, method.latent)
        self.decoder = decoder(method.pixels, method.filters, method.hidden, method.latent)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`score` (B,)."""
        seen = pictures(self.candidates, batch, self.pixels, self.half_width, self.power)
        return {"score": (self.decoder(self.encoder(seen)) - seen).square().sum((1, 2, 3))}


def pictures(
    candidates: Candidates, batch: Batch, pixels: int, half_width: float, power: float
) -> Tensor:  # fmt: skip
    """(B, 1, side, side), of unit norm after the pixels were raised to a power; side is a multiple of 4."""
    fill = -pixels % 4
    raised = F.pad(images(candidates(batch), pixels, half_width).pow(power), (0, fill, 0, fill))
    norm = torch.sqrt(raised.square().sum((1, 2), keepdim=True))
    return (raised / torch.where(norm > 0, norm, torch.ones_like(norm))).unsqueeze(1)


def encoder(pixels: int, filters: int, hidden: int, latent: int) -> nn.Sequential:
    """(B, 1, side, side) -> (B, latent): two convolutions, each followed by means of 2 x 2."""
    return nn.Sequential(
        nn.Conv2d(1, filters, 3, padding=1), nn.SiLU(), nn.AvgPool2d(2),
        nn.Conv2d(filters, filters, 3, padding=1), nn.SiLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(filters * (-(-pixels // 4)) ** 2, hidden), nn.SiLU(), nn.Linear(hidden, latent),
    )  # fmt: skip


def decoder(pixels: int, filters: int, hidden: int, latent: int) -> nn.Sequential:
    """(B, latent) -> (B, 1, side, side): the same backwards."""
    side = -(-pixels // 4)
    return nn.Sequential(
        nn.Linear(latent, hidden), nn.SiLU(), nn.Linear(hidden, filters * side**2), nn.SiLU(),
        nn.Unflatten(1, (filters, side, side)), nn.Upsample(scale_factor=2),
        nn.Conv2d(filters, filters, 3, padding=1), nn.SiLU(), nn.Upsample(scale_factor=2),
        nn.Conv2d(filters, 1, 3, padding=1),
    )  # fmt: skip
