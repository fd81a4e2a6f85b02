"""From an awkward array to a `Batch`: the fields that `Inputs` names, packed, checked, labels as class
indices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import torch
from numpy.typing import NDArray

from femtobarn.data.inputs import Collection, Feature, Inputs, Label
from femtobarn.data.ragged import Batch, Ragged
from femtobarn.data.sample import Sample
from femtobarn.data.scaling import transformed
from femtobarn.data.schema import Schema
from femtobarn.errors import InputError, closest

__all__ = ["Classes", "Place", "fields_of", "known", "label_map", "labelled_batches", "to_batch"]

Classes = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Place:
    """Where an array comes from, for messages.

    Attributes:
        where: its file or files.
        locate: file and row number of a row of the array; None: "where, row N".
    """

    where: str = "the array"
    locate: Callable[[int], str] | None = None

    def row(self, position: int, segments: NDArray[np.int64] | None = None) -> str:
        """File and row of a row, or of a token when the event of each token is given."""
        row = int(position if segments is None else segments[position])
        return self.locate(row) if self.locate else f"{self.where}, row {row}"


def fields_of(inputs: Inputs) -> list[str]:
    """Every field of a sample that the inputs need, as "pt" or "tracks.d0", each once."""
    names = [feature.name for feature in inputs.event_features]
    names += [label.field for label in inputs.labels.values()]
    names += [*inputs.targets, *inputs.observers, *([inputs.weight] if inputs.weight else [])]
    for name, collection in inputs.collections.items():
        inner = [feature.name for feature in inputs.collection_features(name)]
        inner += [label.field for label in collection.labels.values()]
        inner += [*collection.fields, *collection.select]
        inner += [collection.order_by] if collection.order_by else []
        names += [f"{name}.{field}" for field in inner]
    return list(dict.fromkeys(names))


def to_batch(
    array: ak.Array,
    inputs: Inputs,
    classes: Classes | None = None,
    place: Place | None = None,
) -> Batch:
    """Pack rows of an awkward array: values raw, as float32, neither transformed nor standardised.

    Args:
        array: one record per row.
        inputs: what to take; `inputs.without_labels()` to predict on data without truth.
        classes: class names of label fields, as `Schema.classes`. Labels of a field without class names are
            known by their number as text: `Label(field="Jet_hadronFlavour", classes={"b": ["5"], ...})`.
        place: how messages call the array and its rows.

    Raises:
        InputError: naming file, field and row, for a field that is not there, NaN or infinity in a feature, a
            label outside the file's classes, or a class that the file does not have.
    """
    place = place or Place()
    other = Schema.of(array).restrict(fields_of(inputs), place.where).other
    if other:
        name, kind = next(iter(other.items()))
        raise InputError(f"{place.where}: '{name}' is of type {kind}, which is no number; leave it out")
    event = _stack(
        [(feature, ak.to_numpy(array[feature.name])) for feature in inputs.event_features],
        len(array),
        place,
        None,
    )
    labels: dict[str, torch.Tensor] = {}
    for task, label in inputs.labels.items():
        codes = ak.to_numpy(array[label.field])
        labels[task] = torch.from_numpy(_indices(codes, label, label.field, classes or {}, place, None))
    for target in inputs.targets:
        labels[target] = _floats(array, target, place)
    weights = _floats(array, inputs.weight, place) if inputs.weight else torch.ones(len(array))
    collections = {
        name: _collection(array[name], name, inputs, classes or {}, place) for name in inputs.collections
    }
    fields = {name: _tensor(ak.to_numpy(array[name])) for name in inputs.observers}
    return Batch(torch.from_numpy(event), collections, labels, weights, fields)


def known(array: ak.Array, inputs: Inputs, classes: Classes, place: Place) -> NDArray[np.bool_]:
    """Rows to which at least one event label gives a class, all where there are no labels; (N,) bool."""
    mask = np.full(len(array), not inputs.labels)
    for label in inputs.labels.values():
        mask |= _indices(ak.to_numpy(array[label.field]), label, label.field, classes, place, None) >= 0
    return mask


def labelled_batches(sample: Sample, inputs: Inputs, size: int = 20_000) -> Iterator[Batch]:
    """Stream a sample as batches to fit on, one (possibly empty) for every `size` rows, in order.

    Rows whose event label stands in no class are left out; `sample.weights` multiply the weight field.

    Raises:
        InputError: as `to_batch`, with the file and its row number.
    """
    fields, classes = fields_of(inputs), sample.schema.classes
    for start in range(0, len(sample), size):
        array = sample.read(start, start + size, fields)
        positions = np.arange(start, start + len(array))
        mask = known(array, inputs, classes, _place(sample, positions))
        if not mask.all():
            array, positions = array[mask], positions[mask]
        batch = to_batch(array, inputs, classes, _place(sample, positions))
        if sample.weights is not None:
            batch.weights *= torch.from_numpy(sample.weights[positions])
        yield batch


def _place(sample: Sample, positions: NDArray[np.int64]) -> Place:
    return Place(sample.where, lambda row: sample.locate(int(positions[row])))


def _collection(rows: ak.Array, name: str, inputs: Inputs, classes: Classes, place: Place) -> Ragged:
    settings = inputs.collections[name]
    features = inputs.collection_features(name)
    needed = [entry.partition(".")[2] for entry in fields_of(Inputs(collections={name: settings}))]
    packed = ak.to_packed(rows[needed]).layout.to_ListOffsetArray64(True)
    offsets = np.asarray(packed.offsets.data, dtype=np.int64)
    columns = {field: ak.to_numpy(packed.content.content(field)) for field in needed}
    whole = offsets
    for field in settings.select:
        bad = np.flatnonzero(~np.isfinite(columns[field]))
        if len(bad):
            row = place.row(int(bad[0]), np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)))
            raise InputError(
                f"{row}: '{name}.{field}', by which the inputs select, is {columns[field][bad[0]]}; "
                "remove such rows or give the field a finite value"
            )
    offsets, chosen = _first(offsets, columns, settings)
    if chosen is not None:
        columns = {field: column[chosen] for field, column in columns.items()}
    segments = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    named = [
        (feature.model_copy(update={"name": f"{name}.{feature.name}"}), columns[feature.name])
        for feature in features
    ]
    values = _stack(named, len(segments), place, segments)
    fields = {field: _tensor(columns[field]) for field in settings.fields}
    for task, label in settings.labels.items():
        indices = _indices(columns[label.field], label, f"{name}.{label.field}", classes, place, segments)
        fields[task] = torch.from_numpy(indices)
    source = None if chosen is None else (torch.from_numpy(whole), torch.from_numpy(chosen))
    return Ragged(torch.from_numpy(values), torch.from_numpy(offsets), fields, source)


def _first(
    offsets: NDArray[np.int64], columns: Mapping[str, NDArray[Any]], settings: Collection
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Offsets and tokens (None: all, as they are) after ordering, selecting and cutting to the length."""
    counts = np.diff(offsets)
    longest = settings.max_length
    short = longest is None or not len(counts) or int(counts.max()) <= longest
    if settings.order_by is None and short and not settings.select:
        return offsets, None
    segments = np.repeat(np.arange(len(counts)), counts)
    order = np.arange(len(segments))
    if settings.order_by is not None:
        key = np.abs(columns[settings.order_by].astype(np.float64))
        order = np.lexsort((-key, segments))
    for field, (low, high) in settings.select.items():
        values = columns[field][order]
        outside = np.zeros(len(order), np.bool_)
        if low is not None:
            outside |= values < low
        if high is not None:
            outside |= values >= high
        order = order[~outside]
    counts = np.bincount(segments[order], minlength=len(counts))
    if longest is not None:
        starts = np.cumsum(counts) - counts
        order = order[np.arange(len(order)) - starts[segments[order]] < longest]
        counts = np.minimum(counts, longest)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), order


