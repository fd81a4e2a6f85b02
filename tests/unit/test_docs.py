"""What the documentation tells people to type works."""

import re
import sys
import types
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import yaml
from typer.main import get_command

from femtobarn import cli, registry
from femtobarn.data import open_writer
from femtobarn.learn.config import TrainConfig
from toys import toy_jets, toy_prediction

PROJECT = Path(__file__).parents[2]
PAGES = [*sorted((PROJECT / "docs").glob("*.md")), PROJECT / "README.md"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    known = get_command(cli.app).commands  # type: ignore[attr-defined]
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = line.partition("#")[0].split()
            if not words or words[0] != "femtobarn":
                continue
            assert words[1] in known, line
            options = {option for parameter in known[words[1]].params for option in parameter.opts}
            assert {word for word in words if re.match(r"--?[a-z]", word)} <= options, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configurations_parse(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(page, "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        method, _ = TrainConfig.read(path, {}).build()
        assert method.name == yaml.safe_load(block)["method"]["name"]


def test_the_method_of_the_tutorial_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    sys.path.insert(0, str(PROJECT / "tests" / "contract"))
    from synthetic import synthetic

    (code,) = blocks(PROJECT / "docs" / "add-a-method.md", "python")
    module = types.ModuleType("track_sum")
    monkeypatch.setitem(sys.modules, "track_sum", module)
    exec(compile(code, "track_sum.py", "exec"), module.__dict__)
    tagger = module.TrackSum(width=16)
    train, valid = (synthetic(tagger.default_inputs(), 400, seed) for seed in (1, 2))
    tagger.fit(train, valid, training=tagger.default_training().with_(epochs=3, progress="none"))
    scores = tagger.predict(valid)
    assert scores.fields == ["tracksum_pb", "tracksum_pc", "tracksum_pu"]
    assert tagger.history[-1]["train_total"] < tagger.history[0]["train_total"]


def test_every_method_is_in_the_gallery() -> None:
    gallery = (PROJECT / "docs" / "methods.md").read_text()
    assert [name for name in registry.names("methods") if f"`{name}`" not in gallery] == []


def test_the_b_tagging_tutorial_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jets = toy_jets(40_000, tau=False)
    scores = toy_prediction(jets, "gn1", 2.5, 1, tracks=False)
    rows = {name: jets[name] for name in ("mcEventWeight", "HadronConeExclTruthLabelID")}
    rows |= {name: scores[name] for name in scores.fields} | {"eventNumber": np.arange(len(jets))}
    with open_writer(tmp_path / "scored.parquet") as writer:
        writer.append(ak.zip(rows, depth_limit=1))
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(PROJECT / "docs" / "b-tagging.md", "python")
    names: dict[str, Any] = {}
    exec(compile(code.replace("scored.h5", "scored.parquet"), "b-tagging.md", "exec"), names)
    passed = dict(re.findall(r"b-tag, (\w): ([\d.]+)", capsys.readouterr().out))
    assert float(passed["b"]) == pytest.approx(0.7, abs=0.04)
    assert 7 * 0.8 < 1 / float(passed["c"]) < 1 / float(passed["u"])
    kept = names["truth"].survival(names["charm"], "u").efficiency(np.median(names["charm"]))
    assert (
        names["truth"].survival(names["charm"], "c").efficiency(np.median(names["charm"])).value > kept.value
    )
