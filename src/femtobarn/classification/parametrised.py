"""A network for all masses of a signal: the mass is one of its inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import awkward as ak
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from femtobarn.classification.mlp import MLP
from femtobarn.classification.mlp import Network as Dense
from femtobarn.data.inputs import Inputs, Label
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.errors import InputError, closest
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.losses import cross_entropy
from femtobarn.nn.preprocess import Preprocess, Statistics

__all__ = ["Parametrised", "drawn_parameters"]


@method
class Parametrised(Classifier):
    r"""Classifier f(x; m) over a parameter m of the signal [Baldi, Cranmer, Faucett, Sadowski, Whiteson,
    1601.07913].

    The network reads the features x and, as one more, the mass m that signal was made with. Background has no
    mass: in training each of its events is given that of a signal event of its batch, drawn anew every time
    with the signal's weights. So m alone says nothing, and at each m the network learns

    $$ f(x; m) = \frac{p_s(x | m)}{p_s(x | m) + p_b(x)}, $$

    between the masses trained on too. `predict_at(events, m)` asks about one mass.

    Attributes:
        parameter: the feature that is the mass. Background has any finite number there, which matters for the
            scaling and the validation loss alone: `drawn_parameters` draws it.
        signal: the class that has the parameter.
        hidden: sizes of the dense layers.
        blocks: residual blocks of the last of these sizes.
        dropout: chance of a hidden number to be left out in training.
        members: networks averaged, as in `mlp`.
    """

    label: ClassVar[str] = "class"
    contract_exempt: ClassVar[dict[str, str]] = {
        "overfit": "with three features, 64 overlapping events are not learnt by heart in 160 steps"
    }

    parameter: str = Field(default="mass", pattern=r"^\S+$")
    signal: str = Field(default="s", pattern=r"^\S+$")
    hidden: tuple[PositiveInt, ...] = Field(default=(64, 64), min_length=1)
    blocks: NonNegativeInt = 0
    dropout: float = Field(default=0.0, ge=0, lt=1)
    members: PositiveInt = 1

    def default_inputs(self) -> Inputs:
        """Features `x1`, `x2` and the parameter; `label` with `signal` and `background`; `weight`."""
        classes = {"s": ["signal"], "b": ["background"]}
        labels = {"class": Label(field="label", classes=classes)}
        return Inputs(event=["x1", "x2", self.parameter], labels=labels, weight="weight")

    def default_training(self) -> Training:
        """As of `mlp`."""
        return MLP().default_training()

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`.

        Raises:
            InputError: when the parameter is no feature, or the signal no class.
        """
        names = [feature.name for feature in inputs.event_features]
        if self.parameter not in names:
            near = closest(self.parameter, names)
            raise InputError(f"'{self.name}' needs its parameter '{self.parameter}' among the features{near}")
        classes = list(inputs.labels["class"].classes)
        if self.signal not in classes:
            near = closest(self.signal, classes)
            raise InputError(f"'{self.name}': the signal '{self.signal}' is no class{near}")
        shape = MLP(hidden=self.hidden, blocks=self.blocks, dropout=self.dropout, members=self.members)
        dense = Dense(shape, inputs, statistics)
        return Network(dense, names.index(self.parameter), classes.index(self.signal))

    def loss(self, output: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of each member, averaged."""
        logits = output["class"]
        labels = batch.labels["class"].repeat_interleave(logits.shape[1])
        weights = batch.weights.repeat_interleave(logits.shape[1])
        return {"class": cross_entropy(logits.flatten(0, 1), labels, weights)}

    def answer(self, output: dict[str, Tensor]) -> dict[str, Tensor]:
        """The members' mean probability (B, classes)."""
        return {"class": torch.softmax(output["class"].float(), dim=-1).mean(dim=1)}

    def predict_at(self, events: Sample | ak.Array, value: float) -> ak.Array:
        """What `predict` says of the events if the signal's parameter is `value`; they need not have it."""
        fields = [f.name for f in self.fitted_inputs.event_features if f.name != self.parameter]
        array = events.read(fields=fields) if isinstance(events, Sample) else events
        asked = np.full(len(array), value, dtype=np.float32)
        return self.predict(ak.with_field(array, asked, self.parameter))


class Network(nn.Module):
    """A dense network that is shown background with the parameters of signal."""

    def __init__(self, dense: Dense, column: int, signal: int) -> None:
        super().__init__()
        self.dense, self.column, self.signal = dense, column, signal

    @property
    def preprocess(self) -> Preprocess:
        """The layer that takes raw values."""
        return self.dense.preprocess

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`class` (B, members, classes) logits."""
        if self.training and "class" in batch.labels:
            batch = self.drawn(batch)
        logits: dict[str, Tensor] = self.dense(batch)
        return logits

    def drawn(self, batch: Batch) -> Batch:
        """The batch, its background with parameters drawn from its signal."""
        signal = batch.labels["class"] == self.signal
        weights = batch.weights.abs() * signal
        background = (~signal).nonzero().flatten()
        if not len(background) or not bool(weights.sum() > 0):
            return batch
        chosen = torch.multinomial(weights, len(background), replacement=True)
        event = batch.event.clone()
        event[background, self.column] = batch.event[chosen, self.column]
        return replace(batch, event=event)


def drawn_parameters(
    parameter: NDArray[np.floating],
    is_signal: NDArray[np.bool_],
    weights: NDArray[np.floating] | None = None,
    seed: int = 1,
) -> NDArray[np.float32]:
    """(N,) parameters, those of background drawn from the signal's, by the absolute weights.

    Raises:
        InputError: when there is no signal to draw from.
    """
    chance = np.abs(np.ones(len(parameter)) if weights is None else weights) * is_signal
    if not chance.sum() > 0:
        raise InputError("there is no signal whose parameters background could be given")
    rng = np.random.default_rng(seed)
    drawn = rng.choice(parameter, size=len(parameter), p=chance / chance.sum())
    return np.where(is_signal, parameter, drawn).astype(np.float32)
