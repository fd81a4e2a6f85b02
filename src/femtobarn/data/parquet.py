"""Parquet: collections as lists of structs, class names and provenance in the schema's metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import pyarrow as pa
import pyarrow.parquet as pq

from femtobarn.data.atomic import atomic
from femtobarn.data.reader import build, clipped, file_key, pick
from femtobarn.data.schema import Schema
from femtobarn.errors import InputError

__all__ = ["ParquetReader", "ParquetWriter"]

_KEY = b"femtobarn"
_ROWS = 10_000  # rows per group: what a read touches at least


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: not a readable Parquet file, truncated or corrupt ({reason}); copy it again"
        ) from error


class ParquetReader:
    """One Parquet file; only the row groups and columns needed are read."""

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self.name = str(path)
        with _readable(path):
            file = pq.ParquetFile(path)
            arrow = file.schema_arrow
            groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            # Leaves come in the same order in both schemas; what lists are called depends on the writer.
            paths = [file.schema.column(column).path for column in range(len(file.schema))]
        names = [name for field in arrow for name in _leaves(field.name, field.type)]
        self._columns = list(zip(names, paths, strict=True))
        self._last: tuple[tuple[list[int], list[str]], pa.Table] | None = None
        self._starts = [0]
        for rows in groups:
            self._starts.append(self._starts[-1] + rows)
        stored = json.loads((arrow.metadata or {}).get(_KEY, b"{}"))
        self.attributes: dict[str, Any] = stored.get("attributes", {})
        empty = _plain(ak.from_arrow(arrow.empty_table()))
        self.schema = Schema.of(empty, stored.get("classes", {}))

    def __len__(self) -> int:
        return self._starts[-1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def key(self) -> str:
        """Text that changes when the file or the way it is read does."""
        return file_key(Path(self.name))

    def read(self, start: int, stop: int, fields: Sequence[str] | None = None) -> ak.Array:
        """Rows `start:stop` with the given fields."""
        wanted = self.schema.restrict(fields, self.name)
        start, stop = clipped(start, stop, len(self))
        groups = [
            group
            for group, (first, last) in enumerate(zip(self._starts, self._starts[1:], strict=False))
            if first < stop and last > start
        ]
        columns = [
            path
            for name, path in self._columns
            if any(f"{name}.".startswith(f"{top}.") for top in wanted.names)
        ]
        if not columns:
            return build({}, stop - start)
        # Other programs write groups of a million rows: reading on within one must not decompress it again.
        if self._last is None or self._last[0] != (groups, columns):
            with _readable(Path(self.name)):
                table = pq.ParquetFile(self.name).read_row_groups(groups, columns=columns)
            self._last = (groups, columns), table
        table = self._last[1]
        first = self._starts[groups[0]] if groups else start
        rows = _plain(ak.from_arrow(table.slice(start - first, stop - start)))
        return pick(rows, wanted)


def _leaves(name: str, kind: pa.DataType) -> list[str]:
    """Dotted names of the columns that hold a field: "tracks.d0"."""
    if pa.types.is_struct(kind):
        return [leaf for inner in kind for leaf in _leaves(f"{name}.{inner.name}", inner.type)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _leaves(name, kind.value_type)
    return [f"{name}.key", f"{name}.value"] if pa.types.is_map(kind) else [name]


def _plain(array: ak.Array) -> ak.Array:
    """Without the option types that other programs declare for columns that miss nothing."""

    def strip(layout: Any, **_: Any) -> Any:
        if layout.is_option and not layout.is_record:
            missing = layout.mask_as_bool(valid_when=False)
            if not missing.any():
                return ak.to_layout(ak.transform(strip, layout.project(), numpy_to_regular=False))
        return None

    return ak.transform(strip, array, numpy_to_regular=False)


class ParquetWriter:
    """Write rows to Parquet (zstd), one call after the other; the file appears on close."""

    def __init__(
        self,
        path: str | Path,
        classes: Mapping[str, Sequence[str]] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        stored = {"classes": {name: list(names) for name, names in (classes or {}).items()}}
        self._metadata = {_KEY: json.dumps({**stored, "attributes": dict(attributes or {})}).encode()}
        self._stack = ExitStack()
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> ParquetWriter:
        self._temporary = self._stack.enter_context(atomic(self.path))
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None and self._writer is None:
            self._stack.__exit__(None, None, None)
            raise InputError(f"{self.path}: there are no rows to write")
        self._stack.__exit__(*error)

    def append(self, array: ak.Array) -> None:
        """Add rows, of any awkward type that Arrow knows."""
        # Packed, since Arrow refuses a column that is a slice of a table.
        table = ak.to_arrow_table(ak.to_packed(array), extensionarray=False, list_to32=True)
        table = table.replace_schema_metadata(self._metadata)
        if self._writer is None:
            self._writer = self._stack.enter_context(
                pq.ParquetWriter(self._temporary, table.schema, compression="zstd")
            )
        if table.schema != self._writer.schema:
            table = table.cast(self._writer.schema)
        self._writer.write_table(table, row_group_size=_ROWS)
