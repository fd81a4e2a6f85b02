"""Asymptotic CLs against the two Gaussians of a counting experiment."""

import numpy as np
from scipy.stats import norm

from femtobarn.statistics.asymptotic import asymptotic_cls


def test_cls_is_that_of_a_gaussian_measurement() -> None:
    # A measurement x of a strength mu >= 0 with error 1: q~ is (mu - x)^2 for x in (0, mu), mu^2 - 2 mu x for
    # x < 0 and 0 above mu; the tails are those of x itself.
    mu, x = np.meshgrid([0.5, 2.0, 4.0], [-2.0, -0.5, 0.3, 1.9])
    x = np.minimum(x, mu)
    q = np.where(x < 0, mu**2 - 2 * mu * x, (mu - x) ** 2)
    np.testing.assert_allclose(asymptotic_cls(q, mu**2), norm.cdf(x - mu) / norm.cdf(x), rtol=1e-10)


def test_without_sensitivity_nothing_is_excluded() -> None:
    assert asymptotic_cls([0.0, 3.0], [0.0, 0.0]).tolist() == [1.0, 1.0]
