"""Areas on the same events."""

import numpy as np
import pytest

from femtobarn.evaluate.metrics import auc
from femtobarn.evaluate.paired import area_of, mean_area


def scores(seed: int, events: int = 500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    signal = rng.random(events) < 0.4
    common = rng.normal(size=events) + signal
    return common + 0.3 * rng.normal(size=events), common + 0.6 * rng.normal(size=events), signal


def test_error_is_delongs() -> None:
    one, _, signal = scores(1)
    one = np.round(one, 1)  # ties
    ours, theirs = area_of(one, signal), auc(one, signal)
    assert ours.value == pytest.approx(float(theirs.value))
    assert float(ours.estimate.error) == pytest.approx(float(theirs.error), rel=1e-9)


def test_paired_difference_has_the_spread_it_says() -> None:
    differences = [area_of(a, s).minus(area_of(b, s)) for a, b, s in map(scores, range(300))]
    said = np.mean([float(d.estimate.error) for d in differences])
    apart = np.mean(
        [
            np.hypot(*(float(area_of(x, s).estimate.error) for x in (a, b)))
            for a, b, s in map(scores, range(50))
        ]
    )
    assert np.std([d.value for d in differences]) == pytest.approx(said, rel=0.15)
    assert said < 0.7 * apart


def test_mean_over_folds_and_seeds() -> None:
    one, _, signal = scores(2)
    rows = [np.arange(250), np.arange(250, 500)]
    folds = mean_area([area_of(one[r], signal[r]) for r in rows], rows, 500)
    assert folds.value == pytest.approx(np.mean([area_of(one[r], signal[r]).value for r in rows]))
    assert float(folds.estimate.error) == pytest.approx(float(area_of(one, signal).estimate.error), rel=0.05)
    every = [np.arange(500)] * 2
    both = mean_area([area_of(one, signal), area_of(one, signal)], every, 500)
    np.testing.assert_allclose(both.influence, area_of(one, signal).influence)
