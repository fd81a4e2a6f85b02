"""What the taggers of `jet-history` say of jets that are simulated for judging alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.data import Sample, open_sample, reweight
from femtobarn.data.atomic import atomic
from femtobarn.learn.model_files import load
from femtobarn.progress import progress_bar
from femtobarn.recipes.jet_history_training import PREDICTED, SPECTRUM
from femtobarn.recipes.run import Run
from femtobarn.simulation import JetSettings, simulate
from femtobarn.simulation.jet_classes import JET_CLASSES

__all__ = ["answer", "joined", "more_jets", "truth"]

Floats = NDArray[np.float64]


def more_jets(run: Run, name: str, collisions: int, settings: JetSettings,
              spectrum: Mapping[str, Sequence[float]] = SPECTRUM) -> Sample:  # fmt: skip
    """Jets of another seed than those of the trainings, weighted so that all classes have one spectrum."""

    def build(path: Path) -> None:
        with progress_bar(f"simulate {name}", "collisions") as progress:
            simulate("jets", collisions, path, seed=run.seed + 1, workers=run.workers, settings=settings,
                     progress=progress)  # fmt: skip

    key = {"events": collisions, "seed": run.seed + 1, "settings": settings.model_dump(mode="json")}
    stage = f"simulate jets {name}"
    path = run.cached(stage, key, build, code=["simulation.simulate"], suffix=".parquet")
    return reweight(open_sample(path, name=name), "jet_label", spectrum, weight="mcEventWeight")


def answer(run: Run, folder: Path, sample: Sample) -> Floats:
    """Probabilities (N, 10) of a trained tagger on other jets."""

    def build(path: Path) -> None:
        tagger = load(folder / "model")
        found = ak.to_packed(tagger.predict(sample, PREDICTED))
        columns = [ak.to_numpy(found[f"{tagger.name}_p{one.lower()}"]) for one in JET_CLASSES]
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.save(file, np.stack(columns, 1).astype(np.float32))

    key = {"model": folder.name, "sample": sample.files[0].name}
    stage = f"{folder.name} {sample.name}"
    path = run.cached(stage, key, build, code=["recipes.jet_history_training"], suffix=".npy")
    return np.asarray(np.load(path), dtype=np.float64)


def joined(first: Sample, second: Sample) -> Sample:
    """The rows of both, weighted anew."""
    start = sum(len(reader) for reader in first.readers)
    rows = [one.rows if one.rows is not None else np.arange(len(one)) for one in (first, second)]
    both = replace(first, readers=(*first.readers, *second.readers),
                   rows=np.concatenate([rows[0], start + rows[1]]), weights=None)  # fmt: skip
    return reweight(both, "jet_label", SPECTRUM, weight="mcEventWeight")


def truth(sample: Sample) -> tuple[NDArray[Any], Floats]:
    """Class and weight of the jets."""
    assert sample.weights is not None
    return sample.column("jet_label").astype(np.int64), sample.weights * sample.column("mcEventWeight")
