"""Any scorer, blind to a mass: its score's rank among events of the same mass."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from femtobarn import registry
from femtobarn.data.inputs import Inputs
from femtobarn.data.packing import labelled_batches
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.errors import InputError
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.statistics.conditional import ConditionalRank

__all__ = ["Decorrelated"]

INNER = "scorer."


@method
class Decorrelated(Scorer):
    """The rank of another scorer's score at fixed mass, -ln(1 - F(s | m)); see `statistics.conditional`.

    A cut on it keeps the same share of the background at every mass [fixed efficiencies as in DDT,
    1603.00027]. `score` is the rank and `plain` what the other scorer says. The ranks are those of the events
    of `valid`, which are to be background that the scorer did not learn from; without, those of `train`.

    Attributes:
        scorer: registered name of the other one.
        options: its hyper-parameters.
        of: which of its scores.
        mass: field of the events, to be named among `inputs.observers`.
        span: share of the events that the rank at a mass rests on.
    """

    trains_network: ClassVar[bool] = False
    scores: ClassVar[tuple[str, ...]] = ("score", "plain")

    scorer: str = Field(default="isolation_forest", pattern=r"^\w+$")
    options: dict[str, Any] = Field(default_factory=dict)
    of: str = Field(default="score", pattern=r"^\w+$")
    mass: str = Field(default="mass", pattern=r"^\w+$")
    span: float = Field(default=0.5, gt=0, le=1)

    def default_inputs(self) -> Inputs:
        """Those of the other scorer, the mass among the observers."""
        inputs = self._made().default_inputs()
        return inputs.model_copy(update={"observers": [*inputs.observers, self.mass]})

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Fit the other scorer, and take the quantiles of its score.

        Raises:
            InputError: when it refuses, when the mass is not among the observers, or not finite.
        """
        self.inputs = inputs or self.default_inputs()
        if self.mass not in self.inputs.observers:
            raise InputError(f"'{self.name}' is to be decorrelated from '{self.mass}': name it among the "
                             "inputs' observers")  # fmt: skip
        self._inner = self._made().fit(train, valid, self.inputs, training, resume)
        batches = list(labelled_batches(valid or train, self.inputs))
        score, mass = (np.concatenate(part) for part in zip(*map(self._plain, batches), strict=True))
        weights = np.concatenate([batch.weights.numpy() for batch in batches])
        self._rank = ConditionalRank.fit(score, mass, weights, span=self.span)
        return self

    def score_batch(self, batch: Batch) -> ak.Array:
        """`decorrelated_score` and `decorrelated_plain` per event."""
        score, mass = self._plain(batch)
        return self.records({"score": self._rank(score, mass), "plain": score})

    def state(self) -> dict[str, NDArray[Any]]:
        """The other scorer's state, and the table of quantiles."""
        inner = {f"{INNER}{name}": value for name, value in self._inner.state().items()}
        return inner | self._rank._asdict()

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when it is that of another scorer or of other inputs.
        """
        missing = [name for name in ConditionalRank._fields if name not in state]
        if missing:
            raise InputError(f"these are no ranks of '{self.name}': {missing[0]} is missing")
        self._inner = self._made()
        self._inner.inputs = self.fitted_inputs
        self._inner.restore({k.removeprefix(INNER): v for k, v in state.items() if k.startswith(INNER)})
        self._rank = ConditionalRank(*(state[name] for name in ConditionalRank._fields))

    def _made(self) -> Scorer:
        kind = registry.find("methods", self.scorer)
        if not issubclass(kind, Scorer):
            raise InputError(f"'{self.name}' ranks the scores of a scorer, and '{self.scorer}' is none")
        made: Scorer = kind(**self.options)
        if self.of not in made.scores:
            raise InputError(f"'{self.scorer}' has no score '{self.of}': it has {', '.join(made.scores)}")
        return made

    def _plain(self, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        score = ak.to_numpy(self._inner.score_batch(batch)[f"{self._inner.name}_{self.of}"])
        mass = batch.fields[self.mass].numpy().astype(np.float64)
        if not np.isfinite(mass).all():
            raise InputError(f"'{self.mass}' is not finite in {(~np.isfinite(mass)).sum()} events: "
                             f"'{self.name}' cannot rank at fixed mass")  # fmt: skip
        return score.astype(np.float64), mass
