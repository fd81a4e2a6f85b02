"""Boosted trees: as their libraries grow them, stopped by validation, negative weights honoured."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from femtobarn.classification.boosted_trees import BoostedTrees
from femtobarn.data.sample import Sample, from_memory
from femtobarn.errors import InputError
from femtobarn.learn.model_files import load
from femtobarn.learn.trees import Trees


def gaussians(
    events: int, seed: int, weights: NDArray[np.floating] | None = None, apart: float = 1.0
) -> Sample:
    """Two classes in two dimensions; class 0 is the signal, as the textbook inputs name them."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, events).astype(np.int8)
    x = rng.normal(size=(2, events)) + apart * label
    weight = np.ones(events) if weights is None else weights
    fields = {"x1": x[0], "x2": x[1], "label": label, "weight": weight}
    return from_memory(ak.zip(fields), {"label": ["signal", "background"]})


def signal(method: BoostedTrees, sample: Sample) -> NDArray[np.float64]:
    return ak.to_numpy(method.predict(sample)[f"{method.name}_ps"])


def test_is_what_scikit_learn_grows() -> None:
    train, test = gaussians(3000, 1), gaussians(500, 2)
    ours = signal(BoostedTrees(trees=20).fit(train), test)
    x, y = (np.stack([s.column("x1"), s.column("x2")], 1).astype(np.float32) for s in (train, test))
    theirs = HistGradientBoostingClassifier(max_iter=20, early_stopping=False).fit(x, train.column("label"))
    np.testing.assert_allclose(ours, theirs.predict_proba(y)[:, 0], atol=1e-6)


def test_is_what_xgboost_grows(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    rng = np.random.default_rng(3)
    for classes in (2, 3):
        labels = rng.integers(0, classes, 2000)
        values = (rng.normal(size=(2000, 3)) + 0.5 * labels[:, None]).astype(np.float32)
        values[:, 2] = np.round(values[:, 2])
        weights = rng.uniform(0.5, 2, 2000)
        ours = Trees.fit_xgboost(values, labels, weights, classes, rounds=15, max_depth=3)
        kind = (
            {"objective": "binary:logistic"}
            if classes == 2
            else {"objective": "multi:softprob", "num_class": 3}
        )
        matrix = xgboost.DMatrix(values, labels, weight=weights)
        said = xgboost.train({**kind, "max_depth": 3}, matrix, 15).predict(matrix)
        theirs = np.stack([1 - said, said], 1) if classes == 2 else said
        np.testing.assert_allclose(ours.predict(values), theirs, atol=2e-6)
    trained = BoostedTrees(library="xgboost", trees=30, name="x").fit(gaussians(2000, 1), gaussians(1000, 2))
    trained.save(tmp_path / "model")
    test = gaussians(10_000, 4)
    np.testing.assert_array_equal(signal(load(tmp_path / "model"), test), signal(trained, test))
    assert roc_auc_score(test.column("label") == 0, signal(trained, test)) > 0.8


@pytest.mark.parametrize("library", ["scikit-learn", "xgboost"])
def test_validation_stops_the_growth(library: str) -> None:
    if library == "xgboost":
        pytest.importorskip("xgboost")
    train, valid, test = gaussians(1000, 1), gaussians(3000, 2), gaussians(20_000, 3)
    truth = test.column("label") == 0
    method = BoostedTrees(library=library, trees=300, learning_rate=0.3)
    stopped = signal(method.fit(train, valid), test)
    grown = signal(method.fit(train), test)
    assert roc_auc_score(truth, stopped) > roc_auc_score(truth, grown) + 0.01


def test_several_are_better_than_one() -> None:
    train, test = gaussians(600, 1), gaussians(20_000, 2)
    truth = test.column("label") == 0
    parameters = {"trees": 200, "share": 0.5, "patience": 10}
    one, several = (BoostedTrees(members=m, **parameters).fit(train) for m in (1, 8))
    assert len(several.ensemble) == 8
    assert roc_auc_score(truth, signal(several, test)) > roc_auc_score(truth, signal(one, test)) + 0.005


def test_average_of_negative_weights_keeps_the_density() -> None:
    """Of the signal at x1 > 1, two in five have weight -1: a fifth of the density is left, of dropped 3/5."""
    rng = np.random.default_rng(5)
    events = 40_000
    label = rng.integers(0, 2, events).astype(np.int8)
    x1, x2 = rng.normal(1, 1, events), rng.normal(size=events)
    flipped = (label == 0) & (x1 > 1) & (rng.random(events) < 0.4)
    weight = np.where(flipped, -1.0, 1.0)
    fields = {"x1": x1, "x2": x2, "label": label, "weight": weight}
    train = from_memory(ak.zip(fields), {"label": ["signal", "background"]})
    right = x1 > 1
    odds = {}
    for negative in ("average", "drop"):
        p = signal(BoostedTrees(trees=100, negative=negative).fit(train), train)
        odds[negative] = np.median(p[right] / (1 - p[right])) / np.median(p[~right] / (1 - p[~right]))
    assert odds["average"] == pytest.approx(0.2, abs=0.03)
    assert odds["drop"] == pytest.approx(0.6, abs=0.06)


def test_bad_input_is_refused() -> None:
    sample = gaussians(200, 1)
    constant = ak.with_field(ak.with_field(sample.read(), 1.0, "x1"), 2.0, "x2")
    with pytest.raises(InputError, match="all features are constant"):
        BoostedTrees().fit(from_memory(constant, sample.schema.classes))
    one = sample.take(sample.column("label") == 0)
    with pytest.raises(InputError, match="no events of class b: boosted_trees needs all classes"):
        BoostedTrees().fit(one)
