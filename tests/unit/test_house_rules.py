"""The rules of the house (DESIGN section 1), read off the imports."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "femtobarn"
FLOOR = {"data", "physics", "nn", "learn", "statistics", "evaluate", "simulation"}
STATIONS = {"trigger", "fastsim", "tracking", "tagging", "classification", "calibration", "background",
            "reconstruction", "anomaly", "inference", "unfolding", "pretraining"}  # fmt: skip
ALLOWED = {
    "physics": set(),
    "data": {"physics"},
    "nn": {"physics", "data"},
    "learn": {"physics", "data", "nn"},
    "evaluate": {"physics", "data", "statistics"},
    "simulation": {"physics", "data"},
    "statistics": {"physics", "data"},
}
SHARED = {"errors", "registry", "progress", "workers", "__version__", "version"}


def imported(path: Path) -> set[str]:
    """First component below femtobarn of everything a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= (
                {f"{node.module}.{alias.name}" for alias in node.names}
                if node.module == "femtobarn"
                else {node.module}
            )
    return {name.split(".")[1] for name in names if name.startswith("femtobarn.")}


def packages() -> list[Path]:
    return sorted(path for path in SOURCE.iterdir() if path.is_dir() and (path / "__init__.py").exists())


@pytest.mark.parametrize("package", packages(), ids=lambda path: path.name)
def test_imports_go_down_only(package: Path) -> None:
    name = package.name
    assert name in FLOOR | STATIONS | {"recipes"}, f"{name} is no room of the house"
    for path in package.rglob("*.py"):
        used = imported(path) - {name}
        if name == "physics":
            assert not used, f"{path} imports {used}; physics imports nothing of ours"
        elif name in FLOOR:
            assert used <= ALLOWED[name] | SHARED, f"{path} imports {used - ALLOWED[name] - SHARED}"
        elif name in STATIONS:
            assert not used & (STATIONS | {"recipes", "cli"}), f"{path} imports another station or a recipe"


@pytest.mark.parametrize("package", packages(), ids=lambda path: path.name)
def test_no_empty_rooms_and_no_long_files(package: Path) -> None:
    sources = [path for path in package.rglob("*.py") if path.name != "__init__.py"]
    assert sources, f"{package.name} is an empty room"
    too_long = {
        path.name
        for path in sources
        if sum(1 for line in path.read_text().splitlines() if line.strip()) > 400
    }
    assert not too_long, f"{too_long}: a file that outgrows 400 lines is telling about a missing idea"


def test_what_is_trained_does_not_depend_on_how_it_is_measured() -> None:
    from femtobarn.recipes.run import _imported

    trained = _imported(["learn", "recipes.flavour", "tagging.gn1"])
    assert "femtobarn.nn.kernels" in trained and "femtobarn.data.mixing" in trained
    assert not [name for name in trained if name.startswith("femtobarn.evaluate")]
    measured = _imported(["evaluate.flavour_metrics", "recipes.flavour"])
    assert "femtobarn.evaluate.track_metrics" in measured
