"""What taggers with auxiliary tasks end in: the jet's flavour, origins of its tracks, which share a vertex.

GN1 and GN2 differ in how they make a vector per track and one per jet [ATL-PHYS-PUB-2022-027, 2505.19689];
the heads on these, their losses and what is made of their answers are the same. An output holds `jet`
(B, flavours) logits, `attention` (T,), each track's share of the jet's vector, and, of the tasks that are
learnt, `origin` (T, origins) logits with the factor `balance` of each origin in the loss, and `vertex` (P,)
logits of track pairs `i`, `j` (P,).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import awkward as ak
import numpy as np
import torch
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.errors import InputError
from femtobarn.nn.heads import PairHead, TokenHead, dense
from femtobarn.nn.losses import binary_cross_entropy, cross_entropy, inverse_frequencies
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import Layout
from femtobarn.physics.linkage import vertices_from_pairs

__all__ = ["Heads", "Tasks", "answers", "losses", "track_columns", "tracks_of"]

HEAVY_FLAVOUR = ("FromB", "FromBC", "FromC")
"""Origins whose pairs count double in the vertex loss."""


class Tasks(Protocol):
    """The hyper-parameters of a tagger that the heads read."""

    name: str
    jet_head: tuple[int, ...]
    origin_head: tuple[int, ...]
    vertex_head: tuple[int, ...]
    origin_weight: float
    vertex_weight: float
    vertex_threshold: float


class Heads(nn.Module):
    """Networks on the jet's vector, on each track with it, and on each pair of tracks with it.

    Args:
        tasks: the tagger; a task of weight 0 is left out.
        width: numbers per track, and per jet.
        inputs: the tagger's.
        statistics: of the training sample; None where the weights are to be loaded.
        origins: the tagger's track origins.

    Raises:
        InputError: when the inputs lack the tracks, or the truth that an auxiliary task is trained on.
    """

    balance: Tensor

    def __init__(
        self,
        tasks: Tasks,
        width: int,
        inputs: Inputs,
        statistics: Statistics | None,
        origins: Mapping[str, list[str]],
    ) -> None:
        super().__init__()
        self.jet = dense([width, *tasks.jet_head, len(inputs.labels["jet"].classes)])
        self.origin = (
            TokenHead(width, width, tasks.origin_head, len(origins)) if tasks.origin_weight else None
        )
        self.vertex = PairHead(width, width, tasks.vertex_head) if tasks.vertex_weight else None
        counts = statistics.counts.get("tracks.origin") if statistics else None
        self.register_buffer("balance", inverse_frequencies(counts or [1.0] * len(origins)))

    def forward(self, h: Tensor, g: Tensor, share: Tensor, layout: Layout) -> dict[str, Tensor]:
        """h: (T, width), g: (B, width), share: (T, 1), all in the layout's order."""
        output = {"jet": layout.unsort_events(self.jet(g)), "balance": self.balance}
        output["attention"] = layout.unsort_tokens(share.squeeze(-1))
        if self.origin is not None:
            output["origin"] = layout.unsort_tokens(self.origin(h, g, layout))
        if self.vertex is not None:
            output["vertex"], output["i"], output["j"] = self.vertex(h, g, layout)
        return output


def tracks_of(inputs: Inputs, tasks: Tasks) -> int:
    """Check that inputs hold the tracks and the truth of the tasks; gives the features of a track and jet.

    Raises:
        InputError: when they do not.
    """
    tracks, tagger = inputs.collections.get("tracks"), type(tasks).__name__
    if tracks is None or "jet" not in inputs.labels:
        raise InputError(f"{tagger}'s inputs need a collection 'tracks' and a label 'jet'")
    if (tasks.origin_weight or tasks.vertex_weight) and "origin" not in tracks.labels:
        raise InputError(
            "the inputs have no label 'origin' of tracks; give one or switch off auxiliary tasks"
        )
    if tasks.vertex_weight and "ftagTruthVertexIndex" not in tracks.fields:
        raise InputError("the inputs lack the tracks' ftagTruthVertexIndex; add it or set vertex_weight=0")
    return len(inputs.event) + len(tracks.features)


