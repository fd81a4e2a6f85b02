"""Taggers of boosted trees: what they refuse."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from synthetic import synthetic

from femtobarn.data.sample import from_memory
from femtobarn.errors import InputError
from femtobarn.learn.trees import Trees
from femtobarn.tagging.mv2 import MV2
from femtobarn.tagging.substructure_bdt import SubstructureBDT

TAGGERS = pytest.mark.parametrize("tagger", [MV2(trees=2), SubstructureBDT(trees=2)], ids=lambda t: t.name)


@TAGGERS
def test_trees_of_other_features_are_refused(tagger: Any) -> None:
    rng = np.random.default_rng(1)
    values, labels = rng.normal(size=(300, 4)), np.arange(300) % 3
    others = Trees.fit(values, labels, np.ones(300), 3, max_iter=2)
    tagger.inputs = tagger.default_inputs()
    with pytest.raises(InputError, match=rf"do not fit '{tagger.name}': they read 4 features, not \d\d"):
        tagger.restore({"onnx": np.frombuffer(others.model, dtype=np.uint8)})


@TAGGERS
def test_a_class_without_jets_is_named(tagger: Any) -> None:
    sample = synthetic(tagger.default_inputs(), 300, 1)
    label = tagger.default_inputs().labels["jet"]
    names = [name for some in label.classes.values() for name in some]
    rows = sample.read()
    kept = from_memory(rows[rows[label.field] != len(names) - 1], {label.field: names})
    with pytest.raises(InputError, match=f"no jets of class {list(label.classes)[-1]} to train"):
        tagger.fit(kept)


@TAGGERS
def test_the_trees_are_the_exported_file(tagger: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not fitted"):
        type(tagger)(trees=2).export(tmp_path / "trees.onnx")
    tagger.fit(synthetic(tagger.default_inputs(), 600, 1))
    trees = Trees(tagger.export(tmp_path / "trees.onnx").read_bytes())
    values = np.random.default_rng(1).normal(size=(50, trees.features)).astype(np.float32)
    np.testing.assert_array_equal(trees.predict(values), tagger.ensemble.predict(values))
