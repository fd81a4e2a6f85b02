"""GN1: flavour tagging with a graph attention network on a jet's tracks [ATL-PHYS-PUB-2022-027]."""

from __future__ import annotations

import awkward as ak
import torch
from pydantic import Field
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.attention import GATv2
from femtobarn.nn.heads import dense
from femtobarn.nn.pooling import AttentionPooling
from femtobarn.nn.preprocess import Preprocess, Statistics
from femtobarn.nn.ragged import Layout
from femtobarn.tagging.heads import Heads, answers, losses, track_columns, tracks_of
from femtobarn.tagging.tracks import (
    JET_FEATURES,
    TRACK_FEATURES,
    track_inputs,
)

__all__ = ["GN1", "JET_FEATURES", "TRACK_FEATURES"]

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
        vertex_threshold: least mean probability with which the tracks of two groups share a vertex.
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
    vertex_threshold: float = Field(default=0.45, gt=0, lt=1)
    leptons: bool = False

    def default_inputs(self) -> Inputs:
        """The paper's 21 track and 2 jet features; jets from taus are left out.

        Ours, not the paper's: long-tailed features are read as asinh or logarithm, jets are shown as mirror
        images while training, the network is told how many tracks there are (see `Network`), and origins
        occur as often as they do (see `tagging.heads.answers`). Without auxiliary tasks the tracks need no
        truth.
        """
        return track_inputs(
            [*TRACK_FEATURES, *(["leptonID"] if self.leptons else [])],
            {"b": ["bjets"], "c": ["cjets"], "u": ["ujets"]},
            ORIGINS if self.origin_weight or self.vertex_weight else None,
            bool(self.vertex_weight),
        )

    def default_training(self) -> Training:
        """Adam with a rate of 1e-3, batches of 4000 jets, 100 epochs (Section 4.4)."""
        return Training(optimiser="adam", learning_rate=1e-3, batch_size=4000, epochs=100)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`.

        Raises:
            InputError: when the inputs lack the tracks, or the truth that an auxiliary task is trained on.
        """
        return Network(self, inputs, statistics)

    def loss(self, output: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Of jets, tracks and pairs, see `tagging.heads.losses`."""
        return losses(self, output, batch, list(ORIGINS))

    def answer(self, output: dict[str, Tensor]) -> dict[str, Tensor]:
        """Probabilities: `jet` (B, 3), `origin` (T, 7), `vertex` (P,) of `i`, `j`; and `attention` (T,)."""
        return answers(output)

    def predict_batch(self, batch: Batch) -> ak.Array:
        """Flavour probabilities per jet; and per track, see `tagging.heads.track_columns`."""
        answer = self.run(batch)
        columns = track_columns(self, answer, batch, list(ORIGINS))
        return self.probabilities(answer["jet"].cpu().numpy(), **columns)


class Network(nn.Module):
    """Inputs -> tracks -> graph attention -> pooled jet -> heads.

    Each track is given the jet's features and how many tracks the jet has: attention takes means, and from
    means alone neither a number nor a sum over tracks can be had.
    """

    def __init__(self, gn1: GN1, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        features, width = tracks_of(inputs, gn1), gn1.width
        self.preprocess = Preprocess(inputs, statistics)
        self.initial = dense([features + 1, *gn1.initial, width], final=True)
        self.layers = nn.ModuleList(GraphLayer(width, gn1.heads) for _ in range(gn1.layers))
        self.pool = AttentionPooling(width)
        self.heads = Heads(gn1, width, inputs, statistics, ORIGINS)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """What `tagging.heads.Heads` gives: `jet` (B, 3), `origin` (T, 7), `vertex` (P,) logits."""
        batch = self.preprocess(batch)
        tracks = batch.collections["tracks"]
        layout = Layout.of(tracks.offsets, tracks.values.shape[0])
        number = torch.log1p(layout.offsets.diff().to(batch.event.dtype)).unsqueeze(-1)
        jets = torch.cat([layout.sort_events(batch.event), number], -1)
        h = self.initial(torch.cat([layout.sort_tokens(tracks.values), layout.spread(jets)], -1))
        for layer in self.layers:
            h = layer(h, layout)
        g, share = self.pool(h, layout)
        result: dict[str, Tensor] = self.heads(h, g, share, layout)
        return result


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
