"""Spectra: fits of smooth shapes, bump hunts, tails, limits on resonances."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from iminuit import Minuit
from numpy.typing import NDArray
from scipy.stats import nbinom, norm, poisson

from femtobarn.background.dijet import Dijet, fewest_needed
from femtobarn.errors import InputError
from femtobarn.statistics.bump_hunt import hunt, local_p, pseudo_experiments, strongest, windows
from femtobarn.statistics.resonances import (
    gaussian_signals,
    injected,
    signal_scan,
    spurious,
    toy_cls,
    upper_limits,
)
from femtobarn.statistics.shape_fit import Shape, deviance, fit_shapes, log_linear, modes
from femtobarn.statistics.spectrum import Spectrum, read_spectrum
from femtobarn.statistics.tails import tail_probability

Array = NDArray[np.float64]
DATA = Path(os.environ.get("FEMTOBARN_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
CMS = DATA / "spectra" / "cms_dijet_137fb.csv"
EDGES = np.linspace(0.0, 10.0, 31)


def exponential(nodes: int = 4) -> Shape:
    return log_linear(EDGES, lambda x: np.stack([np.ones_like(x), x], axis=-1), nodes)


def smooth(events: float = 5000.0) -> Array:
    """exp(-x/2) integrated exactly."""
    integral = np.diff(-np.exp(-EDGES / 2))
    return events * integral / integral.sum()


@pytest.mark.skipif(not CMS.exists(), reason=f"no {CMS}: set FEMTOBARN_TEST_DATA")
def test_cms_dijet_spectrum() -> None:
    """REFERENCE section 3."""
    spectrum = read_spectrum(CMS)
    fits = Dijet().fits(spectrum.edges, spectrum.counts)
    published = {3: (41.26, 39), 4: (41.26, 38), 5: (40.91, 37)}
    for terms, (expected, dof) in published.items():
        assert fits[terms].deviance == pytest.approx(expected, abs=0.006) and fits[terms].dof == dof
    assert fits[3].parameters[1:] == pytest.approx([8.16, -5.23], abs=0.006)
    assert fewest_needed(fits) == 3
    # The parameters are those of the formula: integrate it with a fine rule.
    p1, p2, p3, p4, p5 = fits[5].parameters
    x = (np.linspace(spectrum.edges[:-1], spectrum.edges[1:], 2001)) / 13_000
    f = p1 * (1 - x) ** p2 * x ** (p3 + p4 * np.log(x) + p5 * np.log(x) ** 2)
    counts = np.trapezoid(f, x * 13_000, axis=0)
    assert deviance(spectrum.counts, counts) == pytest.approx(fits[5].deviance, abs=1e-3)


def test_fit_is_the_maximum_that_minuit_finds() -> None:
    counts = np.random.default_rng(1).poisson(smooth()).astype(float)
    signal = np.diff(norm.cdf(EDGES, 4.0, 0.4))
    fit = fit_shapes(counts, exponential(), signal=signal)

    def mu(a: float, b: float, s: float) -> Array:
        return np.exp(a) * np.diff(np.exp(b * EDGES)) / b + s * signal  # closed form of the integral

    minuit = Minuit(lambda a, b, s: float(deviance(counts, mu(a, b, s))), a=7.0, b=-0.4, s=1.0)
    minuit.strategy = 2
    minuit.migrad()
    assert fit.valid[0]
    assert fit.deviance[0] == pytest.approx(minuit.fval, abs=1e-4)
    np.testing.assert_allclose([*fit.theta[0], fit.strength[0]], list(minuit.values), rtol=2e-3, atol=0.1)
    minuit.hesse()
    scan = signal_scan(counts, exponential(), signal[None])
    assert scan.error[0] == pytest.approx(
        minuit.errors["s"], rel=0.05
    )  # expected against observed information
    minuit.fixed["s"] = True
    minuit.values["s"] = 0.0
    minuit.migrad()
    assert scan.significance[0] ** 2 == pytest.approx(minuit.fval - fit.deviance[0], abs=1e-3)


def test_fits_do_not_depend_on_company_or_start() -> None:
    counts = np.random.default_rng(2).poisson(smooth(300.0), (1200, 30)).astype(float)  # several blocks
    together = fit_shapes(counts, exponential())
    assert together.valid.all()
    alone = fit_shapes(counts[700], exponential(), start=np.array([1.0, 0.3]))
    np.testing.assert_allclose(alone.theta[0], together.theta[700], rtol=1e-3)
    # For an exponential family of counts the fit keeps the total.
    np.testing.assert_allclose(together.expected.sum(1), counts.sum(1), rtol=1e-4)
    # The estimates spread as the covariance says.
    spread = np.sqrt((modes(exponential(), fit_shapes(smooth(300.0), exponential()).theta[0]) ** 2).sum(0))
    np.testing.assert_allclose(together.expected.std(0), spread, rtol=0.12)


def test_bad_spectra() -> None:
    with pytest.raises(InputError, match=r"bin 2 .* holds -1"):
        Spectrum.fill([0.5, 1.5, 2.5], [0, 1, 2, 3], [1.0, 1.0, -1.0])
    with pytest.raises(InputError, match="30 bins, but there are 4 counts"):
        Spectrum.of(EDGES, np.ones(4))
    with pytest.raises(InputError, match="2 bins are too few to fit 2 parameters"):
        fit_shapes(smooth(), exponential(), used=np.arange(30) < 2)
    with pytest.raises(InputError, match="all empty"):
        fit_shapes(np.r_[np.zeros(20), np.ones(10)], exponential(), used=np.arange(30) < 20)
    with pytest.raises(InputError, match="nothing is expected in bins 4 to 5"):
        hunt(np.ones(10), np.r_[np.ones(4), 0, 0, np.ones(4)], windows(10, 2, 3), toys=10)
    with pytest.raises(InputError, match="background is -1 in bin 1"):
        hunt(np.ones(3), np.array([1.0, -1, 1]), windows(3, 1, 2), toys=10)
    with pytest.raises(InputError, match="do not fit into 3 bins"):
        windows(3, 4)
    with pytest.raises(InputError, match="lies outside the spectrum"):
        gaussian_signals(EDGES, np.array([12.0]), np.array([0.1]))
    with pytest.raises(InputError, match="between 0 and sqrt_s"):
        Dijet(sqrt_s=8.0).estimate(EDGES, smooth())


def test_csv_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "spectrum.csv"
    with pytest.raises(InputError, match="no such file"):
        read_spectrum(path)
    path.write_text("low,high,events\n0,1,5\n2,3,4\n")
    with pytest.raises(InputError, match="no column 'mjj_low_GeV'"):
        read_spectrum(path)
    with pytest.raises(InputError, match="bin 0 ends at 1 but the next begins at 2"):
        read_spectrum(path, "low", "high")


def test_windows_and_local_p_by_brute_force() -> None:
    where = windows(7, 2, 3)
    pairs = set(zip(where.low.tolist(), where.high.tolist(), strict=True))
    assert pairs == {(a, a + w) for w in (2, 3) for a in range(7 - w + 1)}
    counts, expected = np.array([3.0, 9, 0, 2, 1, 8, 0]), np.array([2.0, 4, 1, 2, 2, 1, 0.5])
    shifts = np.array([[0.2, 0.4, 0.1, 0.2, 0.2, 0.1, 0.05], [0, 0, 0.3, 0, 0, 0, 0]])
    for given in (None, shifts):
        found = local_p(counts, expected, where, given)
        for k, (a, b) in enumerate(zip(where.low, where.high, strict=True)):
            n, mean = counts[a:b].sum(), expected[a:b].sum()
            if given is None:
                exact = poisson.sf(n - 1, mean)
            else:
                variance = (shifts[:, a:b].sum(1) ** 2).sum()
                exact = nbinom.sf(n - 1, mean**2 / variance, mean / (mean + variance))
            assert found[k] == pytest.approx(exact if n > mean else 1.0)


@pytest.mark.parametrize("events", [60.0, 5000.0])
def test_strongest_window_is_exact(events: float) -> None:
    """The bound that saves the work never misses the smallest p-value."""
    where, mean = windows(30, 1, 8), smooth(events)
    pseudo = pseudo_experiments(mean, 1300, np.random.default_rng(3))
    own = mean * np.random.default_rng(4).uniform(0.9, 1.1, (1300, 1))
    for expected in (mean, own):
        p, window = strongest(pseudo, expected, where)
        every = local_p(pseudo, np.broadcast_to(expected, pseudo.shape), where)
        np.testing.assert_allclose(p, every.min(axis=1), rtol=1e-12)
        np.testing.assert_allclose(every[np.arange(1300), window], every.min(axis=1), rtol=1e-12)


def test_a_fit_may_expect_nothing() -> None:
    """Where a fit falls to zero in floating point, empty bins are no excess and the others still count."""
    counts = np.array([[2.0, 9.0, 8.0, 0.0, 0.0]])
    expected = np.array([[3.0, 3.0, 3.0, 0.0, 0.0]])
    p, window = strongest(counts, expected, windows(5, 2, 2))
    assert window.tolist() == [1]
    assert p[0] == pytest.approx(poisson.sf(16, 6.0))


def test_the_tutorial_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "searches.md").read_text()
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "searches.md", "exec"), names)
    low, high, local, overall = (
        float(number)
        for number in re.findall(
            r"(\d+) to (\d+) GeV: local ([\d.]+), global ([\d.]+)", capsys.readouterr().out
        )[0]
    )
    assert 3200 < low < 3500 < high < 3800 and local > overall > 1
    k = int(np.argmin(np.abs(names["mass"] - 3500)))
    assert names["limits"].observed[k] > names["limits"].expected[3, k]
    assert len(names["figure"].axes) == 2 and len(names["bands"].axes) == 1


def test_global_p_is_uniform_without_a_signal() -> None:
    """Fitted and known backgrounds: a p-value below 10 % in 10 % of background-only data."""
    where, shape, rng = windows(30, 2, 6), exponential(), np.random.default_rng(5)
    data = pseudo_experiments(smooth(), 400, rng)
    for refit in (False, True):
        fitted = fit_shapes(data, shape).expected if refit else smooth()
        reference = pseudo_experiments(smooth(), 4000, rng)
        known = fit_shapes(reference, shape).expected if refit else smooth()
        toys = -np.log(strongest(reference, known, where)[0])
        observed = -np.log(strongest(data, fitted, where)[0])
        p = np.array([tail_probability(toys, t).p for t in observed])
        assert abs((p < 0.1).mean() - 0.1) < 0.045  # three standard deviations of 400 trials


def test_hunt_finds_an_injected_bump() -> None:
    rng = np.random.default_rng(6)
    counts = rng.poisson(smooth() + 150 * np.diff(norm.cdf(EDGES, 6.0, 0.4))).astype(float)
    where = windows(30, 2, 6)
    found = hunt(counts, smooth(), where, toys=2000, rng=rng)
    assert EDGES[found.low] < 6.0 < EDGES[found.high] and found.tail.extrapolated
    assert found.global_significance > 5 and found.local_significance > found.global_significance
    shifts = 0.05 * smooth()[None]
    uncertain = hunt(counts, smooth(), where, toys=2000, rng=rng, shifts=shifts)
    assert uncertain.local_p_systematic > uncertain.local_p == found.local_p
    assert uncertain.tail.p > found.tail.p


def test_tail_meets_many_more_pseudo_experiments() -> None:
    """Extrapolated from 5000 to probabilities that a million count: right within the error it states."""
    rng = np.random.default_rng(7)
    smallest = rng.uniform(size=(500_000, 40)).min(axis=1)  # 40 independent windows: known exactly
    t = 11.0
    exact = -np.expm1(40 * np.log1p(-np.exp(-t)))
    found = [tail_probability(-np.log(smallest[k : k + 5000]), t) for k in range(0, 500_000, 5000)]
    assert all(tail.extrapolated for tail in found)
    inside = np.mean([tail.low < exact < tail.high for tail in found])
    assert 0.6 < inside < 0.95
    assert np.median([tail.p for tail in found]) == pytest.approx(exact, rel=0.25)
    counted = tail_probability(-np.log(smallest[:5000]), 5.0)
    assert (
        not counted.extrapolated
        and counted.low < -np.expm1(40 * np.log1p(-np.exp(-5.0))) < counted.high * 1.1
    )


def test_limits_agree_with_pseudo_experiments_and_a_counting_experiment() -> None:
    shape, rng = exponential(), np.random.default_rng(8)
    signals = gaussian_signals(EDGES, np.array([3.0, 7.0]), np.array([0.1, 0.1]))
    counts = rng.poisson(smooth()).astype(float)
    limits = upper_limits(counts, shape, signals)
    assert (np.diff(limits.expected, axis=0) > 0).all()
    for k in range(2):
        cls, error = toy_cls(counts, shape, signals[k], limits.observed[k], 1500, rng)
        assert abs(cls - 0.05) < 4 * error + 0.01
    # Where counts are many all is Gaussian, and the median CLs limit is 1.96 standard deviations.
    scan = signal_scan(smooth(1e6), shape, signals)
    wide = upper_limits(smooth(1e6), shape, signals)
    np.testing.assert_allclose(wide.expected[2] / scan.error, 1.96, rtol=0.02)


def test_spurious_and_injected_signals() -> None:
    shape = exponential()
    signals = gaussian_signals(EDGES, np.array([3.0, 6.0]), np.array([0.1, 0.1]))
    right = spurious(smooth(), shape, signals)
    assert np.abs(right.strength / right.error).max() < 0.01
    wrong = spurious(smooth() * (1 + 0.1 * np.sin(EDGES[:-1])), shape, signals)
    assert np.abs(wrong.strength / wrong.error).max() > 0.5
    strengths, rng = np.array([0.0, 100.0]), np.random.default_rng(9)
    found, error, pulls = injected(smooth(), shape, signals[0], strengths, 300, rng)
    assert np.abs((found - strengths) / error).max() < 4
    np.testing.assert_allclose(pulls[:, 1], 1.0, atol=0.15)
