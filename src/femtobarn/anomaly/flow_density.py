"""Unusual is what is rare: the density of a normalising flow."""

from __future__ import annotations

from typing import ClassVar

import zuko
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from femtobarn.anomaly.columns import column_inputs
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.nn.preprocess import Preprocess, Statistics

__all__ = ["FlowDensity"]


@method
class FlowDensity(Scorer):
    """Neural spline flow [1906.04032] of zuko on columns; the score is -ln p(x) of the standardised columns.

    Columns are to be continuous: a value that many events share has no density. What is rare depends on the
    choice of coordinates: a monotonous function of a column changes the score.

    Attributes:
        transforms: autoregressive ones, each with the columns in another order.
        hidden: sizes of the layers of each.
        bins: of the splines, which reach from -5 to 5 standard deviations; beyond, the flow is the identity.
    """

    contract_exempt: ClassVar[dict[str, str]] = {
        "onnx": "the splines look their bins up in ways the exporter does not know"
    }

    transforms: PositiveInt = 3
    hidden: tuple[PositiveInt, ...] = (64, 64)
    bins: int = Field(default=8, ge=2)

    def default_inputs(self) -> Inputs:
        """See `columns.column_inputs`."""
        return column_inputs()

    def default_training(self) -> Training:
        """AdamW and one cycle of the learning rate."""
        return Training(optimiser="adamw", weight_decay=1e-4, learning_rate=2e-3, schedule="one-cycle",
                        batch_size=500, epochs=20, clip_norm=1.0)  # fmt: skip

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Raw columns -> standardised -> `score` (B,), minus the logarithm of their density."""

    def __init__(self, method: FlowDensity, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.preprocess = Preprocess(inputs, statistics)
        self.flow = zuko.flows.NSF(
            len(inputs.event), transforms=method.transforms, hidden_features=method.hidden, bins=method.bins
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`score` (B,)."""
        columns = self.preprocess(batch).event
        if not len(columns):  # torch's distributions do not know what to do
            return {"score": columns.sum(1)}
        return {"score": -self.flow().log_prob(columns)}
