"""Weighted metrics against scikit-learn, closed forms and toys."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from femtobarn.errors import InputError
from femtobarn.evaluate.binned import efficiency_at_mistag, efficiency_in_bins, rejection_in_bins
from femtobarn.evaluate.metrics import (
    Survival,
    auc,
    auc_difference,
    confusion,
    one_vs_rest_auc,
    rejection,
    rejection_ratio,
    reliability,
    roc,
    weighted_mean,
)


@pytest.fixture
def toy() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (with ties), labels and weights."""
    rng = np.random.default_rng(4)
    signal = rng.random(3000) < 0.4
    score = np.round(rng.normal(signal * 1.2, 1), 2)
    return score, signal, rng.uniform(0.2, 2, 3000)


def test_roc_is_scikit_learns(toy: tuple[np.ndarray, ...]) -> None:
    score, signal, weight = toy
    false, true, threshold = roc(
        Survival(score[signal], weight[signal]), Survival(score[~signal], weight[~signal])
    )
    expected = roc_curve(signal, score, sample_weight=weight, drop_intermediate=False)
    assert_allclose(false, expected[0], atol=1e-12)
    assert_allclose(true, expected[1], atol=1e-12)
    assert_allclose(threshold[1:], expected[2][1:])


def test_auc_is_scikit_learns(toy: tuple[np.ndarray, ...]) -> None:
    score, signal, weight = toy
    area = auc(score, signal, weight)
    assert float(area.value) == pytest.approx(roc_auc_score(signal, score, sample_weight=weight), abs=1e-12)


def test_paired_auc_error_is_the_spread_of_toys() -> None:
    rng = np.random.default_rng(8)
    signal, weight = np.arange(300) % 3 == 0, rng.uniform(0.5, 1.5, 300)
    found, errors, single = [], [], []
    for _ in range(1000):
        score = rng.normal(signal * 1.0, 1)
        other = score + rng.normal(0, 0.5, 300)
        difference = auc_difference((score, other), signal, weight)
        each = [float(auc(one, signal, weight).value) for one in (score, other)]
        assert float(difference.value) == pytest.approx(each[0] - each[1], abs=1e-12)
        found.append(float(difference.value))
        errors.append(float(difference.error))
        single.append(float(auc(score, signal, weight).error))
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.1)
    assert np.mean(errors) < 0.7 * np.mean(single)


def test_auc_error_is_the_spread_of_toys() -> None:
    rng = np.random.default_rng(5)
    signal = np.arange(400) < 150
    areas = [auc(rng.normal(signal * 1.0, 1), signal) for _ in range(2000)]
    spread = np.std([float(area.value) for area in areas])
    assert np.mean([float(area.error) for area in areas]) == pytest.approx(spread, rel=0.06)


def test_efficiency_and_its_binomial_error() -> None:
    efficiency = Survival(np.arange(100.0)).efficiency([70.0, 200.0, -1.0])
    assert_allclose(efficiency.value, [0.3, 0, 1])
    assert_allclose(efficiency.error, [np.sqrt(0.3 * 0.7 / 100), 0, 0], atol=1e-12)


def test_negative_weights_subtract() -> None:
    survival = Survival([0.0, 1.0, 1.0, 2.0], [1.0, 1.0, -0.5, 1.0])
    assert_allclose(survival.efficiency([2.0, 1.0]).value, [1 / 2.5, 1.5 / 2.5])
    assert survival.effective_count == pytest.approx(2.5**2 / 3.25)


def test_weighted_efficiency_error_is_the_spread_of_toys() -> None:
    rng = np.random.default_rng(6)
    toys = []
    for _ in range(600):
        weight = np.where(rng.random(300) < 0.15, -1.0, 1.0) * rng.uniform(0.5, 1.5, 300)
        toys.append(Survival(rng.random(300), weight).efficiency(0.7))
    spread = np.std([toy.value for toy in toys])
    assert np.mean([toy.error for toy in toys]) == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize("efficiency", [0.3, 0.6, 0.77, 1.0])
def test_threshold_gives_the_efficiency(efficiency: float) -> None:
    survival = Survival(np.random.default_rng(1).normal(size=1000))
    threshold = survival.threshold(efficiency)
    assert float(survival.efficiency(threshold).value) == pytest.approx(efficiency, abs=1e-9)


def test_rejection_of_exponentials_and_its_error() -> None:
    """Signal uniform, background exp(-k x): the rejection at efficiency e is known."""
    rng = np.random.default_rng(7)
    toys = []
    for _ in range(300):
        signal, background = Survival(rng.random(1000)), Survival(rng.exponential(0.25, 4000))
        toys.append(rejection(signal, background, [0.5, 0.7]))
    truth = np.exp([0.5 / 0.25, 0.3 / 0.25])
    values = np.array([toy.value for toy in toys])
    assert_allclose(values.mean(axis=0), truth, rtol=0.02)
    assert_allclose(np.mean([toy.error for toy in toys], axis=0), values.std(axis=0), rtol=0.12)


