"""`inspect`: what is in a file, without reading it whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
from pydantic import BaseModel

from femtobarn.data.formats import HDF5, find_files, hdf5_layout, open_reader
from femtobarn.data.hdf5 import open_hdf5
from femtobarn.data.padded_jets import is_quark_gluon
from femtobarn.data.reader import Reader
from femtobarn.data.root import RootReader
from femtobarn.data.tables import arrays_of
from femtobarn.errors import InputError

__all__ = ["CollectionContents", "Contents", "inspect"]

_PROBE = 1000  # rows looked at for the lengths of collections


class CollectionContents(BaseModel):
    """A collection: type by field, and lengths in the first rows of the file."""

    fields: dict[str, str]
    mean_length: float
    longest: int


class Contents(BaseModel):
    """What is in a file.

    Attributes:
        path: the file.
        size: in bytes.
        rows: events or jets; None where the file has no rows (`datasets` then lists what it has).
        scalars: type by field, one number per row.
        collections: by name.
        other: awkward type of everything else, by field.
        classes: class names of labels, by field.
        attributes: provenance.
        trees: entries of each tree of a ROOT file; `tree` is the one described.
        tree: see `trees`.
        datasets: type and shape of the datasets of a file that is no table of events.
    """

    path: str
    size: int
    rows: int | None = None
    scalars: dict[str, str] = {}
    collections: dict[str, CollectionContents] = {}
    other: dict[str, str] = {}
    classes: dict[str, list[str]] = {}
    attributes: dict[str, Any] = {}
    trees: dict[str, int] = {}
    tree: str | None = None
    datasets: dict[str, str] = {}

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.size / 1e6:.1f} MB"
            + (f", {self.rows:,} rows" if self.rows is not None else "")
        ]
        lines += [
            f"tree {name}: {n:,} entries" + " (below)" * (name == self.tree) for name, n in self.trees.items()
        ]
        lines += [f"  {name}: {kind}{self._named(name)}" for name, kind in self.scalars.items()]
        for name, collection in self.collections.items():
            lengths = f"{collection.mean_length:.1f} a row, at most {collection.longest} in the first rows"
            lines.append(
                f"  {name}: {lengths}" + (f", {collection.fields['']}" if "" in collection.fields else "")
            )
            inner = ((field, kind) for field, kind in collection.fields.items() if field)
            lines += [f"    {field}: {kind}{self._named(f'{name}.{field}')}" for field, kind in inner]
        lines += [f"  {name}: {kind}" for name, kind in {**self.other, **self.datasets}.items()]
        lines += [f"attribute {name}: {value}" for name, value in self.attributes.items()]
        return "\n".join(lines)

    def _named(self, field: str) -> str:
        return f" ({', '.join(self.classes[field])})" if field in self.classes else ""


def inspect(path: str | Path, *, tree: str | None = None) -> Contents:
    """What is in a file: collections, fields, types, counts, provenance; reads the first thousand rows.

    Any ROOT, HDF5, Parquet, NPZ, NPY or CSV file; of one that holds no rows it lists the datasets.

    Raises:
        InputError: when the file is not there, not readable or of another kind.
    """
    files = find_files(path)
    if len(files) > 1:
        raise InputError(f"{path}: {len(files)} files; inspect one")
    file = files[0]
    contents = Contents(path=str(file), size=file.stat().st_size)
    datasets = _datasets(file)
    if datasets is not None:
        contents.datasets = datasets
        return contents
    reader = open_reader(file, tree=tree, units="GeV")  # as they are: types and counts need no unit
    return _described(contents, reader)


def _described(contents: Contents, reader: Reader) -> Contents:
    schema = reader.schema
    contents.rows = len(reader)
    if isinstance(reader, RootReader):
        contents.trees, contents.tree = reader.trees, reader.tree
    contents.scalars = {name: str(dtype) for name, dtype in schema.scalars.items()}
    contents.other, contents.classes, contents.attributes = schema.other, schema.classes, reader.attributes
    first = {
        name: (f"{name}.{next(iter(fields))}").rstrip(".") for name, fields in schema.collections.items()
    }
    probe = reader.read(0, _PROBE, list(first.values()))
    for name, fields in schema.collections.items():
        lengths = ak.to_numpy(ak.num(probe[name], axis=1))
        contents.collections[name] = CollectionContents(
            fields={field: str(dtype) for field, dtype in fields.items()},
            mean_length=float(lengths.mean()) if len(lengths) else 0.0,
            longest=int(lengths.max()) if len(lengths) else 0,
        )
    return contents


def _datasets(file: Path) -> dict[str, str] | None:
    """Datasets of a file that has no rows, None for one that has."""
    if file.suffix in HDF5:
        with open_hdf5(file) as stored:
            return None if hdf5_layout(stored) else _tree_of(stored)
    if file.suffix == ".npz" and is_quark_gluon(file):
        return None
    if file.suffix in (".npz", ".npy"):
        arrays = arrays_of(file)
        tables = {
            len(values) for values in arrays.values() if values.ndim in (1, 2) and values.dtype.kind in "biuf"
        }
        if len(tables) == 1:
            return None
        return {name: f"{values.dtype} {values.shape}" for name, values in arrays.items()}
    return None


def _tree_of(file: h5py.File) -> dict[str, str]:
    found: dict[str, str] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            names = node.dtype.names
            kind = f"records ({', '.join(names)})" if names else str(np.dtype(node.dtype))
            found[name] = f"{kind} {node.shape}"

    file.visititems(visit)
    return found
