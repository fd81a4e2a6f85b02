"""Jets with tracks in memory, as the simulation lays them out, for tests of the data floor."""

from __future__ import annotations

import awkward as ak
import numpy as np

from femtobarn.data import Collection, Feature, Inputs, Label

CLASSES = {
    "flavour_label": ["bjets", "cjets", "ujets", "taujets"],
    "tracks.ftagTruthOriginLabel": [
        "Pileup", "Fake", "Primary", "FromB", "FromBC", "FromC", "FromTau", "OtherSecondary",
    ],
}  # fmt: skip

INPUTS = Inputs(
    event=["pt", "eta"],
    labels={"jet": Label(field="flavour_label", classes={"b": ["bjets"], "c": ["cjets"], "u": ["ujets"]})},
    weight="mcEventWeight",
    observers=["eventNumber"],
    collections={
        "tracks": Collection(
            features=[
                Feature(name="pt", transform="log"),
                "d0",
                Feature(name="numberOfPixelHits", clip=(0, 3)),
            ],
            labels={
                "origin": Label(
                    field="ftagTruthOriginLabel",
                    classes={"primary": ["Primary"], "heavy": ["FromB", "FromBC"]},
                )
            },
            fields=["ftagTruthVertexIndex"],
        )
    },
)


def make_jets(n: int = 1000, seed: int = 1) -> ak.Array:
    """Jets of which some have no track; `eventNumber` counts them, so that each can be told apart."""
    rng = np.random.default_rng(seed)
    counts = np.minimum(rng.poisson(rng.gamma(2.0, 3.0, n)), 40)
    total = int(counts.sum())
    weights = rng.choice([-1.0, 1.0], n, p=[0.1, 0.9]) * rng.uniform(0.5, 2.0, n)
    tracks = ak.zip(
        {
            "pt": (0.5 + rng.exponential(3.0, total)).astype(np.float32),
            "d0": rng.normal(size=total).astype(np.float32),
            "qOverP": rng.normal(size=total).astype(np.float32),
            "numberOfPixelHits": rng.integers(0, 6, total).astype(np.uint8),
            "ftagTruthOriginLabel": rng.integers(0, 8, total).astype(np.int8),
            "ftagTruthVertexIndex": rng.integers(-2, 4, total).astype(np.int16),
        }
    )
    return ak.Array(
        {
            "pt": rng.uniform(20, 250, n).astype(np.float32),
            "eta": rng.uniform(-2.5, 2.5, n).astype(np.float32),
            "mcEventWeight": weights.astype(np.float32),
            "eventNumber": np.arange(n, dtype=np.int64),
            "runNumber": np.full(n, seed, dtype=np.int32),
            "fold": rng.integers(0, 10, n).astype(np.uint8),
            "flavour_label": rng.integers(0, 4, n).astype(np.int8),
            "tracks": ak.unflatten(tracks, counts),
        }
    )
