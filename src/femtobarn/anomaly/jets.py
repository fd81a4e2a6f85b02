"""Jets as scorers read them: the four-momenta of their candidates."""

from __future__ import annotations

from femtobarn.data.inputs import Collection, Feature, Inputs
from femtobarn.learn.training import Training
from femtobarn.nn.candidates import MOMENTUM

__all__ = ["TRAINING", "jet_inputs"]

TRAINING = Training(optimiser="adamw", learning_rate=2e-3, schedule="one-cycle", batch_size=200, epochs=20,
                    clip_norm=1.0)  # fmt: skip


def jet_inputs(longest: int = 128) -> Inputs:
    """The `longest` first of the collection `candidates`, which is by falling transverse momentum."""
    features: list[Feature | str] = [Feature(name=name, standardise=False) for name in MOMENTUM]
    candidates = Collection(features=features, max_length=longest)
    return Inputs(collections={"candidates": candidates}, weight="mcEventWeight")
