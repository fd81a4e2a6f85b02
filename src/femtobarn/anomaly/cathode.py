"""A background template drawn from a density that was learnt in the sidebands."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self, cast

import awkward as ak
import numpy as np
import torch
import zuko
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from femtobarn.anomaly.anode import FLOW_TRAINING
from femtobarn.anomaly.regions import (
    Columns,
    Regions,
    Window,
    fit_template,
    mean_of,
    network_and_trees,
    read_columns,
    region_inputs,
    restored_trees,
)
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.nn.losses import weighted_mean
from femtobarn.nn.preprocess import Statistics

__all__ = ["CATHODE"]


@method
class CATHODE(Scorer):
    """Classifying anomalies through outer density estimation [CATHODE, 2109.00546].

    A neural spline flow of zuko learns p(x | m) of the data in the sidebands of the mass m. At the masses of
    the events in the signal region it gives as many background events as wanted, `samples` for each; boosted
    trees [2309.13111 instead of the paper's network] tell the data there from them.

    Attributes:
        mass: feature that defines the regions.
        window: of the signal region; the default is that of a toy, give your own.
        samples: background events drawn per event in the signal region.
        transforms: of the flow, as of `flow_density`.
        hidden: likewise.
        bins: likewise.
        members: classifiers averaged.
        trees: of each, at most.
        share: of the events on which each grows; the others stop it.
    """

    contract_exempt: ClassVar[dict[str, str]] = {
        "onnx": "the answer is that of trees, which are ONNX in the saved state",
        "overfit": "the score compares two samples: what is known by heart is not less unusual",
    }

    mass: str = Field(default="mass", pattern=r"^\w+$")
    window: Window = (-0.5, 0.5)
    samples: PositiveInt = 4
    transforms: PositiveInt = 3
    hidden: tuple[PositiveInt, ...] = (64, 64)
    bins: int = Field(default=8, ge=2)
    members: PositiveInt = 10
    trees: PositiveInt = 200
    share: float = Field(default=0.5, gt=0, lt=1)

    def default_inputs(self) -> Inputs:
        """See `regions.region_inputs`."""
        return region_inputs(self.mass)

    def default_training(self) -> Training:
        """That of ANODE's flows."""
        return FLOW_TRAINING

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)

    def loss(self, output: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Minus the log-likelihood of the sidebands."""
        return {"sidebands": weighted_mean(output["background"], batch.weights * (1 - output["inside"]))}

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Train the flow on the sidebands of `train`, then grow the trees in its signal region.

        Raises:
            InputError: when a region has hardly any events; when a feature is not there or not finite.
        """
        fit_template(self, train, valid, inputs, training, resume)
        return self

    def template(self, data: Regions, masses: Tensor, seed: int) -> NDArray[np.float32]:
        """Features drawn from the density of the sidebands, one event at each of the masses (n, 1)."""
        with torch.random.fork_rng([]), torch.inference_mode():
            torch.manual_seed(seed)
            drawn: Tensor = cast(Network, self.fitted_module).background(masses).sample()
        return drawn.numpy()

    def score_batch(self, batch: Batch) -> ak.Array:
        """`cathode_score`, the probability to be data rather than drawn background."""
        columns, _ = read_columns(self.fitted_module, batch.event)
        return self.records({"score": mean_of(self.ensemble, columns)})

    def state(self) -> dict[str, NDArray[Any]]:
        """The weights of the flow, and the trees of each member as the bytes of an ONNX file."""
        return network_and_trees(self)

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when it is of another architecture or of other inputs.
        """
        self.ensemble = restored_trees(self, state)


class Network(nn.Module):
    """Raw features -> `background` (B,), minus their log-density in the sidebands, and `inside` (B,)."""

    def __init__(self, method: CATHODE, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.columns = Columns(inputs, statistics, method.mass, method.window, method.name)
        self.background = zuko.flows.NSF(
            self.columns.count, 1, transforms=method.transforms, hidden_features=method.hidden,
            bins=method.bins,
        )  # fmt: skip

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See the class."""
        columns, mass, inside = self.columns(batch)
        if not len(columns):  # torch's distributions do not know what to do
            return {"background": inside, "inside": inside}
        return {"background": -self.background(mass).log_prob(columns), "inside": inside}