def _stack(
    columns: Sequence[tuple[Feature, NDArray[Any]]],
    length: int,
    place: Place,
    segments: NDArray[np.int64] | None,
) -> NDArray[np.float32]:
    """Columns side by side as (length, F) float32, after a check that they are usable."""
    values = np.empty((length, len(columns)), dtype=np.float32)
    for position, (_, column) in enumerate(columns):
        values[:, position] = column
    features = [feature for feature, _ in columns]
    with np.errstate(divide="ignore", invalid="ignore"):
        usable = np.isfinite(values) & np.isfinite(transformed(values, features))
    if not usable.all():
        row, position = (int(entry[0]) for entry in np.nonzero(~usable))
        feature, value = features[position], values[row, position]
        what = f"is {value}" if not np.isfinite(value) else f"is {value:g}, which has no {feature.transform}"
        raise InputError(
            f"{place.row(row, segments)}: feature '{feature.name}' {what}; "
            "remove such rows or give the field a finite default"
        )
    return values


def label_map(label: Label, name: str, classes: Classes, where: str) -> NDArray[np.int64]:
    """Class index of each code of the file, -1 for a class of the file that stands nowhere, (number of
    codes,).

    Raises:
        InputError: when the file has none of the classes folded into one of the label's.
    """
    known = list(classes[name])
    indices = np.full(len(known), -1, dtype=np.int64)
    for index, (ours, theirs) in enumerate(label.classes.items()):
        found = [known.index(entry) for entry in theirs if entry in known]
        if not found:
            raise InputError(
                f"{where}: label '{name}' has no class {' or '.join(theirs)} for '{ours}'"
                + closest(theirs[0], known)
            )
        indices[found] = index
    return indices


