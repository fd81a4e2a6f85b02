"""A signal region in a mass and the sidebands around it: what weakly supervised searches share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.packing import labelled_batches
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.errors import InputError
from femtobarn.learn import common
from femtobarn.learn.training import Training
from femtobarn.learn.trees import Events, Trees
from femtobarn.nn.preprocess import Preprocess, Statistics

__all__ = [
    "FEWEST",
    "Columns",
    "Regions",
    "ensemble",
    "fit_template",
    "inside",
    "mass_place",
    "mean_of",
    "network_and_trees",
    "read_columns",
    "region_inputs",
    "regions_of",
    "restored_trees",
]  # fmt: skip

FEWEST = 20
"""Events in either region, at least."""
Window = tuple[float, float]
Array = NDArray[np.float64]


def region_inputs(mass: str) -> Inputs:
    """Features `x1` to `x4`, the mass that defines the regions, and the field `weight`."""
    return Inputs(event=[*(f"x{k}" for k in range(1, 5)), mass], weight="weight")


class Regions(NamedTuple):
    """Raw features (N, F) with the mass among them, weights (N,), and which events are in the window (N,)."""

    values: NDArray[np.float32]
    weights: Array
    inside: NDArray[np.bool_]


def inside(mass: Array | NDArray[np.float32], window: Window) -> NDArray[np.bool_]:
    """Masses (N,) in the half-open window."""
    return np.asarray((mass >= window[0]) & (mass < window[1]))


def mass_place(inputs: Inputs, mass: str, name: str) -> int:
    """Which of the event's features is the mass.

    Raises:
        InputError: when it is none of them, or the only one.
    """
    names = [feature.name for feature in inputs.event_features]
    if mass not in names or len(names) < 2:
        raise InputError(
            f"the inputs of '{name}' need the mass '{mass}' and features beside it under 'event'"
        )
    return names.index(mass)


def regions_of(sample: Sample, inputs: Inputs, mass: str, window: Window, name: str) -> Regions:
    """All events of a sample in memory.

    Raises:
        InputError: when the signal region or the sidebands have fewer than `FEWEST` events of positive
            weight; when a feature is not there or not finite.
    """
    place = mass_place(inputs, mass, name)
    batches = list(labelled_batches(sample, inputs))
    values = np.concatenate(
        [np.zeros((0, len(inputs.event)), np.float32), *(b.event.numpy() for b in batches)]
    )
    weights = np.concatenate([np.zeros(0), *(batch.weights.numpy() for batch in batches)])
    chosen = inside(values[:, place], window)
    for region, which in (("signal region", chosen), ("sidebands", ~chosen)):
        found = int((weights[which] > 0).sum())
        if found < FEWEST:
            raise InputError(
                f"{sample.where}: {found} events in the {region} of {window[0]:g} <= '{mass}' < "
                f"{window[1]:g}: {name} needs {FEWEST} at least; move the window or add events"
            )
    return Regions(values, weights, chosen)


class Columns(nn.Module):
    """Raw features to standardised ones (B, F - 1), the standardised mass (B, 1), and who is inside (B,)."""

    def __init__(
        self, inputs: Inputs, statistics: Statistics | None, mass: str, window: Window, name: str
    ) -> None:
        super().__init__()
        self.preprocess = Preprocess(inputs, statistics)
        self.place, self.window = mass_place(inputs, mass, name), window
        self.count = len(inputs.event) - 1

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Features, mass, and 1 inside the window."""
        mass = batch.event[:, self.place]
        chosen = ((mass >= self.window[0]) & (mass < self.window[1])).to(batch.event.dtype)
        columns = self.preprocess(batch).event
        others = torch.cat([columns[:, : self.place], columns[:, self.place + 1 :]], 1)
        return others, columns[:, self.place, None], chosen


def ensemble(events: Events, members: int, trees: int, share: float, seed: int) -> list[Trees]:
    """Boosted classifiers of two classes of equal total weight, each grown on a random share of the events
    and stopped by the others, as in 2309.13111; events of negative weight are left out.

    Raises:
        InputError: when a class has no event of positive weight.
    """
    values, labels, weights = events
    total = np.bincount(labels, np.maximum(weights, 0), minlength=2)
    if not (total > 0).all():
        raise InputError("one of the two samples to be told apart has no events of positive weight")
    weights = np.maximum(weights, 0) / total[labels]
    weights = weights / weights.mean()
    grown = []
    for number in range(members):
        mine = np.random.default_rng([seed, number]).random(len(labels)) < share
        train, judges = ((values[w], labels[w], weights[w]) for w in (mine, ~mine))
        grown.append(Trees.fit(*train, 2, judges, max_iter=trees, early_stopping=True, n_iter_no_change=10,
                               tol=0.0, random_state=seed + number))  # fmt: skip
    return grown


def mean_of(members: list[Trees], values: NDArray[np.floating]) -> NDArray[np.float32]:
    """The mean probability of class 1 of an ensemble, for (N, F) values."""
    return np.asarray(np.mean([trees.predict(values)[:, 1] for trees in members], axis=0), dtype=np.float32)


def read_columns(
    module: nn.Module, values: NDArray[np.float32] | Tensor
) -> tuple[NDArray[np.float32], Tensor]:
    """Standardised features (B, F - 1) and mass (B, 1) of raw ones, by the `columns` of a trained network."""
    events = torch.as_tensor(values)
    with torch.inference_mode():
        columns, mass, _ = cast(Any, module.eval().cpu()).columns(
            Batch(events, {}, {}, torch.ones(len(events)))
        )
    return columns.numpy(), mass


def fit_template(
    method: Any, train: Sample, valid: Sample | None, inputs: Inputs | None,
    training: Training | None, resume: str | Path | None,
) -> None:  # fmt: skip
    """Train a method's network on the sidebands, and grow its `ensemble`, which tells the data in the signal
    region, class 1, from a template: standardised features (n, F - 1) that `method.template(data, masses,
    seed)` makes with the network at masses (n, 1), those of the data `method.samples` times over.

    Raises:
        InputError: when a region has hardly any events; when a feature is not there or not finite.
    """
    inputs, training = inputs or method.default_inputs(), training or method.default_training()
    data = regions_of(train, inputs, method.mass, method.window, method.name)
    method.ensemble = []
    common.fit_network(method, train, valid, inputs, training, resume)
    real, mass = read_columns(method.fitted_module, data.values[data.inside])
    template = method.template(data, mass.repeat(method.samples, 1), training.seed)
    weights = data.weights[data.inside]
    events = (
        np.concatenate([real, template]),
        np.repeat([1, 0], [len(real), len(template)]),
        np.concatenate([weights, np.tile(weights, method.samples)]),
    )
    method.ensemble = ensemble(events, method.members, method.trees, method.share, training.seed)


def network_and_trees(method: Any) -> dict[str, NDArray[Any]]:
    """The state of a method of a network and an `ensemble`: weights, and each member's ONNX file as bytes."""
    trees = {f"onnx.{k}": np.frombuffer(one.model, dtype=np.uint8) for k, one in enumerate(method.ensemble)}
    return common.network_state(method) | trees


def restored_trees(method: Any, state: dict[str, NDArray[Any]]) -> list[Trees]:
    """Take over what `network_and_trees` gave: the network by itself, the trees as the answer.

    Raises:
        InputError: when it is of another architecture or of other inputs.
    """
    trees = [name for name in state if name.startswith("onnx.")]
    common.restore_network(method, {name: value for name, value in state.items() if name not in trees})
    return [Trees(state[f"onnx.{k}"].tobytes()) for k in range(len(trees))]
