"""What is refused when a saved method is damaged, foreign or made for other inputs; and what files hold."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any, ClassVar

import awkward as ak
import numpy as np
import pytest
import yaml
from training_script import synthetic

from femtobarn.data.inputs import Inputs, Label
from femtobarn.data.ragged import Batch
from femtobarn.errors import InputError
from femtobarn.learn import Classifier, load, method
from femtobarn.tagging.gn1 import GN1


def untrained() -> GN1:
    """Any weights will do."""
    gn1 = GN1(width=8, layers=1)
    gn1.inputs = gn1.default_inputs()
    gn1.module = gn1.network(gn1.inputs)
    return gn1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return untrained().save(tmp_path / "model")


def edit(folder: Path, **changes: Any) -> None:
    description = yaml.safe_load((folder / "method.yaml").read_text())
    (folder / "method.yaml").write_text(yaml.safe_dump({**description, **changes}))


def test_files(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == [
        "history.json",
        "method.yaml",
        "weights.safetensors",
    ]
    description = yaml.safe_load((folder / "method.yaml").read_text())
    assert description["method"] == "gn1" and description["parameters"]["width"] == 8
    assert description["inputs"]["collections"]["tracks"]["max_length"] == 40


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "weights.safetensors").unlink(), "it has no weights.safetensors"),
        (lambda f: (f / "method.yaml").unlink(), "it has no method.yaml"),
        (lambda f: (f / "weights.safetensors").write_bytes(b"\0" * 50), "cannot be read"),
        (lambda f: (f / "weights.safetensors").write_bytes(pickle.dumps({"a": 1})), "cannot be read"),
        (lambda f: (f / "method.yaml").write_text("!!python/object/apply:os.getcwd []"), "cannot be read"),
        (lambda f: (f / "history.json").write_text("{"), "cannot be read"),
        (lambda f: edit(f, method="gn11"), "no method called 'gn11'; did you mean 'gn1'"),
        (lambda f: edit(f, parameters={"widht": 8}), "not parameters of GN1: widht"),
        (lambda f: edit(f, parameters={"width": "wide"}), "not parameters of GN1: width"),
        (lambda f: edit(f, parameters={"width": 16, "layers": 1}), "do not fit"),
        (lambda f: edit(f, surplus=1), "surplus"),
        (lambda f: edit(f, inputs={"event": ["pt"]}), "need a collection 'tracks'"),
    ],
)
def test_damage_is_said_in_a_sentence(folder: Path, damage: Any, message: str) -> None:
    damage(folder)
    with pytest.raises(InputError) as caught:
        load(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert str(folder) in str(caught.value) or "gn11" in message


def test_other_inputs_are_refused(folder: Path) -> None:
    inputs = yaml.safe_load((folder / "method.yaml").read_text())["inputs"]
    inputs["event"] = ["eta"]
    edit(folder, inputs=inputs)
    with pytest.raises(InputError, match="with its inputs"):
        load(folder)


def test_saving_again_replaces(folder: Path) -> None:
    gn1 = load(folder)
    gn1.history = [{"epoch": 1.0}]
    gn1.save(folder)
    assert json.loads((folder / "history.json").read_text()) == [{"epoch": 1.0}]
    assert [file.name for file in folder.parent.iterdir()] == ["model"]


def test_truth_for_auxiliary_tasks_is_asked_for() -> None:
    without = GN1(origin_weight=0, vertex_weight=0)
    inputs = without.default_inputs()
    assert inputs.collections["tracks"].labels == {} and inputs.collections["tracks"].fields == []
    assert without.network(inputs) is not None
    for gn1 in (GN1(), GN1(origin_weight=0)):
        with pytest.raises(InputError, match="origin"):
            gn1.network(inputs)


def test_predictions_of_tracks_follow_the_order_they_were_read_in() -> None:
    gn1 = GN1(width=8, layers=1)
    train, valid = (synthetic(gn1.default_inputs(), 200, seed) for seed in (1, 2))
    gn1.fit(train, valid, training=gn1.default_training().with_(epochs=1, progress="none"))
    rows = valid.read()
    forwards, backwards = gn1.predict(rows), gn1.predict(ak.with_field(rows, rows.tracks[:, ::-1], "tracks"))
    turned = backwards.tracks.gn1_pFromB[:, ::-1]
    assert ak.all(abs(turned - forwards.tracks.gn1_pFromB) < 1e-5)
    assert not ak.all(abs(backwards.tracks.gn1_pFromB - forwards.tracks.gn1_pFromB) < 1e-5)
    many = ak.concatenate([rows.tracks] * 40, axis=1)
    long = gn1.predict(ak.with_field(rows, many, "tracks"))
    assert ak.all(ak.num(long.tracks) == ak.num(many))
    seen = ak.sum(~np.isnan(long.tracks.gn1_pFromB), axis=1)
    assert ak.all(seen == np.minimum(ak.num(many), 40))


def test_leptons_are_an_input_more() -> None:
    features = GN1(leptons=True).default_inputs().collection_features("tracks")
    assert features[:-1] == GN1().default_inputs().collection_features("tracks")
    assert features[-1].name == "leptonID"


@method
class Frequencies(Classifier):
    """A classical method that nothing registers: the frequencies of the classes."""

    trains_network: ClassVar[bool] = False

    def default_inputs(self) -> Inputs:
        return Inputs(
            event=["pt"], labels={"jet": Label(field="label", classes={"s": ["s"], "b": ["b"]})}, weight="w"
        )

    def fit(
        self, train: Any, valid: Any = None, inputs: Any = None, training: Any = None, resume: Any = None
    ) -> Any:
        self.inputs = inputs or self.default_inputs()
        self.counts = np.bincount(train.column("label"), minlength=2).astype(float)
        return self

    def predict_batch(self, batch: Batch) -> ak.Array:
        return self.probabilities(np.tile(self.counts / self.counts.sum(), (len(batch), 1)))

    def state(self) -> dict[str, Any]:
        return {"counts": self.counts}

    def restore(self, state: dict[str, Any]) -> None:
        self.counts = state["counts"]


def test_a_classical_method_of_ones_own(tmp_path: Path) -> None:
    sample = synthetic(Frequencies().default_inputs(), 50)
    fitted = Frequencies(name="mine").fit(sample)
    fitted.save(tmp_path / "model")
    again = Frequencies.load(tmp_path / "model")
    assert again.name == "mine"
    assert again.predict(sample).tolist() == fitted.predict(sample).tolist()
    with pytest.raises(InputError, match="no method called 'frequencies'"):
        load(tmp_path / "model")
    with pytest.raises(InputError, match="no network to export"):
        fitted.export(tmp_path / "model.onnx")
