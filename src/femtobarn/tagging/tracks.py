"""What taggers that read a jet's tracks are given: features, their transforms, mirror images, truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from femtobarn.data.inputs import Collection, Feature, Inputs, Label

__all__ = ["JET_FEATURES", "TRACK_FEATURES", "track_inputs"]

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
