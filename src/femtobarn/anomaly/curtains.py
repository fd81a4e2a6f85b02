"""A background template of real sideband events, carried into the signal region by a flow."""

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

__all__ = ["CURTAINs"]


@method
class CURTAINs(Scorer):
    """Constructing unobserved regions by transforming adjacent intervals [CURTAINs, 2203.09470].

    An invertible network carries the features of an event of mass m to what they would be at m'. It learns
    between masses of the sidebands; then sideband events are carried to the masses of the signal region, and
    boosted trees tell the data there from them, as in `cathode`.

    It learns by maximum likelihood [flows for flows, 2305.04646], not by the first paper's Sinkhorn distance
    of batches, whose result depends on the size of the batch and which has no sum over weighted events. A
    base flow learns p(x | m) of the sidebands; with it held fixed, x' = f(x; m, m') has to be likely:

        -ln p(x' | m') - ln |det df/dx|

    Unlike there, f is conditioned on both masses and used forwards whether m' is above m or below, and both
    flows learn at once.

    Attributes:
        mass: feature that defines the regions.
        window: of the signal region; the default is that of a toy, give your own.
        samples: carried events per event in the signal region; a sideband event may be carried several times.
        transforms: of each flow, as of `flow_density`.
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
        """Minus the log-likelihood of the sidebands, as they are and as they are carried."""
        beside = batch.weights * (1 - output["inside"])
        return {name: weighted_mean(output[name], beside) for name in ("base", "carried")}

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Train the flows on the sidebands of `train`, carry them, and grow the trees in its signal region.

        Raises:
            InputError: when a region has hardly any events; when a feature is not there or not finite.
        """
        fit_template(self, train, valid, inputs, training, resume)
        return self

    def template(self, data: Regions, masses: Tensor, seed: int) -> NDArray[np.float32]:
        """Features of sideband events, drawn by their weights, as they would be at the masses (n, 1)."""
        module = cast(Network, self.fitted_module)
        beside, here = read_columns(module, data.values[~data.inside])
        # Events of negative weight cannot be drawn; the trees leave them out too.
        chance = np.maximum(data.weights[~data.inside], 0)
        drawn = np.random.default_rng(seed).choice(len(beside), len(masses), p=chance / chance.sum())
        with torch.inference_mode():
            carried, _ = module.carry(torch.from_numpy(beside[drawn]), here[drawn], masses)
        return carried.numpy()

    def score_batch(self, batch: Batch) -> ak.Array:
        """`curtains_score`, the probability to be data rather than a carried sideband event."""
        columns, _ = read_columns(self.fitted_module, batch.event)
        return self.records({"score": mean_of(self.ensemble, columns)})

    def state(self) -> dict[str, NDArray[Any]]:
        """The weights of the flows, and the trees of each member as the bytes of an ONNX file."""
        return network_and_trees(self)

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when it is of another architecture or of other inputs.
        """
        self.ensemble = restored_trees(self, state)


class Network(nn.Module):
    """Raw features -> minus the log-likelihood of sideband events, `base` as they are and `carried` (B,), and
    `inside` (B,).

    In training each event is carried to a mass drawn from the sidebands of its batch, so that all pairs of
    masses come up; in evaluation to its own, since nothing may depend on the rest of the batch.
    """

    def __init__(self, method: CURTAINs, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.columns = Columns(inputs, statistics, method.mass, method.window, method.name)
        self.base, self.transport = (
            zuko.flows.NSF(
                self.columns.count, masses, transforms=method.transforms, hidden_features=method.hidden,
                bins=method.bins,
            )
            for masses in (1, 2)
        )  # fmt: skip

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See the class."""
        columns, mass, inside = self.columns(batch)
        if not len(columns):  # torch's distributions do not know what to do
            return dict.fromkeys(("base", "carried", "inside"), inside)
        target = mass
        beside = torch.nonzero(inside == 0)[:, 0]
        if self.training and len(beside):
            target = mass[beside[torch.randint(len(beside), (len(mass),), device=mass.device)]]
        carried, volume = self.carry(columns, mass, target)
        return {
            "base": -self.base(mass).log_prob(columns),
            "carried": -self._fixed(carried, target) - volume,
            "inside": inside,
        }

    def carry(self, columns: Tensor, mass: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, F - 1) of events at `mass` (B, 1) as they would be at `target` (B, 1), and the
        logarithm of the volume's change (B,)."""
        moved, volume = self.transport(torch.cat([mass, target], 1)).transform.call_and_ladj(columns)
        return moved, volume

    def _fixed(self, columns: Tensor, mass: Tensor) -> Tensor:
        """Log-density (B,) of the base flow, whose parameters do not move to suit what is carried."""
        held = {name: value.detach() for name, value in self.base.named_parameters()}
        buffers = dict(self.base.named_buffers())
        density = torch.func.functional_call(self.base, (held, buffers), (mass,))
        return cast(Tensor, density.log_prob(columns))
