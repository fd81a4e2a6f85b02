"""DIPS: a deep set of a jet's tracks [ATL-PHYS-PUB-2020-014]."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from femtobarn.data.inputs import Collection, Feature, Inputs, Label, Ranges
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.heads import dense
from femtobarn.nn.preprocess import Preprocess, Statistics
from femtobarn.nn.ragged import segment_sum, segments_of

__all__ = ["DIPS", "impact_inputs"]

SIGNIFICANCES = ("IP3D_signed_d0_significance", "IP3D_signed_z0_significance")
HITS = (
    "numberOfInnermostPixelLayerHits",
    "numberOfNextToInnermostPixelLayerHits",
    "numberOfInnermostPixelLayerSharedHits",
    "numberOfInnermostPixelLayerSplitHits",
    "numberOfPixelHits",
    "numberOfPixelSharedHits",
    "numberOfPixelSplitHits",
    "numberOfSCTHits",
    "numberOfSCTSharedHits",
)


def impact_inputs(longest: int, select: Ranges | None = None) -> Inputs:
    """Impact-parameter significances, momenta, distances to the axis and hits of a jet's tracks.

    The paper's fraction of the jet's momentum is here log pT of the track beside log pT of the jet, from
    which a first linear layer makes it. At most `longest` tracks, those of largest |s(d0)| first, of those
    in the ranges of `select`.
    """
    tracks: list[Feature | str] = [Feature(name=name, transform="asinh") for name in SIGNIFICANCES]
    tracks += [
        Feature(name="pt", transform="log"),
        Feature(name="dr", transform="log", clip=(-8.0, 0.0)),
        *HITS,
    ]
    classes = {"b": ["bjets"], "c": ["cjets"], "u": ["ujets"]}
    collection = Collection(
        features=tracks, select=select or {}, max_length=longest, order_by=SIGNIFICANCES[0]
    )
    return Inputs(
        event=[Feature(name="pt", transform="log"), "eta"],
        collections={"tracks": collection},
        labels={"jet": Label(field="flavour_label", classes=classes)},
        weight="mcEventWeight",
        mirrors={"z": ["eta"]},
    )


@method
class DIPS(Classifier):
    r"""Deep set of a jet's tracks [ATL-PHYS-PUB-2020-014].

    $$ p = F\Big( \sum_i \Phi(x_i) \Big) $$

    with the same network Phi for each track x_i (jet features copied onto it), so that the order of tracks
    does not matter. Without the paper's batch normalisation, which would make a jet's score depend on the
    jets it was trained beside.

    Attributes:
        track: sizes of the layers of Phi.
        jet: sizes of the hidden layers of F.
        longest: tracks read of a jet, those of largest |s(d0)|.
    """

    track: tuple[int, ...] = (100, 100, 128)
    jet: tuple[int, ...] = (100, 100, 100, 30)
    longest: int = 40

    def default_inputs(self) -> Inputs:
        """See `impact_inputs`."""
        return impact_inputs(self.longest)

    def default_training(self) -> Training:
        """Adam with a rate of 1e-3, batches of 15000 jets, 200 epochs (umami's example of DIPS)."""
        return Training(optimiser="adam", learning_rate=1e-3, batch_size=15_000, epochs=200)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Tracks -> Phi -> sum -> F -> logits of the flavours."""

    def __init__(self, dips: DIPS, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        features = len(inputs.event) + len(inputs.collections["tracks"].features)
        self.preprocess = Preprocess(inputs, statistics)
        self.track = dense([features, *dips.track], final=True)
        self.jet = dense([dips.track[-1], *dips.jet, len(inputs.labels["jet"].classes)])

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        batch = self.preprocess(batch)
        tracks = batch.collections["tracks"]
        jet = segments_of(tracks.offsets, tracks.values.shape[0])
        phi = self.track(torch.cat([tracks.values, batch.event.index_select(0, jet)], -1))
        return {"jet": self.jet(segment_sum(phi, jet, len(batch.event)))}
