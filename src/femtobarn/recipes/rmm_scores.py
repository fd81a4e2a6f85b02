"""Anomaly scores of the search with rapidity-mass matrices: what each reads, its training, its values.

The published one is the loss of an autoencoder of all cells. Ours is the density, by a normalising flow, of
46 sums over the matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.anomaly.flow_density import FlowDensity
from femtobarn.anomaly.rmm_autoencoder import RMMAutoencoder, cell_inputs
from femtobarn.data import Inputs, Sample, from_memory
from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError
from femtobarn.learn.scorer import Scorer
from femtobarn.physics.object_list import padded_objects
from femtobarn.physics.rapidity_mass import (
    ATLAS_PAIRS,
    ATLAS_TYPES,
    LONGITUDINAL,
    aggregates,
    cells,
    rapidity_mass_matrix,
)
from femtobarn.recipes.rmm_samples import SQRT_S, Events
from femtobarn.recipes.run import Run

__all__ = [
    "OURS",
    "PUBLISHED",
    "SCORES",
    "TRAIN",
    "VALID",
    "Score",
    "as_sample",
    "brief",
    "matrix",
    "scored",
    "trained",
]

Array = NDArray[np.float64]
Matrix = NDArray[np.float32]
PUBLISHED, OURS = "rmm_autoencoder", "flow_density"
TRAIN, VALID = (0, 9), (9, 10)
"""Folds of the events simulated to learn from: what is learnt, and what stops the training."""
CHUNK = 5_000
BLUR = 0.1
"""Standard deviations of noise on what the flow learns: sums over nothing are zero, and have no density."""


class Score(NamedTuple):
    """An anomaly score.

    Attributes:
        method: what learns.
        columns: (N, F) what it reads of events.
        inputs: names of these.
        blur: standard deviations of noise on what it learns.
    """

    method: Callable[[], Scorer]
    columns: Callable[[Events], Matrix]
    inputs: Callable[[], Inputs]
    blur: float = 0.0


def matrix(events: Events) -> Matrix:
    """The cells (N, 1287); those of rapidities times `LONGITUDINAL`, else they outweigh masses."""
    row, column = np.nonzero(cells(ATLAS_TYPES, ATLAS_PAIRS))
    factors = np.where(row > column, LONGITUDINAL, 1.0).astype(np.float32)
    return np.asarray(events.inputs() * factors)


def brief(events: Events) -> Matrix:
    """The sums over blocks of the matrix (N, 46), RMM-C46."""
    met, phi = (ak.to_numpy(events.rows[field]).astype(np.float64) for field in ("met", "met_phi"))
    objects = padded_objects(events.rows, ATLAS_TYPES)
    return aggregates(rapidity_mass_matrix(met, phi, objects, ATLAS_TYPES, SQRT_S), ATLAS_TYPES)


SCORES = {
    PUBLISHED: Score(
        RMMAutoencoder, matrix, lambda: cell_inputs(int(cells(ATLAS_TYPES, ATLAS_PAIRS).sum()))
    ),
    OURS: Score(
        FlowDensity, brief,
        lambda: Inputs(event=[f"x{k}" for k in range(1, 47)], weight="weight"), blur=BLUR,
    ),
}  # fmt: skip


def as_sample(columns: Matrix, weight: Array) -> Sample:
    """Columns (N, F) as a sample with the fields x1, x2, ... and `weight`."""
    fields = {f"x{k + 1}": column for k, column in enumerate(np.ascontiguousarray(columns.T))}
    return from_memory(ak.zip(fields | {"weight": weight}, depth_limit=1))


def trained(run: Run, name: str, seed: int, epochs: int, files: Sequence[Path],
            learnt: Mapping[str, Events]) -> Path:  # fmt: skip
    """What a score's method learnt of a cocktail, saved as a folder; `files` say which events these are."""
    score = SCORES[name]
    method = score.method()
    training = method.default_training().with_(seed=seed, epochs=epochs)

    def build(path: Path) -> None:
        train, valid = (lesson(score, learnt, folds, seed) for folds in (TRAIN, VALID))
        method.fit(train, valid, inputs=score.inputs(), training=training).save(path)

    key = {"files": sorted(file.name for file in files), "method": method.parameters,
           "training": training.model_dump(mode="json", exclude={"progress"})}  # fmt: skip
    return run.cached(f"{name} {seed}", key, build, code=["learn", type(method).__module__, __name__])


def scored(run: Run, name: str, seed: int, model: Path, files: Sequence[Path],
           events: Mapping[str, Events]) -> dict[str, Array]:  # fmt: skip
    """Scores (N,) of events by a saved method; `files` say which these are."""
    score = SCORES[name]

    def build(path: Path) -> None:
        method = score.method().load(model)
        with atomic(path) as folder:
            folder.mkdir()
            for sample, some in events.items():
                np.save(folder / f"{sample}.npy", values(score, method, some))

    key = {"model": model.name, "files": sorted(file.name for file in files)}
    folder = run.cached(f"scores {name} {seed}", key, build, code=["learn", __name__])
    return {sample: np.asarray(np.load(folder / f"{sample}.npy"), dtype=np.float64) for sample in events}


def lesson(score: Score, cocktail: Mapping[str, Events], folds: tuple[int, int], seed: int) -> Sample:
    """What a score learns: the events of some folds of all sources, whose mean weight is one.

    Raises:
        InputError: when there are none.
    """
    parts = [events.take((events.fold >= folds[0]) & (events.fold < folds[1]))
             for events in cocktail.values()]  # fmt: skip
    weight = np.concatenate([part.weight for part in parts])
    if not weight.sum() > 0:
        raise InputError("the cocktail has no events of positive weight to learn from: simulate more")
    columns = np.concatenate([read(score, part) for part in parts])
    if score.blur:
        width = np.sqrt(np.average((columns - np.average(columns, 0, weight)) ** 2, 0, weight))
        noise = np.random.default_rng([seed, *folds]).normal(0, score.blur, columns.shape)
        columns = (columns + noise * width).astype(np.float32)
    return as_sample(columns, weight / weight.mean())


def read(score: Score, events: Events) -> Matrix:
    """What a score reads (N, F)."""
    return np.concatenate([score.columns(some) for some in chunks(events)])


def values(score: Score, method: Scorer, events: Events) -> Array:
    """Scores (N,) of events."""
    parts = [method.score(as_sample(score.columns(some), some.weight)) for some in chunks(events)]
    return np.asarray(ak.to_numpy(ak.concatenate(parts)[f"{method.name}_score"]), dtype=np.float64)


def chunks(events: Events) -> list[Events]:
    """Some thousands of events each, one chunk at least: all matrices together are large."""
    parts = [slice(first, first + CHUNK) for first in range(0, max(len(events.weight), 1), CHUNK)]
    return [Events(events.rows[part], events.weight[part], events.fold[part], events.masses[part])
            for part in parts]  # fmt: skip
