"""One decision tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.tree import DecisionTreeClassifier

from femtobarn.classification.textbook import balanced, events_of, textbook_inputs, varying_features
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.data.scaling import transformed
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training

__all__ = ["Tree"]


@method
class Tree(Classifier):
    """A decision tree [Breiman, Friedman, Olshen, Stone, "Classification and regression trees", 1984].

    The sample is cut in two where Gini's impurity falls most, and so are the parts, the most rewarding first.
    A leaf answers with the share of each class in it; the classes count as equally frequent. scikit-learn
    grows the tree on the events of positive weight; those of negative weight are subtracted in the leaves.

    Attributes:
        leaves: at most.
        smallest: share of all weight that a leaf has to hold.
    """

    trains_network: ClassVar[bool] = False
    label: ClassVar[str] = "class"

    leaves: int = Field(default=64, ge=2)
    smallest: float = Field(default=2e-3, ge=0, lt=0.5)

    def default_inputs(self) -> Inputs:
        """See `textbook.textbook_inputs`."""
        return textbook_inputs()

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Grow the tree on `train`.

        Raises:
            InputError: when a class has no weight, or when a feature is constant, not there or not finite.
        """
        self.inputs = inputs or self.default_inputs()
        values, labels, weights = events_of(train, self.inputs, self.label, self.name)
        features = varying_features(values, self.inputs, train).astype(np.float32)
        classes = len(self.classes)
        weights = balanced(labels, weights, classes)
        used = weights > 0
        grown = DecisionTreeClassifier(
            max_leaf_nodes=self.leaves,
            min_weight_fraction_leaf=self.smallest,
            random_state=training.seed if training else 0,
        )
        tree = grown.fit(features[used], labels[used], weights[used]).tree_
        # x <= t in double precision is x <= the largest float32 not above t.
        threshold = tree.threshold.astype(np.float32)
        above = threshold.astype(np.float64) > tree.threshold
        threshold[above] = np.nextafter(threshold[above], np.float32(-np.inf))
        self.feature, self.threshold = tree.feature.astype(np.int64), threshold
        self.children = np.stack([tree.children_left, tree.children_right], axis=1).astype(np.int64)
        leaf = self._leaf(features)
        held = np.bincount(leaf * classes + labels, weights, minlength=tree.node_count * classes)
        held = np.maximum(held.reshape(-1, classes), 0)
        total = held.sum(axis=1, keepdims=True)
        self.share = np.divide(held, total, out=np.full_like(held, 1 / classes), where=total > 0)
        return self

    def predict_batch(self, batch: Batch) -> ak.Array:
        """`tree_p<class>` per event."""
        values = transformed(batch.event.numpy().astype(np.float64), self.fitted_inputs.event_features)
        return self.probabilities(self.share[self._leaf(values.astype(np.float32))].astype(np.float32))

    def state(self) -> dict[str, NDArray[Any]]:
        """Per node the `feature` and `threshold` of its cut, its `children` (2, -1: none), its `share`s."""
        return {"feature": self.feature, "threshold": self.threshold, "children": self.children,
                "share": self.share}  # fmt: skip

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when it is of other features or classes.
        """
        features, classes = len(self.fitted_inputs.event), len(self.classes)
        if state["feature"].max() >= features or state["share"].shape[1] != classes:
            raise InputError(
                f"this tree does not fit '{self.name}': expected {features} features and {classes} classes"
            )
        self.feature, self.threshold = state["feature"], state["threshold"]
        self.children, self.share = state["children"], state["share"]

    def _leaf(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """The node in which each event (N, F) ends: all go down one step at a time."""
        node = np.zeros(len(values), dtype=np.int64)
        going = np.flatnonzero(self.children[node, 0] >= 0)
        while len(going):
            at = node[going]
            right = values[going, self.feature[at]] > self.threshold[at]
            node[going] = self.children[at, right.astype(np.int64)]
            going = going[self.children[node[going], 0] >= 0]
        return node
