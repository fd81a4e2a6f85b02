"""`PackedCache`: exactly the inputs a training needs, packed on disk once, keyed by content.

A folder of flat binary columns (event features, weights, labels; offsets and columns of each collection)
beside a `meta.json`. Plain arrays read back faster than Arrow IPC and need no more code. Columns are read
into buffers with `preadv`, never memory-mapped, so that resident memory does not grow with the sample.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

import femtobarn
from femtobarn.data import packing
from femtobarn.data.atomic import atomic
from femtobarn.data.columns import Columns, Table
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.data.scaling import Scaling, ScalingFit
from femtobarn.errors import InputError

__all__ = ["PackedCache"]

_STEP = 20_000  # rows packed at a time

Progress = Callable[[int, int], None]


class PackedCache:
    """A packed training sample on disk.

    Attributes:
        folder: where it is.
        inputs: what it holds.
        classes: names of the classes of each task, in the order of the indices; a collection's task "origin"
            is called "tracks.origin".
        scaling: weighted mean and width of every feature, transformed and clipped.
        dropped: rows left out because no event label knew their class.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            meta = json.loads((self.folder / "meta.json").read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{folder}: not a packed cache; build it anew") from error
        self.inputs = Inputs.model_validate(meta["inputs"])
        self.scaling = Scaling.model_validate(meta["scaling"])
        self.dropped: int = meta["dropped"]
        self.classes = _task_classes(self.inputs)
        self._counts: dict[str, list[float]] = meta["counts"]
        self._sums: dict[str, list[float]] = meta["sums"]
        self._length: int = meta["length"]
        self._table = Table(self.folder, meta["columns"], meta["collections"])

    def __len__(self) -> int:
        return self._length

    @classmethod
    def build(
        cls, sample: Sample, inputs: Inputs, folder: str | Path, progress: Progress | None = None
    ) -> PackedCache:
        """The cache of a sample and its inputs below `folder`: found there, or built, streaming.

        Rows whose event label stands in none of the label's classes are left out. Values are kept raw:
        transform, clip and standardisation happen in the network.

        Args:
            sample: rows to pack; `sample.weights` multiply the weight field.
            inputs: what to pack.
            folder: holds one sub-folder per content key.
            progress: called with (rows done, rows in all).

        Raises:
            InputError: naming file, field and row: NaN or infinity in a feature, a label outside the classes,
                a field that is not there; an empty sample; a full disk.
        """
        target = Path(folder) / _key(sample, inputs)
        if len(sample) == 0:
            raise InputError(f"{sample.where}: there are no rows to train on")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Trainings that start together on one sample: the first packs, the others wait for it.
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not (target / "meta.json").is_file():
                with atomic(target) as temporary:
                    temporary.mkdir(parents=True)
                    _Builder(sample, inputs, temporary).run(progress)
        return cls(target)

    def batch(self, start: int, stop: int) -> Batch:
        """Rows `start:stop`, in order."""
        return self.read([(start, min(stop, len(self)))]).batch()

    def close(self) -> None:
        """Close its files; reading opens them again."""
        self._table.close()

    def read(self, ranges: Sequence[tuple[int, int]], pool: dict[str, NDArray[Any]] | None = None) -> Columns:
        """Ranges of rows, one after the other, as columns in memory.

        Args:
            ranges: (start, stop) of each.
            pool: buffers to read into, reused from call to call; what was read before is overwritten.
        """
        return self._table.read(ranges, pool)

    def class_counts(self, task: str) -> NDArray[np.float64]:
        """Sum of |weight| per class of a task ("jet"; "tracks.origin" for tokens), (classes,)."""
        if task not in self._counts:
            raise InputError(f"{self.folder}: there is no task '{task}'; there is: {', '.join(self._counts)}")
        return np.array(self._counts[task])

    def class_sums(self, task: str) -> NDArray[np.float64]:
        """Sum of the weights, signs and all, per class of an event's task, (classes,)."""
        return np.array(self._sums[task])


def _task_classes(inputs: Inputs) -> dict[str, list[str]]:
    tasks = {task: list(label.classes) for task, label in inputs.labels.items()}
    for name, collection in inputs.collections.items():
        tasks |= {f"{name}.{task}": list(label.classes) for task, label in collection.labels.items()}
    return tasks


def _key(sample: Sample, inputs: Inputs) -> str:
    """Hash of all that the content depends on: files, rows, weights, inputs, and the code of this folder."""
    digest = hashlib.sha256()
    for part in (
        femtobarn.__version__,
        inputs.model_dump_json(),
        *(reader.key() for reader in sample.readers),
    ):
        digest.update(part.encode() + b"\0")
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.read_bytes())
    for values in (sample.rows, sample.weights):
        digest.update(b"all" if values is None else np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:20]


