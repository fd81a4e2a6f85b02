"""Ranks at fixed mass, distances of spectra, significance kept."""

import awkward as ak
import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2, norm

from femtobarn.anomaly.decorrelated import Decorrelated
from femtobarn.data.inputs import Inputs
from femtobarn.data.sample import Sample, from_memory
from femtobarn.errors import InputError
from femtobarn.evaluate.improvement import improvement_kept
from femtobarn.evaluate.sculpting import sculpting
from femtobarn.statistics.conditional import ConditionalRank

INPUTS = Inputs(event=["x", "y"], weight="w", observers=["mass"])


def test_rank_is_the_normal_distribution_at_every_mass() -> None:
    rng = np.random.default_rng(1)
    mass = rng.exponential(1.0, 40_000)
    score = 2 * mass + (1 + mass) * rng.normal(size=len(mass))
    rank = ConditionalRank.fit(score, mass, span=0.15)
    at = np.array([0.1, 0.5, 1.0])
    for deviation in (-1.0, 0.0, 1.0, 2.0):
        found = np.exp(-rank(2 * at + (1 + at) * deviation, at))
        np.testing.assert_allclose(found, norm.sf(deviation), rtol=0.15)
    # A cut on the rank keeps the same share of other events at all masses, one on the score does not.
    mass = rng.exponential(1.0, 40_000)
    score = 2 * mass + (1 + mass) * rng.normal(size=len(mass))
    ranked = rank(score, mass)
    third = np.searchsorted(np.quantile(mass, [1 / 3, 2 / 3]), mass)
    shares = [[np.mean(s[third == k] > np.quantile(s, 0.95)) for k in range(3)] for s in (score, ranked)]
    assert max(shares[0]) > 10 * min(shares[0])
    np.testing.assert_allclose(shares[1], 0.05, rtol=0.15)


def test_rank_keeps_the_order_at_one_mass() -> None:
    rng = np.random.default_rng(2)
    mass, score = rng.normal(size=(2, 2000))
    rank = ConditionalRank.fit(score, mass)
    line = np.linspace(-3, 8, 500)  # far beyond what was seen
    for at in (-9.0, 0.0, 9.0):
        found = rank(line, np.full(500, at))
        assert (np.diff(found) >= 0).all() and found[-1] > found[-50] > found[300]


def test_negative_weights_cancel_events_in_the_rank() -> None:
    rng = np.random.default_rng(3)
    mass, score = rng.normal(size=(2, 3000))
    extra = rng.normal(4, 1, 1000), rng.normal(size=1000)
    weights = np.concatenate([np.ones(3000), np.ones(1000), -np.ones(1000)])
    with_both = ConditionalRank.fit(
        np.concatenate([score, extra[0], extra[0]]), np.concatenate([mass, extra[1], extra[1]]), weights
    )
    without = ConditionalRank.fit(score, mass)
    at = np.linspace(-1, 2, 20)
    np.testing.assert_allclose(with_both(at, 0 * at), without(at, 0 * at), rtol=0.1, atol=0.02)


def test_what_has_no_rank_is_refused() -> None:
    ones = np.ones(5)
    for arguments, says in (
        ((ones, ones[:4]), "5 scores, 4 masses"),
        ((ones, ones * np.nan), "not finite"),
        ((ones, ones, -ones), "no event of positive weight"),
    ):
        with pytest.raises(InputError, match=says):
            ConditionalRank.fit(*arguments)
    constant = ConditionalRank.fit(ones, ones)
    assert np.isfinite(constant(ones, ones)).all()


def sample(seed: int, count: int = 4000) -> Sample:
    """Events whose rarity grows with their mass."""
    rng = np.random.default_rng(seed)
    mass = rng.uniform(1, 3, count)
    x, y = mass * rng.normal(size=(2, count))
    return from_memory(ak.zip({"x": x, "y": y, "w": np.ones(count), "mass": mass}), {})


def test_a_scorer_is_made_blind() -> None:
    method = Decorrelated(options={"trees": 50}).fit(sample(1), sample(2), inputs=INPUTS)
    test = sample(3)
    said, mass = method.score(test), test.column("mass")
    heavy = mass > 2
    shares = []
    for name in ("plain", "score"):
        score = ak.to_numpy(said[f"decorrelated_{name}"])
        passed = score > np.quantile(score, 0.9)
        shares.append(passed[heavy].mean() / passed[~heavy].mean())
    assert shares[0] > 4 and 0.75 < shares[1] < 1.33
    with pytest.raises(InputError, match="name it among the inputs' observers"):
        Decorrelated().fit(sample(1), inputs=Inputs(event=["x", "y"], weight="w"))
    with pytest.raises(InputError, match="has no score 'kl'"):
        Decorrelated(of="kl").fit(sample(1), inputs=INPUTS)
    with pytest.raises(InputError, match="'fisher' is none"):
        Decorrelated(scorer="fisher").fit(sample(1), inputs=INPUTS)
    with pytest.raises(InputError, match="'mass' is not finite"):
        method.score(ak.with_field(test.read(), np.full(len(test), np.nan), "mass"))


def test_distance_of_random_cuts_is_that_of_chi_squared() -> None:
    rng = np.random.default_rng(4)
    mass, edges = rng.random(40_000), np.linspace(0, 1, 11)
    passed = rng.permutation(len(mass)) < 400
    found = sculpting(mass, passed, edges, repetitions=400)
    # 8 ln2 n D^2 is chi^2 of nine degrees of freedom.
    expected = np.sqrt(chi2(9).ppf(0.95) / (8 * np.log(2) * 400))
    assert found.highest == pytest.approx(expected, rel=0.07)
    assert found.chance == pytest.approx(np.sqrt(chi2(9).median() / (8 * np.log(2) * 400)), rel=0.05)
    assert abs(found.distance - found.chance) < 4 * found.spread


def test_distance_of_two_spectra_and_its_weights() -> None:
    edges = np.array([0.0, 1.0, 2.0])
    mass = np.repeat([0.5, 1.5], 100)
    passed = mass < 1
    expected = jensenshannon([1, 0], [0.5, 0.5], base=2)
    assert sculpting(mass, passed, edges).distance == pytest.approx(expected)
    half = sculpting(mass, np.ones(200, bool), edges, repetitions=50)
    assert half.distance == pytest.approx(0, abs=1e-6) and half.error == pytest.approx(0, abs=1e-6)
    weights = np.where(mass < 1, 3.0, 1.0)
    expected = jensenshannon([1, 0], [0.75, 0.25], base=2)
    assert sculpting(mass, passed, edges, weights).distance == pytest.approx(expected)


def test_significance_kept_and_its_error() -> None:
    rng = np.random.default_rng(5)
    signal, background = rng.normal(2, 1, 2000), rng.normal(0, 1, 5000)
    same = improvement_kept([(signal, background)], [(2 * signal, 2 * background)], 0.01)
    assert same.value == pytest.approx(1) and same.error == pytest.approx(0)
    noisy = [x + rng.normal(size=len(x)) for x in (signal, background)]
    ratio = improvement_kept([(signal, background)], [(noisy[0], noisy[1])], 0.01)
    expected = norm.sf(norm.isf(0.01) - 2 / np.sqrt(2)) / norm.sf(norm.isf(0.01) - 2)
    assert abs(ratio.value - expected) < 4 * ratio.error
    assert 0.01 < ratio.error < 0.1
