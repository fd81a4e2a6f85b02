"""`Inputs`: which fields feed a method, how they are transformed, what is a label, a weight, an observer."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["Collection", "Feature", "Inputs", "Label", "Ranges"]

Ranges = dict[str, tuple[float | None, float | None]]
"""Half-open ranges of fields, None where there is no limit."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Feature(_Settings):
    """One input field and what is done to it, in this order: transform, clip, standardise.

    The transform is of `value / scale`: `asinh` leaves what is well below the scale as it is and takes the
    logarithm of what is well above, `tanh` saturates there. A bare string in a list of features means
    `Feature(name=...)`.
    """

    name: str
    transform: Literal["none", "log", "asinh", "tanh"] = "none"
    scale: float = Field(default=1.0, gt=0)
    clip: tuple[float, float] | None = None
    standardise: bool = True


class Label(_Settings):
    """A class label: the method's classes, each with the file's classes folded into it.

    `Label(field="flavour_label", classes={"b": ["bjets"], "c": ["cjets"], "u": ["ujets"]})`. Entries of a
    file's class that stands nowhere are left out of training (events) or out of the loss (tokens, label -1).
    The file's class names come from the attribute of the same name as the field.
    """

    field: str
    classes: dict[str, list[str]]


class Collection(_Settings):
    """The inputs taken from one collection of variable length, at most `max_length` first in `order_by`.

    `select` names fields and the half-open range, None for no limit, outside of which entries are left out:
    `{"pt": (1.0, None), "d0": (-1.0, 1.0)}`. `order_by` names a field; entries with the largest absolute
    value come first. `labels` are per token, by task; `fields` are carried along as they are (identifiers,
    coordinates).
    """

    features: list[Feature | str]
    labels: dict[str, Label] = Field(default_factory=dict)
    fields: list[str] = Field(default_factory=list)
    select: Ranges = Field(default_factory=dict)
    max_length: int | None = None
    order_by: str | None = None

    @field_validator("select")
    @classmethod
    def _is_a_range(cls, ranges: Ranges) -> Ranges:
        for name, (low, high) in ranges.items():
            if not (-math.inf if low is None else low) < (math.inf if high is None else high):
                raise ValueError(f"{name}: nothing lies from {low} to {high}; give the lower limit first")
        return ranges


class Inputs(_Settings):
    """All a method reads from a sample.

    `event` are scalar fields of each record, `collections` its ragged collections, `labels` its class labels
    by task, `targets` float fields to regress, `weight` the event weight (None: all one), `observers` are
    carried along.

    `mirrors` are reflections that the physics and the detector do not tell apart, by name, each with the
    features that change sign in it ("eta", "tracks.d0"): `{"z": ["eta", "tracks.deta"]}`. While training,
    each event is shown as one of its mirror images, drawn anew every time.
    """

    event: list[Feature | str] = Field(default_factory=list)
    collections: dict[str, Collection] = Field(default_factory=dict)
    labels: dict[str, Label] = Field(default_factory=dict)
    targets: list[str] = Field(default_factory=list)
    weight: str | None = None
    observers: list[str] = Field(default_factory=list)
    mirrors: dict[str, list[str]] = Field(default_factory=dict)

    @property
    def event_features(self) -> list[Feature]:
        """The event's features, bare names made into `Feature`."""
        return _features(self.event)

    def collection_features(self, name: str) -> list[Feature]:
        """The features of a collection, bare names made into `Feature`."""
        return _features(self.collections[name].features)

    def without_labels(self) -> Inputs:
        """What is needed to predict: no labels, targets, weights, mirrors, token labels or identifiers."""
        collections = {
            name: collection.model_copy(update={"labels": {}, "fields": []})
            for name, collection in self.collections.items()
        }
        return Inputs(event=self.event, collections=collections, observers=self.observers)


def _features(entries: list[Feature | str]) -> list[Feature]:
    return [Feature(name=entry) if isinstance(entry, str) else entry for entry in entries]
