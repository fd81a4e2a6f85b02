"""The purity of what a cut at fixed efficiency leaves, and its error."""

import numpy as np

from femtobarn.evaluate.metrics import Survival, rejection
from femtobarn.recipes.lep_b_tagging import Judged, measured, purity

EVENTS = 4000


def judged(rng: np.random.Generator) -> Judged:
    flavour = rng.choice(["b", "c", "u"], EVENTS, p=[0.22, 0.17, 0.61])
    return Judged(flavour, {"one": rng.normal(1.2 * (flavour == "b") + 0.5 * (flavour == "c"))})


def test_error_is_the_scatter_of_samples() -> None:
    """Of the cut too, which a binomial of the events left does not have: it is a fifth too small here."""
    rng = np.random.default_rng(1)
    found = [
        next(m for m in measured(judged(rng), "all", 1) if m.name == "purity" and m.at["b_efficiency"] == 0.3)
        for _ in range(300)
    ]
    values, errors = np.array([m.value for m in found]), np.array([m.error for m in found])
    assert 0.9 < values.std() / errors.mean() < 1.1
    kept = 0.3 * 0.22 * EVENTS / values.mean()
    assert values.std() > 1.1 * np.sqrt(values.mean() * (1 - values.mean()) / kept)


def test_without_background_there_is_a_limit() -> None:
    signal, other = Survival(np.arange(100) + 200.0), Survival(np.arange(50.0))
    found = purity(rejection(signal, other, 0.5), 0.5, 100, 50)
    assert np.isnan(found.value) and np.isnan(found.error)
    assert np.isclose(found.lower_limit, 50 / (50 + 50 * (1 - 0.05 ** (1 / 50))))
