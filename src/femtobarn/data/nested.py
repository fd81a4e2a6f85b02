"""HDF5 for events of any shape: numbers, lists, records, strings, however deep.

The group `events` mirrors the type of a row. Numbers are a dataset (N,). A list is a group with the attribute
`kind` = "list", a dataset `offsets` (N+1,) and its members' `content`, row i owning
`content[offsets[i]:offsets[i+1]]`. A record is a group with `kind` = "record" and one member per field. A
string is a list of UTF-8 bytes with `kind` = "string". The root's attributes are `layout` =
"femtobarn-nested", `length`, and as JSON `classes` and `attributes`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
from numpy.typing import NDArray

from femtobarn.data.hdf5 import created, open_hdf5
from femtobarn.data.reader import build, clipped, file_key, pick
from femtobarn.data.schema import Schema
from femtobarn.errors import InputError

__all__ = ["NestedReader", "NestedWriter", "is_nested"]

LAYOUT = "femtobarn-nested"
_CHUNK = 8192  # numbers per HDF5 chunk


def is_nested(file: h5py.File) -> bool:
    """Whether the file has this layout."""
    return bool(file.attrs.get("layout", "") == LAYOUT)


class NestedReader:
    """One file in the nested layout."""

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self.name = str(path)
        with open_hdf5(path) as file:
            self._length = int(file.attrs["length"])
            self.attributes: dict[str, Any] = json.loads(file.attrs["attributes"])
            empty = ak.Array(_read(file["events"], 0, 0))
            self.schema = Schema.of(empty, json.loads(file.attrs["classes"]))

    def __len__(self) -> int:
        return self._length

    def key(self) -> str:
        """Text that changes when the file does."""
        return file_key(Path(self.name))

    def read(self, start: int, stop: int, fields: Sequence[str] | None = None) -> ak.Array:
        """Rows `start:stop` with the given fields."""
        wanted = self.schema.restrict(fields, self.name)
        start, stop = clipped(start, stop, self._length)
        inner: dict[str, set[str]] = {}
        for name in wanted.names:
            outer, _, nested = name.partition(".")
            inner.setdefault(outer, set()).add(nested)
        with open_hdf5(Path(self.name)) as file:
            columns = {
                name: ak.Array(_read(file["events"][name], start, stop, only)) for name, only in inner.items()
            }
        return pick(build(columns, stop - start), wanted)


def _read(node: h5py.Group | h5py.Dataset, start: int, stop: int, only: set[str] | None = None) -> Any:
    """Entries `start:stop` of a node as a layout; `only` limits the fields of its outermost record."""
    if isinstance(node, h5py.Dataset):
        return ak.contents.NumpyArray(node[start:stop])
    kind = node.attrs["kind"]
    if kind == "record":
        names = [name for name in node.attrs["fields"] if only is None or name in only or "" in only]
        return ak.contents.RecordArray(
            [_read(node[name], start, stop) for name in names], names, length=stop - start
        )
    offsets = node["offsets"][start : stop + 1] if stop > start else np.zeros(1, np.int64)
    content = _read(node["content"], int(offsets[0]), int(offsets[-1]), only)
    if kind == "string":
        content = ak.contents.NumpyArray(content.data, parameters={"__array__": "char"})
    parameters = {"__array__": "string"} if kind == "string" else None
    return ak.contents.ListOffsetArray(ak.index.Index64(offsets - offsets[0]), content, parameters=parameters)


class NestedWriter:
    """Write rows of any type without missing values; the file appears on close."""

    def __init__(
        self,
        path: str | Path,
        classes: Mapping[str, Sequence[str]] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self._metadata = {
            "layout": LAYOUT,
            "classes": json.dumps({name: list(names) for name, names in (classes or {}).items()}),
            "attributes": json.dumps(dict(attributes or {})),
        }
        self._stack = ExitStack()
        self._length = 0
        self._lengths: dict[str, int] = {}  # of each list's content so far

    def __enter__(self) -> NestedWriter:
        self._file, self._guard = self._stack.enter_context(created(self.path))
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._file.attrs.update({**self._metadata, "length": self._length})
            self._file.require_group("events")
        self._stack.__exit__(*error)

    def append(self, array: ak.Array) -> None:
        """Add rows."""
        self._append(self._file, "events", ak.to_packed(ak.from_regular(array, axis=None)).layout)
        self._guard.check()
        self._length += len(array)

    def _append(self, parent: h5py.Group, name: str, layout: Any) -> None:
        if layout.is_numpy:
            self._extend(parent, name, np.asarray(layout.data))
        elif layout.is_record:
            group = self._group(parent, name, "record")
            group.attrs.setdefault("fields", layout.fields)
            if list(group.attrs["fields"]) != layout.fields:
                raise InputError(f"{self.path}: the fields of '{name}' changed while writing")
            for field in layout.fields:
                self._append(group, field, layout.content(field)[: layout.length])
        elif layout.is_list:
            string = layout.parameter("__array__") == "string"
            group = self._group(parent, name, "string" if string else "list")
            layout = layout.to_ListOffsetArray64(True)
            if "offsets" not in group:
                self._extend(group, "offsets", np.zeros(1, np.int64))
            last = self._lengths.get(group.name, 0)
            offsets = np.asarray(layout.offsets.data[1:]) + last
            self._extend(group, "offsets", offsets)
            self._lengths[group.name] = int(offsets[-1]) if len(offsets) else last
            content = layout.content[: int(layout.offsets[-1])]
            if string:
                self._extend(group, "content", np.asarray(content.data))
            else:
                self._append(group, "content", content)
        else:
            raise InputError(
                f"{self.path}: '{name}' has missing values, for which HDF5 has no place; write Parquet"
            )

    def _group(self, parent: h5py.Group, name: str, kind: str) -> h5py.Group:
        group = parent.require_group(name)
        group.attrs.setdefault("kind", kind)
        return group

    def _extend(self, parent: h5py.Group, name: str, values: NDArray[Any]) -> None:
        if name not in parent:
            parent.create_dataset(
                name, (0,), values.dtype, maxshape=(None,), chunks=(_CHUNK,),
                compression="gzip", compression_opts=1, shuffle=True,
            )  # fmt: skip
        data = parent[name]
        data.resize(len(data) + len(values), axis=0)
        data[len(data) - len(values) :] = values
