"""CMS's stored taggers on CMS's jets come out in the order of their history."""

from pathlib import Path

import pytest

from femtobarn.errors import InputError
from femtobarn.evaluate.files import evaluate_files


def test_three_generations_of_cms_taggers(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "cms-nanoaod" / "NanoAODv5_sample.root"
    taggers = ["btagCSVV2", "btagDeepB", "btagDeepFlavB"]
    result = evaluate_files(
        [str(file)],
        scores=[{"b": f"Jet_{name}"} for name in taggers],
        label="Jet_hadronFlavour",
        out=tmp_path,
    )
    areas = [result.find("auc", name, background="light").value for name in taggers]
    assert areas == sorted(areas)
    assert areas[0] > 0.85 and areas[-1] > 0.94
    for background in ("light_rejection", "c_rejection"):
        values = [result.find(background, name, b_efficiency=0.7).value for name in taggers]
        assert values == sorted(values)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "btagDeepFlavB" in html and html.count("<svg") == 5
    assert (tmp_path / "result.json").exists()


def test_newer_file_with_its_collection(shared_data: Path, tmp_path: Path) -> None:
    file = str(shared_data / "cms-nanoaod" / "nano_tt_v15.root")
    result = evaluate_files(
        [file], scores=[{"b": "btagUParTAK4B"}], label="hadronFlavour", collection="Jet", out=tmp_path
    )
    assert result.find("auc", "btagUParTAK4B", background="light").value > 0.93
    with pytest.raises(InputError, match="btagUParTAK4B"):
        evaluate_files([file], scores=[{"b": "Jet_btagUParT4B"}], label="Jet_hadronFlavour", out=tmp_path)
    with pytest.raises(InputError, match="expected b=FIELD"):
        evaluate_files([file], scores=[{"c": "Jet_btagPNetB"}], label="Jet_hadronFlavour", out=tmp_path)
