"""Columns of a packed sample, on disk and in memory, and the gathering of rows into batches."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch, Ragged
from femtobarn.errors import InputError

__all__ = ["Columns", "Shuffled", "Table", "join"]

Array = NDArray[Any]
Kinds = Mapping[str, Sequence[Any]]


@dataclass
class Columns:
    """Rows in memory.

    Attributes:
        events: columns with one entry per row: `event`, `weights`, `label.<task>`, `field.<name>`.
        tokens: per collection, offsets (B+1,) and columns with one entry per token: `values`, `label.<task>`,
            `field.<name>`.
    """

    events: dict[str, Array]
    tokens: dict[str, tuple[NDArray[np.int64], dict[str, Array]]]

    @classmethod
    def of(cls, batch: Batch, inputs: Inputs) -> Columns:
        """Columns of a batch made with `inputs`; class indices become int16."""
        events = {"event": batch.event.numpy(), "weights": batch.weights.numpy()}
        events |= {f"label.{task}": _compact(label) for task, label in batch.labels.items()}
        events |= {f"field.{name}": value.numpy() for name, value in batch.fields.items()}
        tokens: dict[str, tuple[NDArray[np.int64], dict[str, Array]]] = {}
        for name, ragged in batch.collections.items():
            columns = {"values": ragged.values.numpy()}
            for key, value in ragged.fields.items():
                task = key in inputs.collections[name].labels
                columns[f"label.{key}" if task else f"field.{key}"] = (
                    _compact(value) if task else value.numpy()
                )
            tokens[name] = (ragged.offsets.numpy(), columns)
        return cls(events, tokens)

    def __len__(self) -> int:
        return len(self.events["weights"])

    def batch(self) -> Batch:
        """All rows, in order, without a copy."""
        ragged = {
            name: (
                torch.from_numpy(offsets),
                {key: torch.from_numpy(value) for key, value in columns.items()},
            )
            for name, (offsets, columns) in self.tokens.items()
        }
        return _batch({name: torch.from_numpy(value) for name, value in self.events.items()}, ragged)

    def shuffled(self, rows: NDArray[np.int64]) -> Shuffled:
        """These rows in this order, to be gathered batch by batch."""
        return Shuffled(self, rows)


class Shuffled:
    """Rows of `Columns` in another order, each row's tokens copied as one piece."""

    def __init__(self, columns: Columns, rows: NDArray[np.int64]) -> None:
        self._events, self._rows = columns.events, rows
        self._tokens = {
            name: (
                offsets,
                np.concatenate([[0], np.cumsum(np.diff(offsets)[rows])]),
                {key: np.ascontiguousarray(value) for key, value in values.items()},
            )
            for name, (offsets, values) in columns.tokens.items()
        }

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, start: int, stop: int) -> Batch:
        """Rows `start:stop` of the new order, copied."""
        rows = self._rows[start:stop]
        events = {name: np.take(value, rows, axis=0) for name, value in self._events.items()}
        tokens: dict[str, tuple[NDArray[np.int64], dict[str, Array]]] = {}
        for name, (offsets, ends, columns) in self._tokens.items():
            edges = ends[start : stop + 1] - ends[start]
            gathered = {key: _pieces(value, offsets[rows], edges) for key, value in columns.items()}
            tokens[name] = edges, gathered
        return Columns(events, tokens).batch()


def _pieces(values: Array, starts: NDArray[np.int64], edges: NDArray[np.int64]) -> Array:
    """Entries `edges[k]` to `edges[k + 1]` of the answer are those of the values from `starts[k]` on."""
    answer = np.empty((int(edges[-1]), *values.shape[1:]), values.dtype)
    width = values.dtype.itemsize * int(np.prod(values.shape[1:], dtype=np.int64))
    _copy(values.reshape(-1).view(np.uint8), answer.reshape(-1).view(np.uint8), starts, edges, width)
    return answer


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _copy(values: Array, answer: Array, starts: Array, edges: Array, width: int) -> None:
    """Of bytes, so that one compiled function serves all types."""
    for k in range(len(starts)):
        piece, place = values[starts[k] * width :], answer[edges[k] * width :]
        for n in range((edges[k + 1] - edges[k]) * width):
            place[n] = piece[n]


def join(batches: Sequence[Batch]) -> Batch:
    """Batches one after the other as one."""
    if len(batches) == 1:
        return batches[0]
    collections = {}
    for name in batches[0].collections:
        parts = [batch.collections[name] for batch in batches]
        lengths = torch.cat([part.lengths for part in parts])
        collections[name] = Ragged(
            torch.cat([part.values for part in parts]),
            torch.cat([lengths.new_zeros(1), torch.cumsum(lengths, 0)]),
            {key: torch.cat([part.fields[key] for part in parts]) for key in parts[0].fields},
        )
    return Batch(
        torch.cat([batch.event for batch in batches]),
        collections,
        {key: torch.cat([batch.labels[key] for batch in batches]) for key in batches[0].labels},
        torch.cat([batch.weights for batch in batches]),
        {key: torch.cat([batch.fields[key] for batch in batches]) for key in batches[0].fields},
    )


