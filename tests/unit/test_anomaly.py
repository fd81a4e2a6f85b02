"""Scorers: closed forms and independent numbers."""

import awkward as ak
import numpy as np
import pytest
from sklearn.ensemble import IsolationForest as Peer

from femtobarn.anomaly.isolation_forest import IsolationForest, mean_depth
from femtobarn.data.inputs import Inputs
from femtobarn.data.sample import Sample, from_memory
from femtobarn.errors import InputError
from femtobarn.evaluate.metrics import auc

BOTH = Inputs(event=["x", "y"], weight="w")


def sample(values: np.ndarray, weights: np.ndarray | None = None) -> Sample:
    weight = np.ones(len(values)) if weights is None else weights
    return from_memory(ak.zip({"x": values[:, 0], "y": values[:, 1], "w": weight}), {})


def test_mean_depth_is_that_of_random_cuts() -> None:
    # A cut leaves k of n events on one side, every k from 1 to n - 1 equally likely.
    depth = np.zeros(257)
    for n in range(2, 257):
        k = np.arange(1, n)
        depth[n] = 1 + np.mean(k * depth[k] + (n - k) * depth[n - k]) / n
    np.testing.assert_allclose(mean_depth(np.arange(1, 257)), depth[1:], rtol=1e-12, atol=1e-12)


def test_isolation_forest_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    usual, odd = rng.normal(size=(3000, 2)), rng.normal(size=(500, 2)) * 3
    test = np.concatenate([rng.normal(size=(3000, 2)), odd])
    ours = ak.to_numpy(
        IsolationForest(trees=300)
        .fit(sample(usual), inputs=BOTH)
        .score(sample(test))["isolation_forest_score"]
    )
    theirs = -Peer(n_estimators=300, random_state=1).fit(usual).score_samples(test)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.01)


def test_what_weighs_nothing_is_unusual() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(size=(2000, 2)), rng.normal(4, 1, size=(2000, 2))])
    second = np.arange(4000) >= 2000
    for weight in (0.0, -0.3):
        forest = IsolationForest().fit(sample(values, np.where(second, weight, 1.0)), inputs=BOTH)
        score = ak.to_numpy(forest.score(sample(values))["isolation_forest_score"])
        assert auc(score, second).value > 0.95


def test_constant_features_and_no_weight_are_refused() -> None:
    with pytest.raises(InputError, match="all features are constant"):
        IsolationForest().fit(sample(np.ones((50, 2))), inputs=BOTH)
    with pytest.raises(InputError, match="no event of positive weight"):
        IsolationForest().fit(sample(np.ones((50, 2)), -np.ones(50)), inputs=BOTH)
