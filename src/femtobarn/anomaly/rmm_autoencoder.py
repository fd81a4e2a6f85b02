"""The autoencoder of rapidity-mass matrices: events are unusual whose cells it cannot carry through."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

from pydantic import PositiveInt
from torch import Tensor, nn

from femtobarn.data.inputs import Feature, Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.nn.losses import weighted_mean
from femtobarn.nn.preprocess import Preprocess, Statistics

__all__ = ["RMMAutoencoder", "cell_inputs"]

SLOPE = 0.3
SMALLEST = 1e-12


@method
class RMMAutoencoder(Scorer):
    """Dense autoencoder of the cells of a rapidity-mass matrix [ATLAS, PRL 132 (2024) 081801].

    Cells are read as they are, since the matrix has made them dimensionless. Training lowers the mean
    absolute difference of input and output; the score is its natural logarithm, as there. LeakyReLU(0.3)
    behind each hidden layer. The sizes of the layers are ours.

    Attributes:
        hidden: sizes of the encoder's layers; the decoder's are the same backwards.
        latent: size of the bottleneck.
    """

    contract_parameters: ClassVar[dict[str, Any]] = {"hidden": (64, 32), "latent": 2}

    hidden: tuple[PositiveInt, ...] = (800, 400)
    latent: PositiveInt = 200

    def default_inputs(self) -> Inputs:
        """See `cell_inputs`, with so few cells that a test takes no time."""
        return cell_inputs(6)

    def default_training(self) -> Training:
        """Adam, and the weights of the best epoch."""
        return Training(optimiser="adam", learning_rate=1e-3, batch_size=100, epochs=30)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)

    def loss(self, output: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The mean absolute difference, not its logarithm."""
        return {"difference": weighted_mean(output["difference"], batch.weights)}


class Network(nn.Module):
    """Cells -> bottleneck -> cells; `difference` (B,), and its logarithm `score` (B,)."""

    def __init__(self, method: RMMAutoencoder, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.preprocess = Preprocess(inputs, statistics)
        sizes = [len(inputs.event), *method.hidden, method.latent]
        layers: list[nn.Module] = []
        for before, after in pairwise([*sizes, *sizes[-2::-1]]):
            layers += [nn.Linear(before, after), nn.LeakyReLU(SLOPE)]
        self.through = nn.Sequential(*layers[:-1])

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`difference` and `score`, both (B,)."""
        cells = self.preprocess(batch).event
        difference = (self.through(cells) - cells).abs().mean(-1)
        return {"score": (difference + SMALLEST).log(), "difference": difference}


def cell_inputs(cells: int) -> Inputs:
    """Features `x1`, `x2`, ... as they are, and the field `weight`."""
    return Inputs(event=[Feature(name=f"x{k}", standardise=False) for k in range(1, cells + 1)],
                  weight="weight")  # fmt: skip
