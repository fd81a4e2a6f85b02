"""Tables of numbers: NPZ, NPY and CSV (`.csv.gz` too), read into memory whole."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from femtobarn.data.reader import MemoryReader, build, file_key
from femtobarn.errors import InputError

__all__ = ["TableReader", "arrays_of"]


class TableReader(MemoryReader):
    """One table. A two-dimensional array `X` (N, k) becomes the fields `X_0` ... `X_{k-1}`."""

    def __init__(self, path: Path) -> None:
        columns = _csv(path) if ".csv" in path.suffixes else _columns(path)
        length = len(next(iter(columns.values()), ()))
        super().__init__(build(columns, length), name=str(path))
        self.path = path

    def key(self) -> str:
        """Text that changes when the file does."""
        return file_key(Path(self.name))


def arrays_of(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an NPZ file; that of an NPY file is called `x`.

    Raises:
        InputError: when the file cannot be read, or only by unpickling.
    """
    try:
        # NumPy leaves a broken file open when it opens it itself.
        with path.open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            if isinstance(stored, np.ndarray):
                return {"x": stored}
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable NumPy file, truncated or corrupt ({error})") from error


def _columns(path: Path) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {}
    for name, values in arrays_of(path).items():
        if values.ndim == 1 and values.dtype.kind in "biuf":
            columns[name] = values
        elif values.ndim == 2 and values.dtype.kind in "biuf":
            columns |= {f"{name}_{column}": values[:, column] for column in range(values.shape[1])}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(f"{path}: a table needs arrays of numbers of one length, not {lengths}")
    return columns


def _csv(path: Path) -> dict[str, Any]:
    try:
        table = pa.csv.read_csv(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a readable table ({str(error).splitlines()[0]})") from error
    return {
        name.strip(): ak.from_arrow(column)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
