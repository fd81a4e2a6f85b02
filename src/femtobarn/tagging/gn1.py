"""GN1: flavour tagging with a graph attention network on a jet's tracks [ATL-PHYS-PUB-2022-027]."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from femtobarn.data.inputs import Collection, Feature, Inputs, Label
from femtobarn.data.ragged import Batch
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.attention import GATv2
from femtobarn.nn.heads import PairHead, TokenHead, dense
from femtobarn.nn.losses import binary_cross_entropy, cross_entropy, inverse_frequencies
from femtobarn.nn.pooling import AttentionPooling
from femtobarn.nn.preprocess import Preprocess, Statistics
from femtobarn.nn.ragged import Layout
from femtobarn.physics.vertexing import vertices_from_pairs

__all__ = ["GN1", "JET_FEATURES", "TRACK_FEATURES"]

JET_FEATURES = ["pt", "eta"]

TRACK_FEATURES = [
    "qOverP",
    "deta",
    "dphi",
    "d0",
    "z0SinTheta",
    "qOverPUncertainty",
    "thetaUncertainty",
    "phiUncertainty",
    "IP3D_signed_d0_significance",
    "IP3D_signed_z0_significance",
    "numberOfPixelHits",
    "numberOfSCTHits",
    "numberOfInnermostPixelLayerHits",
    "numberOfNextToInnermostPixelLayerHits",
    "numberOfInnermostPixelLayerSharedHits",
    "numberOfInnermostPixelLayerSplitHits",
    "numberOfPixelSharedHits",
    "numberOfPixelSplitHits",
    "numberOfSCTSharedHits",
    "numberOfPixelHoles",
    "numberOfSCTHoles",
]
"""The paper's 21 inputs per track (Table 1), by their names in ATLAS files."""

READ_AS = {
    "pt": ("asinh", 1.0),
    "d0": ("asinh", 0.05),
    "z0SinTheta": ("asinh", 0.1),
    "IP3D_signed_d0_significance": ("asinh", 1.0),
    "IP3D_signed_z0_significance": ("asinh", 1.0),
    "qOverPUncertainty": ("log", 1.0),
    "thetaUncertainty": ("log", 1.0),
    "phiUncertainty": ("log", 1.0),
}
"""Transform and scale of long-tailed features: standardised as they are, their tails would squeeze their
cores to a point."""

MIRRORS = {
    "phi": ["tracks.dphi", "tracks.d0", "tracks.qOverP"],
    "z": ["eta", "tracks.deta", "tracks.z0SinTheta"],
}
"""Reflections in a plane through the beam, with all charges reversed since the solenoid's field turns round,
and in the plane across the beam. Lifetime-signed significances stay as they are."""

ORIGINS = {
    "Pileup": ["Pileup"],
    "Fake": ["Fake"],
    "Primary": ["Primary"],
    "FromB": ["FromB"],
    "FromBC": ["FromBC"],
    "FromC": ["FromC"],
    "OtherSecondary": ["FromTau", "OtherSecondary"],
}
"""The seven track origins (Table 2) and the classes of a file folded into them."""

HEAVY_FLAVOUR = [3, 4, 5]
"""Origins whose pairs count double in the vertex loss: FromB, FromBC, FromC."""


def _feature(name: str) -> Feature:
    transform, scale = READ_AS.get(name, ("none", 1.0))
    return Feature.model_validate({"name": name, "transform": transform, "scale": scale})


