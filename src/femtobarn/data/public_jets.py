"""Jets as the public data sets store them, read as the collection `candidates` that jet taggers take.

Whatever the layout, rows have `candidates` by falling transverse momentum with `px, py, pz, energy` (GeV) and
what else the file knows of each particle; `jet_label` with the names of its classes; `mcEventWeight`, the
field `weight` or `weights` of the file, else one; and `fold`, by a hash of the row number, where the file
numbers no events. All other numbers of a jet keep their names.

- JetClass [2202.03772; Zenodo 6619768], in ROOT and Parquet, and other files for weaver: lists `part_px,
  part_py, part_pz, part_energy` and more, one-hot `label_QCD` ... `label_Tbl` or a number `label`.
- The top-tagging reference sample [1902.09914; Zenodo 2603256], the layouts of `data.top_tagging`.
- Quark and gluon jets [1810.05165; Zenodo 3164691], NPZ: `X` (N, M, 4) of pt, rapidity, phi, PDG code, `y`.
- JetNet [2106.11535; Zenodo 6975118], HDF5: `particle_features` (N, M, 4), `jet_features` (N, 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.data.reader import Reader, build, clipped
from femtobarn.data.schema import DType, Schema
from femtobarn.data.splits import fold_of
from femtobarn.errors import InputError

__all__ = ["JetReader", "Layout", "PartLists", "has_part_lists"]

Particles = tuple[NDArray[np.int64], dict[str, NDArray[Any]]]

_NUMBERED = ("fold", "eventNumber", "event")
_WEIGHTS = ("weight", "weights")
_NAMES = {"d0val": "d0", "d0err": "d0Uncertainty", "dzval": "dz", "dzerr": "dzUncertainty"}
_MOMENTUM = ("px", "py", "pz", "energy")
_JETCLASS = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
_FLOAT: DType = np.dtype(np.float32)


class Layout(Protocol):
    """How one file stores its jets.

    Attributes:
        name: the file, for messages.
        path: the file.
        schema: its fields but the particles.
        particles: type of each field of a particle, `px` and `py` among them.
        attributes: provenance.
    """

    name: str
    path: Path | None
    schema: Schema
    particles: dict[str, DType]
    attributes: dict[str, Any]

    def __len__(self) -> int: ...

    def key(self) -> str:
        """Text that changes when the file does."""
        ...

    def rows(self, start: int, stop: int, names: Sequence[str]) -> dict[str, Any]:
        """Columns of the rows, by the top-level names asked for."""
        ...

    def read_particles(self, start: int, stop: int, names: Sequence[str]) -> Particles:
        """Particles per jet, and flat columns of their fields in the order of the file."""
        ...


class JetReader:
    """Rows of a file in one of the layouts."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.name, self.path, self.attributes = layout.name, layout.path, layout.attributes
        stored = layout.schema
        added: dict[str, DType] = {}
        self._weight = next((name for name in _WEIGHTS if name in stored.scalars), None)
        if "mcEventWeight" not in stored.scalars:
            added["mcEventWeight"] = _FLOAT
        if not any(name in stored.scalars for name in _NUMBERED):
            added["fold"] = np.dtype(np.uint8)
        self._added = added
        self.schema = Schema(
            stored.scalars | added,
            {"candidates": layout.particles} | stored.collections,
            stored.classes,
            stored.other,
        )

    def __len__(self) -> int:
        return len(self._layout)

    def key(self) -> str:
        """Text that changes when the file or the way it is read does."""
        return f"{self._layout.key()}|jets 1"

    def read(self, start: int, stop: int, fields: Sequence[str] | None = None) -> ak.Array:
        """Rows `start:stop`; the particles are read only when asked for."""
        wanted = self.schema.restrict(fields, self.name)
        start, stop = clipped(start, stop, len(self))
        stored = [name for name in wanted.names if name not in self._added and not _of_candidates(name)]
        added = self._added.keys() & wanted.scalars.keys()
        weight = self._weight if "mcEventWeight" in added else None
        extra = [] if weight is None or weight in stored else [weight]
        columns = self._layout.rows(start, stop, [*stored, *extra])
        if "mcEventWeight" in added:
            weights = np.ones(stop - start) if weight is None else np.asarray(columns[weight])
            columns["mcEventWeight"] = weights.astype(_FLOAT)
        if "fold" in added:
            columns["fold"] = fold_of("", 0, 0, 0, np.arange(start, stop))
        if "candidates" in wanted.collections:
            inner = list(wanted.collections["candidates"])
            counts, flat = self._layout.read_particles(start, stop, list(dict.fromkeys([*inner, "px", "py"])))
            columns["candidates"] = _ordered(counts, flat, inner)
        tops = dict.fromkeys(name.partition(".")[0] for name in wanted.names)
        return build({name: columns[name] for name in tops}, stop - start)


def _of_candidates(name: str) -> bool:
    return name.partition(".")[0] == "candidates"


