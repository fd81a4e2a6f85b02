"""Events made up from a method's own inputs: what the contract suite feeds to any method."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.data.inputs import Feature, Inputs, Label
from femtobarn.data.sample import Sample, from_memory


def synthetic(
    inputs: Inputs, events: int, seed: int = 0, lengths: NDArray[np.int64] | None = None, truth: bool = True
) -> Sample:
    """Events with every field of the inputs: features that lean on the label, weights of both signs.

    `lengths` are the tokens of each event in every collection, by default 0 to 12.
    """
    rng = np.random.default_rng(seed)
    classes: dict[str, list[str]] = {}
    fields: dict[str, Any] = {}
    lean = np.zeros(events)
    for label in inputs.labels.values():
        fields[label.field], lean = _labels(label, label.field, events, classes, rng)
    for feature in inputs.event_features:
        fields[feature.name] = _values(feature, lean, rng)
    for name in [*inputs.targets, *inputs.observers]:
        fields.setdefault(name, rng.normal(size=events).astype(np.float32))
    if inputs.weight:
        weights = rng.uniform(0.5, 1.5, events) * np.where(rng.random(events) < 0.1, -0.5, 1.0)
        fields[inputs.weight] = weights.astype(np.float32)
    for name, collection in inputs.collections.items():
        counts = rng.integers(0, 13, events) if lengths is None else lengths
        tokens = int(counts.sum())
        columns: dict[str, Any] = {}
        token_lean = np.repeat(lean, counts)
        for label in collection.labels.values():
            columns[label.field], extra = _labels(label, f"{name}.{label.field}", tokens, classes, rng)
            token_lean = token_lean + extra
        for feature in inputs.collection_features(name):
            columns[feature.name] = _values(feature, token_lean, rng)
        for field in collection.fields:
            columns.setdefault(field, rng.integers(-2, 3, tokens).astype(np.int16))
        if collection.order_by:
            columns.setdefault(collection.order_by, rng.normal(size=tokens).astype(np.float32))
        for field, (low, high) in collection.select.items():  # All of them pass.
            below = None if high is None else np.nextafter(np.float32(high), np.float32(-np.inf))
            columns[field] = np.clip(columns.get(field, rng.normal(size=tokens)), low, below).astype(
                np.float32
            )
        fields[name] = ak.unflatten(ak.zip(columns), counts)
    return from_memory(ak.zip(fields, depth_limit=1), classes)


def _labels(
    label: Label, name: str, size: int, classes: dict[str, list[str]], rng: np.random.Generator
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    known = [entry for entries in label.classes.values() for entry in entries]
    classes[name] = known
    codes = rng.integers(0, len(known), size).astype(np.int8)
    return codes, codes - (len(known) - 1) / 2


def _values(feature: Feature, lean: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    values = rng.normal(size=len(lean)) + rng.uniform(-0.5, 0.5) * lean
    if feature.transform == "log":
        values = np.exp(values)
    if feature.transform != "none":
        values = values * feature.scale
    return values.astype(np.float32)
