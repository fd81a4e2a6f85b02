"""Results: there and back, parts combined, numbers shown."""

import json
from pathlib import Path

import pytest

from femtobarn.errors import InputError
from femtobarn.evaluate.numbers import duration, rounded, shown, shown_metric
from femtobarn.evaluate.result import (
    Metric,
    Reference,
    Result,
    combine,
    environment,
    read_references,
    with_references,
)
from femtobarn.evaluate.table import measured_scales, print_table, table_rows

FIELDS = {
    "recipe",
    "scale",
    "command",
    "seed",
    "versions",
    "machine",
    "started",
    "seconds",
    "sizes",
    "metrics",
    "artifacts",
}
METRIC_FIELDS = {
    "name",
    "at",
    "method",
    "sample",
    "value",
    "error",
    "error_seed",
    "seeds",
    "reference",
    "source",
}


def metric(value: float | None, seed: int = 1, **other: object) -> Metric:
    at = other.pop("at", {"b_efficiency": 0.7, "f_c": 0.05, "f_c_choice": "common"})
    return Metric(
        name="light_rejection",
        at=at,
        method="gn1",
        sample="ttbar",
        value=value,
        error=4.0,
        seeds=[seed],
        **other,
    )


def result(*metrics: Metric, seconds: float = 1.0) -> Result:
    part = Result.start("gn1", "quick", 1, "femtobarn run gn1")
    return part.model_copy(
        update={"metrics": list(metrics), "seconds": {"train": seconds}, "sizes": {"test": 10}}
    )


def test_there_and_back(tmp_path: Path) -> None:
    written = result(metric(120.5), metric(None, lower_limit=300.0))
    written.write(tmp_path / "results" / "result.json")
    assert Result.read(tmp_path / "results" / "result.json") == written
    content = json.loads((tmp_path / "results" / "result.json").read_text())
    assert set(content) == FIELDS
    assert set(content["metrics"][0]) == METRIC_FIELDS
    assert content["started"].endswith("Z")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["result.json"]


def test_nan_is_written_as_null(tmp_path: Path) -> None:
    result(metric(float("nan"), lower_limit=300.0)).write(tmp_path / "r.json")
    content = json.loads((tmp_path / "r.json").read_text())["metrics"][0]
    assert content["value"] is None
    assert content["lower_limit"] == 300.0


def test_a_field_too_many_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    result().write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "extra": 1}))
    with pytest.raises(InputError, match=r"r\.json: not a result of femtobarn: extra"):
        Result.read(path)
    with pytest.raises(InputError, match="no such file"):
        Result.read(tmp_path / "absent.json")


def test_combine_takes_mean_and_spread_over_seeds() -> None:
    parts = [result(metric(value, seed), seconds=2.0) for seed, value in ((1, 100.0), (2, 110.0), (3, 120.0))]
    (combined,) = combine(parts).metrics
    assert (combined.value, combined.error, combined.error_seed) == (110.0, 4.0, 10.0)
    assert combined.seeds == [1, 2, 3]
    assert combine(parts).seconds == {"train": 6.0}
    assert combine(parts).sizes == {"test": 10}


def test_combine_does_not_count_a_seed_twice() -> None:
    (combined,) = combine([result(metric(100.0, 1)), result(metric(100.0, 1))]).metrics
    assert (combined.seeds, combined.error_seed) == ([1], None)


def test_combine_keeps_limits_and_joins_own_fractions() -> None:
    own = [metric(100.0 + s, s, at={"f_c": 0.1 * s, "f_c_choice": "own"}) for s in (1, 2)]
    (combined,) = combine([result(m) for m in own]).metrics
    assert combined.at["f_c"] == pytest.approx(0.15)
    parts = [result(metric(500.0, 1)), result(metric(None, 2, lower_limit=300.0))]
    (limit,) = combine(parts).metrics
    assert (limit.value, limit.lower_limit, limit.seeds) == (None, 300.0, [1, 2])