def test_no_background_passes() -> None:
    result = rejection(Survival([2.0, 3.0]), Survival(np.zeros(300)), 0.5)
    assert np.isnan(result.value) and np.isnan(result.error)
    assert float(result.lower_limit) == pytest.approx(100, rel=0.01)  # three events at 95 %
    assert np.isfinite(result.lower_limit)


def test_ratio_of_rejections_knows_that_the_jets_are_the_same() -> None:
    rng = np.random.default_rng(8)
    values, errors = [], []
    for _ in range(200):
        signal = np.arange(3000) < 1000
        base = rng.normal(signal * 1.5, 1)
        better = base + rng.normal(signal * 0.3, 0.3)
        ratio = rejection_ratio((better, base), signal, ~signal, 0.6)
        values.append(float(ratio.value))
        errors.append(float(ratio.error))
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)
    same = rejection_ratio((base, base), signal, ~signal, 0.6)
    assert (float(same.value), float(same.error)) == (1, 0)


def test_confusion_is_scikit_learns() -> None:
    rng = np.random.default_rng(9)
    truth, guess, weight = rng.integers(0, 3, 500), rng.integers(0, 3, 500), rng.random(500)
    expected = confusion_matrix(truth, guess, sample_weight=weight, normalize="true")
    assert_allclose(confusion(truth, guess, 3, weight).value, expected)


def test_one_vs_rest_is_scikit_learns_and_leaves_absent_classes_out() -> None:
    rng = np.random.default_rng(10)
    labels, weight = rng.integers(0, 3, 800), rng.random(800)
    scores = rng.normal(size=(800, 4)) + 1.5 * np.eye(4)[labels]
    labels[:50] = -1
    each, mean, weighted = one_vs_rest_auc(scores, labels, weight)
    known = labels >= 0
    expected = [
        roc_auc_score(labels[known] == k, scores[known, k], sample_weight=weight[known]) for k in range(3)
    ]
    assert_allclose(each.value[:3], expected)
    assert np.isnan(each.value[3])
    assert float(mean.value) == pytest.approx(np.mean(expected))
    share = np.array([weight[labels == k].sum() for k in range(3)])
    assert float(weighted.value) == pytest.approx((share * expected).sum() / share.sum())


def test_reliability_of_a_true_probability() -> None:
    rng = np.random.default_rng(11)
    probability = rng.random(200_000)
    curve = reliability(probability, rng.random(200_000) < probability)
    assert (np.abs(curve.observed - curve.predicted) < 4.5 * curve.error).all()
    assert curve.calibration_error < 0.005
    squeezed = reliability(0.25 + 0.5 * probability, rng.random(200_000) < probability)
    assert squeezed.calibration_error == pytest.approx(0.125, abs=0.01)  # mean of |p - 1/4 - p/2|


def test_weighted_mean() -> None:
    mean = weighted_mean([1.0, 3.0], [3.0, 1.0])
    assert float(mean.value) == 1.5
    assert float(mean.error) == pytest.approx(np.sqrt(9 * 0.25 + 2.25) / 4)
    assert np.isnan(weighted_mean([]).value)


def test_bins() -> None:
    passing = np.array([True, False, True, True, False, False])
    pt = np.array([10.0, 15.0, 20.0, 29.9, 30.0, 99.0])
    efficiency = efficiency_in_bins(passing, pt, [10, 20, 30, 40, 50])
    assert_allclose(efficiency.value, [0.5, 1.0, 0.0, np.nan])
    result = rejection_in_bins(passing, pt, [10, 20, 30, 40, 50])
    assert_allclose(result.value, [2.0, 1.0, np.nan, np.nan])
    assert np.isfinite(result.lower_limit[2]) and np.isnan(result.lower_limit[3])


def test_efficiency_at_a_mistag_of_every_bin() -> None:
    rng = np.random.default_rng(12)
    pt = rng.uniform(0, 2, 60_000)
    signal = rng.random(60_000) < 0.5
    score = rng.random(60_000) + (pt > 1) * 5 + signal * 0.3  # the second bin lies far above the first
    result = efficiency_at_mistag(score, signal, ~signal, pt, [0, 1, 2, 3], 0.01)
    assert_allclose(result.value[:2], 0.31, atol=5 * result.error[:2].max())
    assert np.isnan(result.value[2])


@pytest.mark.parametrize(
    ("scores", "weights", "message"),
    [
        ([], None, "nothing to evaluate"),
        ([1.0, np.nan], None, "score of entry 1 is nan"),
        ([1.0, 2.0], [1.0, np.inf], "weight of entry 1"),
        ([1.0, 2.0], [1.0, -1.0], "not to more than zero"),
        ([1.0, 2.0], [1.0], "do not match"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(scores: list[float], weights: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Survival(scores, weights, "b-jets")
