"""One row per member of a collection: jets out of events, with the event's scalars repeated."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.data.reader import Reader, build, clipped
from femtobarn.data.root import zipped
from femtobarn.data.schema import Schema
from femtobarn.errors import InputError, closest

__all__ = ["CollectionReader"]

_SCAN = 100_000  # events whose lengths are read at a time


class CollectionReader:
    """The members of one collection of another reader's rows.

    Its scalars are the collection's fields, then the event's scalars whose names are free. Lists of numbers
    that only share a prefix (`jet_pt`, `jet_eta` as `std::vector`) make a collection (`jet`) too; their
    lengths must agree.

    Raises:
        InputError: when there is no such collection.
    """

    def __init__(self, reader: Reader, collection: str) -> None:
        self._reader, self._collection = reader, collection
        self.name, self.path, self.attributes = reader.name, reader.path, reader.attributes
        schema = reader.schema
        self._members = {
            name.removeprefix(f"{collection}_"): name
            for name, fields in schema.collections.items()
            if name.startswith(f"{collection}_") and list(fields) == [""]
        }
        if collection in schema.collections:
            self._members = {
                (inner or collection): f"{collection}.{inner}" if inner else collection
                for inner in schema.collections[collection]
            }
        elif not self._members:
            raise InputError(
                f"{self.name} has no collection '{collection}'{closest(collection, schema.collections)}"
            )
        dtypes = dict(zip(schema.names, _dtypes(schema), strict=True))
        scalars = {name: dtypes[stored] for name, stored in self._members.items()}
        self._event = [name for name in schema.scalars if name not in scalars]
        scalars |= {name: schema.scalars[name] for name in self._event}
        prefix = f"{collection}."
        classes = {name.removeprefix(prefix): names for name, names in schema.classes.items()}
        self.schema = Schema(scalars, {}, {name: names for name, names in classes.items() if name in scalars})

    @cached_property
    def _offsets(self) -> NDArray[np.int64]:
        first, total = next(iter(self._members.values())), len(self._reader)
        counts = [np.zeros(1, np.int64)]
        for start in range(0, total, _SCAN):
            rows = self._reader.read(start, start + _SCAN, [first])[self._collection_of(first)]
            counts.append(ak.to_numpy(ak.num(rows, axis=1)))
        return np.cumsum(np.concatenate(counts)).astype(np.int64)

    def _collection_of(self, stored: str) -> str:
        return stored.partition(".")[0]

    def __len__(self) -> int:
        return int(self._offsets[-1])

    def key(self) -> str:
        """Text that changes when the file or the way it is read does."""
        return f"{self._reader.key()}|{self._collection}"

    def read(self, start: int, stop: int, fields: Sequence[str] | None = None) -> ak.Array:
        """Members `start:stop`, counted through all events."""
        wanted = self.schema.restrict(fields, self.name)
        start, stop = clipped(start, stop, len(self))
        low = int(np.searchsorted(self._offsets, start, side="right")) - 1
        high = max(low, int(np.searchsorted(self._offsets, stop, side="left")))
        inner = [name for name in wanted.scalars if name in self._members]
        outer = [name for name in wanted.scalars if name not in self._members]
        rows = self._reader.read(low, high, [self._members[name] for name in inner] + outer)
        cut = slice(start - int(self._offsets[low]), stop - int(self._offsets[low]))
        counts = np.diff(self._offsets[low : high + 1])
        columns: dict[str, Any] = {name: np.repeat(ak.to_numpy(rows[name]), counts)[cut] for name in outer}
        lists = {}
        for name in inner:
            stored, _, field = self._members[name].partition(".")
            lists[name] = rows[stored][field] if field else rows[stored]
        if lists:
            members = ak.flatten(zipped(lists, f"{self.name}: {self._collection}"), axis=1)
            columns |= {name: ak.to_numpy(members[name])[cut] for name in inner}
        return build({name: columns[name] for name in wanted.scalars}, stop - start)


def _dtypes(schema: Schema) -> list[Any]:
    inner = [dtype for fields in schema.collections.values() for dtype in fields.values()]
    return [*schema.scalars.values(), *inner, *schema.other.values()]
