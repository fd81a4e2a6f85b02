"""What taggers of whole jets read: the candidates of a jet, as four-momenta and properties.

A sample's collection `candidates` holds the charged and neutral particles of each jet, by falling transverse
momentum: `px, py, pz, energy` (GeV), and where they are known `charge`, one flag per type of particle, and
the impact parameters `d0, dz` (mm) with their errors. From the four-momenta follow the seven kinematic
numbers of `nn.four_momenta`; nothing else of the jet is needed.
"""

from __future__ import annotations

from femtobarn.data.inputs import Collection, Feature, Inputs, Label
from femtobarn.nn.candidates import MOMENTUM, Candidates, Cloud

__all__ = ["CLASSES", "MOMENTUM", "Candidates", "Cloud", "candidate_inputs"]

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
