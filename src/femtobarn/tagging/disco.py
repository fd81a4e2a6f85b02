"""DisCo: any jet tagger, trained not to know the mass [2001.05310]."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from femtobarn import registry
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.losses import distance_correlation
from femtobarn.nn.preprocess import Statistics

__all__ = ["DisCo"]


@method
class DisCo(Classifier):
    r"""Another tagger's network and loss, and the distance correlation of its discriminants with a mass.

        L = L_tagger + strength * mean_S dCorr^2(p_S / (p_S + p_B), m)     over jets of the background B

    [2001.05310, eq. 3, of one signal there]: a cut on the discriminant of any signal S leaves the spectrum of
    the mass of B as it is. Distances are taken between all jets of B in a batch, which has to be large enough
    to hold many. The correlation knows no scale, and is steep where all jets are answered alike; so the other
    tagger is trained alone first, and from its weights once more with the correlation.

    Attributes:
        tagger: registered name of the other one.
        options: its hyper-parameters.
        background: the class whose spectrum is to stay.
        mass: field of the jets, to be named among `inputs.observers`.
        strength: of the decorrelation.
    """

    contract_parameters: ClassVar[dict[str, Any]] = {"strength": 0.1}

    tagger: str = Field(default="pfn", pattern=r"^\w+$")
    options: dict[str, Any] = Field(default_factory=dict)
    background: str = Field(default="qcd", pattern=r"^\w+$")
    mass: str = Field(default="mass", pattern=r"^\w+$")
    strength: float = Field(default=10.0, ge=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._alone: dict[str, NDArray[Any]] = {}

    def default_inputs(self) -> Inputs:
        """Those of the other tagger, the mass among the observers."""
        inputs = self._made().default_inputs()
        return inputs.model_copy(update={"observers": [*inputs.observers, self.mass]})

    def default_training(self) -> Training:
        """That of the other tagger in batches of 2000 jets [2001.05310 takes 2048]."""
        return self._made().default_training().with_(batch_size=2000)

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """The other tagger's.

        Raises:
            InputError: when the mass is not among the observers, or the background not among the classes.
        """
        if self.mass not in inputs.observers:
            raise InputError(f"'{self.name}' is to be decorrelated from '{self.mass}': name it among the "
                             "inputs' observers")  # fmt: skip
        classes = list(inputs.labels[self.label].classes)
        if self.background not in classes:
            raise InputError(f"there is no class '{self.background}' for '{self.name}' to keep the spectrum "
                             f"of: there are {', '.join(classes)}")  # fmt: skip
        network = self._made().network(inputs, statistics)
        if statistics is not None and self._alone:
            network.load_state_dict({name: torch.as_tensor(value) for name, value in self._alone.items()})
        return network

    def fit(self, train: Any, valid: Any = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """As of any classifier, twice by the same training; checkpoints of the first go into `alone`."""
        inputs, training = inputs or self.default_inputs(), training or self.default_training()
        first = None if resume is None else Path(resume) / "alone"
        self._alone = self._made().fit(train, valid, inputs, training, first).state()
        return super().fit(train, valid, inputs, training, resume)

    def loss(self, output: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The other tagger's, and `disco`."""
        logits, code = output[self.label].float(), self.classes.index(self.background)
        mass = batch.fields[self.mass].float()
        # Of other jets nothing is asked: without weight they are in no mean.
        weights = batch.weights * (batch.labels[self.label] == code)
        kept = torch.nonzero(weights).squeeze(-1)
        own, weights, mass = logits.index_select(0, kept), weights[kept], mass[kept]
        signals = [k for k in range(logits.shape[1]) if k != code]
        found = [
            distance_correlation(torch.sigmoid(own[:, k] - own[:, code]), mass, weights) for k in signals
        ]
        terms = self._made().loss(output, batch)
        return {**terms, "disco": self.strength * torch.stack(found).mean()}

    def _made(self) -> Classifier:
        kind = registry.find("methods", self.tagger)
        if not issubclass(kind, Classifier) or not kind.trains_network:
            raise InputError(f"'{self.name}' adds to the loss of a network, and '{self.tagger}' trains none")
        made: Classifier = kind(**self.options)
        return made