def _indices(
    codes: NDArray[Any],
    label: Label,
    name: str,
    classes: Classes,
    place: Place,
    segments: NDArray[np.int64] | None,
) -> NDArray[np.int64]:
    if name not in classes:
        return _numbered(codes, label, name, place.where)
    indices = label_map(label, name, classes, place.where)
    outside = ~((codes >= 0) & (codes < len(indices)))
    if outside.any():
        first = int(np.argmax(outside))
        raise InputError(
            f"{place.row(first, segments)}: label '{name}' is {codes[first]}, outside its {len(indices)} "
            f"classes {', '.join(classes[name])}; mend the label or the list of classes"
        )
    return indices[codes.astype(np.int64)]


def _numbered(codes: NDArray[Any], label: Label, name: str, where: str) -> NDArray[np.int64]:
    """Indices of labels whose classes are named by their numbers."""
    table: dict[int, int] = {}
    for index, theirs in enumerate(label.classes.values()):
        for entry in theirs:
            if not entry.lstrip("-").isdigit():
                raise InputError(
                    f"{where}: label '{name}' comes without class names, so classes go by number; "
                    f"write the code instead of '{entry}'"
                )
            table[int(entry)] = index
    values, inverse = np.unique(codes, return_inverse=True)
    return np.array([table.get(int(value), -1) for value in values], dtype=np.int64)[inverse]


def _floats(array: ak.Array, name: str, place: Place) -> torch.Tensor:
    values = ak.to_numpy(array[name]).astype(np.float32)
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise InputError(f"{place.row(row)}: '{name}' is {values[row]}; it must be finite")
    return torch.from_numpy(values)


_WIDER: dict[Any, Any] = {np.uint16: np.int32, np.uint32: np.int64, np.uint64: np.int64}


def _tensor(values: NDArray[Any]) -> torch.Tensor:
    """The values in the same type, or the next wider where torch does not compute with it."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=_WIDER.get(values.dtype.type, values.dtype)))
