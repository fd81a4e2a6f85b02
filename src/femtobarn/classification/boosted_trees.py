"""Boosted decision trees on the features of an event."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from sklearn.ensemble import HistGradientBoostingRegressor

from femtobarn.classification.textbook import events_of, textbook_inputs
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.learn.trees import Events, Trees

__all__ = ["BoostedTrees"]


@method
class BoostedTrees(Classifier):
    r"""Boosted decision trees [Friedman, Annals of Statistics 29 (2001) 1189], on histograms of the features.

    Each tree is grown on the gradient of the cross-entropy left by those before it and added times the
    learning rate. Features enter as they are: a monotonous function of one changes no tree.

    **Negative weights** leave the loss without a lower bound. `average` takes for each class the local mean
    sign g(x) = E[w | x] / E[|w| | x], fitted by regression trees, and grows the classifier with
    |w| max(g(x), 0): positive weights of the same density [as the neural resampler of 2007.11586]. `drop`
    leaves these events out and gives each class its signed sum of weights back.

    **Averaging.** With `members` above one the probabilities of several are averaged, each grown on a random
    `share` of the events and stopped by the others, as in 2309.13111.

    Attributes:
        library: which grows the trees; scikit-learn is always there, xgboost is an extra.
        trees: boosting iterations at most; each is one tree, or one per class where there are more than two.
        learning_rate: by which each tree is shrunk.
        leaves: of a tree, at most.
        depth: of a tree, at most; None: any.
        fewest: events in a leaf, at least; xgboost asks for the sum of p(1 - p) that as many
            undecided ones have.
        l2: penalty on the squared values of leaves.
        features: fraction of the features that a node (xgboost: a tree) may choose from.
        bins: of each feature's histogram.
        patience: iterations without a better loss, of `valid` or of the events left out, after which to stop;
            None: all trees are grown.
        members: how many are averaged.
        share: fraction of the training events that each grows on.
        negative: what is done about negative weights.
        seed: of what is drawn.
    """

    trains_network: ClassVar[bool] = False
    label: ClassVar[str] = "class"
    contract_exempt: ClassVar[dict[str, str]] = {
        "weight_two": "features are binned by numbers of events, and leaves count events"
    }

    library: Literal["scikit-learn", "xgboost"] = "scikit-learn"
    trees: PositiveInt = 100
    learning_rate: float = Field(default=0.1, gt=0)
    leaves: int = Field(default=31, ge=2)
    depth: PositiveInt | None = None
    fewest: PositiveInt = 20
    l2: float = Field(default=0.0, ge=0)
    features: float = Field(default=1.0, gt=0, le=1)
    bins: int = Field(default=255, ge=2, le=255)
    patience: PositiveInt | None = 10
    members: PositiveInt = 1
    share: float = Field(default=1.0, gt=0, le=1)
    negative: Literal["average", "drop"] = "average"
    seed: int = Field(default=1, ge=0)

    def default_inputs(self) -> Inputs:
        """See `textbook.textbook_inputs`."""
        return textbook_inputs()

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Grow the trees; a seed in `training` goes before the method's own.

        Raises:
            InputError: when a class has no events, when all features are constant, or when one is missing or
                not finite.
        """
        self.inputs = inputs or self.default_inputs()
        seed = training.seed if training else self.seed
        events = events_of(train, self.inputs, self.label, self.name)
        if not np.ptp(events[0], axis=0).any():
            raise InputError(f"{train.name}: all features are constant: there is nothing to tell classes by")
        grown = self._positive(events, seed)
        judges = None
        if valid is not None and self.patience is not None:
            judges = self._positive(events_of(valid, self.inputs, self.label, self.name), seed)
        self.ensemble = [self._member(grown, judges, seed + 1000 * k) for k in range(self.members)]
        return self

    def _member(self, events: Events, judges: Events | None, seed: int) -> Trees:
        """One of those averaged."""
        if self.share < 1:
            mine = np.random.default_rng(seed).random(len(events[1])) < self.share
            others = _taken(events, ~mine)
            events = _taken(events, mine)
            judges = others if self.patience is not None else None
        if self.library == "xgboost":
            return Trees.fit_xgboost(
                *events, len(self.classes), judges, rounds=self.trees, patience=self.patience,
                eta=self.learning_rate, max_leaves=self.leaves, max_depth=self.depth or 0,
                grow_policy="lossguide", tree_method="hist", max_bin=self.bins, seed=seed,
                min_child_weight=self.fewest / 4,
                reg_lambda=self.l2, colsample_bytree=self.features,
            )  # fmt: skip
        stops: dict[str, Any] = {"n_iter_no_change": self.patience, "tol": 0.0} if judges else {}
        return Trees.fit(
            *events, len(self.classes), judges, max_iter=self.trees, learning_rate=self.learning_rate,
            max_leaf_nodes=self.leaves, max_depth=self.depth, min_samples_leaf=self.fewest,
            l2_regularization=self.l2, max_features=self.features, max_bins=self.bins, random_state=seed,
            early_stopping=judges is not None, **stops,
        )  # fmt: skip

    def _positive(self, events: Events, seed: int) -> Events:
        """The events with weights of mean one, none of them negative."""
        values, labels, weights = events
        if (weights < 0).any():
            weights = weights.copy()
            for k in range(len(self.classes)):
                own = labels == k
                if self.negative == "average":
                    positive = np.abs(weights[own]) * np.maximum(
                        _mean_sign(values[own], weights[own], seed), 0
                    )
                else:
                    positive = np.maximum(weights[own], 0)
                weights[own] = positive * (weights[own].sum() / positive.sum())
            kept = weights > 0
            values, labels, weights = values[kept], labels[kept], weights[kept]
        return values, labels, weights / weights.mean()

    def predict_batch(self, batch: Batch) -> ak.Array:
        """`boosted_trees_p<class>` per event."""
        values = batch.event.numpy()
        return self.probabilities(np.mean([trees.predict(values) for trees in self.ensemble], axis=0))

    def state(self) -> dict[str, NDArray[Any]]:
        """The trees of each member as the bytes of an ONNX file."""
        return {
            f"onnx.{k}": np.frombuffer(trees.model, dtype=np.uint8) for k, trees in enumerate(self.ensemble)
        }

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when the trees read another number of features.
        """
        self.ensemble = [Trees(state[f"onnx.{k}"].tobytes()) for k in range(len(state))]
        expected = len(self.fitted_inputs.event)
        found = {trees.features for trees in self.ensemble}
        if found != {expected}:
            raise InputError(
                f"these trees do not fit '{self.name}': they read {found} features, not {expected}"
            )


def _mean_sign(values: NDArray[Any], weights: NDArray[Any], seed: int) -> NDArray[np.float64]:
    """E[w | x] / E[|w| | x] at (N, F) values."""
    trees = HistGradientBoostingRegressor(max_leaf_nodes=16, random_state=seed, early_stopping=False)
    signs: NDArray[np.float64] = trees.fit(values, np.sign(weights), np.abs(weights)).predict(values)
    return signs


def _taken(events: Events, chosen: NDArray[np.bool_]) -> Events:
    values, labels, weights = events
    return values[chosen], labels[chosen], weights[chosen]
