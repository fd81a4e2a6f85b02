"""Unusual is what few random cuts set apart: a forest of random trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from sklearn.tree import ExtraTreeRegressor

from femtobarn.anomaly.columns import column_inputs, columns_of
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.data.scaling import transformed
from femtobarn.errors import InputError
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.learn.trees import Forest, rounded_down, session

__all__ = ["IsolationForest", "mean_depth"]


@method
class IsolationForest(Scorer):
    r"""Isolation forest [Liu, Ting, Zhou, ICDM 2008, 413], with the random trees of scikit-learn.

    Each tree cuts a random feature at a random place between its lowest and highest value until events stand
    alone or ceil(log2 n) cuts are made. With h(x) the number of cuts above event x, and c(n) more for a leaf
    in which n events were left, the score is

        s(x) = 2^(-E[h(x)] / c(n)),    c(n) = 2 H(n-1) - 2 (n-1)/n.

    Each tree sees n events, drawn (some twice) with probabilities proportional to their weights; events of
    negative weight are not drawn.

    Attributes:
        trees: how many.
        events: n, drawn for each tree.
        seed: of what is drawn.
    """

    trains_network: ClassVar[bool] = False

    trees: PositiveInt = 100
    events: int = Field(default=256, ge=2)
    seed: int = Field(default=1, ge=0)

    def default_inputs(self) -> Inputs:
        """See `columns.column_inputs`."""
        return column_inputs()

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Grow the trees on `train`; a seed in `training` goes before the method's own.

        Raises:
            InputError: when no event has a positive weight, when all features are constant, or when one is
                missing or not finite.
        """
        self.inputs = inputs or self.default_inputs()
        values, weights = columns_of(train, self.inputs, self.name)
        chance = np.cumsum(np.maximum(weights, 0))
        rng = np.random.default_rng(training.seed if training else self.seed)
        size = self.events
        grown = []
        for _ in range(self.trees):
            # By the place in the sum of weights: an event twice and one of weight two are drawn alike.
            drawn = np.searchsorted(chance, rng.random(size) * chance[-1], side="right")
            tree = ExtraTreeRegressor(
                max_features=1, splitter="random", max_depth=int(np.ceil(np.log2(size))),
                random_state=int(rng.integers(2**31)),
            )  # fmt: skip
            grown.append(tree.fit(values[drawn], rng.random(size)).tree_)
        self._take(_forest(grown).sums_to_onnx(values.shape[1]))
        return self

    def score_batch(self, batch: Batch) -> ak.Array:
        """`isolation_forest_score` per event, 0 to 1; one half: nothing sets it apart."""
        values = transformed(batch.event.numpy(), self.fitted_inputs.event_features).astype(np.float32)
        depth = self._session.run(None, {"x": np.ascontiguousarray(values)})[0][:, 0] / self.trees
        return self.records({"score": np.exp2(-depth / mean_depth(np.array([self.events]))[0])})

    def state(self) -> dict[str, NDArray[Any]]:
        """The trees as the bytes of an ONNX file."""
        return {"onnx": np.frombuffer(self.model, dtype=np.uint8)}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when the trees read another number of features.
        """
        self._take(state["onnx"].tobytes())
        found, expected = self._session.get_inputs()[0].shape[1], len(self.fitted_inputs.event)
        if found != expected:
            raise InputError(
                f"these trees do not fit '{self.name}': they read {found} features, not {expected}"
            )

    def _take(self, model: bytes) -> None:
        self.model, self._session = model, session(model)


def mean_depth(events: NDArray[np.int64]) -> NDArray[np.float64]:
    """c(n), the mean number of cuts that sets one of n events apart: 2 H(n-1) - 2 (n-1)/n; 0 for one."""
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, max(int(events.max()), 2)))])
    before = np.maximum(events, 1) - 1
    return np.asarray(2 * harmonic[before] - 2 * before / np.maximum(events, 1), dtype=np.float64)


def _forest(grown: list[Any]) -> Forest:
    """The trees of scikit-learn, the value of a leaf being its depth and what is left to cut there."""
    leaf = np.concatenate([tree.children_left < 0 for tree in grown])
    depth = np.concatenate([_depths(tree.children_left, tree.children_right) for tree in grown])
    held = np.concatenate([tree.n_node_samples for tree in grown]).astype(np.int64)
    return Forest(
        mode="BRANCH_LEQ",
        base=np.zeros(1),
        sizes=np.array([tree.node_count for tree in grown]),
        leaf=leaf,
        feature=np.concatenate([tree.feature for tree in grown]),
        threshold=rounded_down(np.concatenate([tree.threshold for tree in grown])),
        yes=np.concatenate([tree.children_left for tree in grown]),
        no=np.concatenate([tree.children_right for tree in grown]),
        missing_yes=np.zeros(len(leaf), dtype=np.bool_),
        value=depth + mean_depth(held),
    )


def _depths(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many cuts are above each node of a tree: one level after the other."""
    depth = np.zeros(len(left), dtype=np.int64)
    level = np.array([0])
    while len(level):
        inner = level[left[level] >= 0]
        below = np.concatenate([left[inner], right[inner]])
        depth[below] = np.tile(depth[inner] + 1, 2)
        level = below
    return depth
