"""The autoencoder of rapidity-mass matrices: events are unusual whose cells it cannot carry through."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from femtobarn.data.inputs import Feature, Inputs
from femtobarn.data.packing import labelled_batches
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.data.scaling import transformed
from femtobarn.learn import common
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.nn.losses import weighted_mean
from femtobarn.nn.preprocess import Preprocess, Statistics

__all__ = ["RMMAutoencoder", "cell_inputs", "principal_axes"]

SLOPE = 0.3
UNIT = 0.01
"""Of the cells inside the network, where numbers are of order one then: steps of Adam have a size."""
SMALLEST = 1e-12


@method
class RMMAutoencoder(Scorer):
    """Dense autoencoder of the cells of a rapidity-mass matrix [ATLAS, PRL 132 (2024) 081801].

    Cells are read as they are, since the matrix has made them dimensionless. Training lowers the mean
    absolute difference of input and output; the score is its natural logarithm, as there. LeakyReLU(0.3)
    behind each hidden layer, the code is linear. The sizes of the layers are ours.

    Most cells are zero in most events, and zero is where the mean absolute difference has a plateau that
    random weights do not leave. So training begins with the best linear autoencoder, the principal axes of
    the training sample [Baldi and Hornik, Neural Networks 2 (1989) 53], which these layers can hold exactly.

    Attributes:
        hidden: sizes of the encoder's layers; the decoder's are the same backwards.
        latent: size of the bottleneck.
    """

    contract_parameters: ClassVar[dict[str, Any]] = {"hidden": (64, 32), "latent": 2}

    hidden: tuple[PositiveInt, ...] = Field(default=(800, 400), min_length=1)
    latent: PositiveInt = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        self.axes: Tensor | None = None

    def default_inputs(self) -> Inputs:
        """See `cell_inputs`, with so few cells that a test takes no time."""
        return cell_inputs(6)

    def default_training(self) -> Training:
        """Adam with a small rate that falls to nothing, and the weights of the best epoch."""
        return Training(optimiser="adam", learning_rate=1e-4, schedule="one-cycle", warmup=0.1,
                        batch_size=200, epochs=10)  # fmt: skip

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`; along the principal axes while it is fitted."""
        network = Network(self, inputs, statistics)
        if self.axes is not None and statistics is not None:
            network.begin(self.axes)
        return network

    def fit(self, train: Any, valid: Any = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """As any scorer, from the principal axes of `train`."""
        inputs = inputs or self.default_inputs()
        self.axes = principal_axes(train, inputs, min(self.latent, min(self.hidden) // 2))
        common.fit_network(self, train, valid, inputs, training, resume)
        return self

    def loss(self, output: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The mean absolute difference, not its logarithm."""
        return {"difference": weighted_mean(output["difference"], batch.weights)}


class Network(nn.Module):
    """Cells -> bottleneck -> cells; `difference` (B,), and its logarithm `score` (B,)."""

    def __init__(self, method: RMMAutoencoder, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.preprocess = Preprocess(inputs, statistics)
        half = [len(inputs.event), *method.hidden, method.latent]
        layers = [nn.Linear(*sizes) for sizes in pairwise([*half, *half[-2::-1]])]
        self.layers = nn.ModuleList(layers)
        self.linear = {len(method.hidden), len(self.layers) - 1}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`difference` and `score`, both (B,)."""
        cells = self.preprocess(batch).event
        x = cells / UNIT
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number not in self.linear:
                x = nn.functional.leaky_relu(x, SLOPE)
        difference = (UNIT * x - cells).abs().mean(-1)
        return {"score": (difference + SMALLEST).log(), "difference": difference}

    @torch.no_grad()
    def begin(self, axes: Tensor) -> None:
        """Weights that carry through what is along axes (F, K) and nothing else.

        A number z passes a hidden layer as the pair z and -z, since LeakyReLU(z) - LeakyReLU(-z) is
        1.3 z. Hidden units left over read, but are not read yet.
        """
        one = torch.eye(axes.shape[1])
        pair, back = torch.cat([one, -one]), torch.cat([one, -one], 1) / (1 + SLOPE)
        inner = [pair @ back] * (len(self.layers) // 2 - 2)
        weights = [pair @ axes.T, *inner, back, pair, *inner, axes @ back]
        for layer, weight in zip(self.layers, weights, strict=True):
            assert isinstance(layer, nn.Linear)
            rows, columns = weight.shape
            layer.bias.zero_()
            layer.weight[:, columns:] = 0
            layer.weight[:rows, :columns] = weight


def principal_axes(sample: Sample, inputs: Inputs, count: int) -> Tensor:
    """Directions (F, min(count, F)) of the largest second moments about zero, which most cells are.

    Events of negative weight count as none.
    """
    moments = np.zeros((len(inputs.event), len(inputs.event)))
    for batch in labelled_batches(sample, inputs):
        cells = transformed(batch.event.numpy(), inputs.event_features)
        moments += (cells.T * np.maximum(batch.weights.numpy(), 0)) @ cells
    return torch.tensor(np.linalg.eigh(moments)[1][:, -count:], dtype=torch.float32)


def cell_inputs(cells: int) -> Inputs:
    """Features `x1`, `x2`, ... as they are, and the field `weight`."""
    return Inputs(event=[Feature(name=f"x{k}", standardise=False) for k in range(1, cells + 1)],
                  weight="weight")  # fmt: skip
