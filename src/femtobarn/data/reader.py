"""`Reader`: what every file format offers, and the reader of arrays in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import awkward as ak
import numpy as np

from femtobarn.data.schema import Schema
from femtobarn.errors import InputError

__all__ = ["JoinedReader", "MemoryReader", "Reader", "Writer", "build", "clipped", "file_key", "pick"]


class Reader(Protocol):
    """One file: rows of records, read by range and by field.

    Attributes:
        name: how error messages call it, usually the file's path.
        path: the file, None in memory.
        schema: its fields.
        attributes: its provenance, whatever the file carries.
    """

    name: str
    path: Path | None
    schema: Schema
    attributes: dict[str, Any]

    def __len__(self) -> int: ...

    def key(self) -> str:
        """Text that changes when the content or the way it is read does."""
        ...

    def read(self, start: int, stop: int, fields: Sequence[str] | None = None) -> ak.Array:
        """Rows `start:stop` with the given fields ("pt", "tracks.d0", or "tracks" for all of it)."""
        ...


class Writer(Protocol):
    """A file being written, row by row; a context manager, the file appears when it closes."""

    def __enter__(self) -> Writer: ...

    def __exit__(self, *error: object) -> None: ...

    def append(self, array: ak.Array) -> None:
        """Add rows; every call must bring the same fields."""
        ...


class MemoryReader:
    """Rows of an awkward array in memory."""

    def __init__(
        self, array: ak.Array, classes: dict[str, list[str]] | None = None, name: str = "memory"
    ) -> None:
        self.name = name
        self.path: Path | None = None
        self.array = array
        self.schema = Schema.of(array, classes)
        self.attributes: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.array)

    def key(self) -> str:
        """Hash of the array."""
        form, _, buffers = ak.to_buffers(ak.to_packed(self.array))
        digest = hashlib.sha256(form.to_json().encode())
        for name in sorted(buffers):
            digest.update(np.ascontiguousarray(buffers[name]).tobytes())
        return digest.hexdigest()

    def read(self, start: int, stop: int, fields: Sequence[str] | None = None) -> ak.Array:
        """Rows `start:stop` with the given fields."""
        rows = self.array[start:stop]
        if fields is None:
            return rows
        return pick(rows, self.schema.restrict(fields, self.name))


class JoinedReader:
    """Two files side by side: row by row the fields of the first, and those of the second it does not have.

    A collection that both have needs the same number of members in each row.

    Raises:
        InputError: when the files differ in length, or in reading, in the members of a collection of a row.
    """

    def __init__(self, first: Reader, second: Reader) -> None:
        if len(first) != len(second):
            raise InputError(
                f"{second.name} has {len(second)} rows and {first.name} {len(first)}: only files of the same "
                "rows can be put side by side"
            )
        self.first, self.second = first, second
        self.name, self.path, self.attributes = first.name, first.path, first.attributes
        ours, theirs = first.schema, second.schema
        collections = {
            name: theirs.collections.get(name, {}) | ours.collections.get(name, {})
            for name in [*ours.collections, *theirs.collections]
        }
        self.schema = Schema(
            theirs.scalars | ours.scalars,
            collections,
            theirs.classes | ours.classes,
            theirs.other | ours.other,
        )

    def __len__(self) -> int:
        return len(self.first)

    def key(self) -> str:
        """Text that changes when one of the files does."""
        return f"{self.first.key()} beside {self.second.key()}"

    def read(self, start: int, stop: int, fields: Sequence[str] | None = None) -> ak.Array:
        """Rows `start:stop` with the given fields of both."""
        wanted = self.schema.restrict(fields, self.name).names
        here = set(self.first.schema.names)
        ours, theirs = [n for n in wanted if n in here], [n for n in wanted if n not in here]
        rows, more = self.first.read(start, stop, ours), self.second.read(start, stop, theirs)
        for name in more.fields:
            if name not in rows.fields:
                rows = ak.with_field(rows, more[name], name)
                continue
            if not ak.all(ak.num(rows[name]) == ak.num(more[name])):
                raise InputError(
                    f"'{name}' differ in number between the rows of {self.name} and {self.second.name}"
                )
            for inner in more[name].fields:
                rows = ak.with_field(rows, more[name][inner], (name, inner))
        return rows


def clipped(start: int, stop: int, length: int) -> tuple[int, int]:
    """The part of a range of rows that a file of this length has."""
    start = min(start, length)
    return start, max(start, min(stop, length))


def file_key(path: Path, *options: object) -> str:
    """Text that changes when the file or the way it is read does: path, size, time of change, options."""
    status = path.stat()
    return "|".join(map(str, (path.resolve(), status.st_size, status.st_mtime_ns, *options)))


def pick(rows: ak.Array, wanted: Schema) -> ak.Array:
    """Only the wanted fields of an array of records."""
    inner: dict[str, list[str]] = {name: list(fields) for name, fields in wanted.collections.items()}
    columns = {name: rows[name] for name in wanted.scalars}
    for name in wanted.other:
        outer, _, nested = name.partition(".")
        inner.setdefault(outer, []).extend([nested] if nested else [])
    for name, fields in inner.items():
        columns[name] = rows[name] if fields in ([""], []) else rows[name][fields]
    return build(columns, len(rows))


def build(columns: dict[str, Any], length: int) -> ak.Array:
    """An array of records from its columns, each of `length` rows; no columns give empty records."""
    for name, column in columns.items():
        if len(column) != length:
            raise InputError(f"field '{name}' has {len(column)} rows where {length} were expected")
    contents = [ak.to_layout(column) for column in columns.values()]
    return ak.Array(ak.contents.RecordArray(contents, list(columns), length=length))
