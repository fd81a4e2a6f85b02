"""Boosted trees as ONNX say what scikit-learn's say."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from femtobarn.learn.trees import Trees

PARAMETERS = {"max_iter": 20, "learning_rate": 0.2, "random_state": 1, "early_stopping": False}


@pytest.mark.parametrize("classes", [2, 3])
def test_as_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 3000)
    values = (rng.normal(size=(3000, 4)) + labels[:, None] * [1, 0.5, 0, 0]).astype(np.float32)
    values = np.round(values, 1)  # few values, so that bins do not depend on weights, and ties at thresholds
    values[:, 3] = rng.integers(0, 4, 3000)
    values[rng.random((3000, 4)) < 0.05] = np.nan
    weights = rng.uniform(0.2, 2, 3000) * np.where(rng.random(3000) < 0.1, -1, 1)
    trees = Trees.fit(values, labels, weights, classes, **PARAMETERS)
    used = weights > 0
    peer = HistGradientBoostingClassifier(**PARAMETERS).fit(values[used], labels[used], weights[used])
    np.testing.assert_allclose(trees.predict(values), peer.predict_proba(values), atol=2e-6)
    again = Trees(trees.model)
    np.testing.assert_array_equal(again.predict(values[:7]), trees.predict(values[:7]))
    assert again.predict(values[:0]).shape == (0, classes)


def test_a_class_without_events_is_refused() -> None:
    with pytest.raises(ValueError, match="not all 3"):
        Trees.fit(np.zeros((50, 1)), np.arange(50) % 2, np.ones(50), 3, max_iter=1)