def _batch(events: dict[str, Tensor], ragged: Mapping[str, tuple[Tensor, dict[str, Tensor]]]) -> Batch:
    labels = {
        name.removeprefix("label."): _wide(value)
        for name, value in events.items()
        if name.startswith("label.")
    }
    fields = {
        name.removeprefix("field."): value for name, value in events.items() if name.startswith("field.")
    }
    collections = {}
    for name, (offsets, columns) in ragged.items():
        extra = {
            key.removeprefix("label."): value.long()
            for key, value in columns.items()
            if key.startswith("label.")
        }
        extra |= {
            key.removeprefix("field."): value for key, value in columns.items() if key.startswith("field.")
        }
        collections[name] = Ragged(columns["values"], offsets, extra)
    return Batch(events["event"], collections, labels, events["weights"], fields)


def _compact(label: Tensor) -> Array:
    values: Array = label.numpy()
    return values if values.dtype.kind == "f" else values.astype(np.int16)


def _wide(label: Tensor) -> Tensor:
    return label if label.is_floating_point() else label.long()


class Table:
    """Columns in flat binary files of one folder.

    Args:
        folder: where they are.
        columns: dtype and shape per row of each column.
        collections: the same of each collection's columns; its offsets are int64.
    """

    def __init__(self, folder: Path, columns: Kinds, collections: Mapping[str, Kinds]) -> None:
        self._folder = folder
        self._columns, self._collections = columns, collections

    def __getstate__(self) -> dict[str, Any]:
        # Open files do not travel to other processes.
        return {key: value for key, value in self.__dict__.items() if key not in ("_files", "_closing")}

    @cached_property
    def _files(self) -> dict[str, int]:
        names = [f"{name}.bin" for name in self._columns]
        for collection, columns in self._collections.items():
            names += [f"{collection}.offsets.bin", *(f"{collection}.{name}.bin" for name in columns)]
        files = {name: os.open(self._folder / name, os.O_RDONLY) for name in names}
        self._closing = weakref.finalize(self, _close, list(files.values()))
        return files

    def close(self) -> None:
        """Close the files; reading opens them again."""
        if self.__dict__.pop("_files", None) is not None:
            self._closing()

    def read(self, ranges: Sequence[tuple[int, int]], pool: dict[str, Array] | None = None) -> Columns:
        """Ranges of rows, one after the other; `pool` keeps the buffers for the next call."""
        pool = {} if pool is None else pool
        events = {
            name: self._column(f"{name}.bin", kind, ranges, pool) for name, kind in self._columns.items()
        }
        tokens: dict[str, tuple[NDArray[np.int64], dict[str, Array]]] = {}
        for name, columns in self._collections.items():
            widened = [(start, stop + 1) for start, stop in ranges]
            stored = self._column(f"{name}.offsets.bin", ("<i8", ()), widened, pool)
            edges = np.cumsum([0, *(stop - start for start, stop in widened)])
            parts = [stored[low:high] for low, high in pairwise(edges)]
            lengths = np.concatenate([np.diff(part) for part in parts])
            spans = [(int(part[0]), int(part[-1])) for part in parts]
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            values = {
                column: self._column(f"{name}.{column}.bin", kind, spans, pool)
                for column, kind in columns.items()
            }
            tokens[name] = (offsets, values)
        return Columns(events, tokens)

    def _column(
        self, name: str, kind: Sequence[Any], ranges: Sequence[tuple[int, int]], pool: dict[str, Array]
    ) -> Array:
        dtype, shape = np.dtype(kind[0]), tuple(kind[1])
        width = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        length = sum(stop - start for start, stop in ranges)
        if name not in pool or len(pool[name]) < length * width:
            pool[name] = np.empty(length * width, dtype=np.uint8)
        buffer, filled = memoryview(pool[name].data), 0
        for start, stop in ranges:
            end = filled + (stop - start) * width
            self._fill(name, buffer[filled:end], start * width)
            filled = end
        values: Array = pool[name][:filled].view(dtype).reshape(length, *shape)
        return values

    def _fill(self, name: str, buffer: memoryview, position: int) -> None:
        while buffer:
            count = os.preadv(self._files[name], [buffer], position)
            if count == 0:
                raise InputError(
                    f"{self._folder / name} ends too early: delete the folder, it will be built anew"
                )
            buffer, position = buffer[count:], position + count


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)
