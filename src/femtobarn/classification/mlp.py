"""A dense network on the features of an event."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from femtobarn.classification.textbook import textbook_inputs
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.heads import dense
from femtobarn.nn.preprocess import Preprocess, Statistics

__all__ = ["MLP"]


@method
class MLP(Classifier):
    """Multilayer perceptron [Rumelhart, Hinton, Williams, Nature 323 (1986) 533].

    Attributes:
        hidden: sizes of the hidden layers.
        dropout: chance of a hidden number to be left out in training.
    """

    label: ClassVar[str] = "class"
    contract_exempt: ClassVar[dict[str, str]] = {
        "overfit": "with two features, 64 overlapping events are not learnt by heart in 160 steps"
    }

    hidden: tuple[int, ...] = (64, 64)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    def default_inputs(self) -> Inputs:
        """See `textbook.textbook_inputs`."""
        return textbook_inputs()

    def default_training(self) -> Training:
        """AdamW and one cycle of the learning rate."""
        return Training(
            optimiser="adamw",
            weight_decay=1e-4,
            learning_rate=3e-3,
            schedule="one-cycle",
            batch_size=250,
            epochs=20,
        )

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Features -> dense layers -> logits."""

    def __init__(self, mlp: MLP, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        sizes = [len(inputs.event), *mlp.hidden, len(inputs.labels["class"].classes)]
        self.preprocess = Preprocess(inputs, statistics)
        self.layers = dense(sizes, dropout=mlp.dropout)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`class` (B, classes) logits."""
        return {"class": self.layers(self.preprocess(batch).event)}
