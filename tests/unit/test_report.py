"""The flavour-tagging page from toys: complete, self-contained, the same every time."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import awkward as ak
import numpy as np
import pytest
from matplotlib.figure import Figure

from femtobarn.errors import InputError
from femtobarn.evaluate.figures import confusion_figure, origin_auc_figure
from femtobarn.evaluate.flavour import (
    FlavourScores,
    Jets,
    choose_fraction,
    flavour_figures,
    flavour_metrics,
    flavour_page,
)
from femtobarn.evaluate.metrics import Estimate, Survival, rejection
from femtobarn.evaluate.report import Cell, Report, added_up
from femtobarn.evaluate.result import Reference, Result, with_references
from femtobarn.evaluate.style import Caption, lines_for, to_svg
from toys import toy_jets, toy_prediction

TAGGERS = {"ip3d": (1.1, False), "gn1": (2.0, True)}


class Tags(HTMLParser):
    """All tags with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def toys() -> tuple[Jets, list[FlavourScores], Result]:
    rows = toy_jets(6000)
    jets = Jets(rows)
    scores = [
        FlavourScores.from_prediction(
            toy_prediction(rows, name, power, seed, tracks), name, label=name.upper(), seeds=[seed]
        )
        for seed, (name, (power, tracks)) in enumerate(TAGGERS.items())
    ]
    own = {tagger.name: choose_fraction(jets, tagger) for tagger in scores}
    result = Result.start("gn1", "smoke", 1, "femtobarn run gn1 --scale smoke")
    reference = Reference(
        name="light_rejection", method="gn1", value=1260, source="PUB", at={"b_efficiency": 0.7}
    )
    result.metrics = with_references(flavour_metrics(jets, scores, sample="ttbar", own=own), [reference])
    result.seconds = {"simulate ttbar": 61.0}
    return jets, scores, result


@pytest.fixture(scope="module")
def page(
    toys: tuple[Jets, list[FlavourScores], Result], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Report, str]:
    jets, scores, result = toys
    history = [{"train_jet": 1.0 / n, "valid_jet": 1.1 / n, "train_total": 1.0 / n} for n in (1, 2, 3)]
    report = flavour_page(
        jets, scores, result, title="GN1 & friends", subtitle="toys", sample="ttbar",
        caption=Caption(sample=r"$\sqrt{s}$ = 13.6 TeV"), own={"ip3d": 0.1, "gn1": 0.05},
        histories={"gn1": history, "ip3d": []}, settings="events: 1",
    )  # fmt: skip
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.write(path)
    return report, path.read_text(encoding="utf-8")


def test_everything_asked_for_is_there(page: tuple[Report, str]) -> None:
    figures = set(page[0].figures)
    assert figures >= {
        "roc-light", "roc-c", "f-c-scan", "roc-charm-b", "pt-one-cut", "pt-one-mistag", "score-ip3d",
        "score-gn1",
        "reliability", "confusion", "origin-auc", "origin-roc", "origin-confusion", "vertices-exclusive",
        "vertices-inclusive", "input-1", "loss-gn1",
    }  # fmt: skip
    assert "loss-ip3d" not in figures
    html = page[1]
    assert "GN1 &amp; friends" in html
    assert "paper 1260" in html
    assert "femtobarn run gn1 --scale smoke" in html
    assert html.index("<table") < html.index("<svg")  # the answer comes first
    assert re.search(r"At 70\u00a0% b-efficiency and f_c = 0.05 for both, GN1 rejects <b>[\d.]+ ± ", html)


