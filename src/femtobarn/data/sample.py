"""`Sample`: a lazy view of files. Opening reads no data, views are arrays of row numbers, reading streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.data.formats import find_files, open_reader
from femtobarn.data.reader import JoinedReader, MemoryReader, Reader
from femtobarn.data.schema import Schema
from femtobarn.data.splits import fold_of, split_folds
from femtobarn.errors import InputError

__all__ = ["Rows", "Sample", "from_memory", "open_sample"]

Rows = NDArray[np.int64]

_BLOCK = 20_000  # rows read at once where a view picks rows here and there
_SCAN = 200_000  # rows of one or two scalars read at once


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows (events or jets) of one or several files, in order.

    Attributes:
        readers: the files.
        name: what tables and figures call it.
        rows: numbers of the rows in view, counted through all files; None: all of them. May repeat.
        weights: factor per row in view on top of the weight field (`reweight`), or None.
    """

    readers: tuple[Reader, ...]
    name: str = "sample"
    rows: Rows | None = None
    weights: NDArray[np.float32] | None = field(default=None, repr=False)

    @cached_property
    def schema(self) -> Schema:
        """Fields that all files have."""
        schema = self.readers[0].schema
        for reader in self.readers[1:]:
            schema = schema.common(reader.schema, reader.name)
        return schema

    @property
    def files(self) -> list[Path]:
        """The files, without repetition."""
        return list(dict.fromkeys(reader.path for reader in self.readers if reader.path is not None))

    @property
    def attributes(self) -> dict[str, Any]:
        """Provenance as written in the first file."""
        return self.readers[0].attributes

    @property
    def where(self) -> str:
        """How messages call it: its first file."""
        more = f" (and {len(self.readers) - 1} more)" if len(self.readers) > 1 else ""
        return f"{self.readers[0].name}{more}"

    @cached_property
    def _starts(self) -> Rows:
        return np.concatenate([[0], np.cumsum([len(reader) for reader in self.readers])]).astype(np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1]) if self.rows is None else len(self.rows)

    def read(self, start: int = 0, stop: int | None = None, fields: Sequence[str] | None = None) -> ak.Array:
        """Rows `start:stop` as one record per row; `fields` may name scalars, collections and "tracks.d0".

        Raises:
            InputError: naming the file and the closest field when one is not there.
        """
        stop = len(self) if stop is None else min(stop, len(self))
        if fields is None:
            fields = self.schema.names
        self.schema.restrict(fields, self.where)
        if self.rows is not None:
            return self._gather(self.rows[start:stop], fields)
        parts = []
        for reader, first in zip(self.readers, self._starts[:-1], strict=True):
            low, high = max(start - first, 0), min(stop - first, len(reader))
            if low < high:
                parts.append(reader.read(int(low), int(high), fields))
        if not parts:
            return self.readers[0].read(0, 0, fields)
        return parts[0] if len(parts) == 1 else ak.concatenate(parts)

    def _gather(self, rows: Rows, fields: Sequence[str]) -> ak.Array:
        """Rows in any order: read from first to last in blocks of bounded size, then put in order."""
        if len(rows) == 0:
            return self.readers[0].read(0, 0, fields)
        ordered = bool(np.all(rows[1:] >= rows[:-1]))
        order = None if ordered else np.argsort(rows, kind="stable")
        ranked = rows if order is None else rows[order]
        source = np.searchsorted(self._starts, ranked, side="right") - 1
        local = ranked - self._starts[source]
        edges = np.flatnonzero((np.diff(source) != 0) | (np.diff(local // _BLOCK) != 0)) + 1
        parts = []
        for first, last in zip([0, *edges], [*edges, len(ranked)], strict=True):
            low, high = int(local[first]), int(local[last - 1]) + 1
            block = self.readers[source[first]].read(low, high, fields)
            picked = local[first:last] - low
            whole = high - low == last - first and bool(np.all(np.diff(picked) == 1))
            parts.append(block if whole else ak.to_packed(block[picked]))
        array = parts[0] if len(parts) == 1 else ak.concatenate(parts)
        if order is None:
            return array
        inverse = np.empty_like(order)
        inverse[order] = np.arange(len(order))
        return ak.to_packed(array[inverse])

    def locate(self, position: int) -> str:
        """File and row number of a row of the view, for messages."""
        row = position if self.rows is None else int(self.rows[position])
        source = int(np.searchsorted(self._starts, row, side="right")) - 1
        return f"{self.readers[source].name}, row {row - int(self._starts[source])}"

    def batches(self, size: int = 10_000, fields: Sequence[str] | None = None) -> Iterator[ak.Array]:
        """All rows in order, `size` at a time; memory does not depend on the sample's length."""
        for start in range(0, len(self), size):
            yield self.read(start, start + size, fields)

    def column(self, name: str) -> NDArray[Any]:
        """One scalar of all rows as a flat array, streamed; "abs_eta" is |eta| unless it is a field."""
        absolute = name not in self.schema.scalars and name.removeprefix("abs_") in self.schema.scalars
        stored = name.removeprefix("abs_") if absolute else name
        if stored not in self.schema.scalars:
            self.schema.restrict([stored], self.where)
            raise InputError(f"{self.where}: '{name}' is not one number per row")
        parts = [ak.to_numpy(part[stored]) for part in self.batches(_SCAN, [stored])]
        values = np.concatenate(parts) if parts else np.zeros(0, self.schema.scalars[stored])
        return np.abs(values) if absolute else values

    def take(self, chosen: NDArray[Any]) -> Sample:
        """The rows at these positions of the view, or where a mask (N,) is True; lazy."""
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        rows = chosen.astype(np.int64) if self.rows is None else self.rows[chosen]
        return replace(self, rows=rows, weights=None if self.weights is None else self.weights[chosen])

    def head(self, n: int) -> Sample:
        """The first n rows."""
        return self.take(np.arange(min(n, len(self))))

    def select(self, **ranges: tuple[float, float]) -> Sample:
        """Rows whose scalars lie in half-open ranges: `select(pt=(20, 250), abs_eta=(0, 2.5))`."""
        keep = np.ones(len(self), dtype=np.bool_)
        for name, (low, high) in ranges.items():
            values = self.column(name)
            keep &= (values >= low) & (values < high)
        return self.take(keep)

    def named(self, name: str) -> Sample:
        """The same rows under another name."""
        return replace(self, name=name)

    def beside(self, other: Sample) -> Sample:
        """The rows of the files with further fields from other files of the same rows: scores, for example.

        Raises:
            InputError: when one of the two is a view of chosen rows, or their files differ in length.
        """
        if self.rows is not None or other.rows is not None or len(self.readers) != len(other.readers):
            raise InputError(f"{self.where}: only whole files of the same rows can be put beside each other")
        joined = tuple(JoinedReader(*pair) for pair in zip(self.readers, other.readers, strict=True))
        return replace(self, readers=joined)

    @property
    def splits_by_event(self) -> bool:
        """Whether the files say which rows belong together: by `fold`, or by the number of the event."""
        return "fold" in self.schema.scalars or self._event_number is not None

    @property
    def _event_number(self) -> str | None:
        return next((name for name in ("eventNumber", "event") if name in self.schema.scalars), None)

    def split(self, split: str, *, by: str = "event") -> Sample:
        """The `train`, `valid` or `test` rows: folds 0-5, 6, 7-9.

        Args:
            split: which.
            by: "event": the field `fold`, else a hash of run and event number. "row": a hash of the row
                number, for files that number no events; rows of one event may then come apart.

        Raises:
            InputError: when the file knows neither folds nor event numbers, or when the split is empty.
        """
        chosen = self.folds(*split_folds(split), by=by)
        if len(chosen) == 0:
            raise InputError(
                f"{self.where}: the {split} split is empty ({len(self)} rows in all); use a larger sample"
            )
        return chosen

    def folds(self, *folds: int, by: str = "event") -> Sample:
        """The rows of the given folds (0-9)."""
        return self.take(np.isin(self._folds(by), folds))

    def _folds(self, by: str) -> NDArray[np.uint8]:
        if by == "row":
            rows = np.arange(len(self)) if self.rows is None else self.rows
            return fold_of("", 0, 0, 0, rows)
        scalars = self.schema.scalars
        if "fold" in scalars:
            return self.column("fold").astype(np.uint8)
        event = self._event_number
        if event is None:
            raise InputError(
                f"{self.where} has neither 'fold' nor 'eventNumber' to split by; "
                "write one, or split by row: `split: row` in the YAML's data, split(..., by='row') in Python"
            )
        run = next((name for name in ("runNumber", "run") if name in scalars), None)
        lumi = next((name for name in ("lumiBlock", "luminosityBlock") if name in scalars), None)
        numbers = [self.column(name) if name else 0 for name in (run, lumi, event)]
        return fold_of("", 0, *numbers)


def open_sample(
    source: str | Path | Sequence[str | Path],
    *,
    collection: str | None = None,
    tree: str | None = None,
    units: str | None = None,
    name: str | None = None,
) -> Sample:
    """Open files as one sample, without reading their data.

    Args:
        source: a file, a pattern ("ttbar/*.h5"), a folder, or a list of these.
        collection: one row per member of this collection (`Jet`) instead of per event, scalars of the event
            repeated.
        tree: the tree of a ROOT file; None finds it.
        units: unit of energies (MeV, GeV, TeV), for files that do not say; without it, files in the ATLAS
            layout must say, and all others are taken to be in GeV.
        name: what tables and figures call it; None: the first file's name.

    Raises:
        InputError: for files that are not there, not readable, of an unknown kind or with different classes.
    """
    files = find_files(source)
    readers = tuple(open_reader(file, collection=collection, tree=tree, units=units) for file in files)
    sample = Sample(readers, name or files[0].stem)
    if not sample.schema.names:
        raise InputError(f"{sample.where}: the files have no field in common")
    return sample


def from_memory(
    array: ak.Array, classes: Mapping[str, Sequence[str]] | None = None, name: str = "memory"
) -> Sample:
    """An awkward array of records as a sample, for tests and toys.

    Args:
        array: one record per row, scalars and collections.
        classes: class names of labels: "flavour_label", "tracks.ftagTruthOriginLabel".
        name: what tables and figures call it.
    """
    return Sample(
        (MemoryReader(array, {key: list(names) for key, names in (classes or {}).items()}, name),), name
    )
