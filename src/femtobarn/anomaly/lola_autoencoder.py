"""An autoencoder of four-vectors with a Lorentz layer: jets without pictures."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from femtobarn.anomaly.jets import TRAINING, jet_inputs
from femtobarn.anomaly.object_autoencoder import mapping
from femtobarn.anomaly.slots import placed
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch, Ragged
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.nn.candidates import Candidates, Cloud
from femtobarn.nn.four_momenta import minkowski, transverse
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import segment_sum

__all__ = ["LolaAutoencoder", "local"]

SPREAD = 0.3
"""Momenta across the axis and masses are divided by it: they are as large as angles in a jet."""
FARTHEST = 2.0
"""Angles from the axis are cut here."""


@method
class LolaAutoencoder(Scorer):
    """Autoencoder of the hardest candidates' four-vectors behind CoLa and LoLa [1808.08979; 1707.08966].

    Momenta are turned so that the jet points along x, and divided by the sum of their transverse momenta.
    The combination layer adds M combinations k_j = sum_i C_ij k_i with trained weights, the first of which
    begins as the sum, to the N candidates; the Lorentz layer gives the components and the mass of each. A
    dense bottleneck follows, and dense layers that give four-vectors. The score is the sum over candidates of
    the squared differences of the components; places beyond the last candidate are zero and compared like
    the others. Sizes, and LoLa's reduction to components and mass, are ours.

    Attributes:
        candidates: N, the hardest ones.
        combinations: M.
        hidden: sizes of the encoder's layers; the decoder's are the same backwards.
        latent: size of the bottleneck.
    """

    contract_exempt: ClassVar[dict[str, str]] = {
        "permutation": "candidates are known by their rank in pT, as they are read"
    }
    contract_parameters: ClassVar[dict[str, Any]] = {"candidates": 12, "combinations": 6}

    candidates: int = Field(default=40, ge=2)
    combinations: PositiveInt = 20
    hidden: tuple[PositiveInt, ...] = (100, 50)
    latent: PositiveInt = 6

    def default_inputs(self) -> Inputs:
        """The four-momenta of the hardest candidates."""
        return jet_inputs(self.candidates)

    def default_training(self) -> Training:
        """AdamW and one cycle of the learning rate."""
        return TRAINING

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Candidates -> CoLa -> LoLa -> bottleneck -> four-vectors; `score` (B,)."""

    def __init__(self, method: LolaAutoencoder, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.size = method.candidates
        self.read = Candidates(inputs, statistics)
        self.combine = nn.Linear(self.size, method.combinations, bias=False)
        with torch.no_grad():
            self.combine.weight[0] = 1.0
        vectors = self.size + method.combinations
        self.encoder = mapping([5 * vectors, *method.hidden, method.latent])
        self.decoder = mapping([method.latent, *method.hidden[::-1], 4 * self.size])

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`score` (B,)."""
        cloud = self.read(batch)
        k, _ = placed(Ragged(local(cloud), cloud.offsets), self.size, cloud.jets)
        every = torch.cat([k, self.combine(k.transpose(1, 2)).transpose(1, 2)], 1)
        mass = torch.sqrt(minkowski(every, every).clamp(min=0) + 1e-6)
        scale = every.new_tensor([1.0, SPREAD, SPREAD, 1.0])
        entered = torch.cat([every / scale, mass.unsqueeze(-1) / SPREAD], -1)
        rebuilt = self.decoder(self.encoder(entered.flatten(1))).view_as(k)
        return {"score": (rebuilt - k / scale).square().sum((1, 2))}


def local(cloud: Cloud) -> Tensor:
    """(T, 4) massless four-vectors of the candidates with the jet along x, in units of its summed pT."""
    pt = transverse(cloud.momenta)
    total = segment_sum(pt, cloud.segments, cloud.jets).clamp(min=1e-12)
    deta, dphi = cloud.place.clamp(-FARTHEST, FARTHEST).unbind(-1)
    directions = torch.stack([torch.cos(dphi), torch.sin(dphi), torch.sinh(deta), torch.cosh(deta)], -1)
    return (pt / cloud.to_tokens(total)).unsqueeze(-1) * directions