def test_the_page_needs_nothing_else(page: tuple[Report, str]) -> None:
    tags = Tags()
    tags.feed(page[1])
    for tag, attributes in tags.found:
        for name in ("src", "href", "xlink:href", "data", "action", "srcset"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:")), f"<{tag} {name}={target}>"
    assert "http://" not in page[1] and "https://" not in page[1]
    assert "@import" not in page[1] and not re.search(r"url\((?!#)", page[1])
    ids = [attributes["id"] for _, attributes in tags.found if "id" in attributes]
    for _, attributes in tags.found:
        if (attributes.get("href") or "").startswith("#"):
            assert attributes["href"][1:] in ids


def test_figures_are_whole_and_the_same_every_time(page: tuple[Report, str], tmp_path: Path) -> None:
    names = page[0].save_figures(tmp_path)
    assert len(names) == len(page[0].figures)
    for name in names:
        assert ElementTree.parse(tmp_path / name).getroot().tag.endswith("svg")
        assert (tmp_path / name).stat().st_size < 250_000


def test_a_figure_is_the_same_every_time_and_has_identifiers_of_its_own() -> None:
    drawn = [to_svg(drawing(), name) for name in ("one", "one", "two")]
    assert drawn[0] == drawn[1]
    # Letters may share theirs: the same name is the same glyph.
    first, second = (set(re.findall(r' id="(?!TeXGyre)([^"]+)"', svg)) for svg in drawn[1:])
    assert first and not first & second


def drawing() -> Figure:
    matrix = np.array([[0.9, 0.1], [np.nan, np.nan]])
    return confusion_figure(matrix, ["b", "c"], Caption(sample=r"$\sqrt{s}$"))


def test_metrics_are_those_of_the_discriminant(toys: tuple[Jets, list[FlavourScores], Result]) -> None:
    jets, scores, result = toys
    score = np.log(scores[1].pb / (0.95 * scores[1].pu + 0.05 * scores[1].pc))
    expected = rejection(
        Survival(score[jets.flavour == "b"], jets.weights[jets.flavour == "b"]),
        Survival(score[jets.flavour == "c"], jets.weights[jets.flavour == "c"]),
        0.77,
    )
    found = result.find("c_rejection", "gn1", b_efficiency=0.77, f_c_choice="common")
    assert found is not None
    assert found.value == pytest.approx(float(expected.value))
    assert found.error == pytest.approx(float(expected.error))
    assert found.seeds == [1]
    names = {metric.name for metric in result.metrics if metric.method == "gn1"}
    assert names >= {
        "light_rejection", "c_rejection", "b_rejection", "light_rejection_ratio", "auc", "origin_auc",
        "origin_auc_mean", "origin_auc_weighted", "vertex_efficiency", "vertex_purity", "vertex_fake_rate",
        "calibration_error",
    }  # fmt: skip
    assert not {metric.name for metric in result.metrics if metric.method == "ip3d"} & {
        "origin_auc",
        "vertex_purity",
    }
    ratio = result.find("light_rejection_ratio", "gn1", b_efficiency=0.7, f_c_choice="common")
    values = [
        result.find("light_rejection", name, b_efficiency=0.7, f_c_choice="common").value for name in TAGGERS
    ]
    assert ratio.value == pytest.approx(values[1] / values[0])
    assert ratio.value > 2


def test_perfect_tracks_are_perfect() -> None:
    rows = toy_jets(600, tau=False)
    prediction = toy_prediction(rows, "gn1", 60.0, 3)
    tracks = ak.with_field(prediction.tracks, rows.tracks.ftagTruthVertexIndex, "gn1_VertexIndex")
    tagger = FlavourScores.from_prediction(ak.with_field(prediction, tracks, "tracks"), "gn1")
    metrics = {
        (m.name, m.at.get("kind")): m.value
        for m in flavour_metrics(Jets(rows), [tagger], sample="s", own={"gn1": 0.1})
    }
    assert metrics["origin_auc_mean", None] == pytest.approx(1)
    assert metrics["vertex_efficiency", "exclusive"] == 1
    assert metrics["vertex_purity", "exclusive"] == 1
    assert metrics["vertex_fake_rate", "exclusive"] == 0


def test_small_samples_give_limits_not_infinities() -> None:
    rows = toy_jets(60, tau=False, weighted=False)
    tagger = FlavourScores.from_prediction(toy_prediction(rows, "gn1", 9.0, 3), "gn1")
    metrics = flavour_metrics(Jets(rows), [tagger], sample="s", own={"gn1": 0.1})
    missing = [metric for metric in metrics if metric.value is None and metric.name.endswith("rejection")]
    assert missing and all(metric.lower_limit and metric.lower_limit >= 1 for metric in missing)


def test_tables_show_numbers_notes_and_groups(tmp_path: Path) -> None:
    report = Report("<b>")
    report.text("one `code` and **bold** & <i>\n\ntwo")
    report.table(
        ["", "value"],
        [["group"], ["row", Cell("5", "paper 6", True)], ["nothing", None], ["float", 1.2345]],
        "why",
    )
    report.section("Folded", folded=True)
    report.code("a < b")
    report.write(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "<title>&lt;b&gt;</title>" in html
    assert "<code>code</code> and <b>bold</b> &amp; &lt;i&gt;" in html
    assert "<b>5</b><small>paper 6</small>" in html
    assert 'colspan="2"' in html and "<td>1.23</td>" in html and "<td>–</td>" in html
    assert '<details id="folded">' in html and "a &lt; b" in html


def test_lines_differ_between_methods() -> None:
    lines = lines_for(["a", "b", "c", "d"])
    assert len({line.colour for line in lines.values()}) == 4
    assert len({str(line.dash) for line in lines.values()}) == 4


def test_what_cannot_be_judged_is_refused() -> None:
    rows = toy_jets(300)
    with pytest.raises(InputError, match="no field 'flavor'"):
        Jets(rows, label="flavor")
    with pytest.raises(InputError, match="no c-jets"):
        Jets(rows[ak.to_numpy(rows.HadronConeExclTruthLabelID) != 4])
    prediction = toy_prediction(rows, "gn1", 2.0, 3)
    with pytest.raises(InputError, match="no field 'gn2_pb'"):
        FlavourScores.from_prediction(prediction, "gn2")
    short = ak.with_field(prediction, prediction.tracks[:, :1], "tracks")
    with pytest.raises(InputError, match="differ in number per jet"):
        flavour_metrics(
            Jets(rows), [FlavourScores.from_prediction(short, "gn1")], sample="s", own={"gn1": 0.1}
        )


def test_label_by_class_names() -> None:
    rows = ak.Array({"flavour_label": [0, 1, 2, 3, 0], "pt": [1.0] * 5})
    jets = Jets(rows, "flavour_label", None, ["bjets", "cjets", "ujets", "taujets"])
    assert jets.flavour.tolist() == ["b", "c", "u", "tau", "b"]


def test_a_page_of_fourteen_jets() -> None:
    rows = toy_jets(14, seed=3)
    jets, tagger = Jets(rows), FlavourScores.from_prediction(toy_prediction(rows, "gn1", 9.0, 1), "gn1")
    report = Report("few")
    flavour_figures(report, jets, [tagger], caption=Caption(), own={"gn1": choose_fraction(jets, tagger)})
    assert len(report.figures) > 15


def test_a_tagger_with_one_more_track_class_has_its_points_in_the_right_rows() -> None:
    classes = {"gn1": ["Primary", "FromB", "Other"], "gn2": ["Primary", "FromTau", "FromB", "Other"]}
    areas = {name: Estimate(np.full(len(own), 0.9), np.full(len(own), 0.01)) for name, own in classes.items()}
    figure = origin_auc_figure(
        areas, dict.fromkeys(classes, 0.9), classes, lines_for(list(classes)), Caption()
    )
    axes = figure.axes[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(rows) == sorted(classes["gn2"])
    for points, own in zip([bars.lines[0] for bars in axes.containers], classes.values(), strict=True):
        assert [rows[round(float(y))] for y in points.get_ydata()] == own


def test_many_stages_are_added_up():
    seconds = {"simulate ttbar": 3.0} | {f"mlp {k} {1000 * k}": 1.0 for k in range(40)}
    seconds |= {f"gn1 seed {k}": 2.0 for k in range(30)} | {"trees-7": 5.0}
    assert added_up(seconds) == {
        "simulate ttbar": 3.0, "mlp (40 times)": 40.0, "gn1 (30 times)": 60.0, "trees-7": 5.0,
    }  # fmt: skip
    assert added_up({"mlp 1": 1.0, "mlp 2": 1.0}) == {"mlp 1": 1.0, "mlp 2": 1.0}
