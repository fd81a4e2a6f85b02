"""What the general classifiers read unless they are told: the textbook's two features of two classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from femtobarn.data.inputs import Inputs, Label
from femtobarn.data.packing import labelled_batches
from femtobarn.data.sample import Sample
from femtobarn.data.scaling import transformed
from femtobarn.errors import InputError

__all__ = ["balanced", "events_of", "quantiles", "textbook_inputs", "varying_features"]

Floats = NDArray[np.float64]


def textbook_inputs() -> Inputs:
    """Features `x1`, `x2`; the field `label` with classes `signal` and `background`; the field `weight`."""
    classes = {"s": ["signal"], "b": ["background"]}
    return Inputs(
        event=["x1", "x2"], labels={"class": Label(field="label", classes=classes)}, weight="weight"
    )


def events_of(
    sample: Sample, inputs: Inputs, task: str, name: str
) -> tuple[Floats, NDArray[np.int64], Floats]:
    """All events of a sample in memory: features (N, F), class (N,), weight (N,).

    Raises:
        InputError: when a class has no weight, or a feature is not there or not finite.
    """
    batches = list(labelled_batches(sample, inputs))
    if not batches:
        raise InputError(f"{sample.name}: there are no events: check the selection")
    values = np.concatenate([batch.event.numpy() for batch in batches]).astype(np.float64)
    labels = np.concatenate([batch.labels[task].numpy() for batch in batches])
    weights = np.concatenate([batch.weights.numpy() for batch in batches]).astype(np.float64)
    classes = list(inputs.labels[task].classes)
    absent = [one for k, one in enumerate(classes) if not weights[labels == k].sum() > 0]
    if absent:
        counts = np.bincount(labels, minlength=len(classes))
        if any(counts[classes.index(one)] for one in absent):
            raise InputError(
                f"{sample.name}: the weights of class {', '.join(absent)} do not sum to more than "
                f"zero: {name} needs all classes; check the weight field"
            )
        raise InputError(f"{sample.name}: no events of class {', '.join(absent)}: {name} needs all classes")
    return values, labels, weights


def varying_features(values: Floats, inputs: Inputs, sample: Sample) -> Floats:
    """Features (N, F) after their transforms.

    Raises:
        InputError: when one has the same value in all events.
    """
    values = transformed(values, inputs.event_features).astype(np.float64)
    for feature, width in zip(inputs.event_features, np.ptp(values, axis=0), strict=True):
        if not width > 0:
            raise InputError(f"{sample.name}: '{feature.name}' is the same in all events: leave it out")
    return values


def balanced(labels: NDArray[np.int64], weights: Floats, classes: int) -> Floats:
    """Weights (N,) scaled so that those of each class sum to one: all classes count as equally frequent."""
    return np.asarray(weights / np.bincount(labels, weights, minlength=classes)[labels], dtype=np.float64)


def quantiles(values: Floats, weights: Floats, at: Floats) -> Floats:
    """The lowest of the values (N,) up to which a share `at` of the weights (N,), none negative, lies."""
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order])
    index = np.searchsorted(share, at * share[-1] * (1 - 1e-12))
    return np.asarray(values[order][np.minimum(index, len(values) - 1)], dtype=np.float64)