class _Builder:
    """Packs a sample block by block and appends to one file per column."""

    def __init__(self, sample: Sample, inputs: Inputs, folder: Path) -> None:
        self.sample, self.inputs, self.folder = sample, inputs, folder
        self.fit = ScalingFit(inputs)
        self.counts = {task: np.zeros(len(names)) for task, names in _task_classes(inputs).items()}
        self.sums = {task: np.zeros(len(label.classes)) for task, label in inputs.labels.items()}
        self.columns: dict[str, Any] = {}
        self.collections: dict[str, dict[str, Any]] = {name: {} for name in inputs.collections}
        self.tokens = dict.fromkeys(inputs.collections, 0)
        self.length = 0
        self._files: dict[str, Any] = {}

    def run(self, progress: Progress | None) -> None:
        total = len(self.sample)
        with ExitStack() as stack:
            self._stack = stack
            for name in self.inputs.collections:
                self._append(f"{name}.offsets.bin", np.zeros(1, dtype=np.int64))
            for number, batch in enumerate(
                packing.labelled_batches(self.sample, self.inputs, _STEP), start=1
            ):
                self._add(batch)
                if progress is not None:
                    progress(min(number * _STEP, total), total)
        if self.length == 0:
            raise InputError(
                f"{self.sample.where}: no row belongs to a class of the labels; check their classes"
            )
        meta = {
            "length": self.length,
            "dropped": total - self.length,
            "files": [str(file) for file in self.sample.files],
            "inputs": self.inputs.model_dump(mode="json"),
            "scaling": self.fit.result().model_dump(),
            "counts": {task: counts.tolist() for task, counts in self.counts.items()},
            "sums": {task: sums.tolist() for task, sums in self.sums.items()},
            "columns": self.columns,
            "collections": self.collections,
        }
        (self.folder / "meta.json").write_text(json.dumps(meta, indent=1))

    def _add(self, batch: Batch) -> None:
        self.fit.add(batch)
        self._count(batch)
        columns = Columns.of(batch, self.inputs)
        for name, values in columns.events.items():
            self.columns[name] = [values.dtype.str, list(values.shape[1:])]
            self._append(f"{name}.bin", values)
        for name, (offsets, tokens) in columns.tokens.items():
            self._append(f"{name}.offsets.bin", offsets[1:] + self.tokens[name])
            self.tokens[name] += int(offsets[-1])
            for column, values in tokens.items():
                self.collections[name][column] = [values.dtype.str, list(values.shape[1:])]
                self._append(f"{name}.{column}.bin", values)
        self.length += len(batch)

    def _count(self, batch: Batch) -> None:
        signed = batch.weights.numpy().astype(np.float64)
        weights = np.abs(signed)
        for task in self.inputs.labels:
            labels = batch.labels[task].numpy()
            self.counts[task] += _tally(labels, weights, len(self.counts[task]))
            self.sums[task] += _tally(labels, signed, len(self.sums[task]))
        for name, collection in self.inputs.collections.items():
            tokens = np.repeat(weights, batch.collections[name].lengths.numpy())
            for task in collection.labels:
                counts = self.counts[f"{name}.{task}"]
                counts += _tally(batch.collections[name].fields[task].numpy(), tokens, len(counts))

    def _append(self, name: str, values: NDArray[Any]) -> None:
        if name not in self._files:
            self._files[name] = self._stack.enter_context((self.folder / name).open("ab", buffering=0))
        view = memoryview(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
        while view:  # a full disk shortens a write before it refuses one
            view = view[self._files[name].write(view) :]


def _tally(indices: NDArray[np.int64], weights: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """Sum of weights per class, those of class -1 left out."""
    sums = np.bincount(indices + 1, weights=weights, minlength=classes + 1)[1:]
    return np.asarray(sums, dtype=np.float64)
