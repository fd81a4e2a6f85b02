"""The candidates of jets as networks read them: packed four-momenta, kinematics and properties; pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from femtobarn.data.inputs import Feature, Inputs
from femtobarn.data.ragged import Batch
from femtobarn.errors import InputError
from femtobarn.nn.four_momenta import KINEMATICS, kinematics, transverse
from femtobarn.nn.preprocess import Preprocess, Statistics
from femtobarn.nn.ragged import segment_sum, segments_of, summed_at

__all__ = ["MOMENTUM", "Candidates", "Cloud", "images"]

MOMENTUM = ("px", "py", "pz", "energy")
"""GeV; of the collection `candidates`."""


@dataclass
class Cloud:
    """The candidates of a batch of jets, packed.

    Attributes:
        momenta: (T, 4) px, py, pz, energy (GeV).
        features: (T, F), the seven of `nn.four_momenta.KINEMATICS` and the properties.
        event: (B, J) features of the jet, if the inputs name any.
        offsets: (B+1,), where each jet's candidates begin.
        segments: (T,), the jet of each candidate.
    """

    momenta: Tensor
    features: Tensor
    event: Tensor
    offsets: Tensor
    segments: Tensor

    @property
    def jets(self) -> int:
        """Number of jets B."""
        return self.offsets.shape[0] - 1

    @property
    def place(self) -> Tensor:
        """(T, 2) deta and dphi from the jet's axis."""
        return self.features[:, 5:7]

    def to_tokens(self, per_jet: Tensor) -> Tensor:
        """(B, ...) of jets copied onto their candidates."""
        return per_jet.index_select(0, self.segments)


class Candidates(nn.Module):
    """Raw inputs to a `Cloud`.

    Raises:
        InputError: when the inputs lack a component of the four-momentum, or would transform one.
    """

    def __init__(self, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        features = {f.name: f for f in inputs.collection_features("candidates")}
        for name in MOMENTUM:
            if features.get(name) != Feature(name=name, standardise=False):
                raise InputError(
                    f"inputs: candidates need '{name}' as it is: a feature without transform, clip and "
                    "standardise"
                )
        names = list(features)
        self.preprocess = Preprocess(inputs, statistics)
        self.momentum = [names.index(name) for name in MOMENTUM]
        self.properties = [k for k, name in enumerate(names) if name not in MOMENTUM]
        self.features = len(KINEMATICS) + len(self.properties)
        """Numbers per candidate."""
        self.event = len(inputs.event)
        """Numbers per jet."""

    def forward(self, batch: Batch) -> Cloud:
        """Kinematics with respect to the sum of the candidates that are read."""
        batch = self.preprocess(batch)
        candidates = batch.collections["candidates"]
        segments = segments_of(candidates.offsets, candidates.values.shape[0])
        momenta = candidates.values[:, self.momentum]
        jets = candidates.offsets.shape[0] - 1
        features = [kinematics(momenta, segments, jets), candidates.values[:, self.properties]]
        return Cloud(momenta, torch.cat(features, -1), batch.event, candidates.offsets, segments)


def images(cloud: Cloud, pixels: int, half_width: float) -> Tensor:
    """Pictures (B, pixels, pixels) of unit norm; a jet without candidates is black.

    As `physics.jet_images`, in the network, so that a saved one reads candidates.
    """
    pt = transverse(cloud.momenta)
    total = segment_sum(pt, cloud.segments, cloud.jets).clamp(min=1e-12)
    weight = (pt / cloud.to_tokens(total)).unsqueeze(-1)
    centred = cloud.place - cloud.to_tokens(segment_sum(weight * cloud.place, cloud.segments, cloud.jets))
    x, y = centred.unbind(-1)
    moments = segment_sum(weight * torch.stack([x * y, x * x - y * y], -1), cloud.segments, cloud.jets)
    angle = cloud.to_tokens(0.5 * torch.atan2(2 * moments[:, 0], moments[:, 1]))
    cos, sin = torch.cos(angle), torch.sin(angle)
    turned = torch.stack([x * sin - y * cos, x * cos + y * sin], -1)
    side = segment_sum(weight * torch.sign(turned), cloud.segments, cloud.jets)
    turned = turned * cloud.to_tokens(torch.where(side < 0, -1.0, 1.0))
    cell = torch.floor((turned + half_width) * (pixels / (2 * half_width)))
    inside = ((cell >= 0) & (cell < pixels)).all(-1)
    column, row = cell.clamp(0, pixels - 1).long().unbind(-1)
    flat = (cloud.segments * pixels + row) * pixels + column
    picture = summed_at(
        weight.new_zeros(cloud.jets * pixels**2), flat, torch.where(inside, weight.squeeze(-1), 0.0)
    )
    picture = picture.view(cloud.jets, pixels, pixels)
    norm = torch.sqrt(picture.square().sum((1, 2), keepdim=True))
    return picture / torch.where(norm > 0, norm, 1.0)
