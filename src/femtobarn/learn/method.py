"""What a method is: the decorator `@method` and the verb `Classifier`. `learn.scorer` has the verb `Scorer`.

A method is one class: a pydantic dataclass whose fields are its hyper-parameters, derived from a verb that
says what it does. The same object is configuration, estimator and documentation:

    tagger = GN1(width=64).fit(train, valid)
    scores = tagger.predict(test)                  # awkward array: gn1_pb, gn1_pc, gn1_pu
    tagger.save("gn1"); femtobarn.load("gn1")      # safetensors + YAML; loading executes nothing
    tagger.export("gn1.onnx")

A method with a network writes `default_inputs`, `default_training`, `network` and, unless the cross-entropy
of its classes will do, `loss`.

A classical method (templates, trees, cuts) sets `trains_network = False` and writes `default_inputs`, `fit`,
`predict_batch`, `state` and `restore` instead: its fitted state is a dictionary of arrays, saved and loaded
as weights are. `fit` must set `self.inputs` and return self:

    @method
    class Counting(Classifier):
        trains_network: ClassVar[bool] = False
        bins: int = 10

        def default_inputs(self) -> Inputs: ...
        def fit(self, train, valid=None, inputs=None, training=None, resume=None) -> Self:
            self.inputs = inputs or self.default_inputs()
            for array in train.batches(100_000): ...   # or to_batch(array, self.inputs, ...) of data.packing
            return self
        def predict_batch(self, batch: Batch) -> ak.Array:
            return self.probabilities(p)               # p: (B, classes) -> record array counting_pb, ...
        def state(self) -> dict[str, np.ndarray]: ...
        def restore(self, state: dict[str, np.ndarray]) -> None: ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast, dataclass_transform

import awkward as ak
import numpy as np
import pydantic
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn import common
from femtobarn.learn.training import Training
from femtobarn.nn.losses import cross_entropy

__all__ = ["Classifier", "method"]

T = TypeVar("T")
SMALLEST = np.float32(1e-30)
"""Below it probabilities are not told apart."""


@dataclass_transform(kw_only_default=True)
def method(cls: type[T]) -> type[T]:
    """Make a class into a method: a pydantic dataclass, keywords only, nothing misspelt or mistyped."""
    made: Any = pydantic.dataclasses.dataclass(kw_only=True, config=pydantic.ConfigDict(extra="forbid"))(cls)
    return cast(type[T], made)


@method
class Classifier(ABC):
    """The verb *predict*: a probability per class and event.

    Attributes:
        name: prefix of the predicted fields; by default the name under which the method is registered.
        inputs: what the fitted method reads, None before `fit`.
        module: the trained network, None before `fit` and for classical methods.
        history: one dictionary per epoch: `epoch`, `seconds`, `learning_rate`, `train_<task>`, `train_total`,
            `valid_<task>`, `valid_total`.
        verb: the method's name for what it does; `<verb>_batch` does it to a batch.
        trains_network: False for classical methods.
        contract_exempt: items of the contract suite (tests/contract) the method does not satisfy, with
            reason.
        contract_parameters: smaller sizes with which the contract suite tries a method whose published ones
            would make it slow.
        label: the classification task in `inputs.labels` that `predict` answers.
    """

    verb: ClassVar[str] = "predict"
    trains_network: ClassVar[bool] = True
    contract_exempt: ClassVar[dict[str, str]] = {}
    contract_parameters: ClassVar[dict[str, Any]] = {}
    label: ClassVar[str] = "jet"

    name: str = ""

    def __post_init__(self) -> None:
        self.inputs: Inputs | None
        self.module: nn.Module | None
        self.history: list[dict[str, float]]
        common.begin(self)

    # ------------------------------------------------------------------ what a method writes

    @abstractmethod
    def default_inputs(self) -> Inputs:
        """The paper's inputs and labels."""

    def default_training(self) -> Training:
        """The paper's optimiser, schedule, batch and epochs."""
        return Training()

    def network(self, inputs: Inputs, statistics: Any = None) -> nn.Module:
        """The network, a module from `Batch` to a dictionary of tensors.

        `inputs` says its sizes. `statistics` (`data.cache.Scaling`) are means, deviations and class counts of
        the training sample for its buffers, None when these come from a saved model.
        """
        raise NotImplementedError(f"{type(self).__name__} has no network")

    def loss(self, output: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Terms of the loss by task, each `sum(w l) / sum(|w|)` times its factor; their sum is minimised.

        By default the cross-entropy of the task `label`.
        """
        return {self.label: cross_entropy(output[self.label], batch.labels[self.label], batch.weights)}

    def answer(self, output: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is made of the network's output, and exported: by default the softmax of its `label`."""
        return {self.label: torch.softmax(output[self.label].float(), dim=-1)}

    def predict_batch(self, batch: Batch) -> ak.Array:
        """Predicted records of one batch. By default the probabilities in the answer's `label`."""
        return self.probabilities(self.run(batch)[self.label].cpu().numpy())

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
        """Train on the `Sample` train, validate on valid each epoch.

        Args:
            train: the `Sample` trained on.
            valid: the `Sample` whose loss chooses the weights that are kept; None: the last are kept.
            inputs: None for `default_inputs()`.
            training: None for `default_training()`.
            resume: folder for checkpoints; if it holds one, training goes on from it exactly.
        """
        common.fit_network(self, train, valid, inputs, training, resume)
        return self

    def predict(self, source: Any, batch_size: int = 5000) -> ak.Array:
        """Records with `<name>_p<class>` per event of a `Sample` or of an awkward array of events."""
        return ak.concatenate(list(self.predict_stream(source, batch_size)))

    def predict_stream(self, source: Any, batch_size: int = 5000) -> Iterator[ak.Array]:
        """As `predict`, batch after batch in the order of the source, in bounded memory."""
        from femtobarn.learn.model_files import unlabelled_batches

        for batch in unlabelled_batches(source, self.fitted_inputs, batch_size):
            yield self.predict_batch(batch)

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
    def classes(self) -> list[str]:
        """Names of the classes predicted, in order."""
        return list((self.inputs or self.default_inputs()).labels[self.label].classes)

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

    def probabilities(self, values: NDArray[np.floating[Any]], **collections: ak.Array) -> ak.Array:
        """(B, classes) as records with fields `<name>_p<class>`, further collections beside them.

        None is exactly zero, so that others can take logarithms.
        """
        values = np.maximum(values, SMALLEST)
        fields = {f"{self.name}_p{c}": values[:, k] for k, c in enumerate(self.classes)}
        return ak.zip({**fields, **collections}, depth_limit=1)