def test_combine_refuses_what_does_not_belong_together() -> None:
    with pytest.raises(InputError, match="different recipes"):
        combine([result(), result().model_copy(update={"scale": "full"})])
    with pytest.raises(InputError, match="no parts"):
        combine([])


def test_references_stand_beside_the_metrics_they_belong_to(tmp_path: Path) -> None:
    table = tmp_path / "gn1.csv"
    table.write_text(
        "name,method,sample,b_efficiency,value,source\nlight_rejection,gn1,ttbar,0.70,1260,PUB\n"
    )
    references = read_references(table)
    assert references == [
        Reference(
            name="light_rejection",
            method="gn1",
            sample="ttbar",
            value=1260,
            source="PUB",
            at={"b_efficiency": 0.7},
        )
    ]
    other = metric(50.0, at={"b_efficiency": 0.77})
    mine, unknown = with_references([metric(100.0), other], references)
    assert (mine.reference, mine.source) == (1260, "PUB")
    assert unknown.reference is None
    table.write_text("name,method,value,source\nlight_rejection,gn1,many,PUB\n")
    with pytest.raises(InputError, match="line 2: column 'value'"):
        read_references(table)


def test_environment_knows_the_machine() -> None:
    versions, machine = environment()
    assert {"python", "numpy", "femtobarn"} <= set(versions)
    assert machine["cores"] >= 1 and machine["memory_gb"] > 0


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1263.4, 28.1, "1263 ± 28"),
        (1263.4, 281.0, "1260 ± 280"),
        (0.92134, 0.00187, "0.9213 ± 0.0019"),
        (0.95, 0.0000123, "0.9500 ± 0.0000"),
        (12.345, None, "12.3"),
        (0.0, None, "0"),
        (float("nan"), 1.0, "–"),
    ],
)
def test_numbers_have_the_digits_of_their_error(value: float, error: float | None, text: str) -> None:
    assert shown(value, error) == text


def test_numbers_of_metrics_and_times() -> None:
    assert shown_metric(metric(None, lower_limit=321.0)) == "> 321"
    assert shown_metric(metric(100.0, error_seed=3.0)) == "100.0 ± 5.0"
    assert rounded(0.000123) == "0.000123"
    assert [duration(t) for t in (0.42, 38.2, 725, 6720)] == ["0.4 s", "38 s", "12 min 5 s", "1 h 52 min"]


def test_table_beside_the_papers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = metric(90.0, reference=1260.0, at={"b_efficiency": 0.7, "f_c": 0.1, "f_c_choice": "own"})
    result(metric(100.0, reference=1260.0, source="PUB"), own, metric(5.0, at={})).write(
        tmp_path / "gn1-quick.json"
    )
    (row,) = table_rows(tmp_path)
    assert row["quantity"] == "light rejection at 70\u00a0% b-efficiency"
    assert (row["ours"], row["paper"], row["recipe"]) == ("100.0 ± 4.0", "1260", "gn1 (quick)")
    assert measured_scales(tmp_path) == {"gn1": ["quick"]}
    assert measured_scales(tmp_path / "absent") == {}
    for form, piece in (
        ("json", '"ours": "100.0 ± 4.0"'),
        ("markdown", "| light rejection at 70\u00a0% b-efficiency | 100.0 ± 4.0 (1260) |"),
        ("terminal", "PUB"),
    ):
        print_table(tmp_path, form)  # type: ignore[arg-type]
        assert piece in capsys.readouterr().out
    with pytest.raises(InputError, match="run a recipe first"):
        table_rows(tmp_path / "absent")
    larger = result(metric(120.0, reference=1260.0, source="PUB")).model_copy(update={"scale": "standard"})
    larger.write(tmp_path / "gn1-standard.json")
    (row,) = table_rows(tmp_path)
    assert row["recipe"] == "gn1 (standard)" and row["ours"].startswith("120")
