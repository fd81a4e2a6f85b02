"""From a file's suffix to its reader or writer."""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py

from femtobarn.data.atlas import AtlasReader, AtlasWriter, is_atlas
from femtobarn.data.flatten import CollectionReader
from femtobarn.data.hdf5 import open_hdf5
from femtobarn.data.nested import NestedReader, NestedWriter, is_nested
from femtobarn.data.padded_jets import JetNet, QuarkGluon, is_jetnet, is_quark_gluon
from femtobarn.data.parquet import ParquetReader, ParquetWriter
from femtobarn.data.public_jets import JetReader, PartLists, has_part_lists
from femtobarn.data.reader import Reader, Writer
from femtobarn.data.root import RootReader, RootWriter
from femtobarn.data.schema import Schema
from femtobarn.data.tables import TableReader
from femtobarn.data.top_tagging import TopTagging, is_top_tagging
from femtobarn.data.units import ScaledReader
from femtobarn.errors import InputError, closest

__all__ = ["HDF5", "SUFFIXES", "best_layout", "find_files", "hdf5_layout", "open_reader", "open_writer"]

HDF5 = (".h5", ".hdf5")
TABLES = (".npz", ".npy", ".csv", ".csv.gz")
SUFFIXES = (*HDF5, ".parquet", ".root", *TABLES)
"""Files that can be opened."""


def find_files(source: str | Path | Sequence[str | Path]) -> list[Path]:
    """Files that a path, a pattern, a folder or a list of these means, sorted within each.

    Raises:
        InputError: when something means no file.
    """
    if not isinstance(source, str | Path):
        files = [file for entry in source for file in find_files(entry)]
        if not files:
            raise InputError("an empty list of files was given")
        return files
    path = Path(source)
    if path.is_dir():
        files = sorted(
            file for file in path.iterdir() if file.name.endswith(SUFFIXES) and file.name[0] != "."
        )
        if not files:
            raise InputError(f"{path}: the folder holds no {', '.join(SUFFIXES)} file")
        return files
    if path.is_file() or not glob.has_magic(str(source)):
        if not path.is_file():
            near = (
                closest(path.name, sorted(file.name for file in path.parent.iterdir()))
                if path.parent.is_dir()
                else ""
            )
            raise InputError(f"{path}: there is no such file{near if 'did you mean' in near else ''}")
        return [path]
    files = sorted(Path(name) for name in glob.glob(str(source)))
    if not files:
        raise InputError(f"{source}: no file matches")
    return files


def open_reader(
    path: Path, *, collection: str | None = None, tree: str | None = None, units: str | None = None
) -> Reader:
    """The reader of one file.

    Raises:
        InputError: for a kind of file that is not known, or options it does not have.
    """
    if tree is not None and path.suffix != ".root":
        raise InputError(f"{path}: only ROOT files have trees, leave tree='{tree}' out")
    reader = _open(path, tree)
    if isinstance(reader, AtlasReader):
        units = units or reader.units
        if not units:
            raise InputError(
                f"{path} does not say the unit of its energies; give units='MeV' (what ATLAS writes) or 'GeV'"
            )
    if units and units != "GeV":
        reader = ScaledReader(reader, units)
    return reader if collection is None else CollectionReader(reader, collection)


def _open(path: Path, tree: str | None) -> Reader:
    if path.suffix in HDF5:
        with open_hdf5(path) as file:
            kind = hdf5_layout(file)
        if kind is None:
            raise InputError(
                f"{path}: an HDF5 file in a layout that is not known, without structured 'jets'; "
                "`femtobarn inspect` lists what it has"
            )
        return kind(path)
    if path.suffix in (".parquet", ".root"):
        reader = ParquetReader(path) if path.suffix == ".parquet" else RootReader(path, tree)
        return JetReader(PartLists(reader)) if has_part_lists(reader.schema) else reader
    if path.suffix == ".npz" and is_quark_gluon(path):
        return JetReader(QuarkGluon(path))
    if path.name.endswith(TABLES):
        return TableReader(path)
    raise InputError(
        f"{path}: files ending in '{path.suffix}' are not known; there is: {', '.join(SUFFIXES)}"
    )


def hdf5_layout(file: h5py.File) -> Callable[[Path], Reader] | None:
    """What reads an HDF5 file of this layout, None if the layout is not known."""
    if is_nested(file):
        return NestedReader
    if is_atlas(file):
        return AtlasReader
    if is_jetnet(file):
        return lambda path: JetReader(JetNet(path))
    if is_top_tagging(file):
        return lambda path: JetReader(TopTagging(path))
    return None


def best_layout(schema: Schema) -> str:
    """Layout of HDF5 for a schema: "atlas" for rows with tracks and nothing but numbers, else "nested"."""
    records = all("" not in fields for fields in schema.collections.values())
    return "atlas" if "tracks" in schema.collections and records and not schema.other else "nested"


def open_writer(
    path: str | Path,
    classes: Mapping[str, Sequence[str]] | None = None,
    attributes: Mapping[str, Any] | None = None,
    *,
    max_length: int = 40,
    layout: str = "atlas",
) -> Writer:
    """A writer by suffix: `.h5`, `.parquet` or `.root`. A context manager with `append(array)`.

    Args:
        path: the file; it appears when the writer closes.
        classes: class names of labels: "flavour_label", "tracks.ftagTruthOriginLabel".
        attributes: provenance, anything JSON can hold.
        max_length: room for members of a collection in each row of the ATLAS layout.
        layout: of HDF5, "atlas" or "nested".

    Raises:
        InputError: for a suffix that cannot be written.
    """
    path = Path(path)
    if path.suffix in HDF5:
        if layout not in ("atlas", "nested"):
            raise InputError(f"HDF5 layout '{layout}' is not known; there is: atlas, nested")
        if layout == "nested":
            return NestedWriter(path, classes, attributes)
        return AtlasWriter(path, classes, attributes, max_length)
    if path.suffix == ".parquet":
        return ParquetWriter(path, classes, attributes)
    if path.suffix == ".root":
        return RootWriter(path, classes, attributes)
    raise InputError(f"{path}: cannot write files ending in '{path.suffix}'; use .h5, .parquet or .root")
