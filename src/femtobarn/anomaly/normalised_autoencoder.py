"""An autoencoder whose reconstruction error is the energy of a density: only data may be rebuilt well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from femtobarn.anomaly.image_autoencoder import decoder, encoder, pictures
from femtobarn.anomaly.jets import TRAINING, jet_inputs
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.nn.candidates import Candidates
from femtobarn.nn.losses import weighted_mean
from femtobarn.nn.preprocess import Statistics

__all__ = ["NormalisedAutoencoder", "langevin"]


@method
class NormalisedAutoencoder(Scorer):
    r"""Normalised autoencoder of jet images [2105.05735; jets 2206.14225]; the sizes are ours.

    The reconstruction error is the energy of a density p(x) = exp(-E(x)) / Z, whose likelihood is maximised:

        loss = <E(x)>_data - <E(x')>_model + gamma <E(x')^2>_model.

    So nothing else may be rebuilt as well as the data, simple jets neither, which any autoencoder rebuilds.
    Samples x' are drawn in two chains of Langevin: one over codes on the unit sphere, of the energy of what
    the decoder makes of them, and from there one over pixels. They are of unit norm as the data are, which
    could else be told from them by their norm. Training begins as of an autoencoder, without the samples.
    Pictures are those of `image_autoencoder`.

    Attributes:
        pixels: on each side, half_width: of the picture, power: of the pixels; as of `image_autoencoder`.
        half_width: see there.
        power: see there.
        filters: of each convolution.
        hidden: size of the dense layers beside the bottleneck.
        latent: size of the bottleneck.
        pretraining: steps without samples.
        latent_steps: of the first chain.
        pixel_steps: of the second.
        step: by which each goes along the energy's gradient.
        noise: standard deviation of what is added in each step, of codes and (a tenth of it) of pixels.
        gamma: holds the energies of samples.
    """

    contract_parameters: ClassVar[dict[str, Any]] = {"half_width": 8.0, "pixels": 7, "filters": 16}

    pixels: int = Field(default=23, ge=7)
    half_width: float = Field(default=0.8, gt=0)
    power: float = Field(default=0.5, gt=0)
    filters: PositiveInt = 12
    hidden: PositiveInt = 64
    latent: int = Field(default=6, ge=2)
    pretraining: NonNegativeInt = 200
    latent_steps: PositiveInt = 6
    pixel_steps: PositiveInt = 6
    step: float = Field(default=0.1, gt=0)
    noise: float = Field(default=0.05, gt=0)
    gamma: float = Field(default=0.1, ge=0)

    def default_inputs(self) -> Inputs:
        """The four-momenta of the candidates."""
        return jet_inputs()

    def default_training(self) -> Training:
        """As of the other autoencoders; the last weights are kept, since validation has no samples."""
        return TRAINING.with_(keep="last")

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)

    def loss(self, output: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Energy of the data and, while training, of samples."""
        sampled = output.get("sampled", output["score"].new_zeros(1))
        return {
            "data": weighted_mean(output["score"], batch.weights),
            "model": self.gamma * sampled.square().mean() - sampled.mean(),
        }


class Network(nn.Module):
    """Candidates -> picture -> code on the unit sphere -> picture; `score` (B,), in training `sampled`."""

    steps: Tensor

    def __init__(self, method: NormalisedAutoencoder, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.method = method
        self.candidates = Candidates(inputs, statistics)
        sizes = method.pixels, method.filters, method.hidden, method.latent
        self.encoder, self.decoder = encoder(*sizes), decoder(*sizes)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`score` (B,), the energy; after the pretraining `sampled` (B,), that of samples."""
        method = self.method
        seen = pictures(self.candidates, batch, method.pixels, method.half_width, method.power)
        output = {"score": self.energy(seen)}
        if self.training:
            self.steps += 1
            if int(self.steps) > method.pretraining and len(seen):
                output["sampled"] = self.energy(self.sample(len(seen)))
        return output

    def energy(self, picture: Tensor) -> Tensor:
        """(B,) summed squared differences of pictures and what is made of them."""
        code = F.normalize(self.encoder(picture), dim=-1, eps=1e-6)
        return torch.as_tensor((self.decoder(code) - picture).square().sum((1, 2, 3)))

    def sample(self, count: int) -> Tensor:
        """(count, 1, side, side) pictures of low energy, without gradients of the weights."""
        method = self.method
        code = F.normalize(torch.randn(count, method.latent, device=self.steps.device), dim=-1)
        code = langevin(
            code, lambda z: self.energy(unit(self.decoder(z))), method.latent_steps, method.step,
            method.noise, lambda z: F.normalize(z, dim=-1, eps=1e-6),
        )  # fmt: skip
        with torch.no_grad():
            picture = unit(self.decoder(code))
        return langevin(picture, self.energy, method.pixel_steps, method.step, 0.1 * method.noise, unit)


def unit(picture: Tensor) -> Tensor:
    """(B, 1, side, side) pictures without what is negative in them, of unit norm."""
    return F.normalize(picture.clamp(min=0).flatten(1), dim=-1, eps=1e-6).view_as(picture)


def langevin(
    start: Tensor, energy: Callable[[Tensor], Tensor], steps: int, step: float, noise: float,
    allowed: Callable[[Tensor], Tensor],
) -> Tensor:  # fmt: skip
    """x <- allowed(x - step dE/dx + noise N(0, 1)), `steps` times; gradients are cut to [-1, 1].

    With noise^2 = 2 step, small steps and no cut at work this draws from exp(-E); with less noise from a
    colder one, as is usual [2105.05735].
    """
    x = start.detach()
    for _ in range(steps):
        x.requires_grad_()
        (slope,) = torch.autograd.grad(energy(x).sum(), x)
        x = allowed(x.detach() - step * slope.clamp(-1, 1) + noise * torch.randn_like(x))
    return x.detach()
