"""Learning vector quantisation: events belong to the class of the nearest prototype."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from femtobarn.classification.textbook import textbook_inputs
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.preprocess import Preprocess, Statistics

__all__ = ["LVQ"]


@method
class LVQ(Classifier):
    r"""Learning vector quantisation [Kohonen 1988], with a loss that can be followed downhill.

    Each class k has `prototypes` w_kj in the space of the standardised features. With the distance of an
    event to the nearest prototype of each class, d_k = min_j |x - w_kj|^2,

    $$ p_k \propto \exp(-\beta d_k) $$

    and the prototypes move down the cross-entropy of p: towards events of their class, away from others, the
    more so where the two are as near [soft LVQ: Seo, Obermayer, Neural Computation 15 (2003) 1589]. Kohonen's
    rule moves them by fixed steps, event by event. The sharpness beta is learnt too.

    Attributes:
        prototypes: of each class.
        sharpness: beta at the start.
        scatter: standard deviation of the prototypes around the origin at the start.
    """

    label: ClassVar[str] = "class"
    contract_exempt: ClassVar[dict[str, str]] = {
        "overfit": "a few prototypes do not learn 64 events of overlapping classes by heart"
    }

    prototypes: PositiveInt = 10
    sharpness: PositiveFloat = 1.0
    scatter: float = Field(default=0.5, gt=0)

    def default_inputs(self) -> Inputs:
        """See `textbook.textbook_inputs`."""
        return textbook_inputs()

    def default_training(self) -> Training:
        """Adam and one cycle of the learning rate."""
        return Training(learning_rate=1e-2, schedule="one-cycle", batch_size=250, epochs=20)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Features -> squared distance to the nearest prototype of each class -> logits."""

    def __init__(self, lvq: LVQ, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        classes, features = len(inputs.labels["class"].classes), len(inputs.event)
        self.preprocess = Preprocess(inputs, statistics)
        self.prototypes = nn.Parameter(lvq.scatter * torch.randn(classes, lvq.prototypes, features))
        self.log_sharpness = nn.Parameter(torch.tensor(lvq.sharpness).log())

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`class` (B, classes) logits."""
        x = self.preprocess(batch).event
        w = self.prototypes.flatten(0, 1)
        # |x - w|^2 without |x|^2, which is the same for all.
        squares = (w * w).sum(-1) - 2 * x @ w.T
        nearest = squares.view(-1, *self.prototypes.shape[:2]).amin(-1)
        return {"class": -torch.exp(self.log_sharpness) * nearest}
