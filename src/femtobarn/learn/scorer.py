"""The verb `Scorer`: how unusual an event is among those it learnt from, whatever else there may be.

    scorer = Autoencoder().fit(background, valid)
    scores = scorer.score(data)["autoencoder_score"]     # the higher, the more unusual

A scorer with a network writes `default_inputs`, `default_training` and `network`, whose output `score` (B,)
is what training lowers; or a `loss` of its own. A classical one sets `trains_network = False` and writes
`default_inputs`, `fit`, `score_batch`, `state` and `restore`, as a classical `Classifier` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn import common
from femtobarn.learn.method import method
from femtobarn.learn.training import Training
from femtobarn.nn.losses import weighted_mean

__all__ = ["Scorer"]


@method
class Scorer(ABC):
    """The verb *score*: one number per event, or several, that rise with how unusual it is.

    Attributes:
        name: prefix of the scores' fields; by default the name under which the method is registered.
        inputs: what the fitted method reads, None before `fit`.
        module: the trained network, None before `fit` and for classical methods.
        history: one dictionary per epoch, as of a `Classifier`.
        verb, trains_network, contract_exempt, contract_parameters: as of a `Classifier`.
        scores: the scores given, `score` first: the one to use if one is wanted.
    """

    verb: ClassVar[str] = "score"
    trains_network: ClassVar[bool] = True
    contract_exempt: ClassVar[dict[str, str]] = {}
    contract_parameters: ClassVar[dict[str, Any]] = {}
    scores: ClassVar[tuple[str, ...]] = ("score",)

    name: str = ""

    def __post_init__(self) -> None:
        self.inputs: Inputs | None
        self.module: nn.Module | None
        self.history: list[dict[str, float]]
        common.begin(self)

    # ------------------------------------------------------------------ what a method writes

    @abstractmethod
    def default_inputs(self) -> Inputs:
        """The paper's inputs; no labels."""

    def default_training(self) -> Training:
        """The paper's optimiser, schedule, batch and epochs."""
        return Training()

    def network(self, inputs: Inputs, statistics: Any = None) -> nn.Module:
        """The network, a module from `Batch` to a dictionary of tensors, as of a `Classifier`."""
        raise NotImplementedError(f"{type(self).__name__} has no network")

    def loss(self, output: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Terms of the loss by task, each `sum(w l) / sum(|w|)`. By default the mean score."""
        return {"score": weighted_mean(output["score"], batch.weights)}

    def answer(self, output: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is made of the network's output, and exported: (B,) by score."""
        return {name: output[name].float() for name in self.scores}

    def score_batch(self, batch: Batch) -> ak.Array:
        """Scores of one batch."""
        return self.records({name: value.cpu().numpy() for name, value in self.run(batch).items()})

    def state(self) -> dict[str, NDArray[Any]]:
        """All that was fitted, as arrays."""
        return common.network_state(self)

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave; `self.inputs` is set already.

        Raises:
            InputError: when the state is that of another architecture or of other inputs.
        """
        common.restore_network(self, state)

    # ------------------------------------------------------------------ what it gets for that

    def fit(
        self,
        train: Any,
        valid: Any = None,
        inputs: Inputs | None = None,
        training: Training | None = None,
        resume: str | Path | None = None,
    ) -> Self:
        """Learn what is usual in the `Sample` train; the arguments are those of `Classifier.fit`."""
        common.fit_network(self, train, valid, inputs, training, resume)
        return self

    def score(self, source: Any, batch_size: int = 5000) -> ak.Array:
        """Records with `<name>_<score>` per event of a `Sample` or of an awkward array of events."""
        return ak.concatenate(list(self.score_stream(source, batch_size)))

    def score_stream(self, source: Any, batch_size: int = 5000) -> Iterator[ak.Array]:
        """As `score`, batch after batch in the order of the source, in bounded memory."""
        from femtobarn.learn.model_files import unlabelled_batches

        for batch in unlabelled_batches(source, self.fitted_inputs, batch_size):
            yield self.score_batch(batch)

    def save(self, folder: str | Path) -> Path:
        """Write the fitted method as a folder: `method.yaml` and `weights.safetensors`."""
        from femtobarn.learn.model_files import save

        return save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote; `femtobarn.load` does so for any registered method."""
        return common.load_as(cls, folder)

    def export(self, path: str | Path) -> Path:
        """Write the trained network as ONNX, checked against torch."""
        from femtobarn.learn.export import export

        return export(self, Path(path))

    # ------------------------------------------------------------------ small helpers

    @property
    def fitted_inputs(self) -> Inputs:
        """The inputs of the fitted method. Raises InputError before `fit`."""
        return common.fitted_inputs(self)

    @property
    def fitted_module(self) -> nn.Module:
        """The trained network. Raises InputError before `fit` and for classical methods."""
        return common.fitted_module(self)

    @property
    def parameters(self) -> dict[str, Any]:
        """Hyper-parameters by name, `name` included."""
        return common.hyperparameters(self)

    def run(self, batch: Batch) -> dict[str, Tensor]:
        """The network's answer for a batch, in evaluation mode, without gradients."""
        return common.run_network(self, batch)

    def records(self, values: dict[str, NDArray[np.floating[Any]]]) -> ak.Array:
        """(B,) by score, as records with fields `<name>_<score>`."""
        return ak.zip({f"{self.name}_{score}": values[score] for score in self.scores}, depth_limit=1)
