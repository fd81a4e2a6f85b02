"""Figures of merit against independent numbers; thresholds and bins against brute force."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import poisson

from femtobarn.errors import InputError
from femtobarn.statistics.estimate import Estimate
from femtobarn.statistics.significance import asimov, combined, s_over_sqrt_b
from femtobarn.statistics.thresholds import (
    best_threshold,
    held_out_yields,
    scan,
    score_edges,
    yields_above,
)


def q0_by_fit(s: float, b: float, sigma: float) -> float:
    """sqrt(q0) of n = s + b events and a sideband of m = tau b, tau = b/sigma^2, by minimising over b."""
    n, tau = s + b, b / sigma**2
    m = tau * b

    def twice_nll(background: float) -> float:
        return 2 * (background - n * math.log(background) + tau * background - m * math.log(tau * background))

    free = 2 * (n - n * math.log(n) + m - m * math.log(m))
    fit = minimize_scalar(twice_nll, bounds=(b / 10, n * 2), method="bounded", options={"xatol": 1e-10})
    return math.sqrt(fit.fun - free)


@pytest.mark.parametrize(("s", "b", "sigma"), [(5, 10, 1), (20, 3, 2), (10, 100, 20), (50, 1000, 5)])
def test_asimov_is_the_likelihood_ratio(s, b, sigma):
    assert asimov(s, b, sigma=sigma).value == pytest.approx(q0_by_fit(s, b, sigma), rel=1e-6)


def test_asimov_as_published_formulas():
    s, b = np.array([1.0, 10.0, 40.0]), np.array([[2.0], [30.0], [500.0]])
    plain = np.sqrt(2 * ((s + b) * np.log(1 + s / b) - s))
    np.testing.assert_allclose(asimov(s, b).value, plain)
    v = (0.2 * b) ** 2
    with_sigma = np.sqrt(
        2 * ((s + b) * np.log((s + b) * (b + v) / (b**2 + (s + b) * v))
             - b**2 / v * np.log(1 + v * s / (b * (b + v))))
    )  # fmt: skip
    np.testing.assert_allclose(asimov(s, b, sigma=0.2 * b).value, with_sigma)


def test_limits_of_asimov():
    np.testing.assert_allclose(asimov(1.0, 1e6).value, 1e-3, rtol=1e-5)
    np.testing.assert_allclose(asimov(5.0, 10.0, sigma=1e-7).value, asimov(5.0, 10.0).value, rtol=1e-9)
    np.testing.assert_allclose(asimov(5.0, 1e4, sigma=300.0).value, 5 / math.hypot(100, 300), rtol=1e-3)
    np.testing.assert_array_equal(asimov([-3.0, 0.0], 5.0).value, 0.0)
    assert np.isnan(asimov(1.0, [0.0, -2.0]).value).all()
    zero = asimov(0.0, 25.0, 4.0, 1.0, sigma=12.0)
    assert zero.error == pytest.approx(2 / 13)


@pytest.mark.parametrize("sigma", [0.0, 3.0])
@pytest.mark.parametrize("figure", [asimov, s_over_sqrt_b])
def test_errors_are_derivatives(figure, sigma):
    more = {"sigma": sigma} if figure is asimov else {}
    s, b, h = 12.0, 30.0, 1e-4
    slope_s = (figure(s + h, b, **more).value - figure(s - h, b, **more).value) / (2 * h)
    slope_b = (figure(s, b + h, **more).value - figure(s, b - h, **more).value) / (2 * h)
    assert figure(s, b, 2.0, 5.0, **more).error == pytest.approx(
        math.sqrt(2 * slope_s**2 + 5 * slope_b**2), rel=1e-6
    )


def test_errors_cover_the_spread_of_simulations():
    """Simulations of 400 signal and 900 background events of weight 0.05 and 0.1 spread by the error."""
    rng = np.random.default_rng(1)
    s, b = 0.05 * rng.poisson(400, 20_000), 0.1 * rng.poisson(900, 20_000)
    spread = asimov(s, b, sigma=9.0).value.std()
    assert asimov(20.0, 90.0, 0.05**2 * 400, 0.1**2 * 900, sigma=9.0).error == pytest.approx(spread, rel=0.03)


def test_asimov_is_the_median_of_experiments():
    s, b = 15.0, 40.0
    n = poisson.rvs(s + b, size=40_001, random_state=1)
    z = np.sqrt(2 * np.maximum(n * np.log(n / b) - (n - b), 0)) * (n > b)
    assert np.median(z) == pytest.approx(float(asimov(s, b).value), abs=0.1)


def test_bins_add_in_quadrature():
    z = combined(Estimate(np.array([3.0, 4.0, np.nan]), np.array([0.1, 0.2, np.nan])))
    assert z.value == pytest.approx(5) and z.error == pytest.approx(math.hypot(0.06, 0.16))
    rows = combined(Estimate(np.array([[3.0, 4.0], [0.0, 0.0]]), np.zeros((2, 2))), axis=1)
    assert rows.value.tolist() == [5.0, 0.0]


def sample(count: int, seed: int):
    rng = np.random.default_rng(seed)
    signal = rng.random(count) < 0.3
    score = np.round(rng.normal(signal * 1.5, 1.0), 2)  # rounded: many are equal
    weight = np.where(signal, 0.05, 1.0) * np.where(rng.random(count) < 0.1, -1.0, 1.0)
    return score, signal, weight


def test_scan_is_brute_force():
    score, signal, weight = sample(500, 1)
    found = scan(score, signal, weight)
    assert len(found.thresholds) == len(np.unique(score))
    for index in (0, 7, 100, len(found.thresholds) - 1):
        brute = yields_above(score, signal, weight, threshold=found.thresholds[index])
        np.testing.assert_allclose([part[index] for part in found.yields], brute, rtol=1e-12, atol=1e-12)
        passing = (score >= found.thresholds[index]) & ~signal
        assert brute.b == pytest.approx(weight[passing].sum())
        assert brute.var_b == pytest.approx((weight[passing] ** 2).sum())


def test_best_threshold_keeps_enough_background():
    score, signal, weight = sample(4000, 2)
    cut = best_threshold(score, signal, weight, minimum=50)
    found = scan(score, signal, weight)
    enough = found.effective_background >= 50
    best = asimov(*found.yields).value[enough].max()
    assert asimov(*yields_above(score, signal, weight, threshold=cut)).value == pytest.approx(best)
    assert cut < best_threshold(score, signal, weight, minimum=1)
    with pytest.raises(InputError, match=r"no threshold keeps 10000 .* the most is"):
        best_threshold(score, signal, weight, minimum=10_000)


def test_held_out_yields_do_not_promise_too_much():
    """Scores that know nothing: the best threshold promises more than it holds, the held-out one does not."""
    chosen, held = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        score, signal = rng.random(400), np.arange(400) % 2 == 0
        weight = np.full(400, 0.1)
        cut = best_threshold(score, signal, weight, minimum=3)
        chosen.append(asimov(*yields_above(score, signal, weight, threshold=cut)).value)
        held.append(asimov(*held_out_yields(score, signal, weight, minimum=3, seed=seed)[0]).value)
    everything = asimov(20.0, 20.0).value  # nothing beats taking all of it
    assert np.mean(chosen) > everything + 3 * np.std(chosen) / math.sqrt(60)
    assert np.mean(held) < everything + np.std(held) / math.sqrt(60)


def test_score_edges_leave_background_in_every_bin():
    score, signal, weight = sample(20_000, 3)
    edges = score_edges(score, signal, weight, bins=8, minimum=40)
    assert (np.diff(edges) > 0).all() and 4 <= len(edges) - 1 <= 10
    b, _ = np.histogram(score[~signal], edges, weights=weight[~signal])
    squares, _ = np.histogram(score[~signal], edges, weights=weight[~signal] ** 2)
    assert (b**2 / squares >= 40 - 1e-9).all() and b.sum() == pytest.approx(weight[~signal].sum())
    assert len(score_edges(score, signal, weight, bins=8, minimum=2000)) - 1 < len(edges) - 1
    wide = score_edges(score, signal, weight, low=-10.0, high=10.0)
    assert wide[0] == -10 and wide[-1] == pytest.approx(10)
    with pytest.raises(InputError, match="no bin can hold 100000 effective"):
        score_edges(score, signal, weight, minimum=100_000)


@pytest.mark.parametrize("which", [True, False])
def test_one_class_is_refused(which):
    score = np.linspace(0, 1, 10)
    with pytest.raises(
        InputError, match=f"there is no {'background' if which else 'signal'} among 10 events"
    ):
        scan(score, np.full(10, which))


def test_other_bad_scores_are_refused():
    score, signal = np.linspace(0, 1, 4), np.array([1, 0, 1, 0])
    with pytest.raises(InputError, match="the weights of the background sum to -2"):
        scan(score, signal, np.array([1.0, -1.0, 1.0, -1.0]))
    with pytest.raises(InputError, match="the score of event 1 is nan"):
        scan([0.0, np.nan, 1.0, 0.2], signal)
    with pytest.raises(InputError, match="no events"):
        scan([], [])
    with pytest.raises(InputError, match="of one length"):
        scan(score, signal[:3])
