"""Outputs appear whole or not at all."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError


def test_file_appears_on_success_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.txt"
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".txt" and not path.exists()
    assert path.read_text() == "new"
    with pytest.raises(KeyboardInterrupt), atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["x.txt"]


def test_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for content in ("first", "second"):
        with atomic(path) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [entry.name for entry in path.iterdir()] == ["second"]
    with pytest.raises(RuntimeError, match="broken"), atomic(path) as temporary:
        temporary.mkdir()
        raise RuntimeError("broken")
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="disk is full"), atomic(tmp_path / "x") as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing was written"), atomic(tmp_path / "x"):
        pass


LIMITED = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from jets import CLASSES, INPUTS, make_jets
from femtobarn.data import PackedCache, from_memory, open_writer
from femtobarn.errors import InputError
jets = make_jets(4000)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
for name in ("x.h5", "nested.h5", "x.parquet", "x.root", "cache"):
    target = Path({folder!r}) / name
    try:
        if target.suffix:
            layout = "nested" if target.stem == "nested" else "atlas"
            with open_writer(target, CLASSES, layout=layout) as writer:
                writer.append(jets)
        else:
            PackedCache.build(from_memory(jets, CLASSES), INPUTS, target)
    except InputError as error:
        print(error)
"""


def test_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    # A limit on file sizes stands in for a full disk: both make a write fail in the middle.
    code = LIMITED.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sentences = done.stdout.strip().splitlines()
    names = [Path(line.partition(":")[0]).name for line in sentences]
    assert names[:4] == ["x.h5", "nested.h5", "x.parquet", "x.root"] and len(names) == 5
    assert all("the disk is full" in line for line in sentences)
    assert not [entry for entry in tmp_path.rglob("*") if entry.is_file() and entry.suffix != ".lock"]
