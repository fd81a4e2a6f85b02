"""DL1, DL1r and DL1d: deep networks on the outputs of low-level taggers [ATL-PHYS-PUB-2017-013]."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from femtobarn.data.inputs import Feature, Inputs, Label
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.heads import dense
from femtobarn.nn.preprocess import Preprocess, Statistics

__all__ = ["DL1", "high_level_inputs"]

IMPACT_PARAMETERS = ("ip2d", "ip3d")
"""Taggers whose probabilities are read, in the order in which they came."""

VERTICES = {
    "SV1_masssvx": "none",
    "SV1_efracsvx": "none",
    "SV1_N2Tpair": "asinh",
    "SV1_NGTinSvx": "none",
    "SV1_L3d": "asinh",
    "SV1_Lxy": "asinh",
    "SV1_significance3d": "asinh",
    "SV1_deltaR": "none",
    "JetFitter_mass": "none",
    "JetFitter_energyFraction": "none",
    "JetFitter_significance3d": "asinh",
    "JetFitter_nVTX": "none",
    "JetFitter_nSingleTracks": "none",
    "JetFitter_nTracksAtVtx": "none",
    "JetFitter_N2Tpair": "asinh",
    "JetFitter_deltaR": "none",
}
"""Observables of the secondary vertices by their names in ATLAS files, and how they are read."""


def high_level_inputs(taggers: tuple[str, ...] = ()) -> Inputs:
    """pT, eta, the impact-parameter taggers, the vertices, and the probabilities of further `taggers`."""
    features: list[Feature | str] = [Feature(name="pt", transform="log"), "eta"]
    for tagger in (*IMPACT_PARAMETERS, *taggers):
        for flavour in "bcu":
            features.append(Feature(name=f"{tagger}_p{flavour}", transform="log", clip=(-20.0, 0.0)))
    for name, transform in VERTICES.items():
        features.append(Feature.model_validate({"name": name, "transform": transform}))
    classes = {"b": ["bjets"], "c": ["cjets"], "u": ["ujets"]}
    return Inputs(
        event=features,
        labels={"jet": Label(field="flavour_label", classes=classes)},
        weight="mcEventWeight",
        mirrors={"z": ["eta"]},
    )


@method
class DL1(Classifier):
    """Deep network on the outputs of low-level taggers [ATL-PHYS-PUB-2017-013].

    A jet is what IP2D, IP3D, SV1 and JetFitter say of it, columns of the sample; `taggers=("rnnip",)` makes
    it DL1r and `("dips",)` DL1d. A tagger among the inputs must not have been trained on the jets DL1 is
    trained on: its scores would look better there than elsewhere. Momentum and eta are read again before the
    last layer.

    Attributes:
        hidden: sizes of the hidden layers (umami's example of DL1r).
        taggers: further taggers whose `<name>_pb`, `_pc`, `_pu` are read.
    """

    hidden: tuple[int, ...] = (256, 128, 60, 48, 36, 24, 12, 6)
    taggers: tuple[str, ...] = ()

    def default_inputs(self) -> Inputs:
        """See `high_level_inputs`."""
        return high_level_inputs(self.taggers)

    def default_training(self) -> Training:
        """Adam with a rate of 1e-3, batches of 15000 jets, 200 epochs (umami's example of DL1r)."""
        return Training(optimiser="adam", learning_rate=1e-3, batch_size=15_000, epochs=200)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Features -> dense layers -> logits of the flavours."""

    def __init__(self, dl1: DL1, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        names = [feature.name for feature in inputs.event_features]
        self.again = [names.index(name) for name in ("pt", "eta") if name in names]
        self.preprocess = Preprocess(inputs, statistics)
        self.hidden = dense([len(names), *dl1.hidden], final=True)
        self.jet = nn.Linear(dl1.hidden[-1] + len(self.again), len(inputs.labels["jet"].classes))

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        event = self.preprocess(batch).event
        return {"jet": self.jet(torch.cat([self.hidden(event), event[:, self.again]], -1))}
