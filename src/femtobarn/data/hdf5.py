"""Opening HDF5 files to read, and creating them so that a full disk is an error and not a crash."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError

__all__ = ["GuardedFile", "created", "open_hdf5"]


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to read.

    Raises:
        InputError: when it is not there, is no HDF5 file, or cannot be read to its end (truncated, corrupt).
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        # The chunk cache must hold a chunk of the ATLAS layout: 1000 jets x 40 tracks x 40 fields.
        with h5py.File(path, "r", rdcc_nbytes=32 << 20) as file:
            yield file
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}: not a readable HDF5 file, truncated or corrupt ({reason}); copy it again"
        ) from error


class GuardedFile(io.FileIO):
    """A file that keeps the first error of a write to itself until asked.

    The HDF5 library dies of a segmentation fault when it closes a file after a failed write; told that all
    went well it closes, and the incomplete file can be thrown away.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of the data, or remember why not."""
        view = memoryview(data).cast("B")
        size = len(view)
        try:
            while view and self.error is None:
                view = view[super().write(view) :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file, or remember why not."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def check(self) -> None:
        """Raise the error kept."""
        if self.error is not None:
            raise self.error


@contextmanager
def created(path: Path) -> Iterator[tuple[h5py.File, GuardedFile]]:
    """A new HDF5 file that appears at `path` when the block ends well, and the guard to `check` while
    writing.

    Raises:
        InputError: when the disk is full.
    """
    with atomic(path) as temporary, GuardedFile(temporary, "w+") as raw:
        try:
            with h5py.File(raw, "w", libver="v110", rdcc_nbytes=64 << 20) as file:
                yield file, raw
        finally:
            raw.check()  # whatever went wrong after a failed write went wrong because of it
