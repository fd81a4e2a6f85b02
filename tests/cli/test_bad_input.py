"""Bad input gets one sentence on stderr and exit code 2, and nothing is written."""

import sys
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest

from femtobarn import cli
from femtobarn.data.formats import open_writer
from femtobarn.data.sample import open_sample
from femtobarn.learn.model_files import load

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def femtobarn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Run the command line in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["femtobarn", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, printed.err

    return call


def assert_one_sentence(answer: tuple[int, str, str], *words: str) -> None:
    code, _, error = answer
    assert code == 2, error
    assert error.startswith("femtobarn: ") and error.count("\n") == 1, error
    assert "Traceback" not in error
    for word in words:
        assert word in error, f"'{word}' not in: {error}"


CONFIG = """
data: {{train: {file}}}
method: {{name: gn1{method}}}
training: {{epochs: 1{training}}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    def write(file: str = "nowhere.h5", method: str = "", training: str = "", more: str = "") -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(CONFIG.format(file=file, method=method, training=training) + more)
        return path

    return write


def test_unknown_recipe_names_the_closest(femtobarn: Call) -> None:
    assert_one_sentence(femtobarn("run", "gn2x"), "gn2x", "gn1")


def test_unknown_scale(femtobarn: Call) -> None:
    assert_one_sentence(femtobarn("run", "gn1", "--scale", "huge"), "huge", "standard")


def test_unknown_setting(femtobarn: Call) -> None:
    assert_one_sentence(femtobarn("run", "gn1", "--set", "training.epochz=3"), "epochz")


def test_setting_of_wrong_type(femtobarn: Call) -> None:
    assert_one_sentence(femtobarn("run", "gn1", "--set", "training.epochs=many"), "training.epochs", "many")


def test_setting_without_value(femtobarn: Call) -> None:
    assert_one_sentence(femtobarn("run", "gn1", "--set", "training.epochs"), "KEY=VALUE")


def test_bad_unit(femtobarn: Call) -> None:
    assert_one_sentence(femtobarn("run", "gn1", "--only", "gn1"), "METHOD:SEED")


def test_unknown_process(femtobarn: Call, tmp_path: Path) -> None:
    assert_one_sentence(femtobarn("simulate", "ttbarr", "-n", 10, "--out", "x.h5"), "ttbarr", "ttbar")
    assert not list(tmp_path.iterdir())


def test_unknown_output_format(femtobarn: Call, tmp_path: Path) -> None:
    assert_one_sentence(femtobarn("simulate", "ttbar", "-n", 10, "--out", "x.docx"), "x.docx")
    assert not list(tmp_path.iterdir())


def test_missing_file(femtobarn: Call, config: Callable[..., Path]) -> None:
    assert_one_sentence(femtobarn("inspect", "nowhere.root"), "nowhere.root")
    assert_one_sentence(femtobarn("convert", "nowhere.root", "x.h5"), "nowhere.root")
    assert_one_sentence(femtobarn("train", config()), "nowhere.h5")
    assert_one_sentence(femtobarn("predict", "no-model", "nowhere.h5", "--out", "x.h5"), "no-model")
    assert_one_sentence(femtobarn("evaluate", "nowhere.h5", "--scores", "b=score"), "nowhere.h5")


def test_config_errors(femtobarn: Call, config: Callable[..., Path]) -> None:
    assert_one_sentence(femtobarn("train", "nowhere.yaml"), "nowhere.yaml")
    assert_one_sentence(femtobarn("train", config(more="metod: 1\n")), "metod", "method")
    assert_one_sentence(femtobarn("train", config(method=", widht: 32")), "widht", "width")
    assert_one_sentence(femtobarn("train", config(method=", width: wide")), "width", "wide")
    assert_one_sentence(femtobarn("train", config(training=", epochz: 3")), "epochz", "epochs")
    assert_one_sentence(femtobarn("train", config(), "--set", "method.name=gn11"), "gn11", "gn1")


@pytest.mark.parametrize("suffix", ["h5", "root", "parquet"])
def test_truncated_file(femtobarn: Call, tmp_path: Path, suffix: str) -> None:
    from femtobarn.data import convert

    whole = tmp_path / "whole.parquet"
    ak.to_parquet(ak.Array([{"pt": float(i), "tracks": [{"d0": 0.1}] * (i % 3)} for i in range(5000)]), whole)
    made = tmp_path / f"made.{suffix}"
    convert([whole], made)
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(made.read_bytes()[: made.stat().st_size // 2])
    out = tmp_path / "out.parquet"
    assert_one_sentence(femtobarn("convert", cut, out), cut.name)
    assert not out.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("out", ".out"))]


def atlas_file(path: Path, jets: int = 400, **changes: object) -> Path:
    """A file in the ATLAS layout with the fields that GN1 reads, all drawn at random."""
    from femtobarn.tagging.gn1 import GN1

    rng = np.random.default_rng(1)
    names = [feature.name for feature in GN1().default_inputs().collection_features("tracks")]
    jet_type = [
        ("pt_btagJes", "f4"),
        ("eta_btagJes", "f4"),
        ("flavour_label", "i4"),
        ("eventNumber", "i8"),
        ("mcEventWeight", "f4"),
    ]
    track_type = [(name, "f4") for name in names] + [
        ("ftagTruthOriginLabel", "i4"),
        ("ftagTruthVertexIndex", "i4"),
        ("valid", "?"),
    ]
    jet, track = np.zeros(jets, jet_type), np.zeros((jets, 10), track_type)
    for array in (jet, track):
        for name in array.dtype.names:
            if array.dtype[name].kind == "f":
                values = rng.normal(size=array.shape)
                array[name] = np.abs(values) if name.endswith("Uncertainty") else values
    jet["pt_btagJes"] = 1000 * rng.uniform(20, 200, jets)
    jet["mcEventWeight"] = 1
    jet["flavour_label"], jet["eventNumber"] = rng.integers(0, 3, jets), np.arange(jets)
    track["valid"] = np.arange(10) < rng.integers(0, 11, jets)[:, None]
    track["ftagTruthOriginLabel"] = rng.integers(0, 8, track.shape)
    for name, value in changes.items():
        (jet if name in jet.dtype.names else track)[name] = value
    with h5py.File(path, "w") as file:
        file.attrs["units"] = "MeV"
        file.create_dataset("jets", data=jet).attrs["flavour_label"] = ["bjets", "cjets", "ujets"]
        file.create_dataset("tracks", data=track)
    return path


def test_nan_in_a_feature(femtobarn: Call, config: Callable[..., Path], tmp_path: Path) -> None:
    file = atlas_file(tmp_path / "nan.h5", d0=np.nan)
    assert_one_sentence(femtobarn("train", config(file)), "nan.h5", "d0")


def test_label_outside_the_classes(femtobarn: Call, config: Callable[..., Path], tmp_path: Path) -> None:
    file = atlas_file(tmp_path / "label.h5", flavour_label=9)
    assert_one_sentence(femtobarn("train", config(file)), "label.h5", "flavour_label", "9")


def test_missing_field_names_the_closest(
    femtobarn: Call, config: Callable[..., Path], tmp_path: Path
) -> None:
    file = atlas_file(tmp_path / "jets.h5")
    label = "{jet: {field: flavour_label, classes: {b: [bjets], u: [ujets]}}}"
    inputs = f"inputs: {{collections: {{tracks: {{features: [d00]}}}}, labels: {label}}}\n"
    assert_one_sentence(femtobarn("train", config(file, more=inputs)), "jets.h5", "d00", "d0")


def test_empty_training_split(femtobarn: Call, config: Callable[..., Path], tmp_path: Path) -> None:
    file = atlas_file(tmp_path / "few.h5", jets=1)
    assert_one_sentence(femtobarn("train", config(file)), "few.h5", "empty")


def test_units_must_be_known(femtobarn: Call, config: Callable[..., Path], tmp_path: Path) -> None:
    file = atlas_file(tmp_path / "units.h5")
    with h5py.File(file, "a") as opened:
        del opened.attrs["units"]
    assert_one_sentence(femtobarn("train", config(file)), "units.h5", "MeV")


def test_model_made_for_other_inputs(femtobarn: Call, config: Callable[..., Path], tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    ak.to_parquet(ak.Array([{"pt": 30.0, "eta": 0.1, "tracks": [{"d0": 0.1}]}] * 10), other)
    cli.train(config(atlas_file(tmp_path / "jets.h5"), ", width: 8", ", progress: none"), tmp_path / "model")
    assert_one_sentence(femtobarn("predict", "model", other, "--out", "s.parquet"), "other.parquet", "qOverP")
    assert not (tmp_path / "s.parquet").exists()


def test_epochs_must_be_positive(femtobarn: Call, config: Callable[..., Path], tmp_path: Path) -> None:
    file = atlas_file(tmp_path / "jets.h5")
    assert_one_sentence(femtobarn("train", config(file), "--set", "training.epochs=0"), "epochs")
    assert not (tmp_path / "runs").exists()


def test_a_table_is_split_by_row_when_asked_to(femtobarn: Call, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x, label = rng.normal(size=300), rng.integers(0, 2, 300)
    np.savetxt(
        tmp_path / "t.csv", np.column_stack([x + label, label]), delimiter=",", header="x,y", comments=""
    )
    config = """
    data: {train: t.csv%s}
    method: {name: fisher}
    inputs: {event: [x], labels: {class: {field: y, classes: {s: ["1"], b: ["0"]}}}}
    """
    (tmp_path / "events.yaml").write_text(config % "")
    assert_one_sentence(femtobarn("train", "events.yaml", "--out", "a"), "t.csv", "fold", "eventNumber")
    (tmp_path / "rows.yaml").write_text(config % ", split: row")
    assert femtobarn("train", "rows.yaml", "--out", "b")[0] == 0
    assert (tmp_path / "b" / "method.yaml").is_file() or (tmp_path / "b" / "model" / "method.yaml").is_file()


@pytest.fixture
def shape(femtobarn: Call, tmp_path: Path) -> Path:
    """A Fisher discriminant that is called otherwise, trained on `jets.h5`."""
    atlas_file(tmp_path / "jets.h5")
    classes = "{b: [bjets], c: [cjets], u: [ujets]}"
    (tmp_path / "shape.yaml").write_text(f"""
    data: {{train: jets.h5}}
    method: {{name: fisher, called: shape}}
    inputs: {{event: [pt, eta], labels: {{class: {{field: flavour_label, classes: {classes}}}}}}}
    """)
    assert femtobarn("train", "shape.yaml", "--out", "model")[0] == 0
    return tmp_path / "model"


def test_a_classical_method_has_no_network_to_export(femtobarn: Call, shape: Path) -> None:
    assert_one_sentence(femtobarn("export", shape, "x.onnx"), "'shape' has no network", "predict")
    assert not Path("x.onnx").exists()


def test_scores_are_not_written_over_others(femtobarn: Call, shape: Path) -> None:
    assert femtobarn("predict", shape, "jets.h5", "--out", "scored.h5")[0] == 0
    assert {"shape_pb", "shape_pc", "shape_pu"} <= set(open_sample("scored.h5").schema.scalars)
    answer = femtobarn("predict", shape, "scored.h5", "--out", "again.h5")
    assert_one_sentence(answer, "scored.h5", "'shape_pb' already")
    assert not Path("again.h5").exists()


def test_what_is_not_finite_is_located_when_predicting(femtobarn: Call, shape: Path, tmp_path: Path) -> None:
    atlas_file(tmp_path / "nan.h5", eta_btagJes=np.nan)
    assert_one_sentence(femtobarn("predict", shape, "nan.h5", "--out", "s.h5"), "nan.h5", "row 0", "eta")
    assert not Path("s.h5").exists()


def test_weights_can_be_left_out_alone(femtobarn: Call, config: Callable[..., Path], tmp_path: Path) -> None:
    """Inputs that name no features are the method's own but for what they say."""
    jets = open_sample(atlas_file(tmp_path / "jets.h5"))
    fields = [name for name in jets.schema.names if name != "mcEventWeight"]
    with open_writer(tmp_path / "bare.h5", jets.schema.classes) as writer:
        writer.append(jets.read(fields=fields))
    file = config("bare.h5", ", width: 8", ", progress: none")
    assert_one_sentence(femtobarn("train", file, "--out", "m"), "bare.h5", "mcEventWeight")
    assert femtobarn("train", file, "--out", "m", "--set", "inputs.weight=null")[0] == 0
    model = load("m")
    assert model.inputs.weight is None
    assert model.inputs.collections == model.default_inputs().collections
