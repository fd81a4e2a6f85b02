"""What all verbs do alike: functions of a method, which each verb calls from a line of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from femtobarn import registry
from femtobarn.data.cache import PackedCache
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.errors import InputError
from femtobarn.learn.training import Training

__all__ = ["begin", "check_classes", "check_features",
           "fit_network", "fitted_inputs", "fitted_module", "hyperparameters",
           "load_as", "network_state", "restore_network", "run_network"]  # fmt: skip

T = TypeVar("T")


def begin(method: Any) -> None:
    """Give a new method its name, and what it has before `fit`."""
    method.name = method.name or registry.name_of("methods", type(method)) or type(method).__name__.lower()
    method.inputs = None
    method.module = None
    method.history = []


def fit_network(
    method: Any, train: Any, valid: Any, inputs: Inputs | None, training: Training | None,
    resume: str | Path | None,
) -> None:  # fmt: skip
    """Train a method's network, with its own inputs and training where none are given."""
    from femtobarn.learn.loop import fit

    fit(method, train, valid, inputs or method.default_inputs(), training or method.default_training(),
        resume)  # fmt: skip


def check_classes(method: Any, train: PackedCache) -> None:
    """Whether there is anything to tell apart in what a classifier is trained on.

    Raises:
        InputError: when all rows are of one class, or none has a weight, or those of a class sum to less than
            zero: a network would learn to shun that class.
    """
    names = train.classes.get(getattr(method, "label", ""), [])
    if len(names) < 2:
        return
    counts = train.class_counts(method.label)
    found = [name for name, count in zip(names, counts, strict=True) if count > 0]
    if len(found) < 2:
        what = f"all rows to train on are of class {found[0]}" if found else "no row to train on has a weight"
        raise InputError(f"{what}: '{method.name}' tells {', '.join(names)} apart and needs at least two")
    for name, total in zip(names, train.class_sums(method.label), strict=True):
        if total < 0:
            raise InputError(
                f"the weights of class {name} to train on sum to {total:.3g}: '{method.name}' needs more "
                "than zero; check the weight field"
            )


def check_features(method: Any, train: PackedCache, block: int = 100_000) -> None:
    """Whether features of events alone, without collections, tell anything; a block mostly shows it.

    Raises:
        InputError: when every feature is the same in all rows.
    """
    first = train.batch(0, 1)
    if first.collections or not first.event.shape[1]:
        return
    for start in range(0, len(train), block):
        if (train.batch(start, start + block).event != first.event).any():
            return
    raise InputError(
        f"all features to train on are constant: there is nothing that '{method.name}' could learn from"
    )


def fitted_inputs(method: Any) -> Inputs:
    """The inputs of a fitted method. Raises InputError before `fit`."""
    if method.inputs is None:
        raise InputError(f"'{method.name}' is not fitted: call fit(train, valid) or load a saved one")
    inputs: Inputs = method.inputs
    return inputs


def fitted_module(method: Any) -> nn.Module:
    """The trained network. Raises InputError before `fit` and for classical methods."""
    if method.module is None:
        raise InputError(f"method '{method.name}' has no trained network: call fit(train, valid) first")
    module: nn.Module = method.module
    return module


def hyperparameters(method: Any) -> dict[str, Any]:
    """Hyper-parameters by name, `name` included."""
    return {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}


def network_state(method: Any) -> dict[str, NDArray[Any]]:
    """The weights of the trained network, as arrays."""
    return {name: value.cpu().numpy() for name, value in fitted_module(method).state_dict().items()}


def restore_network(method: Any, state: dict[str, NDArray[Any]]) -> None:
    """Build the network for the method's inputs and give it these weights.

    Raises:
        InputError: when the state is that of another architecture or of other inputs.
    """
    with torch.random.fork_rng([]):  # its initial weights are not used, the caller's random numbers are
        method.module = method.network(fitted_inputs(method)).eval()
    tensors = {name: torch.as_tensor(value) for name, value in state.items()}
    try:
        method.module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"these weights do not fit '{method.name}' with its inputs: {reason}") from None


def run_network(method: Any, batch: Batch) -> dict[str, Tensor]:
    """The method's answer for a batch, in evaluation mode, without gradients."""
    module = fitted_module(method).eval()
    device = next(module.parameters()).device
    with torch.inference_mode():
        answer: dict[str, Tensor] = method.answer(module(batch.to(device)))
    return answer


def load_as(kind: type[T], folder: str | Path) -> T:
    """Read what `save` wrote as a method of this class."""
    from femtobarn.learn.model_files import load

    loaded = load(folder, kind)
    assert isinstance(loaded, kind)
    return loaded
