"""Boosted decision trees of scikit-learn or xgboost, kept as ONNX: a file that others read and that executes
nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingClassifier

from femtobarn.errors import InputError

__all__ = ["Events", "Forest", "Trees", "rounded_down", "session"]

_OPSET, _ML_OPSET = 20, 3

Events = tuple[NDArray[np.floating], NDArray[np.integer], NDArray[np.floating]]
"""Values (N, F), classes (N,) and weights (N,)."""


def session(model: bytes) -> onnxruntime.InferenceSession:
    """A serialised ONNX model, ready to run beside others."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Threads that wait by spinning take the cores from those that work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def rounded_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Cuts for float32 values: x <= t in double precision is x <= the largest float32 not above t."""
    rounded = thresholds.astype(np.float32)
    above = rounded.astype(np.float64) > thresholds
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded


class Trees:
    """Boosted trees that give a probability per class.

    Args:
        model: the serialised ONNX model, input `x` (N, F) float32, output `probabilities` (N, C).
    """

    def __init__(self, model: bytes) -> None:
        self.model = model
        self._session = session(model)

    @property
    def features(self) -> int:
        """F, how many features they read."""
        return int(self._session.get_inputs()[0].shape[1])

    @classmethod
    def fit(
        cls,
        values: NDArray[np.floating],
        labels: NDArray[np.integer],
        weights: NDArray[np.floating],
        classes: int,
        valid: Events | None = None,
        **parameters: Any,
    ) -> Trees:
        """Grow trees on (N, F) values with labels 0 to `classes` - 1.

        Events of negative weight are left out: the loss has no lower bound where they prevail. The bins of
        histograms hold equal numbers of events.

        Args:
            values, labels, weights: of the training sample.
            classes: how many; each needs at least one event.
            valid: events whose loss says when to stop, for `early_stopping=True`.
            parameters: of `sklearn.ensemble.HistGradientBoostingClassifier`.
        """
        used = weights > 0
        grown = _Histograms(**parameters)
        judges = (
            {} if valid is None else dict(zip(("X_val", "y_val", "sample_weight_val"), valid, strict=True))
        )
        grown.fit(values[used].astype(np.float32), labels[used], weights[used], **judges)
        if list(grown.classes_) != list(range(classes)):
            raise ValueError(f"the training sample has the classes {list(grown.classes_)}, not all {classes}")
        return cls(_scikit_learn(grown).to_onnx(values.shape[1]))

    @classmethod
    def fit_xgboost(
        cls,
        values: NDArray[np.floating],
        labels: NDArray[np.integer],
        weights: NDArray[np.floating],
        classes: int,
        valid: Events | None = None,
        rounds: int = 100,
        patience: int | None = None,
        **parameters: Any,
    ) -> Trees:
        """As `fit`, grown by xgboost. What it grew needs xgboost no more.

        Args:
            values, labels, weights, classes: as in `fit`.
            valid: events whose loss says when to stop; the trees after the best of them are left out.
            rounds: boosting iterations, at most.
            patience: iterations without a better loss of `valid` after which to stop; None: all are done.
            parameters: of `xgboost.train`.

        Raises:
            InputError: when xgboost is not installed.
        """
        try:
            import xgboost
        except ImportError:
            raise InputError("trees of xgboost need it: pip install 'femtobarn[xgboost]'") from None
        used = weights > 0
        objective: dict[str, Any] = {"objective": "binary:logistic"}
        if classes > 2:
            objective = {"objective": "multi:softprob", "num_class": classes}
        judges = []
        if valid is not None and patience is not None:
            judges = [(xgboost.DMatrix(valid[0], valid[1], weight=valid[2]), "valid")]
        grown = xgboost.train(
            {**objective, **parameters},
            xgboost.DMatrix(values[used], labels[used], weight=weights[used]),
            rounds,
            evals=judges,
            early_stopping_rounds=patience if judges else None,
            verbose_eval=False,
        )
        if judges:
            grown = grown[: grown.best_iteration + 1]
        return cls(_xgboost(grown).to_onnx(values.shape[1]))

    def predict(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, F) values to (N, C) probabilities."""
        answer = self._session.run(None, {"x": np.ascontiguousarray(values, dtype=np.float32)})[0]
        return np.asarray(answer, dtype=np.float32)


class _Histograms(HistGradientBoostingClassifier):  # type: ignore[misc]
    """With bins of equal numbers of events: those of equal weight take longer than the trees."""

    def _bin_data(self, values: Any, *weights: Any, is_training_data: bool) -> Any:
        return super()._bin_data(values, *(None for _ in weights), is_training_data=is_training_data)


@dataclass
class Forest:
    """Nodes of all trees, one after the other; tree t adds to sum t % (number of sums).

    Attributes:
        mode: how a node compares to go to `yes`: BRANCH_LEQ or BRANCH_LT.
        base: (sums,) what the sums start from.
        sizes: (trees,) nodes of each tree; the number of a node counts within its tree.
        leaf, feature, threshold, yes, no, missing_yes, value: of each node.
    """

    mode: str
    base: NDArray[np.floating]
    sizes: NDArray[np.integer]
    leaf: NDArray[np.bool_]
    feature: NDArray[np.integer]
    threshold: NDArray[np.float32]
    yes: NDArray[np.integer]
    no: NDArray[np.integer]
    missing_yes: NDArray[np.bool_]
    value: NDArray[np.floating]

    def to_onnx(self, features: int) -> bytes:
        """The softmax of the sums, `probabilities` (N, classes), for (N, `features`) values `x`."""
        sums = len(self.base)
        if sums == 1:  # two classes share one sum: softmax of (0, s) is the logistic function of s
            zero = helper.make_node("Mul", ["sums", "nothing"], ["zero"])
            joined = [zero, helper.make_node("Concat", ["zero", "sums"], ["logits"], axis=1)]
        else:
            joined = [helper.make_node("Identity", ["sums"], ["logits"])]
        softmax = helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1)
        nothing = helper.make_tensor("nothing", TensorProto.FLOAT, [1], [0.0])
        return self._model([*joined, softmax], features, "probabilities", max(sums, 2), [nothing])

    def sums_to_onnx(self, features: int) -> bytes:
        """The sums alone, `sums` (N, sums)."""
        return self._model([], features, "sums", len(self.base), [])

    def _model(
        self, after: list[Any], features: int, output: str, columns: int, constants: list[Any]
    ) -> bytes:
        """One `TreeEnsembleRegressor` from `x` to `sums`, and what comes after it."""
        leaf = self.leaf
        tree = np.repeat(np.arange(len(self.sizes)), self.sizes)
        number = np.arange(len(leaf)) - np.repeat(np.cumsum(self.sizes) - self.sizes, self.sizes)
        ensemble = helper.make_node(
            "TreeEnsembleRegressor",
            ["x"],
            ["sums"],
            domain="ai.onnx.ml",
            n_targets=len(self.base),
            post_transform="NONE",
            base_values=self.base.astype(np.float32).tolist(),
            nodes_treeids=tree.tolist(),
            nodes_nodeids=number.tolist(),
            nodes_featureids=np.where(leaf, 0, self.feature).astype(int).tolist(),
            nodes_modes=["LEAF" if end else self.mode for end in leaf.tolist()],
            nodes_values=np.where(leaf, 0, self.threshold).astype(np.float32).tolist(),
            nodes_truenodeids=np.where(leaf, 0, self.yes).astype(int).tolist(),
            nodes_falsenodeids=np.where(leaf, 0, self.no).astype(int).tolist(),
            nodes_missing_value_tracks_true=(~leaf & self.missing_yes).astype(int).tolist(),
            target_treeids=tree[leaf].tolist(),
            target_nodeids=number[leaf].tolist(),
            target_ids=(tree[leaf] % len(self.base)).tolist(),
            target_weights=self.value[leaf].astype(np.float32).tolist(),
        )
        graph = helper.make_graph(
            [ensemble, *after],
            "trees",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["events", features])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["events", columns])],
            constants,
        )
        imports = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=9)
        onnx.checker.check_model(model)
        serialised: bytes = model.SerializeToString()
        return serialised


def _scikit_learn(grown: HistGradientBoostingClassifier) -> Forest:
    nodes = [tree.nodes for iteration in grown._predictors for tree in iteration]
    every = np.concatenate(nodes)
    return Forest(
        mode="BRANCH_LEQ",
        base=np.ravel(grown._baseline_prediction),
        sizes=np.array([len(tree) for tree in nodes]),
        leaf=every["is_leaf"].astype(bool),
        feature=every["feature_idx"],
        threshold=rounded_down(every["num_threshold"]),
        yes=every["left"],
        no=every["right"],
        missing_yes=every["missing_go_to_left"] > 0,
        value=every["value"],
    )


def _xgboost(grown: Any) -> Forest:
    learner = json.loads(grown.save_raw("json"))["learner"]
    base = np.atleast_1d(np.array(json.loads(learner["learner_model_param"]["base_score"]), dtype=np.float64))
    if learner["objective"]["name"] == "binary:logistic":  # given as a probability
        base = np.log(base / (1 - base))
    trees = learner["gradient_booster"]["model"]["trees"]
    column = {name: np.concatenate([tree[name] for tree in trees]) for name in (
        "left_children", "right_children", "split_indices", "split_conditions", "default_left")}  # fmt: skip
    return Forest(
        mode="BRANCH_LT",
        base=base,
        sizes=np.array([len(tree["left_children"]) for tree in trees]),
        leaf=column["left_children"] < 0,
        feature=column["split_indices"],
        threshold=column["split_conditions"].astype(np.float32),
        yes=column["left_children"],
        no=column["right_children"],
        missing_yes=column["default_left"] > 0,
        value=column["split_conditions"],  # where a leaf keeps its value
    )
