"""What taggers of whole jets read: the candidates of a jet, as four-momenta and properties.

A sample's collection `candidates` holds the charged and neutral particles of each jet, by falling transverse
momentum: `px, py, pz, energy` (GeV), and where they are known `charge`, one flag per type of particle, and
the impact parameters `d0, dz` (mm) with their errors. From the four-momenta follow the seven kinematic
numbers of `nn.four_momenta`; nothing else of the jet is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from femtobarn.data.inputs import Collection, Feature, Inputs, Label
from femtobarn.data.ragged import Batch
from femtobarn.errors import InputError
from femtobarn.nn.four_momenta import KINEMATICS, kinematics
from femtobarn.nn.preprocess import Preprocess, Statistics
from femtobarn.nn.ragged import segments_of

__all__ = ["CLASSES", "MOMENTUM", "Candidates", "Cloud", "candidate_inputs"]

MOMENTUM = ("px", "py", "pz", "energy")
FLAGS = ("charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
IMPACT = (
    Feature(name="d0", transform="tanh", standardise=False),
    Feature(name="d0Uncertainty", clip=(0.0, 1.0), standardise=False),
    Feature(name="dz", transform="tanh", standardise=False),
    Feature(name="dzUncertainty", clip=(0.0, 1.0), standardise=False),
)
CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
"""The ten classes of JetClass [2202.03772]."""


def candidate_inputs(properties: bool = True, longest: int = 128) -> Inputs:
    """The inputs of ParT to JetClass [2202.03772], and its classes as values of `jet_label`.

    Args:
        properties: charge, type and impact parameters too, not the four-momenta alone.
        longest: candidates read of a jet, the first ones.
    """
    features = [Feature(name=name, standardise=False) for name in MOMENTUM]
    if properties:
        features += [*(Feature(name=name, standardise=False) for name in FLAGS), *IMPACT]
    return Inputs(
        collections={"candidates": Collection(features=list(features), max_length=longest)},
        labels={"jet": Label(field="jet_label", classes={name.lower(): [name] for name in CLASSES})},
        weight="mcEventWeight",
    )


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
