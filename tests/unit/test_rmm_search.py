"""The search with rapidity-mass matrices: selection, cuts, gains, fits to weighted events, false alarms."""

import awkward as ak
import numpy as np
import pytest

from femtobarn.errors import InputError
from femtobarn.evaluate.result import Metric, Result
from femtobarn.recipes.rmm_gains import Background, cut, gain, scalar_sum, shortest
from femtobarn.recipes.rmm_page import gaining
from femtobarn.recipes.rmm_samples import BACKGROUNDS, FAKE_RATE, MASSES, Events, Source, prepared
from femtobarn.recipes.rmm_scores import SCORES, as_sample, brief, lesson, matrix
from femtobarn.recipes.rmm_spectra import SIZE, false_alarms, fitted, searched, smooth

SQRT_S = 13_000.0


def event(jets: list[float], electrons: list[float], btag: int = 0, origin: int = 2) -> dict[str, object]:
    """One event of jets and electrons with these pT, back to back."""

    def table(pts: list[float], phi: float, **more: int) -> list[dict[str, float]]:
        return [{"pt": pt, "eta": 0.0, "phi": phi, "mass": 0.0, **more} for pt in pts]

    return {"jets": table(jets, 0.0, btag=btag), "taus": table([], 0.0), "muons": table([], 0.0),
            "electrons": table(electrons, np.pi, origin=origin), "photons": table([], 0.0), "met": 50.0,
            "met_phi": 1.0, "fold": 3, "crossSectionWeight": 2000.0}  # fmt: skip


def events(*some: dict[str, object]) -> ak.Array:
    """Events, with types even where a collection is empty in all."""
    full = event([40.0], [70.0])
    one = [{"pt": 1.0, "eta": 0.0, "phi": 0.0, "mass": 0.0}]
    full |= {"taus": one, "muons": one, "photons": one}
    return ak.Array([full, *some])[1:]


def test_the_selection_wants_a_hard_lepton_and_a_jet_and_gives_pb() -> None:
    rows = prepared(
        events(event([40.0], [70.0]), event([40.0], [50.0]), event([20.0], [70.0]),
               event([40.0], [70.0], btag=3)),
        Source("", "w_jets"), "w_jets",
    )  # fmt: skip
    assert ak.num(rows.jets).tolist() == [1, 0] and ak.num(rows.bjets).tolist() == [0, 1]
    assert rows.weight.tolist() == pytest.approx([2.0, 2.0], rel=1e-3)
    mass = 2 * np.sqrt(40.0 * 70.0)  # massless and back to back
    assert rows["m_je"].tolist() == pytest.approx([mass, 0.0], rel=1e-5)
    assert rows["m_be"].tolist() == pytest.approx([0.0, mass], rel=1e-5)


def test_no_selected_event_is_said() -> None:
    with pytest.raises(InputError, match="no event of 'nothing' has a lepton"):
        prepared(events(event([40.0], [10.0])), Source("", "w_jets"), "nothing")


def test_fakes_made_more_often_count_less() -> None:
    source = BACKGROUNDS["dijet"]
    rows = prepared(events(event([40.0], [70.0], origin=0), event([40.0], [70.0], origin=2)), source, "dijet")
    other = (1 - FAKE_RATE) / (1 - FAKE_RATE * source.fakes)  # the jet that did not pass as an electron
    assert rows.weight.tolist() == pytest.approx([2.0 / source.fakes * other], rel=1e-6)


def test_the_matrix_has_1287_inputs_and_an_event_of_nothing_is_zeros() -> None:
    one = prepared(events(event([40.0], [70.0])), Source("", "w_jets"), "")
    full = Events(one, np.ones(1), np.zeros(1, np.int64), np.zeros((1, 9), np.float32))
    assert full.inputs().shape == (1, 1287) and full.inputs().any()
    empty = ak.with_field(one, [0.0], "met")
    for kind in ("jets", "bjets", "muons", "electrons", "photons"):
        empty = ak.with_field(empty, empty[kind][:, :0], kind)
    nothing = full._replace(rows=empty)
    assert not nothing.inputs().any()
    assert scalar_sum(nothing).tolist() == [0.0] and scalar_sum(full).tolist() == [160.0]
    assert len(as_sample(full.inputs(), np.ones(1))) == 1
    assert matrix(full).shape == (1, 1287) and brief(full).shape == (1, 46) and not brief(nothing).any()


def test_a_density_learns_blurred_sums_and_the_network_cells_as_they_are() -> None:
    some = [event([40.0 + k], [70.0 + 2 * k]) for k in range(20)]
    rows = prepared(events(*some), Source("", "w_jets"), "")
    weight, fold = np.linspace(1, 2, 20), np.arange(20) % 10
    learnt = {"w_jets": Events(rows, weight, fold, np.zeros((20, 9), np.float32))}
    cells = lesson(SCORES["rmm_autoencoder"], learnt, (0, 5), 1).read(0, 100)
    np.testing.assert_allclose(np.asarray(cells.weight), weight[fold < 5] / weight[fold < 5].mean())
    np.testing.assert_array_equal(np.asarray(cells.x1), matrix(learnt["w_jets"])[fold < 5, 0])
    sums = brief(learnt["w_jets"])
    blurred = np.stack(
        [np.asarray(lesson(SCORES["flow_density"], learnt, (0, 10), k).read(0, 100).x2) for k in range(200)]
    )
    width = np.sqrt(np.average((sums[:, 1] - np.average(sums[:, 1], weights=weight)) ** 2, weights=weight))
    np.testing.assert_allclose(blurred.mean(0), sums[:, 1], atol=0.03 * width)
    assert blurred.std(0).mean() == pytest.approx(0.1 * width, rel=0.05)