def losses(
    tasks: Tasks, output: Mapping[str, Tensor], batch: Batch, origins: Sequence[str]
) -> dict[str, Tensor]:
    """L = L_jet + vertex_weight L_vertex + origin_weight L_origin [ATL-PHYS-PUB-2022-027, Eq. 4].

    Cross-entropies: of jets; of tracks, by inverse class frequency; of pairs, heavy flavour double.
    """
    tracks = batch.collections["tracks"]
    terms = {"jet": cross_entropy(output["jet"], batch.labels["jet"], batch.weights)}
    if tasks.origin_weight:
        weights = batch.weights.index_select(0, tracks.segments)
        origin = cross_entropy(output["origin"], tracks.fields["origin"], weights, output["balance"])
        terms["origin"] = tasks.origin_weight * origin
    if tasks.vertex_weight:
        i, j = output["i"], output["j"]
        vertex = tracks.fields["ftagTruthVertexIndex"]
        same = (vertex[i] == vertex[j]) & (vertex[i] >= 0)
        double = torch.tensor([list(origins).index(name) for name in HEAVY_FLAVOUR], device=i.device)
        heavy = torch.isin(tracks.fields["origin"], double)
        weights = batch.weights[tracks.segments[i]] * (1 + (heavy[i] & heavy[j]))
        terms["vertex"] = tasks.vertex_weight * binary_cross_entropy(output["vertex"], same, weights)
    return terms


def answers(output: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Probabilities: `jet` (B, flavours), `origin` (T, origins), `vertex` (P,); and `attention` (T,).

    The loss takes all origins for equally frequent. The probabilities of a track's origins are those with the
    frequencies of the training sample, by Bayes' theorem (the paper's are without): so they are right on
    average, and each is the best there is to tell its origin from the others as they occur.
    """
    answer = {"jet": torch.softmax(output["jet"].float(), -1), "attention": output["attention"].float()}
    if "origin" in output:
        absent = output["balance"] == 0
        answer["origin"] = torch.softmax(
            (output["origin"].float() - output["balance"].log()).masked_fill(absent, -torch.inf), -1
        )
    if "vertex" in output:
        answer |= {"vertex": torch.sigmoid(output["vertex"].float()), "i": output["i"], "j": output["j"]}
    return answer


def track_columns(
    tasks: Tasks, answer: Mapping[str, Tensor], batch: Batch, origins: Sequence[str]
) -> dict[str, ak.Array]:
    """Records `tracks` per jet, every track in the order it was read.

    `<name>_attention` is the track's share of the jet's vector. `<name>_p<Origin>` are the probabilities of
    the origins. `<name>_VertexIndex` numbers the vertices of a jet from 0 in the order of their first track:
    tracks joined by their pairs' probabilities, see `physics.linkage`; a track joined to none is a vertex of
    its own. Tracks that were cut have NaN and -2.
    """
    tracks, said = batch.collections["tracks"], {name: value.cpu().numpy() for name, value in answer.items()}
    columns: dict[str, Any] = {"attention": tracks.as_read(said["attention"], np.nan)}
    if "origin" in said:
        values = tracks.as_read(said["origin"], np.nan)
        columns |= {f"p{origin}": values[:, k] for k, origin in enumerate(origins)}
    if "vertex" in said:
        index = vertices_from_pairs(
            said["i"], said["j"], said["vertex"], tracks.offsets.cpu().numpy(), tasks.vertex_threshold
        )
        columns["VertexIndex"] = tracks.as_read(index, -2)
    records = ak.zip({f"{tasks.name}_{name}": values for name, values in columns.items()})
    return {"tracks": ak.unflatten(records, tracks.counts_as_read)}
