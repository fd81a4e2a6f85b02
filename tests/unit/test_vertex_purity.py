"""Vertices at equal purity: by hand, and the errors against the binomial and a second sample."""

import awkward as ak
import numpy as np
import pytest

from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.result import Metric
from femtobarn.evaluate.vertex_purity import (
    GROUPS,
    LEVELS,
    PurityScan,
    equal_purity,
    purity_metrics,
    purity_rows,
    scan_purity,
)

PRIMARY, B, OTHER = 2, 3, 7
COLUMNS = ("Primary", "FromB", "OtherSecondary")


def scores(name: str, n: int, **more: ak.Array) -> FlavourScores:
    return FlavourScores(name, *np.full((3, n), 1 / 3), label=name.upper(), **more)


def scan(name: str, efficiency: list[float], purity: list[float]) -> PurityScan:
    """Of exact numbers in every group."""
    sums = np.outer(efficiency, np.ones(GROUPS)), np.outer(purity, np.ones(GROUPS))
    ones = np.ones_like(sums[0])
    return PurityScan(scores(name, 1), sums[0], ones, sums[1], ones)


@pytest.mark.parametrize(
    ("target", "expected"),
    [(0.80, 0.90), (0.85, 0.85), (0.90, 0.80), (0.94, 0.64), (0.5, 0.90), (0.96, np.nan), (np.nan, np.nan)],
)
def test_efficiency_on_the_line_at_the_purity_of_the_other(target: float, expected: float) -> None:
    network = scan("gn1", [0.9, 0.8, 0.6, 0.5], [0.80, 0.90, 0.95, 0.93])
    found = equal_purity(network, scan("sv1", [0.6], [target]))
    assert float(found.value) == pytest.approx(expected, nan_ok=True)
    assert float(found.error) == pytest.approx(
        0.0 if np.isfinite(expected) else np.nan, abs=1e-9, nan_ok=True
    )


def toys(n: int, seed: int) -> tuple[Jets, FlavourScores, FlavourScores]:
    """b-jets with a vertex of three tracks, joined by a track of another origin in half of the jets.

    A network finds it always, the surest track with a uniform probability u, and another track joins with a
    chance of 1 - u; a fit finds it in six of ten jets, joined with a chance of 0.3.
    """
    rng = np.random.default_rng(seed)
    origin = np.tile([PRIMARY, PRIMARY, B, B, B, OTHER], (n, 1))
    truth = np.tile([0, 0, 1, 1, 1, 2], (n, 1))
    sure = rng.random(n)
    joined, joined_fit, found = rng.random(n) < 1 - sure, rng.random(n) < 0.3, rng.random(n) < 0.6
    vertex = np.tile([0, 0, 1, 1, 1, 2], (n, 1))
    vertex[:, 5] = np.where(joined, 1, 2)
    fit = np.full((n, 6), -2)
    fit[found, 2:5] = 0
    fit[found & joined_fit, 5] = 0
    heavy = np.tile([0.0, 0.0, 0.0, 0.0, 0.0, 0.0], (n, 1))
    heavy[:, 2] = sure
    primary = np.tile([1.0, 1.0, 0.0, 0.0, 0.0, 0.0], (n, 1))
    origins = {"Primary": primary, "FromB": heavy, "OtherSecondary": 1 - heavy - primary}
    rows = ak.zip(
        {
            "HadronConeExclTruthLabelID": np.r_[np.full(n, 5), 4, 0],
            "pt": np.full(n + 2, 50.0),
            "tracks": ak.zip({
                "ftagTruthOriginLabel": ak.from_regular(np.r_[origin, origin[:2]]),
                "ftagTruthVertexIndex": ak.from_regular(np.r_[truth, truth[:2]]),
            }),
        },
        depth_limit=1,
    )  # fmt: skip
    jets = Jets(rows, weight=None).take(np.arange(n + 2) < n)
    network = scores(
        "gn1", n, vertex=ak.from_regular(vertex),
        origins=ak.zip({name: ak.from_regular(origins[name]) for name in COLUMNS}),
    )  # fmt: skip
    return jets, network, scores("sv1", n, vertex=ak.from_regular(fit))


def test_surer_vertices_are_purer_and_fewer() -> None:
    """Of jets with u above t the purity is 1 - mean(1 - u) / 4, the efficiency 1 - t: both follow from t."""
    jets, network, fit = toys(20_000, 1)
    one, other = scan_purity(jets, network), scan_purity(jets, fit)
    (efficiency,), (purity,) = one.rates(np.ones((1, GROUPS)))
    np.testing.assert_allclose(efficiency, 1 - LEVELS, atol=0.01)
    np.testing.assert_allclose(purity, 1 - (1 - LEVELS) / 8, atol=0.01)
    (own,), (target,) = other.rates(np.ones((1, GROUPS)))
    assert own[0] == pytest.approx(0.6, abs=0.01) and target[0] == pytest.approx(1 - 0.3 / 4, abs=0.003)
    # 1 - (1 - t) / 8 = 0.925 at t = 0.4.
    found = equal_purity(one, other)
    assert abs(float(found.value) - 0.6) < 3 * float(found.error) < 0.1


def test_errors_are_the_spread_of_samples() -> None:
    """That of the purity to be reached is in that of the efficiency; where it plays no part, the binomial."""
    values, errors = [], []
    for seed in range(15):
        jets, network, fit = toys(1500, seed)
        one, other = scan_purity(jets, network), scan_purity(jets, fit)
        estimate = equal_purity(one, other)
        values.append(float(estimate.value))
        errors.append(float(estimate.error))
    assert np.std(values) == pytest.approx(np.mean(errors), rel=0.4)
    assert np.mean(errors) > 2 * np.sqrt(0.6 * 0.4 / 1500)
    certain = equal_purity(scan_purity(jets, fit), scan("other", [0.5], [0.5]))
    assert float(certain.error) == pytest.approx(np.sqrt(0.6 * 0.4 / 1500), rel=0.15)


def test_metrics_and_table() -> None:
    scans = [scan("sv1", [0.6], [0.85]), scan("gn1", [0.9, 0.8], [0.8, 0.9])]
    (metric,) = purity_metrics(scans, "ttbar", 100.0)
    assert metric.method == "gn1" and metric.at == {"kind": "inclusive", "pt_min": 100.0, "purity": "sv1"}
    assert metric.value == pytest.approx(0.85)
    at = {"kind": "inclusive", "pt_min": 100.0}
    own = [
        Metric(name=name, at=at, method="sv1", sample="ttbar", value=value, error=0.01)
        for name, value in (("vertex_purity", 0.85), ("vertex_efficiency", 0.6))
    ]
    metric.error = 0.02
    columns, rows = purity_rows([*own, metric], {"sv1": "SV1", "gn1": "GN1"}, 100.0)
    assert columns == ["vertices of", "purity", "efficiency", "GN1 at this purity"]
    assert rows == [["SV1", "0.850 ± 0.010", "0.600 ± 0.010", "0.850 ± 0.020"]]
