"""Events as columns of numbers: what scorers of a fixed number of features share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from femtobarn.data.inputs import Inputs
from femtobarn.data.packing import labelled_batches
from femtobarn.data.sample import Sample
from femtobarn.data.scaling import transformed
from femtobarn.errors import InputError

__all__ = ["column_inputs", "columns_of"]


def column_inputs() -> Inputs:
    """Features `x1` to `x6` and the field `weight`: to be replaced by those of the analysis."""
    return Inputs(event=[f"x{k}" for k in range(1, 7)], weight="weight")


def columns_of(sample: Sample, inputs: Inputs, name: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """All events of a sample in memory: transformed features (N, F) and weights (N,).

    Raises:
        InputError: when no event has a positive weight, when all features are constant, or when one is not
            there or not finite.
    """
    if not inputs.event:
        raise InputError(f"the inputs of '{name}' have no event features: name some under 'event'")
    batches = list(labelled_batches(sample, inputs))
    weights = np.concatenate([np.zeros(0), *(batch.weights.numpy() for batch in batches)])
    if not (weights > 0).any():
        raise InputError(f"{sample.where}: no event of positive weight: {name} has nothing to learn from")
    values = np.concatenate([batch.event.numpy() for batch in batches])
    values = transformed(values, inputs.event_features).astype(np.float32)
    if not np.ptp(values, axis=0).any():
        raise InputError(f"{sample.where}: all features are constant: no event is more unusual than another")
    return values, weights
