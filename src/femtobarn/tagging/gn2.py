"""GN2: flavour tagging with a transformer on a jet's tracks [2505.19689; GN2.yaml of salt]."""

from __future__ import annotations

import awkward as ak
import torch
from pydantic import Field
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.heads import dense
from femtobarn.nn.pooling import attention_pool
from femtobarn.nn.preprocess import Preprocess, Statistics
from femtobarn.nn.ragged import Layout
from femtobarn.nn.transformer import Encoder
from femtobarn.tagging.heads import Heads, answers, losses, track_columns, tracks_of
from femtobarn.tagging.tracks import (
    TRACK_FEATURES,
    track_inputs,
)

__all__ = ["GN2"]

FLAVOURS = {"b": ["bjets"], "c": ["cjets"], "u": ["ujets"], "tau": ["taujets"]}

ORIGINS = {
    name: [name]
    for name in ("Pileup", "Fake", "Primary", "FromB", "FromBC", "FromC", "FromTau", "OtherSecondary")
}
"""The eight track origins."""

NOT_READ = ("numberOfPixelHoles", "numberOfSCTHoles")
"""Of GN1's features, those that GN2 does without."""


@method
class GN2(Classifier):
    """Transformer on a jet's tracks [2505.19689; sizes, optimiser and schedule from salt's GN2.yaml].

    A network per track (jet features copied onto each track), a transformer encoder over the tracks of a jet
    and one learned token more, attention pooling, and three heads trained together: the jet's flavour, the
    origin of each track, and whether two tracks share a vertex. 2 339 150 parameters, as in salt 0.13.

    L = L_jet + vertex_weight L_vertex + origin_weight L_origin. Ours, not salt's: the pair head sees each
    pair once, both orders added after its first layer, and L_vertex is a mean over pairs, where salt divides
    the sum over all pairs by the number of those that do share a vertex.

    Attributes:
        width: numbers per track between layers.
        layers: layers of the encoder.
        heads: attention heads per layer, which share the width.
        feed_forward: hidden size of the layers' feed-forward network.
        out: numbers per track after the encoder, and per jet.
        registers: learned tokens added to the tracks of each jet.
        initial: hidden sizes of the network per track.
        jet_head: hidden sizes of the jet's head.
        origin_head: hidden sizes of the head per track.
        vertex_head: hidden sizes of the head per pair of tracks.
        origin_weight: weight of the track origins in the loss; 0 leaves the task out, computation included.
        vertex_weight: weight of the vertices in the loss; 0 leaves the task out.
        vertex_threshold: least mean probability with which the tracks of two groups share a vertex.
    """

    width: int = Field(default=256, ge=1)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=8, ge=1)
    feed_forward: int = Field(default=512, ge=1)
    out: int = Field(default=128, ge=1)
    registers: int = Field(default=1, ge=1)
    initial: tuple[int, ...] = (256,)
    jet_head: tuple[int, ...] = (128, 64, 32)
    origin_head: tuple[int, ...] = (128, 64, 32)
    vertex_head: tuple[int, ...] = (128, 64, 32)
    origin_weight: float = Field(default=0.5, ge=0)
    vertex_weight: float = Field(default=1.5, ge=0)
    vertex_threshold: float = Field(default=0.45, gt=0, lt=1)

    def default_inputs(self) -> Inputs:
        """GN1's track features without the holes, 19, and 2 of the jet; jets from taus are a class.

        Transforms and mirror images are GN1's. Without auxiliary tasks the tracks need no truth.
        """
        return track_inputs(
            [name for name in TRACK_FEATURES if name not in NOT_READ],
            FLAVOURS,
            ORIGINS if self.origin_weight or self.vertex_weight else None,
            bool(self.vertex_weight),
        )

    def default_training(self) -> Training:
        """AdamW, one-cycle 1e-7 -> 5e-4 -> 1e-5 rising for 1 % of 40 epochs, batches of 4000 jets."""
        return Training(
            optimiser="adamw",
            learning_rate=5e-4,
            weight_decay=1e-5,
            schedule="one-cycle",
            warmup=0.01,
            initial_rate=1e-7,
            final_rate=1e-5,
            batch_size=4000,
            epochs=40,
        )

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`.

        Raises:
            InputError: when the heads cannot share the width; when the inputs lack the tracks, or the truth
                that an auxiliary task is trained on.
        """
        if self.width % self.heads:
            raise InputError(f"a width of {self.width} cannot be shared by {self.heads} heads")
        return Network(self, inputs, statistics)

    def loss(self, output: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Of jets, tracks and pairs, see `tagging.heads.losses`."""
        return losses(self, output, batch, list(ORIGINS))

    def answer(self, output: dict[str, Tensor]) -> dict[str, Tensor]:
        """Probabilities: `jet` (B, 4), `origin` (T, 8), `vertex` (P,) of `i`, `j`; and `attention` (T,)."""
        return answers(output)

    def predict_batch(self, batch: Batch) -> ak.Array:
        """Flavour probabilities per jet; and per track, see `tagging.heads.track_columns`."""
        answer = self.run(batch)
        columns = track_columns(self, answer, batch, list(ORIGINS))
        return self.probabilities(answer["jet"].cpu().numpy(), **columns)


class Network(nn.Module):
    """Inputs -> tracks -> transformer -> pooled jet -> heads."""

    def __init__(self, gn2: GN2, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        features = tracks_of(inputs, gn2)
        width, out, self.registers = gn2.width, gn2.out, gn2.registers
        self.preprocess = Preprocess(inputs, statistics)
        self.initial = dense([features, *gn2.initial, width])
        self.encoder = Encoder(width, gn2.layers, gn2.heads, gn2.feed_forward, out, gn2.registers)
        self.gate = nn.Linear(out, 1)
        self.heads = Heads(gn2, out, inputs, statistics, ORIGINS)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """What `tagging.heads.Heads` gives: `jet` (B, 4), `origin` (T, 8), `vertex` (P,) logits."""
        batch = self.preprocess(batch)
        tracks = batch.collections["tracks"]
        layout = Layout.of(tracks.offsets, tracks.values.shape[0])
        jets = layout.spread(layout.sort_events(batch.event))
        h = self.initial(torch.cat([layout.sort_tokens(tracks.values), jets], -1))
        with_registers, wide = self.encoder(h, layout)
        g, share = attention_pool(with_registers, self.gate(with_registers), wide)
        places = layout.places(self.registers)
        h, share = with_registers.index_select(0, places), share.index_select(0, places)
        result: dict[str, Tensor] = self.heads(h, g, share, layout)
        return result
