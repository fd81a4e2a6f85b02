"""Boosted decision trees of scikit-learn, kept as ONNX: a file that others read and that executes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.ensemble import HistGradientBoostingClassifier

__all__ = ["Trees"]

_OPSET, _ML_OPSET = 20, 3


class Trees:
    """Boosted trees that give a probability per class.

    Args:
        model: the serialised ONNX model, input `x` (N, F) float32, output `probabilities` (N, C).
    """

    def __init__(self, model: bytes) -> None:
        self.model = model
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

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
        **parameters: Any,
    ) -> Trees:
        """Grow trees on (N, F) values with labels 0 to `classes` - 1.

        Events of negative weight are left out: the loss has no lower bound where they prevail.

        Args:
            values, labels, weights: of the training sample.
            classes: how many; each needs at least one event.
            parameters: of `sklearn.ensemble.HistGradientBoostingClassifier`.
        """
        used = weights > 0
        grown = HistGradientBoostingClassifier(**parameters)
        grown.fit(values[used].astype(np.float32), labels[used], weights[used])
        if list(grown.classes_) != list(range(classes)):
            raise ValueError(f"the training sample has the classes {list(grown.classes_)}, not all {classes}")
        return cls(_to_onnx(grown, values.shape[1], classes).SerializeToString())

    def predict(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, F) values to (N, C) probabilities."""
        answer = self._session.run(None, {"x": np.ascontiguousarray(values, dtype=np.float32)})[0]
        return np.asarray(answer, dtype=np.float32)


def _to_onnx(grown: HistGradientBoostingClassifier, features: int, classes: int) -> onnx.ModelProto:
    """The trees as one `TreeEnsembleRegressor` of as many sums as scikit-learn grows, and their softmax."""
    trees = [tree for iteration in grown._predictors for tree in iteration]
    sums = len(grown._predictors[0])
    nodes = [tree.nodes for tree in trees]
    every = np.concatenate(nodes)
    tree = np.repeat(np.arange(len(nodes)), [len(n) for n in nodes])
    number = np.concatenate([np.arange(len(n)) for n in nodes])
    leaf = every["is_leaf"].astype(bool)
    # x <= t in double precision is x <= the largest float32 not above t.
    threshold = every["num_threshold"].astype(np.float32)
    above = threshold.astype(np.float64) > every["num_threshold"]
    threshold[above] = np.nextafter(threshold[above], np.float32(-np.inf))
    ensemble = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["sums"],
        domain="ai.onnx.ml",
        n_targets=sums,
        post_transform="NONE",
        base_values=np.ravel(grown._baseline_prediction).astype(np.float32).tolist(),
        nodes_treeids=tree.tolist(),
        nodes_nodeids=number.tolist(),
        nodes_featureids=np.where(leaf, 0, every["feature_idx"]).astype(int).tolist(),
        nodes_modes=["LEAF" if end else "BRANCH_LEQ" for end in leaf.tolist()],
        nodes_values=np.where(leaf, 0, threshold).tolist(),
        nodes_truenodeids=np.where(leaf, 0, every["left"]).astype(int).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, every["right"]).astype(int).tolist(),
        nodes_missing_value_tracks_true=(~leaf & (every["missing_go_to_left"] > 0)).astype(int).tolist(),
        target_treeids=tree[leaf].tolist(),
        target_nodeids=number[leaf].tolist(),
        target_ids=(tree[leaf] % sums).tolist(),
        target_weights=every["value"][leaf].astype(np.float32).tolist(),
    )
    if sums == 1:  # two classes share one sum: softmax of (0, s) is the logistic function of s
        zero = helper.make_node("Mul", ["sums", "nothing"], ["zero"])
        joined = [zero, helper.make_node("Concat", ["zero", "sums"], ["logits"], axis=1)]
    else:
        joined = [helper.make_node("Identity", ["sums"], ["logits"])]
    softmax = helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1)
    graph = helper.make_graph(
        [ensemble, *joined, softmax],
        "trees",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["events", features])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["events", classes])],
        [helper.make_tensor("nothing", TensorProto.FLOAT, [1], [0.0])],
    )
    imports = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    onnx.checker.check_model(model)
    return model
