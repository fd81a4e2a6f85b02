"""Outputs appear whole or not at all: written under a temporary name, renamed when complete."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from femtobarn.errors import InputError

__all__ = ["atomic"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write a file or a folder to; it takes its name when the block
    ends well.

    A file that was there is replaced; a folder too. When the block raises (Ctrl-C included), what was written
    goes away and what was there before stays. The temporary name keeps the suffix, since writers choose by
    it.

    Raises:
        InputError: when the disk is full, or the place cannot be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        yield temporary
        _replace(temporary, path)
    except OSError as error:
        raise _explained(error, path) from error
    finally:
        _remove(temporary)


def _replace(temporary: Path, path: Path) -> None:
    if not temporary.exists():
        raise InputError(f"{path}: nothing was written")
    if path.is_dir() and not path.is_symlink():
        old = path.with_name(f".{path.name}.{os.getpid()}.old")
        _remove(old)
        path.rename(old)
        temporary.rename(path)
        _remove(old)
    else:
        temporary.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _explained(error: OSError, path: Path) -> Exception:
    # h5py and pyarrow report a full disk as an OSError without errno, with the system's words in its text.
    if error.errno in _FULL or any(os.strerror(number) in str(error) for number in _FULL):
        return InputError(f"{path}: the disk is full; nothing was written; make room or choose another place")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return InputError(f"{path}: cannot be written ({error.strerror}); choose another place")
    return error