def test_signals_gain_whose_gain_is_above_one_by_more_than_its_error() -> None:
    result = Result.start("rmm-search", "smoke", 1, "test")
    for sample, value, error, limit in (("sure", 2.0, 0.5, None), ("not", 2.0, 1.5, None),
                                        ("limit", None, None, 1.2), ("no", None, None, 0.9)):  # fmt: skip
        result.metrics.append(Metric(name="gain", at={"region": 1.0}, method="rmm_autoencoder", sample=sample,
                                     value=value, error=error, lower_limit=limit))  # fmt: skip
    assert gaining(result, "rmm_autoencoder") == ["sure", "limit"]


def test_a_cut_leaves_the_cross_section_asked_for() -> None:
    rng = np.random.default_rng(1)
    score, weight = rng.normal(size=20_000), rng.uniform(0, 2, 20_000) / 1000
    assert weight[score > cut(score, weight, 1.0)].sum() == pytest.approx(1.0, abs=0.002)
    with pytest.raises(InputError, match="less than a region of 50 pb"):
        cut(score, weight, 50.0)
    with pytest.raises(InputError, match="the same for all events"):
        cut(np.ones(10), np.ones(10), 1.0)


def test_the_window_of_a_signal_is_its_densest_half() -> None:
    values = np.concatenate([np.zeros(50), np.linspace(0.9, 1.1, 51), np.linspace(1.2, 5, 49)]).astype(
        np.float32
    )
    low, high = shortest(values)
    assert (low, high) == (pytest.approx(0.9, abs=0.01), pytest.approx(1.1, abs=0.01))
    with pytest.raises(InputError, match="too few"):
        shortest(np.zeros(10, np.float32))


def scene(passing: float) -> tuple[tuple[Events, np.ndarray], Background, np.ndarray]:
    """A signal of which half passes a cut at 0, and a background of which a share passes."""
    masses = np.full((4000, 9), 100.0, np.float32)
    background = Background(masses, np.full(4000, 10.0), np.zeros(4000, np.int64), np.zeros(4000))
    score = np.where(np.arange(4000) < round(4000 * passing), 1.0, -1.0)
    signal = Events(ak.Array([]), np.ones(2000), np.zeros(2000, np.int64), masses[:2000])
    return (signal, np.where(np.arange(2000) < 1000, 1.0, -1.0)), background, score


def test_a_gain_is_the_efficiency_over_the_root_of_the_backgrounds() -> None:
    signal, background, score = scene(0.01)
    found = gain(MASSES[0], (90.0, 110.0), signal, background, score, 0.0, 1e3)
    assert found.efficiency == 0.5 and found.background == pytest.approx(400.0)
    assert found.ratio == pytest.approx(0.5 / np.sqrt(0.01), rel=5e-3)  # s is not far below b
    assert found.error / found.ratio == pytest.approx(0.5 / np.sqrt(40), rel=0.05)  # of the root of 40 events
    none = gain(MASSES[0], (90.0, 110.0), signal, background, np.where(score > 0, -1.0, -1.0), 0.0, 1e3)
    assert np.isnan(none.ratio) and none.lower_limit is not None and none.lower_limit > 1


def test_weighted_events_are_fitted_and_searched() -> None:
    rng = np.random.default_rng(4)
    mass = (80 * rng.pareto(4.0, 30_000) + 130).astype(np.float32)
    chance = np.minimum(1.0, (mass / 600) ** 2)  # as many hard as soft events, with weights
    kept = rng.random(len(mass)) < chance
    mass, weight = mass[kept], 0.01 / chance[kept]
    found = smooth(mass, weight, SQRT_S)
    assert found is not None and found.probability > 0.01
    inside = (mass >= found.edges[0]) & (mass < found.edges[-1])
    assert found.expected.sum() == pytest.approx(weight[inside].sum(), rel=0.03)
    one = searched(found, 1000.0, SQRT_S, 300, 300, (0.0,), 0.04, 3, rng)
    assert 0 < one.hunt.tail.p <= 1 and (one.limits[0.0].observed > 0).all()
    each, together, trials = false_alarms([one])
    assert trials == 300 and each[0] == pytest.approx(SIZE, abs=0.05)
    assert abs(together[0] - SIZE) < 4 * together[1] + 0.02
    # A bump of ten standard deviations raises the alarm.
    bumped = one.spectrum.counts.copy()
    bumped[3:5] += 10 * np.sqrt(bumped[3:5])
    expected, _ = fitted(bumped[None], found.edges, found, SQRT_S)
    assert (bumped[3:5].sum() - expected[0, 3:5].sum()) / np.sqrt(expected[0, 3:5].sum()) > 4


def test_too_few_and_negative_weights() -> None:
    assert smooth(np.zeros(0, np.float32), np.zeros(0), SQRT_S) is None
    assert smooth(np.full(3, 500.0, np.float32), np.ones(3), SQRT_S) is None
    with pytest.raises(InputError, match="merge bins until no sum of weights is negative"):
        smooth(np.full(3, 500.0, np.float32), -np.ones(3), SQRT_S)
    with pytest.raises(InputError, match="no spectrum has enough events"):
        false_alarms([])
