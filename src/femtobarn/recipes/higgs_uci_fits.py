"""The fits of `higgs-uci`: nested cross-validation, a file of scores per outer fold, features and seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from femtobarn.classification.boosted_trees import BoostedTrees
from femtobarn.classification.mlp import MLP
from femtobarn.data import Sample
from femtobarn.data.atomic import atomic
from femtobarn.data.inputs import Inputs, Label
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier
from femtobarn.learn.training import Training
from femtobarn.recipes.higgs_uci_data import DERIVED, HIGH, LOW

__all__ = ["CANDIDATES", "FEATURES", "Features", "Rows", "fit_part", "fit_untuned", "outer_folds"]

Features = Literal["low", "high", "all", "derived", "low_derived"]
FEATURES: dict[Features, tuple[str, ...]] = {
    "low": LOW,
    "high": HIGH,
    "all": LOW + HIGH,
    "derived": LOW + HIGH + DERIVED,
    "low_derived": LOW + DERIVED,
}
"""What a classifier reads; `derived` are all columns and what follows from the low-level ones."""

Rows = NDArray[np.int64]
MAKE = dict[str, Callable[[], Classifier]]


def _trees(**parameters: Any) -> Classifier:
    return BoostedTrees(name="c", trees=400, learning_rate=0.05, patience=30, **parameters)


CANDIDATES: dict[str, MAKE] = {
    "boosted_trees": {
        "8 leaves": lambda: _trees(leaves=8, fewest=30, l2=5.0, features=0.3),
        "16 leaves": lambda: _trees(leaves=16, fewest=20, l2=5.0, features=0.3),
        "31 leaves": lambda: _trees(leaves=31, fewest=20, features=1.0),
    },
    "mlp": {
        "128 x 128": lambda: MLP(name="c", hidden=(128, 128), dropout=0.2, members=2),
        "64 with 2 blocks": lambda: MLP(name="c", hidden=(64,), blocks=2, dropout=0.3, members=2),
    },
}
"""What the inner folds choose from."""


def inputs_of(features: Features) -> Inputs:
    """The columns read, and the classes signal and background."""
    classes = {"s": ["signal"], "b": ["background"]}
    return Inputs(event=list(FEATURES[features]), labels={"class": Label(field="label", classes=classes)})


def outer_folds(table: Sample, folds: int, last: int, seed: int) -> list[tuple[Rows, Rows]]:
    """Rows to train on and rows to judge by: stratified folds, or one split whose `last` rows judge."""
    if last:
        if last >= len(table):
            raise InputError(f"last={last}: the table has {len(table)} rows, which leaves none to train on")
        return [(np.arange(len(table) - last), np.arange(len(table) - last, len(table)))]
    return _folds(table.column("label"), folds, seed)


def _folds(labels: NDArray[Any], folds: int, seed: int) -> list[tuple[Rows, Rows]]:
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return [(train.astype(np.int64), test.astype(np.int64)) for train, test in splits.split(labels, labels)]


def signal(fitted: Classifier, sample: Sample) -> NDArray[np.float64]:
    """The probability of signal, (N,)."""
    said: NDArray[np.float64] = ak.to_numpy(fitted.predict(sample)[f"{fitted.name}_ps"]).astype(np.float64)
    return said


def fit_untuned(table: Sample, split: tuple[Rows, Rows], features: Features, path: Path) -> None:
    """What scikit-learn's histogram boosting says as it comes, trained on all training rows."""
    train, test = (table.take(rows) for rows in split)
    fitted = BoostedTrees(name="c", trees=100, patience=None).fit(train, inputs=inputs_of(features))
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, rows=split[1], test=signal(fitted, test))


def fit_part(
    table: Sample,
    split: tuple[Rows, Rows],
    features: Features,
    path: Path,
    *,
    families: Mapping[str, list[str]],
    inner: int,
    seed: int,
    training: Training,
) -> None:
    """Of each family of candidates the one that the inner folds prefer, and what it says of the test rows.

    Each of `inner` fits trains on the other inner folds and is stopped by its own; it gives the scores of its
    own rows, by which candidates are compared, and all fits together, averaged, those of the test rows, which
    no choice has seen.

    Args:
        table: all rows.
        split: training and test rows of the outer fold.
        features: which are read.
        path: the file written: `rows` and `train_rows`, `test_<family>` and `inner_<family>` the
            probabilities of signal, `auc_<family>` that of each candidate in the inner folds.
        families: names of the candidates of each family; of one there is nothing to choose.
        inner: folds.
        seed: of the inner folds and the fits.
        training: of networks.
    """
    train, test = (table.take(rows) for rows in split)
    labels = train.column("label")
    inputs, folds = inputs_of(features), _folds(labels, inner, seed)
    written: dict[str, Any] = {"train_rows": split[0], "rows": split[1]}
    for family, names in families.items():
        tried = {name: (np.zeros(len(train)), np.zeros(len(test))) for name in names}
        for name, (own, judged) in tried.items():
            for number, (grown, stopping) in enumerate(folds):
                chosen = training.with_(seed=100 * seed + number)
                fitted = CANDIDATES[family][name]().fit(
                    train.take(grown), train.take(stopping), inputs=inputs, training=chosen
                )
                own[stopping] = signal(fitted, train.take(stopping))
                judged += signal(fitted, test) / inner
        areas = [float(np.mean([roc_auc_score(labels[own], said[own]) for _, own in folds]))
                 for said, _ in tried.values()]  # fmt: skip
        best = names[int(np.argmax(areas))]
        written |= {f"chosen_{family}": best, f"auc_{family}": np.array(areas)}
        written |= {f"inner_{family}": tried[best][0], f"test_{family}": tried[best][1]}
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **written)