@method
class GN1(Classifier):
    """Graph attention network on a jet's tracks [ATL-PHYS-PUB-2022-027].

    A network per track (jet features copied onto each track), graph attention between all tracks of a jet,
    attention pooling, and three heads trained together: the jet's flavour, the origin of each track, and
    whether two tracks share a vertex. L = L_jet + vertex_weight L_vertex + origin_weight L_origin (Eq. 4).

    Attributes:
        width: numbers per track between layers, and per jet.
        layers: layers of graph attention.
        heads: attention heads per layer, each of the full width.
        initial: hidden sizes of the network per track.
        jet_head: hidden sizes of the jet's head.
        origin_head: hidden sizes of the head per track.
        vertex_head: hidden sizes of the head per pair of tracks.
        origin_weight: weight of the track origins in the loss; 0 leaves the task out, computation included.
        vertex_weight: weight of the vertices in the loss; 0 leaves the task out.
        vertex_threshold: two tracks are joined if they share a vertex with at least this probability.
        leptons: also read `leptonID`, the GN1Lep of the paper.
    """

    width: int = Field(default=64, ge=1)
    layers: int = Field(default=3, ge=1)
    heads: int = Field(default=2, ge=1)
    initial: tuple[int, ...] = (64, 64, 64)
    jet_head: tuple[int, ...] = (128, 64, 32, 16)
    origin_head: tuple[int, ...] = (128, 64, 32)
    vertex_head: tuple[int, ...] = (128, 64, 32)
    origin_weight: float = Field(default=0.5, ge=0)
    vertex_weight: float = Field(default=1.5, ge=0)
    vertex_threshold: float = Field(default=0.5, gt=0, lt=1)
    leptons: bool = False

    def default_inputs(self) -> Inputs:
        """The paper's 21 track and 2 jet features; jets from taus are left out.

        Ours, not the paper's: long-tailed features are read as asinh or logarithm, and jets are shown as
        mirror images while training. Without auxiliary tasks the tracks need no truth.
        """
        origin = {"origin": Label(field="ftagTruthOriginLabel", classes=ORIGINS)}
        names = [*TRACK_FEATURES, *(["leptonID"] if self.leptons else [])]
        tracks = Collection(
            features=[_feature(name) for name in names],
            labels=origin if self.origin_weight or self.vertex_weight else {},
            fields=["ftagTruthVertexIndex"] if self.vertex_weight else [],
            max_length=40,
            order_by="IP3D_signed_d0_significance",
        )
        flavour = Label(field="flavour_label", classes={"b": ["bjets"], "c": ["cjets"], "u": ["ujets"]})
        return Inputs(
            event=[_feature(name) for name in JET_FEATURES],
            collections={"tracks": tracks},
            labels={"jet": flavour},
            weight="mcEventWeight",
            mirrors=MIRRORS,
        )

    def default_training(self) -> Training:
        """Adam with a rate of 1e-3, batches of 4000 jets, 100 epochs (Section 4.4)."""
        return Training(optimiser="adam", learning_rate=1e-3, batch_size=4000, epochs=100)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`.

        Raises:
            InputError: when the inputs lack the tracks, or the truth that an auxiliary task is trained on.
        """
        tracks = inputs.collections.get("tracks")
        if tracks is None or "jet" not in inputs.labels:
            raise InputError("GN1's inputs need a collection 'tracks' and a label 'jet'")
        if (self.origin_weight or self.vertex_weight) and "origin" not in tracks.labels:
            raise InputError(
                "the inputs have no label 'origin' of tracks; give one or switch off auxiliary tasks"
            )
        if self.vertex_weight and "ftagTruthVertexIndex" not in tracks.fields:
            raise InputError(
                "the inputs lack the tracks' ftagTruthVertexIndex; add it or set vertex_weight=0"
            )
        return Network(self, inputs, statistics)

    def loss(self, output: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropies: jets, tracks by inverse class frequency, pairs with heavy flavour double."""
        tracks = batch.collections["tracks"]
        terms = {"jet": cross_entropy(output["jet"], batch.labels["jet"], batch.weights)}
        if self.origin_weight:
            weights = batch.weights.index_select(0, tracks.segments)
            origin = cross_entropy(output["origin"], tracks.fields["origin"], weights, output["balance"])
            terms["origin"] = self.origin_weight * origin
        if self.vertex_weight:
            i, j = output["i"], output["j"]
            vertex = tracks.fields["ftagTruthVertexIndex"]
            same = (vertex[i] == vertex[j]) & (vertex[i] >= 0)
            heavy = torch.isin(tracks.fields["origin"], torch.tensor(HEAVY_FLAVOUR, device=i.device))
            weights = batch.weights[tracks.segments[i]] * (1 + (heavy[i] & heavy[j]))
            terms["vertex"] = self.vertex_weight * binary_cross_entropy(output["vertex"], same, weights)
        return terms

    def answer(self, output: dict[str, Tensor]) -> dict[str, Tensor]:
        """Probabilities: `jet` (B, 3), `origin` (T, 7), `vertex` (P,) that tracks `i`, `j` share a vertex."""
        answer = super().answer(output)
        if self.origin_weight:
            answer["origin"] = torch.softmax(output["origin"], -1)
        if self.vertex_weight:
            answer |= {"vertex": torch.sigmoid(output["vertex"]), "i": output["i"], "j": output["j"]}
        return answer

    def predict_batch(self, batch: Batch) -> ak.Array:
        """Flavour probabilities per jet; and per track, in the order they were read, origins and vertices.

        `tracks.<name>_p<Origin>` are the probabilities of the seven origins. `tracks.<name>_VertexIndex`
        numbers the vertices of a jet from 0 in the order of their first track: tracks connected through pairs
        whose probability reaches `vertex_threshold`; a track joined to none is a vertex of its own. Tracks
        beyond the first forty have NaN and -2.
        """
        answer = {name: value.cpu().numpy() for name, value in self.run(batch).items()}
        read = batch.collections["tracks"]
        offsets = read.offsets.cpu().numpy()
        columns: dict[str, Any] = {}
        if self.origin_weight:
            origins = read.as_read(answer["origin"], np.nan)
            columns |= {f"{self.name}_p{name}": origins[:, k] for k, name in enumerate(ORIGINS)}
        if self.vertex_weight:
            joined = answer["vertex"] >= self.vertex_threshold
            index = vertices_from_pairs(answer["i"][joined], answer["j"][joined], offsets)
            columns[f"{self.name}_VertexIndex"] = read.as_read(index, -2)
        if not columns:
            return self.probabilities(answer["jet"])
        tracks = ak.unflatten(ak.zip(columns), read.counts_as_read)
        return self.probabilities(answer["jet"], tracks=tracks)


class Network(nn.Module):
    """Inputs -> tracks -> graph attention -> pooled jet -> heads."""

    balance: Tensor

    def __init__(self, gn1: GN1, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        width = gn1.width
        features = len(inputs.event) + len(inputs.collections["tracks"].features)
        self.preprocess = Preprocess(inputs, statistics)
        self.initial = dense([features, *gn1.initial, width], final=True)
        self.layers = nn.ModuleList(GraphLayer(width, gn1.heads) for _ in range(gn1.layers))
        self.pool = AttentionPooling(width)
        self.jet = dense([width, *gn1.jet_head, len(inputs.labels["jet"].classes)])
        self.origin = TokenHead(width, width, gn1.origin_head, len(ORIGINS)) if gn1.origin_weight else None
        self.vertex = PairHead(width, width, gn1.vertex_head) if gn1.vertex_weight else None
        counts = statistics.counts.get("tracks.origin") if statistics else None
        self.register_buffer("balance", inverse_frequencies(counts or [1.0] * len(ORIGINS)))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`jet` (B, 3) and `origin` (T, 7) logits, `vertex` (P,) logits of track pairs `i`, `j` (P,)."""
        batch = self.preprocess(batch)
        tracks = batch.collections["tracks"]
        layout = Layout.of(tracks.offsets, tracks.values.shape[0])
        jets = layout.spread(layout.sort_events(batch.event))
        h = self.initial(torch.cat([layout.sort_tokens(tracks.values), jets], -1))
        for layer in self.layers:
            h = layer(h, layout)
        g = self.pool(h, layout)
        output = {"jet": layout.unsort_events(self.jet(g)), "balance": self.balance}
        if self.origin is not None:
            output["origin"] = layout.unsort_tokens(self.origin(h, g, layout))
        if self.vertex is not None:
            output["vertex"], output["i"], output["j"] = self.vertex(h, g, layout)
        return output


class GraphLayer(nn.Module):
    """Graph attention between all tracks of a jet, heads mixed back to the width, added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = GATv2(width, heads, width)
        self.mix = nn.Linear(heads * width, width)

    def forward(self, h: Tensor, layout: Layout) -> Tensor:
        """h: (T, width) in the layout's order."""
        update: Tensor = self.mix(self.attention(self.norm(h), layout))
        return h + torch.relu(update)
