"""A variational autoencoder of objects, if wanted blind to a mass."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from femtobarn.anomaly.object_autoencoder import TRAINING, UNORDERED, mapping
from femtobarn.anomaly.slots import Slots, object_inputs
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.errors import InputError
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.nn.losses import distance_correlation, weighted_mean
from femtobarn.nn.preprocess import Statistics

__all__ = ["VAE"]


@method
class VAE(Scorer):
    r"""Variational autoencoder [1312.6114; on trigger objects 2108.03986]; objects as in `slots`.

    The encoder gives mean mu and variance sigma^2 of the code z, drawn while training and z = mu afterwards.
    The loss is the misfit of what the decoder makes of z, plus beta times the Kullback-Leibler divergence

        KL = 1/2 sum_k [mu_k^2 + sigma_k^2 - 1 - ln sigma_k^2].

    Scores: `score`, misfit + beta KL; its parts `reconstruction` and `kl`; and `mean`, sum_k mu_k^2, which
    needs the encoder alone, as on a trigger.

    With `decorrelate` the loss has, too, `strength` times the squared distance correlation of the score and
    that field [DisCo, 2001.05310], so that a cut on the score leaves its spectrum as it is.

    Attributes:
        hidden: sizes of the encoder's layers; the decoder's are the same backwards.
        latent: size of the code.
        beta: weight of the divergence.
        decorrelate: field of the events, to be named among `inputs.observers`; empty: none.
        strength: of the decorrelation.
    """

    contract_exempt: ClassVar[dict[str, str]] = UNORDERED
    scores: ClassVar[tuple[str, ...]] = ("score", "reconstruction", "kl", "mean")

    hidden: tuple[PositiveInt, ...] = (64, 32)
    latent: PositiveInt = 4
    beta: float = Field(default=0.3, ge=0)
    decorrelate: str = Field(default="", pattern=r"^\w*$")
    strength: float = Field(default=30.0, ge=0)

    def default_inputs(self) -> Inputs:
        """See `slots.object_inputs`; the field to decorrelate from is an observer."""
        observers = [self.decorrelate] if self.decorrelate else []
        return object_inputs().model_copy(update={"observers": observers})

    def default_training(self) -> Training:
        """AdamW and one cycle of the learning rate."""
        return TRAINING

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        if self.decorrelate and self.decorrelate not in inputs.observers:
            raise InputError(f"'{self.name}' is to be decorrelated from '{self.decorrelate}': name it among "
                             "the inputs' observers")  # fmt: skip
        return Network(self, inputs, statistics)

    def loss(self, output: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Misfit, divergence and, if wanted, the distance correlation."""
        terms = {
            "reconstruction": weighted_mean(output["reconstruction"], batch.weights),
            "kl": self.beta * weighted_mean(output["kl"], batch.weights),
        }
        if self.decorrelate:
            mass = batch.fields[self.decorrelate].float()
            terms["disco"] = self.strength * distance_correlation(output["score"], mass, batch.weights)
        return terms


class Network(nn.Module):
    """Raw objects -> places -> distribution of the code -> places; the scores, (B,) each."""

    def __init__(self, method: VAE, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.slots = Slots(inputs, statistics, method.name)
        sizes = [self.slots.width + self.slots.places, *method.hidden, method.latent]
        self.encoder = mapping([*sizes[:-1], 2 * method.latent])
        self.decoder = mapping(sizes[::-1])
        self.beta = method.beta

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See `VAE.scores`."""
        read = self.slots(batch)
        mean, spread = self.encoder(self.slots.entered(read)).chunk(2, 1)
        log_variance = 8 * torch.tanh(spread / 8)  # neither zero nor infinite
        code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean) if self.training else mean
        misfit = self.slots.misfit(self.decoder(code), read)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return {
            "score": misfit + self.beta * divergence,
            "reconstruction": misfit,
            "kl": divergence,
            "mean": mean.square().sum(1),
        }
