"""A scan over hyper-parameters says the same in one process and in two."""

import awkward as ak
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from femtobarn.classification.boosted_trees import BoostedTrees
from femtobarn.data.sample import Sample, from_memory
from femtobarn.errors import InputError
from femtobarn.learn.scan import scan


def rings(seed: int, events: int = 2000) -> Sample:
    """Signal inside a ring."""
    rng = np.random.default_rng(seed)
    x1, x2 = rng.normal(size=(2, events))
    label = (np.hypot(x1, x2) + 0.2 * rng.normal(size=events) > 1).astype(np.int8)
    fields = {"x1": x1, "x2": x2, "label": label, "weight": np.ones(events)}
    return from_memory(ak.zip(fields), {"label": ["signal", "background"]})


def area(said: ak.Array, sample: Sample) -> float:
    return float(roc_auc_score(sample.column("label") == 0, ak.to_numpy(said["boosted_trees_ps"])))


def test_two_processes_say_what_one_says() -> None:
    candidates = [BoostedTrees(trees=trees, leaves=leaves) for trees in (2, 30) for leaves in (2, 8)]
    train, valid = rings(1), rings(2)
    alone = scan(candidates, train, valid, area, workers=1)
    assert scan(candidates, train, valid, area, workers=2) == alone
    assert int(np.argmax(alone)) == 3
    assert all(one.inputs is None for one in candidates)
    with pytest.raises(InputError, match="at least one candidate"):
        scan([], train, valid, area)
