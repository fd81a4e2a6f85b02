"""`femtobarn evaluate` on a file of our own layout: a model, and stored probabilities."""

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from scipy.stats import norm

from femtobarn import cli
from femtobarn.classification.fisher import Fisher
from femtobarn.data.atlas import AtlasWriter
from femtobarn.data.formats import open_writer
from femtobarn.data.inputs import Inputs, Label
from femtobarn.data.sample import Sample, open_sample
from femtobarn.errors import InputError
from femtobarn.evaluate.classes import evaluate_classes
from femtobarn.evaluate.files import evaluate_files
from femtobarn.evaluate.flavour_metrics import mistag_metrics
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
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


def test_jets_without_a_finite_pt_are_left_out_and_counted(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = open_sample(file).read()
    pt = ak.to_numpy(rows.pt).copy()
    pt[:7] = np.nan
    with AtlasWriter(
        tmp_path / "broken.h5", {"flavour_label": ["bjets", "cjets", "ujets", "taujets"]}
    ) as out:
        out.append(ak.with_field(rows, pt, "pt"))
    fields = [{flavour: f"stored_p{flavour}" for flavour in "bcu"}]
    sizes = [
        sum(evaluate_files([str(one)], scores=fields, out=tmp_path / "page").sizes.values())
        for one in (file, tmp_path / "broken.h5")
    ]
    assert "'pt' of 7 of" in capsys.readouterr().err
    assert sizes[0] - sizes[1] == 7


def test_a_label_that_is_not_there(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="flavour_lable"):
        evaluate_files([str(file)], scorer=Toy(), label="flavour_lable", out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three Gaussian classes in the corners of a triangle, and a fourth that no model here knows."""
    rng, count = np.random.default_rng(4), 12_000
    kind = rng.integers(0, 4, count)
    centre = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [9.0, 9.0]])[kind]
    x, y = np.ascontiguousarray(rng.normal(centre).T, dtype=np.float32)
    weight = np.where(rng.random(count) < 0.1, -0.5, 1.0).astype(np.float32)
    path = tmp_path_factory.mktemp("events") / "events.parquet"
    with open_writer(path, {"kind": ["qcd", "top", "w", "new"]}) as writer:
        writer.append(ak.zip({"x": x, "y": y, "weight": weight, "kind": kind.astype(np.int8)}))
    return path


@pytest.fixture(scope="module")
def fisher(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    label = Label(field="kind", classes={name: [name] for name in ("qcd", "top", "w")})
    inputs = Inputs(event=["x", "y"], labels={"class": label}, weight="weight")
    model = Fisher().fit(open_sample(events).take(np.arange(0, 12_000, 2)), inputs=inputs)
    return model.save(tmp_path_factory.mktemp("model") / "fisher")


def test_any_classes(events: Path, fisher: Path, tmp_path: Path) -> None:
    result = evaluate_classes([str(events)], Fisher.load(fisher), out=tmp_path)
    for name, distance in (("top", 2.0), ("w", 1.0)):
        area = result.find("auc", "fisher", signal=name, background="qcd")
        assert area is not None and abs(area.value - norm.cdf(distance / np.sqrt(2))) < 3 * area.error
        kept = result.find("rejection", "fisher", signal=name, signal_efficiency=0.5)
        assert kept is not None and abs(kept.value - 1 / norm.sf(distance)) < 3 * kept.error
    assert result.find("calibration_error", "fisher", **{"class": "top"}).value < 0.03
    assert result.sizes == {"events": int((open_sample(events).column("kind") < 3).sum())}
    assert "roc-top" in (tmp_path / "report.html").read_text()
    other = evaluate_classes([str(events)], Fisher.load(fisher), background="w", out=tmp_path)
    assert other.find("auc", "fisher", signal="top", background="w") is not None


def test_rows_count_with_the_weight_of_the_file(events: Path, tmp_path: Path) -> None:
    """Also for a model that was trained without; and QCD is what the others are told from."""
    rows = open_sample(events).read()
    path = tmp_path / "weighted.parquet"
    with open_writer(path, {"kind": ["qcd", "top", "w", "new"]}) as writer:
        weight = np.where(ak.to_numpy(rows.x) > 0.5, 4.0, 1.0)
        writer.append(ak.with_field(rows, weight.astype(np.float32), "mcEventWeight"))
    label = Label(field="kind", classes={name: [name] for name in ("top", "w", "qcd")})
    model = Fisher().fit(open_sample(events), inputs=Inputs(event=["x"], labels={"class": label}))
    found = evaluate_classes([str(path)], model, out=tmp_path).find(
        "rejection", "fisher", signal="top", background="qcd", signal_efficiency=0.5
    )
    x, kind = ak.to_numpy(rows.x), ak.to_numpy(rows.kind)
    order = np.argsort(x[kind == 1])
    above = np.cumsum(weight[kind == 1][order][::-1])[::-1] / weight[kind == 1].sum()
    cut = x[kind == 1][order][np.abs(above - 0.5).argmin()]
    other = weight[kind == 0]
    assert found is not None
    assert found.value == pytest.approx(other.sum() / other[x[kind == 0] > cut].sum(), rel=0.02)


def test_what_cannot_be_judged(events: Path, fisher: Path, tmp_path: Path) -> None:
    model = Fisher.load(fisher)
    with pytest.raises(InputError, match=r"no such class; did you mean 'top'"):
        evaluate_classes([str(events)], model, background="topp", out=tmp_path / "no")
    rows = open_sample(events).read()
    for name, kept, message in (("two", rows[rows.kind < 2], "no rows of the class 'w'"),
                                ("none", rows[["x", "y"]], "kind")):  # fmt: skip
        with open_writer(tmp_path / f"{name}.parquet", {"kind": ["qcd", "top", "w", "new"]}) as writer:
            writer.append(kept)
        with pytest.raises(InputError, match=message):
            evaluate_classes([str(tmp_path / f"{name}.parquet")], model, out=tmp_path / "no")
    with pytest.raises(InputError, match="--background w: among flavours"):
        cli.evaluate([str(events)], scores=["b=x"], background="w", out=tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_a_model_is_judged_by_events_it_has_not_seen(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By event numbers too, which is how `train` splits files that know no folds."""
    sample = open_sample(file)
    rows = sample.read(fields=[name for name in sample.schema.names if name not in ("fold", "eventNumber")])
    numbered = ak.with_field(rows, np.arange(len(rows)), "eventNumber")
    sizes = {}
    for name, jets in (("numbered", numbered), ("unknown", rows)):
        with AtlasWriter(tmp_path / f"{name}.h5", sample.schema.classes) as writer:
            writer.append(jets)
        result = evaluate_files([str(tmp_path / f"{name}.h5")], scorer=Toy(), out=tmp_path / name)
        sizes |= result.sizes
    judged = open_sample(tmp_path / "numbered.h5").split("test").select(pt=(20, np.inf), abs_eta=(0, 2.5))
    assert sizes["numbered"] == len(judged) < 0.4 * sizes["unknown"]
    assert "neither 'fold' nor 'eventNumber'" in capsys.readouterr().err


def test_jets_without_any_track(file: Path, tmp_path: Path) -> None:
    """Pages leave out what only tracks can fill."""
    sample = open_sample(file)
    rows = sample.read()
    rows = ak.with_field(rows, rows.tracks[:, :0], "tracks")
    with AtlasWriter(tmp_path / "bare.h5", sample.schema.classes) as writer:
        writer.append(rows)
    result = evaluate_files([str(tmp_path / "bare.h5")], scorer=Toy(), out=tmp_path / "page")
    assert result.find("light_rejection", "toy", b_efficiency=0.7, f_c_choice="own").value > 5
    assert "origin-auc" not in (tmp_path / "page" / "report.html").read_text()


def test_a_class_beyond_the_known_ones_is_no_flavour() -> None:
    """-1 is the absence of a class, not the class of code 1."""
    rows = toy_jets(60)
    rows["flavour_label"] = np.arange(60) % 4 - 1
    jets = Jets(rows, "flavour_label", None, ["bjets", "cjets", "ujets"])
    assert [int((jets.flavour == name).sum()) for name in ("b", "c", "u", "")] == [15, 15, 15, 15]


def test_a_score_is_one_number_per_jet(file: Path, tmp_path: Path) -> None:
    for name in ("tracks", "tracks.dr"):
        with pytest.raises(InputError, match=f"'{name}' is not one number per row"):
            evaluate_files([str(file)], scores=[{"b": name}], out=tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_efficiency_at_one_mistag_rate_against_pt() -> None:
    """In each bin of pT the cut is one that a hundredth of the light-jets pass."""
    rows = toy_jets(20_000)
    jets = Jets(rows)
    scores = FlavourScores.from_prediction(toy_prediction(rows, "toy", 2.0, 3), "toy")
    points = mistag_metrics(jets, scores, "toys")
    assert points
    score, pt = scores.discriminant_b(0.05), ak.to_numpy(rows.pt)
    for point in points:
        inside = (pt >= point.at["pt_min"]) & (pt < point.at["pt_max"])
        light = np.sort(score[inside & (jets.flavour == "u")])
        cut = light[-round(0.01 * len(light))]
        kept = np.mean(score[inside & (jets.flavour == "b")] >= cut)
        assert abs(point.value - kept) < 2 * point.error < 0.3
