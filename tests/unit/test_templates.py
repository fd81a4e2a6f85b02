"""Templates: filling, normalisation and smoothing; sums over groups."""

import numpy as np
import pytest

from femtobarn.physics.groups import sums
from femtobarn.statistics.templates import fill, log_probability


def test_fill_adds_weights_by_class_and_cell():
    counts = fill(np.array([0, 1, 1, -1]), np.array([0, 3, 3, 2]), np.array([1.0, 2.0, -0.5, 9.0]), (2, 2, 2))
    assert counts.tolist() == [[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.5]]]


@pytest.mark.parametrize("given", [0, 1])
@pytest.mark.parametrize("smooth", [(), (2,)])
def test_probabilities_add_up_to_one(given, smooth):
    counts = np.random.default_rng(1).normal(2, 2, (3, 4, 5))
    counts[1] = 0.0  # a class without entries
    probability = np.exp(log_probability(counts, smooth, given=given))
    inner = tuple(range(1 + given, 3))
    np.testing.assert_allclose(probability.sum(axis=inner), 1.0)
    assert (probability > 0).all() and np.ptp(probability[1]) == pytest.approx(0)
    np.testing.assert_allclose(np.exp(log_probability(16 * counts, smooth, given=given)), probability)


def test_only_asked_axes_are_smoothed():
    counts = np.zeros((1, 3, 9))
    counts[0, 1, 4] = 1.0
    probability = np.exp(log_probability(counts, (2,), width=1.0, spread=1e-6))[0]
    assert probability[1, 3] > 0.1 and probability[0, 4] < 1e-6


def test_sums_of_groups():
    group, values = np.array([2, 0, 2]), np.arange(6.0).reshape(3, 2)
    assert sums(group, values, 4).tolist() == [[2, 3], [0, 0], [4, 6], [0, 0]]
    assert sums(group[:0], values[:0, :, None], 2).shape == (2, 2, 1)
    assert sums(group[:0], values[:0, 0], 2).dtype == np.float64
