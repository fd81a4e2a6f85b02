"""The classifiers of the `classical` page, fitted on toys of known densities."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.classification.boosted_trees import BoostedTrees
from femtobarn.classification.cuts import Cuts
from femtobarn.classification.fisher import Fisher
from femtobarn.classification.knn import KNN, Neighbours
from femtobarn.classification.likelihood import Likelihood
from femtobarn.classification.mlp import MLP
from femtobarn.classification.textbook import textbook_inputs
from femtobarn.classification.tree import Tree
from femtobarn.data import Inputs
from femtobarn.data.atomic import atomic
from femtobarn.learn.method import Classifier
from femtobarn.learn.training import Training
from femtobarn.recipes.run import Settings
from femtobarn.simulation.toys import Crescent, Drawn, Gaussians, Problem, Rotated

Floats = NDArray[np.float64]

PROBLEMS: dict[str, Callable[[], Problem]] = {"gaussians": Gaussians, "crescent": Crescent}
METHODS: dict[str, Callable[[], Classifier]] = {
    "cuts": partial(Cuts, signal=100, background=1000),
    "fisher": Fisher,
    "likelihood": Likelihood,
    "likelihood_decorrelated": partial(Likelihood, decorrelate=True, name="likelihood_decorrelated"),
    "knn1": partial(KNN, k=1, name="knn1"),
    "knn3": partial(KNN, k=3, name="knn3"),
    "knn5": partial(KNN, k=5, name="knn5"),
    "tree": Tree,
    "boosted_trees": partial(BoostedTrees, trees=1500, learning_rate=0.05, leaves=63, fewest=50, patience=30),
    "mlp": MLP,
}
NEIGHBOURS = (1, 3, 5)
SMEARING = 0.3
"""Standard deviation of the noise on the target that is regressed."""


class ClassicalSettings(Settings):
    """What differs between the scales.

    Attributes:
        train: events of both classes together that are trained on; a quarter as many validate.
        test: events that judge in two dimensions.
        scan_test: events that judge in each of `dimensions`.
        dimensions: of the scan.
        seeds: of the training samples and the trainings.
        scan_seeds: likewise, in more than two dimensions.
        signal, background: events expected, for the significance.
        training: of the network.
    """

    train: int
    test: int
    scan_test: int
    dimensions: tuple[int, ...]
    seeds: tuple[int, ...]
    scan_seeds: tuple[int, ...]
    signal: float = 100.0
    background: float = 1000.0
    training: Training = MLP().default_training().with_(progress="none")


def problem_of(name: str, dimensions: int) -> Rotated:
    """One of `PROBLEMS` in so many dimensions."""
    return Rotated(PROBLEMS[name](), dimensions)


def test_events(settings: ClassicalSettings, name: str, dimensions: int, seed: int) -> Drawn:
    """The events that judge: the same for all methods and trainings."""
    events = settings.test if dimensions == 2 else settings.scan_test
    return problem_of(name, dimensions).draw(events, np.random.default_rng([seed, 0, dimensions]))


def inputs_of(dimensions: int) -> Inputs:
    """The features x1, x2, ..."""
    return textbook_inputs().model_copy(update={"event": [f"x{i + 1}" for i in range(dimensions)]})


def fit_and_score(
    path: Path,
    settings: ClassicalSettings,
    name: str,
    dimensions: int,
    seed: int,
    run_seed: int,
    points: Floats,
) -> None:
    """Fit every method on a sample of its own and write what each says of the test events as `.npz`.

    Arrays `score_<method>` (test,), `map_<method>` (points,) in two dimensions, and for the regression by
    neighbours the errors `regression_<k>` (test,).
    """
    problem = problem_of(name, dimensions)
    rng = np.random.default_rng([run_seed, 1, dimensions, seed])
    drawn = problem.draw(settings.train, rng)
    train, valid = drawn.sample("train"), problem.draw(settings.train // 4, rng).sample("valid")
    test = test_events(settings, name, dimensions, run_seed)
    training = settings.training.with_(seed=seed)
    arrays: dict[str, Floats] = {}
    for label, make in METHODS.items():
        method = make().fit(train, valid, inputs=inputs_of(dimensions), training=training)
        arrays[f"score_{label}"] = signal_share(method, test)
        if dimensions == 2:
            arrays[f"map_{label}"] = signal_share(method, Drawn(points, np.ones(len(points), bool)))
    target = distance(problem, drawn.x) + rng.normal(0, SMEARING, len(drawn.x))
    neighbours = Neighbours(drawn.x)
    some = test.x[:20_000]
    for k in NEIGHBOURS:
        arrays[f"regression_{k}"] = neighbours.mean(target, some, k) - distance(problem, some)
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def signal_share(method: Classifier, events: Drawn) -> Floats:
    """The probability of signal that a method gives events."""
    said = method.predict(events.sample())
    return np.asarray(ak.to_numpy(said[f"{method.name}_ps"]), dtype=np.float32)


def distance(problem: Rotated, x: Floats) -> Floats:
    """What the regression is to find: the distance from the origin in the plane of the two classes."""
    return np.asarray(np.hypot(*problem.plane(x).T))
