"""Pools for pseudo-experiments that have no fluctuations of their own: tags by chance [truth tagging].

Pseudo-experiments that draw data from one sample and know one other share what sets these two apart by
chance: which of the jets happened to be tagged, how many of them are b-jets. To see a bias of a tenth of the
error of a measurement takes a hundred times the measurement's events in each. Here both pools hold the same
events; a jet is tagged with the probability that jets like it have in data in the one, and in the simulation
in the other, so that what differs is how the tagger works. Both are then drawn from independently. These
probabilities are best learnt from all jets of data, and of the simulation, that there are.

In such pools the tags of two jets in an event are independent but for what the probability depends on, and
the mixture of events is the same in data and simulation but for the nuisances. Whether that is true is for
the samples themselves to say, with tags and events as they were: `closure.offset`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

__all__ = ["tag_probability", "tags_by_chance"]

Array = NDArray[np.float64]


def tag_probability(features: Array, tagged: NDArray[np.bool_], seed: int = 0) -> Callable[[Array], Array]:
    """The probability (M,) of jets with features (M, F) to be tagged, learnt from others by boosted trees.

    Leaves hold 200 jets or more, so that no jet's own tag counts much.

    Args:
        features: (N, F); the first is the jet's flavour, a small whole number, the others are numbers, NaN
            where there are none.
        tagged: (N,).
        seed: of the trees.
    """
    trees = HistGradientBoostingClassifier(
        min_samples_leaf=200, max_iter=100, max_leaf_nodes=8, categorical_features=[0],
        early_stopping=False, random_state=seed,
    ).fit(features, tagged)  # fmt: skip
    return lambda of: np.asarray(trees.predict_proba(of)[:, 1], dtype=np.float64)


def tags_by_chance(probability: Array) -> tuple[NDArray[np.bool_], Array]:
    """All outcomes of the tags of events with k jets, and how probable each is.

    Args:
        probability: (N, k) that each jet is tagged.

    Returns:
        tags (2^k N, k) and probabilities (2^k N,), which add up to 1 for each event; event n is in the rows
        n, N + n, 2 N + n ...
    """
    outcomes = np.array(list(product((False, True), repeat=probability.shape[1])))
    tagged = np.repeat(outcomes, len(probability), axis=0)
    every = np.tile(probability, (len(outcomes), 1))
    return tagged, np.where(tagged, every, 1 - every).prod(axis=1)
