"""Steps of a learning curve: a paired ratio sees what two errors side by side would not."""

import numpy as np

from femtobarn.evaluate.figures import binned_figure
from femtobarn.evaluate.flavour_metrics import flavour_metrics
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.ladder import ladder_figure, step_metrics, step_rows
from femtobarn.evaluate.metrics import Estimate
from femtobarn.evaluate.result import At
from femtobarn.evaluate.style import Caption, lines_for, to_svg
from toys import toy_jets, toy_prediction

AT: At = {"b_efficiency": 0.7, "f_c": 0.05, "f_c_choice": "common"}


def scores(rows: object, name: str, power: float, seed: int) -> FlavourScores:
    return FlavourScores.from_prediction(
        toy_prediction(rows, name, power, seed, tracks=False), name, seeds=[seed]
    )


def test_a_step_up_and_a_step_nowhere() -> None:
    rows = toy_jets(8000)
    jets = Jets(rows)
    weak, strong = scores(rows, "weak", 1.2, 1), scores(rows, "strong", 2.0, 2)
    same = scores(rows, "same", 1.2, 1)
    steps = [("weak", "strong"), ("weak", "same")]
    metrics = [
        metric for after in (strong, same) for metric in step_metrics(jets, weak, after, "ttbar", AT, 0.05)
    ]
    assert metrics[0].seeds == [1, 2]
    light = {m.method: m for m in metrics if m.name == "light_rejection_ratio"}
    assert light["strong"].value > 1 + 3 * light["strong"].error
    np.testing.assert_allclose((light["same"].value, light["same"].error), (1, 0), atol=1e-9)
    up, nowhere = step_rows(metrics, steps, {"weak": "W", "strong": "S", "same": "E"})
    assert up[0] == "S over W"
    assert up[3].startswith("rejects more")
    assert nowhere[3].startswith("the same within errors")


def test_the_figure_has_a_place_for_every_tagger_and_open_markers_for_published_numbers() -> None:
    rows = toy_jets(4000)
    taggers = [scores(rows, "weak", 1.2, 1), scores(rows, "strong", 2.0, 2)]
    own = {tagger.name: 0.05 for tagger in taggers}
    metrics = flavour_metrics(Jets(rows), taggers, sample="ttbar", own=own)
    common = [m for m in metrics if m.at.get("f_c_choice") == "common"]
    common = [m.model_copy(update={"reference": 100.0}) if m.method == "strong" else m for m in common]
    figure = ladder_figure(common, {"weak": "W", "strong": "S"}, Caption(sample="toys"))
    light, charm = figure.axes
    assert [text.get_text() for text in charm.get_xticklabels()] == ["W", "S"]
    hollow = [line for line in light.lines if line.get_markerfacecolor() == "none" and len(line.get_xdata())]
    assert len(hollow) == 4
    assert all(list(line.get_ydata()) == [100.0] for line in hollow)
    assert "<svg" in to_svg(figure, "ladder")


def test_sixteen_methods_stay_inside_their_bin() -> None:
    lines = lines_for([f"m{number}" for number in range(16)], {})
    values = {name: Estimate(np.array([0.7, 0.6]), np.array([0.01, 0.01])) for name in lines}
    figure = binned_figure({"efficiency": values}, [20.0, 50.0, 100.0], lines, Caption(sample="ttbar"))
    drawn = [line.get_xdata() for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    first = sorted(float(x[0]) for x in drawn if line_inside(x))
    assert len(first) >= 16
    assert first[0] > 20 and first[-1] < 50


def line_inside(x: object) -> bool:
    first, last = np.asarray(x, dtype=np.float64)
    return bool(first < 50 < last)
