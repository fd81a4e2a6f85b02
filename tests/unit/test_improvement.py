"""Significance improvement against brute force."""

import numpy as np
import pytest

from femtobarn.evaluate.improvement import best_improvement, efficiency_at, improvement
from femtobarn.evaluate.metrics import Survival


def samples(seed: int, events: int = 4000) -> tuple[Survival, Survival]:
    rng = np.random.default_rng(seed)
    return Survival(rng.normal(1.5, 1, events)), Survival(rng.normal(0, 1, events))


def test_improvement_is_that_of_counting() -> None:
    rng = np.random.default_rng(1)
    signal, background = rng.normal(1.5, 1, 3000), rng.normal(0, 1, 5000)
    threshold = np.sort(background)[::-1][99]
    expected = (signal >= threshold).mean() / np.sqrt(100 / 5000)
    found = improvement(Survival(signal), Survival(background), 100 / 5000)
    assert float(found.value) == pytest.approx(expected, rel=1e-12)


def test_errors_are_the_spread_of_samples() -> None:
    many = [samples(seed) for seed in range(300)]
    for function in (improvement, efficiency_at):
        results = [function(*pair, 0.02) for pair in many]
        spread = np.std([float(r.value) for r in results], ddof=1)
        assert np.mean([float(r.error) for r in results]) == pytest.approx(spread, rel=0.15)


def test_equal_scores_are_no_improvement() -> None:
    assert float(improvement(Survival(np.ones(50)), Survival(np.ones(70)), 0.01).value) == pytest.approx(1)


def test_the_best_is_not_below_any() -> None:
    pair = samples(1)
    rates = np.geomspace(100 / 4000, 1, 17)
    best = best_improvement(*pair, 100)
    assert best.value >= improvement(*pair, rates).value.max() * 0.99
    assert best.error > 0
