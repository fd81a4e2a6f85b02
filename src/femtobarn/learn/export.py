"""Export to ONNX: one graph for any number of events and tokens, from raw values to probabilities.

The graph's inputs are `event` (B, J), and per collection its packed tokens, e.g. `tracks` (T, F), and where
each event's tokens begin, `tracks_offsets` (B+1,) int64, the last one being T. Its outputs are those of the
method's `answer`. Names and order of features and classes are in the metadata entry `femtobarn`, as JSON, and
which tokens of a collection the graph is to be given (`select`, `order_by`, `max_length` of the inputs).
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from femtobarn.data.atomic import atomic
from femtobarn.data.ragged import Batch, Ragged
from femtobarn.errors import InputError
from femtobarn.nn.preprocess import Preprocess

__all__ = ["export", "largest_difference", "onnx_inputs"]

OPSET = 20
TOLERANCE = 1e-5


class _Packed(nn.Module):
    """The network and the method's answer as a function of tensors."""

    def __init__(self, method: Any, names: list[str]) -> None:
        super().__init__()
        self.network = copy.deepcopy(method.fitted_module).cpu().eval()
        self.answer, self.names = method.answer, names

    def forward(self, event: Tensor, *ragged: Tensor) -> dict[str, Tensor]:
        pairs = zip(self.names, ragged[::2], ragged[1::2], strict=True)
        collections = {name: Ragged(values, offsets) for name, values, offsets in pairs}
        answer: dict[str, Tensor] = self.answer(
            self.network(Batch(event, collections, {}, event.new_ones(event.shape[0])))
        )
        return answer


def export(method: Any, path: Path) -> Path:
    """Write the network of a method as ONNX, whole or not at all, checked on 1000 events of 0 to 40 tokens.

    Raises:
        InputError: when the method has no trained network, or never has one.
        RuntimeError: when onnxruntime's answer differs from torch's by more than 1e-5.
    """
    inputs = method.fitted_inputs
    if not method.trains_network:
        raise InputError(
            f"'{method.name}' has no network to export; `femtobarn predict` appends what it says to a file"
        )
    names = list(inputs.collections)
    packed = _Packed(method, names).eval()
    example = _arguments(_events(method, torch.arange(8)))
    sizes = [{0: torch.export.Dim.DYNAMIC} for _ in example]
    with torch.no_grad(), _quiet():
        outputs = list(packed(*example.values()))
        program = torch.onnx.export(
            packed,
            tuple(example.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(example),
            output_names=outputs,
            dynamic_shapes=(sizes[0], *([tuple(sizes[1:])] if names else [])),
            verbose=False,
        )
    assert program is not None
    features = {"event": [feature.name for feature in inputs.event_features]}
    features |= {name: [f.name for f in inputs.collection_features(name)] for name in names}
    classes = {task: list(label.classes) for task, label in inputs.labels.items()}
    tokens = {
        name: collection.model_dump(include={"select", "order_by", "max_length"})
        for name, collection in inputs.collections.items()
    }
    about = {"method": method.name, "features": features, "tokens": tokens, "classes": classes}
    program.model.metadata_props["femtobarn"] = json.dumps(about)
    with atomic(path) as temporary:
        program.save(str(temporary))
        lengths = torch.randint(0, 41, (1000,), generator=torch.Generator().manual_seed(1))
        difference = largest_difference(method, temporary, _events(method, lengths))
        if difference > TOLERANCE:
            raise RuntimeError(
                f"{path}: onnxruntime and torch differ by {difference:.1e}, nothing was written"
            )
    return path


def onnx_inputs(batch: Batch) -> dict[str, NDArray[Any]]:
    """A batch as onnxruntime takes it."""
    return {name: value.numpy() for name, value in _arguments(batch).items()}


def largest_difference(method: Any, path: Path, batch: Batch) -> float:
    """Largest absolute difference between the answers of an exported model and of the method itself.

    Answers per pair, which name their tokens `i` and `j`, are put in the same order first.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    theirs = dict(zip(names, session.run(None, onnx_inputs(batch)), strict=True))
    ours = {name: value.cpu().numpy() for name, value in method.run(batch).items()}
    if {"i", "j"} <= ours.keys():
        for answer in (ours, theirs):
            order = np.lexsort((answer["j"], answer["i"]))
            answer |= {name: value[order] for name, value in answer.items() if len(value) == len(order)}
    if any(ours[name].shape != theirs[name].shape for name in names):
        return float("inf")
    return max(float(np.max(np.abs(ours[name] - theirs[name]), initial=0.0)) for name in names)


def _arguments(batch: Batch) -> dict[str, Tensor]:
    arguments = {"event": batch.event}
    for name, ragged in batch.collections.items():
        arguments |= {name: ragged.values, f"{name}_offsets": ragged.offsets}
    return arguments


def _events(method: Any, lengths: Tensor) -> Batch:
    """Raw events with the given numbers of tokens, alike the training sample."""
    layers = [layer for layer in method.fitted_module.modules() if isinstance(layer, Preprocess)]
    if not layers:
        raise InputError(f"'{method.name}' cannot be exported: its network has no Preprocess layer")
    return copy.deepcopy(layers[0]).cpu().typical(lengths, torch.Generator().manual_seed(2))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on its own inside."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
