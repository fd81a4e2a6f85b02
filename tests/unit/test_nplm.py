"""The learnt likelihood-ratio test, kernel and network."""

import numpy as np
import pytest

from femtobarn.anomaly.nplm_kernel import kernel_test, log_ratio, prepare_kernel
from femtobarn.anomaly.nplm_network import network_test, prepare_network
from femtobarn.errors import InputError

EXPECTED = 300


def draw(rng: np.random.Generator, mean: float, signal: int = 0) -> np.ndarray:
    parts = [rng.exponential(size=rng.poisson(mean)), rng.normal(5.0, 0.3, signal)]
    return np.concatenate(parts)[:, None]


def reference(size: int = 3000) -> np.ndarray:
    return np.random.default_rng(1).exponential(size=(size, 1))


def test_kernel_fit_is_the_minimum_of_its_loss() -> None:
    """The loss written down anew, at the coefficients found and beside them."""
    prepared = prepare_kernel(reference(), EXPECTED, centres=20, sigma=1.0)
    data = draw(np.random.default_rng(2), EXPECTED, 15)
    fit = kernel_test(prepared, data)
    z = [(x - prepared.mean) / prepared.deviation for x in (reference(), data)]
    centres = prepared.centres.numpy()

    def loss(coefficients: np.ndarray) -> float:
        f, g = (np.exp(-0.5 * ((x - centres.T) / 1.0) ** 2) @ coefficients for x in z)
        norm = coefficients @ np.exp(-0.5 * (centres - centres.T) ** 2) @ coefficients
        weight = EXPECTED / 3000
        penalty = 0.5 * 2 * 1e-6 * 2 * EXPECTED * norm
        return float(weight * np.log1p(np.exp(f)).sum() + np.log1p(np.exp(-g)).sum() + penalty)

    best = fit.coefficients.numpy()
    f, g = (np.exp(-0.5 * (x - centres.T) ** 2) @ best for x in z)
    assert fit.t == pytest.approx(2 * (g.sum() - EXPECTED / 3000 * np.expm1(f).sum()), abs=0.05)
    np.testing.assert_allclose(log_ratio(prepared, fit, data), g)
    rng = np.random.default_rng(3)
    for _ in range(20):
        step = rng.normal(size=20)
        for size in (1e-2, 1.0):
            assert loss(best + size * step / np.abs(step).max()) > loss(best) - 5e-3
    assert loss(best) < loss(np.zeros(20)) - 1


def test_both_see_a_peak_and_not_its_absence() -> None:
    kernel = prepare_kernel(reference(), EXPECTED)
    network = prepare_network(reference(), EXPECTED)
    rng = np.random.default_rng(4)
    quiet = [draw(rng, EXPECTED) for _ in range(12)]
    peak = draw(rng, EXPECTED, 20)
    assert kernel_test(kernel, peak).t > 2 * max(kernel_test(kernel, data).t for data in quiet)
    small = {"hidden": (3,), "starts": 1, "steps": 100}
    assert network_test(network, peak, **small)[0] > max(
        network_test(network, x, **small)[0] for x in quiet[:3]
    )


def test_a_nuisance_parameter_takes_what_it_can_explain() -> None:
    """The rate is 20 % too high: a discovery, unless the rate is uncertain by as much."""
    data = draw(np.random.default_rng(5), 1.25 * EXPECTED)
    small = {"hidden": (2,), "starts": 1, "steps": 100, "clip": 3.0}
    certain, _ = network_test(prepare_network(reference(), EXPECTED), data, **small)
    rate = prepare_network(reference(), EXPECTED, [lambda x: np.full(len(x), 0.2)])
    uncertain, _ = network_test(rate, data, **small)
    n = len(data)
    alone = 2 * (n * np.log(n / EXPECTED) - n + EXPECTED)  # a network can at least shift the rate
    assert certain > 0.95 * alone
    # What the nuisance parameter alone explains, which is taken off.
    nu = np.linspace(-3, 3, 6001)
    explained = 2 * (0.2 * nu * n - EXPECTED * np.expm1(0.2 * nu) - nu**2 / 2).max()
    assert explained > 0.7 * alone
    assert uncertain == pytest.approx(certain - explained, abs=1.0)


def test_bad_samples() -> None:
    prepared = prepare_kernel(reference(), EXPECTED)
    network = prepare_network(reference(), EXPECTED)
    for test in (lambda x: kernel_test(prepared, x), lambda x: network_test(network, x)):
        with pytest.raises(InputError, match="no event"):
            test(np.zeros((0, 1)))
        with pytest.raises(InputError, match="event 1 of the data is not a number"):
            test(np.array([[1.0], [np.nan]]))
    with pytest.raises(InputError, match="feature 1 of the reference is constant"):
        prepare_kernel(np.column_stack([reference(), np.ones(3000)]), EXPECTED)
    with pytest.raises(InputError, match="too few for 99 centres"):
        prepare_kernel(reference(50), EXPECTED, centres=99)
