"""Where the independent data lie, for every test that reads them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


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
