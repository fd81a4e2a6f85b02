"""DeepJet: convolutions over single particles, memories over their sequence, dense layers [2008.10519]."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from femtobarn.data.inputs import Collection, Feature, Inputs, Label
from femtobarn.data.ragged import Batch
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.heads import dense
from femtobarn.nn.preprocess import Preprocess, Statistics
from femtobarn.nn.recurrent import Memory
from femtobarn.tagging.dl1 import VERTICES

__all__ = ["DeepJet"]

CHARGED = {
    "IP3D_signed_d0_significance": "asinh",
    "IP3D_signed_z0_significance": "asinh",
    "IP3D_signed_d0": "none",
    "IP3D_signed_z0": "none",
    "pt": "log",
    "dr": "log",
    "deta": "none",
    "numberOfInnermostPixelLayerHits": "none",
    "numberOfNextToInnermostPixelLayerHits": "none",
    "numberOfPixelHits": "none",
    "numberOfPixelSharedHits": "none",
    "numberOfSCTHits": "none",
}
"""Features of charged particles, and how they are read."""
NEUTRAL = {"pt": "log", "dr": "log", "isPhoton": "none"}
"""Features of neutral particles."""
VERTEX = [name for name in VERTICES if name.startswith("SV1_")]
"""Features of the secondary vertex."""


@method
class DeepJet(Classifier):
    """Charged and neutral particles and the secondary vertex of a jet, each in its own way [2008.10519].

    The same small network (a 1x1 convolution) makes a few numbers of each charged particle, and another of
    each neutral one; a long short-term memory reads each sequence, charged particles of largest |s(d0)| and
    neutral ones of largest pT last, which it remembers best, as the authors' DL4Jets does; what is left goes
    through dense layers together with the vertex and the jet.

    Ours, not the paper's: three flavours, not six classes; 12 of its 16 numbers of a charged particle, 3 of
    6 of a neutral one, pT and eta of its 15 of the jet; the order, where CMS sorts by signed significances
    and by the distance to the vertex. The vertex is that of SV1, whose columns the sample must hold: one a
    jet, where CMS reads up to four through a memory of their own. Without batch normalisation, which would
    make a jet's score depend on the jets it was trained beside.

    Attributes:
        charged: sizes of the layers on each charged particle.
        neutral: sizes of the layers on each neutral one.
        vertex: sizes of the layers on the vertex.
        memories: sizes of the two LSTMs.
        hidden: sizes of the dense layers.
        dropout: of all layers.
        longest: particles read of each kind.
    """

    contract_exempt: ClassVar[dict[str, str]] = {"permutation": "the particles are read in an order"}

    charged: tuple[PositiveInt, ...] = Field(default=(64, 32, 32, 8), min_length=1)
    neutral: tuple[PositiveInt, ...] = Field(default=(32, 16, 4), min_length=1)
    vertex: tuple[PositiveInt, ...] = Field(default=(64, 32, 32, 8), min_length=1)
    memories: tuple[PositiveInt, PositiveInt] = (150, 50)
    hidden: tuple[PositiveInt, ...] = (200, 100, 100, 100, 100, 100, 100, 100)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    longest: PositiveInt = 25

    def default_inputs(self) -> Inputs:
        """12 features of a charged and 3 of a neutral particle, 8 of the vertex, pT and eta of the jet."""
        event = [Feature(name="pt", transform="log"), Feature(name="eta")]
        event += [Feature.model_validate({"name": name, "transform": VERTICES[name]}) for name in VERTEX]
        return Inputs(
            event=event,
            collections={
                "tracks": _collection(CHARGED, "IP3D_signed_d0_significance", self.longest),
                "flows": _collection(NEUTRAL, "pt", self.longest),
            },
            labels={
                "jet": Label(field="flavour_label", classes={"b": ["bjets"], "c": ["cjets"], "u": ["ujets"]})
            },
            weight="mcEventWeight",
            mirrors={"z": ["eta", "tracks.deta"]},
        )

    def default_training(self) -> Training:
        """Adam, batches of 10000 jets, 65 epochs, and a rate that falls from 1e-3 along a cosine.

        The authors' DL4Jets takes 1e-3 in the first epoch and 1e-4 in all others.
        """
        return Training(optimiser="adam", learning_rate=1e-3, schedule="cosine", batch_size=10_000, epochs=65)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`.

        Raises:
            InputError: when the inputs lack the tracks, the flows, the label `jet`, or all of SV1's columns.
        """
        if not {"tracks", "flows"} <= set(inputs.collections) or "jet" not in inputs.labels:
            raise InputError("DeepJet's inputs need the collections 'tracks' and 'flows' and a label 'jet'")
        if not any(feature.name in VERTEX for feature in inputs.event_features):
            raise InputError(f"DeepJet's inputs need columns of SV1's vertex among {', '.join(VERTEX)}")
        return Network(self, inputs, statistics)


def _collection(features: dict[str, str], order_by: str, longest: int) -> Collection:
    chosen = [
        Feature.model_validate(
            {"name": name, "transform": transform, "clip": (-8.0, 0.0) if name == "dr" else None}
        )
        for name, transform in features.items()
    ]
    return Collection(features=chosen, max_length=longest, order_by=order_by)


class Network(nn.Module):
    """Particles -> numbers of each -> memories; vertex -> numbers; all -> logits of the flavours."""

    def __init__(self, deepjet: DeepJet, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        names = [feature.name for feature in inputs.event_features]
        self.own = [k for k, name in enumerate(names) if name not in VERTEX]
        self.of_vertex = [k for k, name in enumerate(names) if name in VERTEX]
        self.preprocess = Preprocess(inputs, statistics)
        self.single, self.memory = nn.ModuleDict(), nn.ModuleDict()
        layers = {"tracks": deepjet.charged, "flows": deepjet.neutral}
        for (name, sizes), memory in zip(layers.items(), deepjet.memories, strict=True):
            features = len(inputs.collections[name].features)
            self.single[name] = dense([features, *sizes], final=True, dropout=deepjet.dropout)
            longest = inputs.collections[name].max_length or deepjet.longest
            self.memory[name] = Memory(sizes[-1], memory, longest, backwards=True)
        self.vertex = dense([len(self.of_vertex), *deepjet.vertex], final=True, dropout=deepjet.dropout)
        together = len(self.own) + sum(deepjet.memories) + deepjet.vertex[-1]
        classes = len(inputs.labels["jet"].classes)
        self.jet = dense([together, *deepjet.hidden, classes], dropout=deepjet.dropout)
        # Through so many layers the signal keeps its size only if the weights have theirs [1502.01852].
        for layer in self.jet:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        batch = self.preprocess(batch)
        parts: list[Tensor] = [batch.event[:, self.own], self.vertex(batch.event[:, self.of_vertex])]
        for name, single in self.single.items():
            particles = batch.collections[name]
            parts.append(self.memory[name](single(particles.values), particles.offsets))
        return {"jet": self.jet(torch.cat(parts, -1))}
