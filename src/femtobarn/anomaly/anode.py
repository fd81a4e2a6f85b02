"""The density in the signal region over the one that the sidebands promise."""

from __future__ import annotations

from typing import ClassVar

import zuko
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from femtobarn.anomaly.regions import Columns, Window, region_inputs
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.nn.losses import weighted_mean
from femtobarn.nn.preprocess import Statistics

__all__ = ["ANODE", "FLOW_TRAINING"]

FLOW_TRAINING = Training(optimiser="adamw", weight_decay=1e-4, learning_rate=2e-3, schedule="one-cycle",
                         batch_size=500, epochs=20, clip_norm=1.0)  # fmt: skip


@method
class ANODE(Scorer):
    """Anomaly detection with density estimation [ANODE, 2001.04990], with neural spline flows of zuko.

    One flow learns p(x | m) of the data in the sidebands of the mass m, another that of the signal region.
    The first, read at masses of the signal region, is the background there; the score is the logarithm of
    the second over the first.

    Attributes:
        mass: feature that defines the regions.
        window: of the signal region; the default is that of a toy, give your own.
        transforms: of each flow, as of `flow_density`.
        hidden: likewise.
        bins: likewise.
    """

    contract_exempt: ClassVar[dict[str, str]] = {
        "onnx": "the splines look their bins up in ways the exporter does not know",
        "overfit": "the score compares two densities: what is known by heart is not less unusual",
    }

    mass: str = Field(default="mass", pattern=r"^\w+$")
    window: Window = (-0.5, 0.5)
    transforms: PositiveInt = 3
    hidden: tuple[PositiveInt, ...] = (64, 64)
    bins: int = Field(default=8, ge=2)

    def default_inputs(self) -> Inputs:
        """See `regions.region_inputs`."""
        return region_inputs(self.mass)

    def default_training(self) -> Training:
        """AdamW and one cycle of the learning rate."""
        return FLOW_TRAINING

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)

    def loss(self, output: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Minus the log-likelihood of each region under its own flow."""
        here = output["inside"] * batch.weights
        return {
            "sidebands": weighted_mean(output["background"], batch.weights - here),
            "signal_region": weighted_mean(output["signal_region"], here),
        }


class Network(nn.Module):
    """Raw features -> minus the log-density of both flows (B,), `score` (B,) and `inside` (B,)."""

    def __init__(self, method: ANODE, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.columns = Columns(inputs, statistics, method.mass, method.window, method.name)
        self.background, self.signal_region = (
            zuko.flows.NSF(
                self.columns.count, 1, transforms=method.transforms, hidden_features=method.hidden,
                bins=method.bins,
            )
            for _ in range(2)
        )  # fmt: skip

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See the class."""
        columns, mass, inside = self.columns(batch)
        if not len(columns):  # torch's distributions do not know what to do
            return dict.fromkeys(("background", "signal_region", "score", "inside"), inside)
        background = -self.background(mass).log_prob(columns)
        signal_region = -self.signal_region(mass).log_prob(columns)
        score = background - signal_region
        return {"background": background, "signal_region": signal_region, "score": score, "inside": inside}
