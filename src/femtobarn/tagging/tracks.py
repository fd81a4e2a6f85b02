"""What taggers that read a jet's tracks share: features, their transforms, truth, auxiliary tasks.

A tagger trained on auxiliary tasks has a network whose output holds, beside `jet`, whichever of the two it
learns: `origin` (T, origins) logits with the factor `balance` of each origin in the loss, and `vertex` (P,)
logits of track pairs `i`, `j` (P,).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from femtobarn.data.inputs import Collection, Feature, Inputs, Label
from femtobarn.data.ragged import Batch, Ragged
from femtobarn.errors import InputError
from femtobarn.nn.losses import binary_cross_entropy, cross_entropy
from femtobarn.physics.vertexing import vertices_from_pairs

__all__ = [
    "JET_FEATURES",
    "TRACK_FEATURES",
    "auxiliary_answer",
    "auxiliary_columns",
    "auxiliary_losses",
    "require_truth",
    "track_inputs",
]

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
"""GN1's 21 inputs per track [ATL-PHYS-PUB-2022-027, Table 1], by their names in ATLAS files."""

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

HEAVY_FLAVOUR = ("FromB", "FromBC", "FromC")
"""Origins whose pairs count double in the vertex loss."""


def track_inputs(
    features: Sequence[str],
    classes: Mapping[str, list[str]],
    origins: Mapping[str, list[str]] | None,
    vertices: bool,
) -> Inputs:
    """A jet's pt and eta and the 40 tracks of largest |s(d0)|, long tails tamed, mirror images in training.

    Args:
        features: of the tracks.
        classes: the tagger's jet flavours and the file's folded into each.
        origins: the tagger's track origins and the file's folded into each, None if their truth is not read.
        vertices: whether the truth vertices of tracks are read.
    """
    tracks = Collection(
        features=[_feature(name) for name in features],
        labels={"origin": Label(field="ftagTruthOriginLabel", classes=dict(origins))} if origins else {},
        fields=["ftagTruthVertexIndex"] if vertices else [],
        max_length=40,
        order_by="IP3D_signed_d0_significance",
    )
    return Inputs(
        event=[_feature(name) for name in JET_FEATURES],
        collections={"tracks": tracks},
        labels={"jet": Label(field="flavour_label", classes=dict(classes))},
        weight="mcEventWeight",
        mirrors=MIRRORS,
    )


def _feature(name: str) -> Feature:
    transform, scale = READ_AS.get(name, ("none", 1.0))
    return Feature.model_validate({"name": name, "transform": transform, "scale": scale})


def require_truth(inputs: Inputs, tagger: str, origins: bool, vertices: bool) -> None:
    """Check that inputs hold the tracks, and the truth that the auxiliary tasks are trained on.

    Raises:
        InputError: when they do not.
    """
    tracks = inputs.collections.get("tracks")
    if tracks is None or "jet" not in inputs.labels:
        raise InputError(f"{tagger}'s inputs need a collection 'tracks' and a label 'jet'")
    if (origins or vertices) and "origin" not in tracks.labels:
        raise InputError(
            "the inputs have no label 'origin' of tracks; give one or switch off auxiliary tasks"
        )
    if vertices and "ftagTruthVertexIndex" not in tracks.fields:
        raise InputError("the inputs lack the tracks' ftagTruthVertexIndex; add it or set vertex_weight=0")


def auxiliary_losses(
    output: Mapping[str, Tensor],
    batch: Batch,
    origins: Sequence[str],
    origin_weight: float,
    vertex_weight: float,
) -> dict[str, Tensor]:
    """`origin`: tracks by inverse class frequency; `vertex`: pairs, heavy flavour double; weight 0: none."""
    tracks, terms = batch.collections["tracks"], {}
    if origin_weight:
        weights = batch.weights.index_select(0, tracks.segments)
        origin = cross_entropy(output["origin"], tracks.fields["origin"], weights, output["balance"])
        terms["origin"] = origin_weight * origin
    if vertex_weight:
        i, j = output["i"], output["j"]
        vertex = tracks.fields["ftagTruthVertexIndex"]
        same = (vertex[i] == vertex[j]) & (vertex[i] >= 0)
        double = torch.tensor([origins.index(name) for name in HEAVY_FLAVOUR], device=i.device)
        heavy = torch.isin(tracks.fields["origin"], double)
        weights = batch.weights[tracks.segments[i]] * (1 + (heavy[i] & heavy[j]))
        terms["vertex"] = vertex_weight * binary_cross_entropy(output["vertex"], same, weights)
    return terms


def auxiliary_answer(output: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Probabilities: `origin` (T, origins), and `vertex` (P,) that tracks `i`, `j` share a vertex."""
    answer = {}
    if "origin" in output:
        answer["origin"] = torch.softmax(output["origin"].float(), -1)
    if "vertex" in output:
        answer |= {"vertex": torch.sigmoid(output["vertex"]), "i": output["i"], "j": output["j"]}
    return answer


def auxiliary_columns(
    name: str, answer: Mapping[str, NDArray[Any]], tracks: Ragged, origins: Sequence[str], threshold: float
) -> dict[str, ak.Array]:
    """Records `tracks` per jet, every track in the order it was read; nothing without auxiliary tasks.

    `<name>_p<Origin>` are the probabilities of the origins. `<name>_VertexIndex` numbers the vertices of a
    jet from 0 in the order of their first track: tracks connected through pairs whose probability reaches
    `threshold`; a track joined to none is a vertex of its own. Tracks that were cut have NaN and -2.
    """
    columns: dict[str, Any] = {}
    if "origin" in answer:
        values = tracks.as_read(answer["origin"], np.nan)
        columns |= {f"{name}_p{origin}": values[:, k] for k, origin in enumerate(origins)}
    if "vertex" in answer:
        joined = answer["vertex"] >= threshold
        offsets = tracks.offsets.cpu().numpy()
        index = vertices_from_pairs(answer["i"][joined], answer["j"][joined], offsets)
        columns[f"{name}_VertexIndex"] = tracks.as_read(index, -2)
    return {"tracks": ak.unflatten(ak.zip(columns), tracks.counts_as_read)} if columns else {}
