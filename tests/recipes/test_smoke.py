"""Every recipe end to end at smoke scale: one per station in `make test`, all of them in `make test-all`."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from femtobarn import registry
from femtobarn.errors import InputError
from femtobarn.evaluate.result import Result
from femtobarn.recipes.run import Run, Unit

STATIONS = {"gn1", "scale-factors", "classical", "lhco", "cms-dijet"}
"""The recipes that `make test` runs, one for each station."""
INDEPENDENT = {"lhco"}
"""The recipes that read the independent samples."""
RECIPES = [
    pytest.param(name, marks=() if name in STATIONS else pytest.mark.slow)
    for name in registry.names("recipes")
]


@pytest.mark.parametrize("name", RECIPES)
def test_smoke(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if name in INDEPENDENT:
        request.getfixturevalue("shared_data")  # skips where it is absent
    recipe = registry.find("recipes", name)
    settings = recipe.settings("smoke", {})
    run = Run(name, "smoke", tmp_path / "out", workers=1, cache=tmp_path / "cache", command="test")
    try:
        result = recipe(settings, run)
    except InputError as error:
        if "FEMTOBARN_TEST_DATA" in str(error):  # what others measured is not part of the project
            pytest.skip(str(error))
        raise
    written = Result.read(tmp_path / "out" / "result.json")
    assert written.metrics == result.metrics and written.metrics
    assert all(seconds > 0 for seconds in written.seconds.values())
    assert all((tmp_path / "out" / artifact).exists() for artifact in written.artifacts)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<svg") > 3
    assert not re.search(r'(src|href)="(?!#|data:)', page), "the page refers to something outside it"
    # A second run finds every stage, and says the same.
    again = Run(name, "smoke", tmp_path / "again", workers=1, cache=tmp_path / "cache", command="test")
    stages = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert recipe(settings, again).metrics == result.metrics
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == stages


def test_a_unit_alone_leaves_its_part(tmp_path: Path) -> None:
    recipe = registry.find("recipes", "gn1")
    settings = recipe.settings("smoke", {"events": {"ttbar": 120, "zprime": 120}})
    run = Run("gn1", "smoke", tmp_path, workers=1, only=Unit("ip3d", 1), cache=tmp_path / "cache")
    result = recipe(settings, run)
    assert {metric.method for metric in result.metrics} == {"ip3d"}
    part = json.loads((tmp_path / "parts" / "gn1-smoke-ip3d-1.json").read_text())
    assert len(part["metrics"]) == len(result.metrics)


def test_processes_that_want_one_stage_build_it_once(tmp_path: Path) -> None:
    built = []

    def stage(number: int) -> Path:
        run = Run("gn1", "smoke", tmp_path, cache=tmp_path / "cache")

        def build(path: Path) -> None:
            built.append(number)
            time.sleep(0.2)
            path.write_text("made")

        return run.cached("stage", {}, build, code=["recipes.run"])

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(stage, (1, 2))
    assert first == second
    assert first.read_text() == "made"
    assert len(built) == 1