def _ordered(counts: NDArray[np.int64], flat: dict[str, NDArray[Any]], names: Sequence[str]) -> ak.Array:
    """Particles as lists of records by falling transverse momentum; equal ones stay in order."""
    pt = np.hypot(flat["px"].astype(np.float64), flat["py"].astype(np.float64))
    jets = np.repeat(np.arange(len(counts)), counts)
    if np.any((pt[1:] > pt[:-1]) & (jets[1:] == jets[:-1])):
        order = np.lexsort((-pt, jets))
        flat = {name: flat[name][order] for name in names}
    contents = [ak.contents.NumpyArray(np.ascontiguousarray(flat[name])) for name in names]
    offsets = ak.index.Index64(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    record = ak.contents.RecordArray(contents, list(names), length=len(jets))
    return ak.Array(ak.contents.ListOffsetArray(offsets, record))


def has_part_lists(schema: Schema) -> bool:
    """Whether a table of jets has the lists of JetClass."""
    lists = _part_lists(schema)
    return "candidates" not in schema.collections and all(name in lists for name in _MOMENTUM)


def _part_lists(schema: Schema) -> dict[str, tuple[str, DType]]:
    """Field in memory -> (field of the file, type): lists `part_px`, or a collection `part` with `px`."""
    lists = {
        name.removeprefix("part_"): (name, fields[""])
        for name, fields in schema.collections.items()
        if name.startswith("part_") and "" in fields
    }
    lists |= {
        name: (f"part.{name}", kind) for name, kind in schema.collections.get("part", {}).items() if name
    }
    return {_NAMES.get(name, name): place for name, place in lists.items()}


def _place(name: str) -> tuple[int, str]:
    kind = name.removeprefix("label_")
    return (_JETCLASS.index(kind) if kind in _JETCLASS else len(_JETCLASS)), kind


class PartLists:
    """A ROOT or Parquet file with the lists of JetClass [2202.03772], through its own reader.

    `part_d0val, part_d0err, part_dzval, part_dzerr` (mm) are called `d0, d0Uncertainty, dz, dzUncertainty`,
    other lists what stands after `part_`. `label_QCD` and its like become `jet_label`, in the order of
    the paper, others behind; a file with a single `label` (0 or 1) has the classes "0" and "1".
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.name, self.path, self.attributes = reader.name, reader.path, reader.attributes
        schema = reader.schema
        self._lists = _part_lists(schema)
        self.particles = {name: kind for name, (_, kind) in self._lists.items()}
        hot = [name for name in schema.scalars if name.startswith("label_")]
        hot.sort(key=_place)  # one order for all files of a set, however they were written
        labelled = "jet_label" in schema.scalars
        self._hot = hot if len(hot) > 1 and not labelled else []
        self._label = not self._hot and "label" in schema.scalars and not labelled
        labels = {"jet_label": np.dtype(np.int16)} if self._hot or self._label else {}
        classes = [name.removeprefix("label_") for name in self._hot] or ["0", "1"]
        used = {place.partition(".")[0] for place, _ in self._lists.values()}
        counters = {f"n{name}" for name in used}
        self.schema = Schema(
            {name: kind for name, kind in schema.scalars.items() if name not in counters} | labels,
            {name: inner for name, inner in schema.collections.items() if name not in used},
            schema.classes | ({"jet_label": classes} if labels else {}),
            schema.other,
        )

    def __len__(self) -> int:
        return len(self._reader)

    def key(self) -> str:
        """Text that changes when the file does."""
        return self._reader.key()

    def rows(self, start: int, stop: int, names: Sequence[str]) -> dict[str, Any]:
        """Columns of the jets, with `jet_label`."""
        made = "jet_label" in names and (self._hot or self._label)
        stored = [name for name in names if not (made and name == "jet_label")]
        needed = (self._hot or ["label"]) if made else []
        array = self._reader.read(start, stop, list(dict.fromkeys([*stored, *needed])))
        columns = {name: array[name] for name in array.fields}
        if made:
            values = np.stack([ak.to_numpy(columns[name]) for name in needed], 1)
            columns["jet_label"] = self._codes(values, start)
        return columns

    def _codes(self, values: NDArray[Any], start: int) -> NDArray[np.int16]:
        wrong = ~np.isin(values, (0, 1)).all(1)
        if self._hot:
            wrong |= (values != 0).sum(1) != 1
        if wrong.any():
            what = "exactly one of label_* set to 1" if self._hot else "a label of 0 or 1"
            raise InputError(
                f"{self.name}, row {start + int(np.argmax(wrong))}: expected {what}; remove such rows"
            )
        codes: NDArray[np.int16] = (values.argmax(1) if self._hot else values[:, 0]).astype(np.int16)
        return codes

    def read_particles(self, start: int, stop: int, names: Sequence[str]) -> Particles:
        """The lists, checked to be of one length in each jet."""
        array = self._reader.read(start, stop, [self._lists[name][0] for name in names])
        counts: NDArray[np.int64] | None = None
        flat = {}
        for name in names:
            outer, _, inner = self._lists[name][0].partition(".")
            values = array[outer][inner] if inner else array[outer]
            lengths = np.asarray(ak.num(values, axis=1))
            if counts is not None and not np.array_equal(counts, lengths):
                row = start + int(np.argmax(counts != lengths))
                raise InputError(
                    f"{self.name}, row {row}: '{self._lists[name][0]}' and '{self._lists[names[0]][0]}' have "
                    "different lengths; each needs one number per particle"
                )
            counts = lengths
            flat[name] = ak.to_numpy(ak.flatten(values, axis=1))
        assert counts is not None
        return counts, flat
