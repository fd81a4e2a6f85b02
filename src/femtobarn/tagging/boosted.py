"""What taggers of boosted trees have in common: grown on numbers per jet, kept as ONNX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from femtobarn.data.atomic import atomic
from femtobarn.data.inputs import Inputs
from femtobarn.data.packing import labelled_batches
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.errors import InputError
from femtobarn.learn.training import Training
from femtobarn.learn.trees import Trees

__all__ = ["Boosted", "exported", "grown", "restored"]


class Boosted(Protocol):
    """What of a tagger is read here; each says what its hyper-parameters mean."""

    name: str
    label: ClassVar[str]
    trees: int
    learning_rate: float
    leaves: int
    fewest: int
    seed: int

    @property
    def fitted_inputs(self) -> Inputs:
        """What was, or is about to be, fitted on."""

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""


def grown(
    tagger: Boosted,
    train: Sample,
    values: Callable[[Batch], NDArray[np.floating]],
    training: Training | None,
) -> Trees:
    """Trees on the `values` (B, F) of batches of `train`; a seed in `training` goes before the tagger's own.

    Raises:
        InputError: when a class has no jets, or an input is missing or not finite.
    """
    batches = list(labelled_batches(train, tagger.fitted_inputs))
    columns = [
        (values(batch), batch.labels[tagger.label].numpy(), batch.weights.numpy()) for batch in batches
    ]
    features, labels, weights = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    absent = [name for k, name in enumerate(tagger.classes) if not (weights[labels == k] > 0).any()]
    if absent:
        raise InputError(f"{train.name}: no jets of class {', '.join(absent)} to train '{tagger.name}' on")
    return Trees.fit(
        features,
        labels,
        weights,
        len(tagger.classes),
        max_iter=tagger.trees,
        learning_rate=tagger.learning_rate,
        max_leaf_nodes=tagger.leaves,
        min_samples_leaf=tagger.fewest,
        early_stopping=False,
        random_state=training.seed if training else tagger.seed,
    )


def exported(tagger: Any, path: Path) -> Path:
    """Write the trees as the ONNX file they are kept as: features (B, F) to probabilities (B, classes).

    Raises:
        InputError: before `fit`.
    """
    _ = tagger.fitted_inputs  # raises
    with atomic(path) as temporary:
        temporary.write_bytes(tagger.ensemble.model)
    return path


def restored(tagger: Boosted, state: dict[str, NDArray[Any]], features: int) -> Trees:
    """The trees that a saved state holds.

    Raises:
        InputError: when they read another number of features.
    """
    trees = Trees(state["onnx"].tobytes())
    if trees.features != features:
        raise InputError(
            f"these trees do not fit '{tagger.name}': they read {trees.features} features, not {features}"
        )
    return trees
