"""The top-tagging reference sample of Kasieczka et al. [1902.09914; Zenodo 2603256]: HDF5 of pandas.

The dataset `table/table` has one record per jet: `values_block_0` with the columns `E_0, PX_0, PY_0, PZ_0`
... `PZ_199` (GeV, zero padded, by falling transverse momentum) and the generated top quark `truthE, truthPX,
truthPY, truthPZ`; `values_block_1` with `ttv` (0 train, 1 test, 2 validation) and `is_signal_new`. The names
of a block's columns are a pickled list in the attribute `values_block_0_kind`; its text is picked out here,
nothing is unpickled. A table written with data columns has one field per name instead.
"""

from __future__ import annotations

import importlib
import pickletools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from femtobarn.data.hdf5 import open_hdf5
from femtobarn.data.public_jets import Particles
from femtobarn.data.reader import file_key
from femtobarn.data.schema import DType, Schema
from femtobarn.errors import InputError

__all__ = ["TopTagging", "is_top_tagging"]

CLASSES = ["QCD", "top"]
_MOMENTUM = {"px": "PX", "py": "PY", "pz": "PZ", "energy": "E"}
_PARTICLE = re.compile(r"(E|PX|PY|PZ)_\d+")
_LABEL = "is_signal_new"
_BLOCK = 5_000  # jets read at a time, before the padding is thrown away
_USUAL = {
    "values_block_0": [
        *(f"{name}_{place}" for place in range(200) for name in ("E", "PX", "PY", "PZ")),
        "truthE", "truthPX", "truthPY", "truthPZ",
    ],
    "values_block_1": ["ttv", _LABEL],
}  # fmt: skip
Column = tuple[str, int | None]


def is_top_tagging(file: h5py.File) -> bool:
    """Whether the file holds a table of pandas with the columns of the sample."""
    table = _table(file)
    return table is not None and {"E_0", "PX_0", "PY_0", "PZ_0"} <= _columns(table).keys()


def _table(file: h5py.File) -> h5py.Dataset | None:
    for group in file.values():
        table = group.get("table") if isinstance(group, h5py.Group) else None
        if isinstance(table, h5py.Dataset) and table.dtype.names and table.ndim == 1:
            return table
    return None


def _columns(table: h5py.Dataset) -> dict[str, Column]:
    """Where each column is: a field of the records, and its place in it if that is a block."""
    columns: dict[str, Column] = {}
    for name in table.dtype.names:
        kind = table.dtype[name]
        if kind.base.kind not in "biuf" or name == "index":
            continue
        if kind.shape == ():
            columns[name] = name, None
            continue
        size = kind.shape[0]
        names = _strings(table.attrs.get(f"{name}_kind"))
        if len(names) != size:
            names = _USUAL.get(name, [])
        if len(names) == size:
            columns |= {column: (name, place) for place, column in enumerate(names)}
    return columns


def _strings(pickled: Any) -> list[str]:
    """The strings in a pickle, in order, without unpickling it."""
    if not isinstance(pickled, bytes | np.bytes_):
        return []
    try:
        return [
            str(value) for code, value, _ in pickletools.genops(bytes(pickled)) if "UNICODE" in code.name
            or code.name in ("STRING", "SHORT_BINSTRING", "BINSTRING")
        ]  # fmt: skip
    except ValueError:
        return []


class TopTagging:
    """One file of the sample. Classes are "QCD" and "top"; jets have the numbers `ttv, truthE, ...` too."""

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self.name = str(path)
        self.attributes: dict[str, Any] = {}
        with open_hdf5(path) as file:
            table = _table(file)
            assert table is not None
            _decompressible(path, table)
            self._dataset = str(table.name)
            self._length = len(table)
            self._at = _columns(table)
            kinds = {name: table.dtype[field].base for name, (field, _) in self._at.items()}
        if _LABEL not in self._at:
            raise InputError(f"{path} has no column '{_LABEL}', the label of the top-tagging sample; add it")
        self._depth = sum(name.startswith("E_") for name in self._at)
        missing = [
            f"{p}_{k}" for p in _MOMENTUM.values() for k in range(self._depth) if f"{p}_{k}" not in self._at
        ]
        if missing:
            raise InputError(
                f"{path} has no column '{missing[0]}' although it has E_0 ... E_{self._depth - 1}; each "
                "particle needs E, PX, PY and PZ"
            )
        scalars = {name: kind for name, kind in kinds.items() if not _PARTICLE.fullmatch(name)}
        self.schema = Schema(scalars | {"jet_label": np.dtype(np.int16)}, {}, {"jet_label": CLASSES})
        self.particles: dict[str, DType] = {name: kinds[f"{p}_0"] for name, p in _MOMENTUM.items()}

    def __len__(self) -> int:
        return self._length

    def key(self) -> str:
        """Text that changes when the file does."""
        return file_key(Path(self.name))

    def rows(self, start: int, stop: int, names: Sequence[str]) -> dict[str, Any]:
        """Columns of the jets."""
        stored = {name: _LABEL if name == "jet_label" else name for name in names}
        if not stored:
            return {}
        blocks = list(self._blocks(start, stop, list(stored.values())))
        columns = {
            name: np.concatenate([block[place] for block in blocks])
            for place, name in enumerate(stored)
        }  # fmt: skip
        if "jet_label" in columns:
            label = columns["jet_label"]
            if not np.isin(label, (0, 1)).all():
                row = start + int(np.argmin(np.isin(label, (0, 1))))
                raise InputError(f"{self.name}, row {row}: '{_LABEL}' must be 0 or 1; remove such rows")
            columns["jet_label"] = label.astype(np.int16)
        return columns

    def read_particles(self, start: int, stop: int, names: Sequence[str]) -> Particles:
        """The particles with energy; the others are padding."""
        fields = list(dict.fromkeys([*names, "energy"]))
        columns = [f"{_MOMENTUM[name]}_{place}" for name in fields for place in range(self._depth)]
        counts, kept = [], []
        for block in self._blocks(start, stop, columns):
            cube = np.stack(block).reshape(len(fields), self._depth, -1).transpose(0, 2, 1)
            real = cube[fields.index("energy")] != 0
            counts.append(real.sum(1))
            kept.append(cube[:, real])
        flat = np.concatenate(kept, 1)
        return np.concatenate(counts), {name: flat[place] for place, name in enumerate(fields)}

    def _blocks(self, start: int, stop: int, names: Sequence[str]) -> Iterator[list[NDArray[Any]]]:
        """The columns, a block of rows at a time; at least one block."""
        places = [self._at[name] for name in names]
        fields = list(dict.fromkeys(field for field, _ in places))
        with open_hdf5(Path(self.name)) as file:
            select = file[self._dataset].fields(fields)
            for first in range(start, max(stop, start + 1), _BLOCK):
                block = select[first : min(stop, first + _BLOCK)]
                yield [block[field] if place is None else block[field][:, place] for field, place in places]


def _decompressible(path: Path, table: h5py.Dataset) -> None:
    """PyTables may compress with Blosc, which h5py knows after hdf5plugin has been imported."""
    created = table.id.get_create_plist()
    filters = [created.get_filter(place)[0] for place in range(created.get_nfilters())]
    if all(h5py.h5z.filter_avail(code) for code in filters):
        return
    try:
        importlib.import_module("hdf5plugin")
    except ModuleNotFoundError:
        raise InputError(
            f"{path} is compressed with a filter that h5py does not have (Blosc, as pandas uses it): type "
            "`pip install hdf5plugin`"
        ) from None
