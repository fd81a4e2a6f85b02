"""Convert between formats and add columns, streamed: a block of rows in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import awkward as ak

from femtobarn.data.formats import best_layout, open_writer
from femtobarn.data.sample import Sample, open_sample
from femtobarn.data.schema import Schema
from femtobarn.errors import InputError

__all__ = ["append_columns", "blocks", "convert"]

_BYTES = 24 << 20  # of a block in memory
_PROBE = 200  # rows to measure
_SCAN = 20_000  # rows whose lengths are counted at a time

ROOM = 40
"""Tracks a jet has room for in the files of ATLAS."""

Progress = Callable[[int, int], None]


def convert(
    sources: str | Path | Sequence[str | Path],
    destination: str | Path,
    *,
    tree: str | None = None,
    collection: str | None = None,
    units: str | None = None,
    fields: Sequence[str] | None = None,
    layout: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write files of any known format as one file of another; its suffix says which.

    Class names and provenance go along. Memory is bounded by a block, whatever the size of the files.

    Args:
        sources: a file, a pattern, a folder, or a list of these.
        destination: `.h5`, `.parquet` or `.root`; replaced if there, appears when complete.
        tree: the tree of ROOT files; None finds it.
        collection: one row per member of this collection instead of per event.
        units: unit of energies of ATLAS-layout files that do not say.
        fields: what to keep, "pt", "tracks.d0", "tracks"; None: everything.
        layout: of HDF5, "atlas" (jets with tracks, padded to the longest) or "nested" (anything); None:
            "atlas" for rows with tracks, else "nested".
        progress: called with (rows done, rows in all).

    Raises:
        InputError: for files, fields or a destination that cannot be used.
    """
    destination = Path(destination)
    sample = open_sample(sources, tree=tree, collection=collection, units=units)
    _other_file(sample, destination)
    schema = sample.schema.restrict(fields, sample.where)
    layout = layout or best_layout(schema)
    attributes = {**sample.attributes, "converted_from": [file.name for file in sample.files]}
    room = longest(sample, schema) if layout == "atlas" else ROOM
    with open_writer(destination, schema.classes, attributes, layout=layout, max_length=room) as writer:
        for block in blocks(sample, schema.names, progress):
            writer.append(block)
    return destination


def append_columns(
    sample: Sample,
    function: Callable[[ak.Array], ak.Array],
    destination: str | Path,
    *,
    progress: Progress | None = None,
) -> Path:
    """Write a sample with the columns that a function computes from its rows, such as a model's scores.

    Args:
        sample: the rows.
        function: from rows to as many records; a collection among their fields (`tracks`) adds its fields to
            the collection of that name.
        destination: `.h5`, `.parquet` or `.root`.
        progress: called with (rows done, rows in all).

    Raises:
        InputError: when the function returns another number of rows or a field that is there already, does
            not take the rows, or when the file cannot be written.
    """
    _other_file(sample, Path(destination))
    schema = sample.schema
    layout = best_layout(schema)
    room = longest(sample, schema) if layout == "atlas" else ROOM
    with open_writer(
        destination, schema.classes, sample.attributes, layout=layout, max_length=room
    ) as writer:
        done = 0
        for block in blocks(sample, schema.names, progress):
            try:
                extra = function(block)
            except InputError as error:
                raise InputError(f"{sample.where}, rows from {done} on: {error}") from None
            done += len(block)
            if len(extra) != len(block):
                raise InputError(f"{sample.where}: {len(extra)} rows were computed from {len(block)}")
            _refuse_known(sample, extra)
            for name in extra.fields:
                if name not in schema.collections or not extra[name].fields:
                    block = ak.with_field(block, extra[name], name)
                    continue
                merged = block[name]
                for inner in extra[name].fields:
                    merged = ak.with_field(merged, extra[name][inner], inner)
                block = ak.with_field(block, merged, name)
            writer.append(block)
    return Path(destination)


def _refuse_known(sample: Sample, extra: ak.Array) -> None:
    """Nothing that is in the files is written over.

    Raises:
        InputError: when a field, or one of a collection's, has the name of one that is there.
    """
    for name in extra.fields:
        members = sample.schema.collections.get(name, {}) if extra[name].fields else {}
        known = [f"{name}.{inner}" for inner in extra[name].fields if inner in members]
        if known or (not members and name in sample.schema.names):
            raise InputError(
                f"{sample.where} has a field '{(known or [name])[0]}' already: give the scores another name "
                "(`called` in the YAML that the model is trained with), or a file without it"
            )


def _other_file(sample: Sample, destination: Path) -> None:
    if any(file.exists() and destination.exists() and file.samefile(destination) for file in sample.files):
        raise InputError(f"{destination} is one of the sources; choose another name")


def longest(sample: Sample, schema: Schema) -> int:
    """The most members any row has in a collection, streamed; at least `ROOM`, what ATLAS files have."""
    most = ROOM
    for name, fields in schema.collections.items():
        for block in sample.batches(_SCAN, [f"{name}.{next(iter(fields))}" if any(fields) else name]):
            most = max(most, int(ak.max(ak.num(block[name], axis=1), initial=0)))
    return most


def blocks(sample: Sample, fields: Sequence[str], progress: Progress | None = None) -> Iterator[ak.Array]:
    """All rows in order, in blocks of about the same size in bytes; at least one block, if empty."""
    probe = sample.read(0, _PROBE, fields)
    width = max(1, ak.to_packed(probe).nbytes) / max(1, len(probe))
    size = int(min(max(_BYTES / width, 100), 100_000))
    if len(sample) == 0:
        yield probe
    for start in range(0, len(sample), size):
        yield sample.read(start, start + size, fields)
        if progress is not None:
            progress(min(start + size, len(sample)), len(sample))
