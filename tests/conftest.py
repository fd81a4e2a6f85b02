"""Where the independent data lie, and which tests share a process when several run them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, and for what the tests start


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares a fixture stays in one process: the tests of a file, in the contract those of a method."""
    for item in items:
        method = getattr(item, "callspec", None) and item.callspec.params.get("name")
        group = method if method and item.path.parent.name == "contract" else item.path.stem
        item.add_marker(pytest.mark.xdist_group(str(group)))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of `../shared/data` (FEMTOBARN_TEST_DATA); tests skip where it is absent."""
    folder = Path(os.environ.get("FEMTOBARN_TEST_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: set FEMTOBARN_TEST_DATA to the folder of independent samples")
    return folder


@pytest.fixture(scope="session", autouse=True)
def packed_samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Packed training samples of the tests go to a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEMTOBARN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
