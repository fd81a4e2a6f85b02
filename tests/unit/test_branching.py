"""The analytic branching model: what is generated follows the likelihood that is claimed."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad

from femtobarn.data.sample import from_memory
from femtobarn.simulation.branching import (
    Branching,
    Emissions,
    _emissions,
    _particles,
    branching_jets,
    emissions_of,
    log_likelihood,
)

MODEL = Branching()


def column(jets: ak.Array, name: str) -> NDArray[np.float64]:
    return ak.to_numpy(jets[name]).astype(np.float64)


@pytest.fixture(scope="module")
def jets() -> ak.Array:
    return branching_jets(60_000, 1)[0]


def test_likelihood_ratios_average_to_one(jets: ak.Array) -> None:
    """E[L_s / L_b] = 1 over background, E[L_b / L_s] = 1 over signal: for the whole and for each part."""
    signal = column(jets, "jet_label") == 1
    for name in ("llr", "llr_emissions", "llr_azimuths"):
        for sign, chosen in ((1, ~signal), (-1, signal)):
            ratio = np.exp(sign * column(jets, name)[chosen])
            assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(len(ratio)) < 0.15, name


def test_a_share_of_the_score_is_its_purity(jets: ak.Array) -> None:
    """Among jets of equal ratio r, r / (1 + r) are signal."""
    chance = 1 / (1 + np.exp(-column(jets, "llr")))
    signal = column(jets, "jet_label") == 1
    bins = np.digitize(chance, np.linspace(0, 1, 11)[1:-1])
    for k in range(10):
        own = signal[bins == k]
        expected = chance[bins == k].mean()
        assert abs(own.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / len(own))


def test_emissions_follow_from_the_particles() -> None:
    rng = np.random.default_rng(3)
    made = _emissions(MODEL, MODEL.signal, np.ones(500, bool), rng)
    counts, pt, eta, phi = _particles(MODEL, made, 500, rng)
    momenta = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    order = np.lexsort((rng.random(len(pt)), np.repeat(np.arange(500), counts)))
    shuffled = ak.unflatten(ak.zip({name: values[order] for name, values in momenta.items()}), counts)
    found = emissions_of(shuffled, MODEL)
    for one, other in zip(found, made, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_likelihood_is_a_density() -> None:
    """Of jets with exactly one emission the probability is what the Poisson process says."""
    radiation = MODEL.signal
    expected = radiation.rate * MODEL.depth + radiation.slope * MODEL.depth**2 / 2

    def density(t: float, z: float) -> float:
        one = Emissions(np.zeros(1, np.int64), np.array([t]), np.array([z]), np.zeros(1))
        return float(np.exp(log_likelihood(one, 1, radiation, MODEL).emissions[0]))

    over_z = quad(lambda z: density(1.0, z), *MODEL.fractions)[0]
    assert over_z == pytest.approx((radiation.rate + radiation.slope) * np.exp(-expected), rel=1e-6)
    over_t = quad(lambda t: density(t, 0.02), 0, MODEL.depth)[0]
    assert over_t / density(1.0, 0.02) * over_z == pytest.approx(expected * np.exp(-expected), rel=1e-6)


def test_the_core_is_the_hardest_and_seeds_repeat(jets: ak.Array) -> None:
    assert ak.all(ak.num(jets.candidates) >= 1)
    pt = np.hypot(jets.candidates.px, jets.candidates.py)
    assert float(ak.min(pt[:, 0] / ak.sum(pt, axis=1))) > MODEL.fractions[1]
    again, classes = branching_jets(60_000, 1)
    assert ak.array_equal(again, jets)
    assert from_memory(jets, classes).schema.classes == {"jet_label": ["background", "signal"]}
