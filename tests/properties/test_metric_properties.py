"""What holds of metrics whatever the scores and weights."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from femtobarn.evaluate.discriminants import discriminant_b, discriminant_c
from femtobarn.evaluate.metrics import Survival, auc, rejection, roc
from femtobarn.evaluate.result import Metric

scores = st.lists(st.integers(-8, 8).map(lambda n: n / 4), min_size=2, max_size=40)
weights = st.floats(0.1, 4)


@st.composite
def jets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with ties, labels of both classes, positive weights."""
    score = np.array(draw(scores))
    signal = np.array(draw(st.lists(st.booleans(), min_size=len(score), max_size=len(score))))
    signal[0], signal[-1] = True, False
    weight = np.array(draw(st.lists(weights, min_size=len(score), max_size=len(score))))
    return score, signal, weight


def survivals(score: np.ndarray, signal: np.ndarray, weight: np.ndarray) -> tuple[Survival, Survival]:
    return Survival(score[signal], weight[signal]), Survival(score[~signal], weight[~signal])


@given(jets(), st.floats(1e-3, 1e3))
def test_a_common_factor_of_the_weights_changes_nothing(toy: tuple[np.ndarray, ...], factor: float) -> None:
    score, signal, weight = toy
    for one, other in zip(
        rejection(*survivals(score, signal, weight), [0.5, 0.9]),
        rejection(*survivals(score, signal, factor * weight), [0.5, 0.9]),
        strict=True,
    ):
        assert_allclose(one, other, rtol=1e-6)
    assert_allclose(auc(score, signal, weight), auc(score, signal, factor * weight), rtol=1e-7, atol=1e-9)


@given(jets())
def test_weight_two_is_the_event_twice(toy: tuple[np.ndarray, ...]) -> None:
    score, signal, _ = toy
    twice = np.arange(len(score)) % 3 == 0
    repeat = np.concatenate([np.arange(len(score)), np.flatnonzero(twice)])
    heavy = rejection(*survivals(score, signal, 1.0 + twice), [0.4, 0.8]).value
    doubled = rejection(*survivals(score[repeat], signal[repeat], np.ones(len(repeat))), [0.4, 0.8]).value
    assert_allclose(heavy, doubled)
    assert_allclose(auc(score, signal, 1.0 + twice).value, auc(score[repeat], signal[repeat]).value)


@given(jets())
def test_roc_rises_from_nothing_to_everything(toy: tuple[np.ndarray, ...]) -> None:
    false, true, threshold = roc(*survivals(*toy))
    assert (np.diff(false) >= -1e-12).all() and (np.diff(true) >= -1e-12).all()
    assert (np.diff(threshold) < 0).all()
    assert (false[0], true[0]) == (0, 0)
    assert_allclose([false[-1], true[-1]], 1)
    assert_allclose(np.trapezoid(true, false), auc(*toy).value, atol=1e-9)


@given(jets())
def test_rejections_are_finite_or_missing_and_fall_with_efficiency(toy: tuple[np.ndarray, ...]) -> None:
    result = rejection(*survivals(*toy), np.linspace(0.1, 1, 10))
    assert not any(np.isinf(part).any() for part in result)
    assert (np.diff(result.value[~np.isnan(result.value)]) <= 1e-9).all()
    assert (result.lower_limit >= 1).all()


@given(jets(), st.floats(-5, 5))
def test_only_the_order_of_scores_matters(toy: tuple[np.ndarray, ...], shift: float) -> None:
    score, signal, weight = toy
    moved = np.exp(score) + shift
    assert_allclose(auc(score, signal, weight).value, auc(moved, signal, weight).value)


probabilities = st.floats(1e-6, 1).map(lambda p: np.array([p]))


@given(probabilities, probabilities, probabilities, st.floats(0, 1))
def test_discriminants_are_their_definition(pb: np.ndarray, pc: np.ndarray, pu: np.ndarray, f: float) -> None:
    assert_allclose(discriminant_b(pb, pc, pu, f), np.log(pb / ((1 - f) * pu + f * pc)), atol=1e-9)
    assert_allclose(discriminant_c(pb, pc, pu, f), np.log(pc / ((1 - f) * pu + f * pb)), atol=1e-9)


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True, allow_infinity=True))
def test_metrics_never_hold_what_json_cannot(value: float, error: float) -> None:
    metric = Metric(name="auc", method="m", sample="s", value=value, error=error)
    assert metric.value is None or np.isfinite(metric.value)
    assert Metric.model_validate_json(metric.model_dump_json()) == metric
