"""`femtobarn evaluate` on a file of our own layout: a model, and stored probabilities."""

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from femtobarn.data.atlas import AtlasWriter
from femtobarn.data.sample import Sample
from femtobarn.errors import InputError
from femtobarn.evaluate.files import evaluate_files
from toys import toy_jets, toy_prediction


class Toy:
    """Scores jets as a fitted method does."""

    name = "toy"

    def predict(self, source: Sample) -> ak.Array:
        return toy_prediction(source.read(), "toy", 2.0, 3)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy jets with the probabilities of a tagger stored beside them."""
    rows = toy_jets(2500)
    code = ak.to_numpy(rows.HadronConeExclTruthLabelID)
    rows["flavour_label"] = np.select([code == 5, code == 4, code == 0], [0, 1, 2], 3).astype(np.int8)
    prediction = toy_prediction(rows, "stored", 2.0, 3, tracks=False)
    for name in prediction.fields:
        rows[name] = prediction[name]
    path = tmp_path_factory.mktemp("file") / "toys.h5"
    classes = {"flavour_label": ["bjets", "cjets", "ujets", "taujets"]}
    with AtlasWriter(path, classes) as writer:
        writer.append(rows)
    return path


def test_a_model(file: Path, tmp_path: Path) -> None:
    result = evaluate_files([str(file)], scorer=Toy(), out=tmp_path)
    assert result.find("light_rejection", "toy", b_efficiency=0.7, f_c_choice="own").value > 5
    assert result.find("origin_auc_mean", "toy").value > 0.9
    assert result.find("vertex_efficiency", "toy", kind="exclusive").value > 0.5
    assert json.loads((tmp_path / "result.json").read_text())["artifacts"] == ["report.html"]
    assert "vertices-exclusive" in (tmp_path / "report.html").read_text()


def test_stored_probabilities_make_the_discriminant(file: Path, tmp_path: Path) -> None:
    fields = {flavour: f"stored_p{flavour}" for flavour in "bcu"}
    result = evaluate_files([str(file)], scores=[fields, {"b": "stored_pb"}], out=tmp_path / "stored")
    assert {metric.method for metric in result.metrics} == {"stored", "stored_pb"}
    together, alone = (result.find("auc", name, background="light").value for name in ("stored", "stored_pb"))
    assert together > alone  # p_b alone does not know how light-like the rest is


def test_a_label_that_is_not_there(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="flavour_lable"):
        evaluate_files([str(file)], scorer=Toy(), label="flavour_lable", out=tmp_path)
    assert not list(tmp_path.iterdir())
