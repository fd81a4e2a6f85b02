"""What the general classifiers read unless they are told: the textbook's two features of two classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from femtobarn.data.inputs import Inputs, Label
from femtobarn.data.packing import labelled_batches
from femtobarn.data.sample import Sample
from femtobarn.errors import InputError

__all__ = ["events_of", "textbook_inputs"]


def textbook_inputs() -> Inputs:
    """Features `x1`, `x2`; the field `label` with classes `signal` and `background`; the field `weight`."""
    classes = {"s": ["signal"], "b": ["background"]}
    return Inputs(
        event=["x1", "x2"], labels={"class": Label(field="label", classes=classes)}, weight="weight"
    )


def events_of(
    sample: Sample, inputs: Inputs, task: str, name: str
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """All events of a sample in memory: features (N, F), class (N,), weight (N,).

    Raises:
        InputError: when a class has no weight, or a feature is not there or not finite.
    """
    batches = list(labelled_batches(sample, inputs))
    values = np.concatenate([batch.event.numpy() for batch in batches]).astype(np.float64)
    labels = np.concatenate([batch.labels[task].numpy() for batch in batches])
    weights = np.concatenate([batch.weights.numpy() for batch in batches]).astype(np.float64)
    classes = list(inputs.labels[task].classes)
    absent = [one for k, one in enumerate(classes) if not weights[labels == k].sum() > 0]
    if absent:
        raise InputError(f"{sample.name}: no events of class {', '.join(absent)}: {name} needs all classes")
    return values, labels, weights
