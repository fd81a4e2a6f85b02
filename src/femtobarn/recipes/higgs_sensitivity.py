"""What machine learning buys in sigma: three Higgs analyses from cuts to networks on sets of objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from femtobarn.classification.boosted_trees import BoostedTrees
from femtobarn.classification.cuts import Cuts
from femtobarn.classification.event_graph import EventGraph
from femtobarn.classification.event_transformer import EventTransformer
from femtobarn.classification.fisher import Fisher
from femtobarn.classification.likelihood import Likelihood
from femtobarn.classification.mlp import MLP
from femtobarn.classification.objects import object_inputs
from femtobarn.data import Feature, Inputs, Label, Sample, from_memory
from femtobarn.data.atomic import atomic
from femtobarn.evaluate.metrics import auc
from femtobarn.evaluate.result import Metric, Result, combine, read_references, with_references
from femtobarn.learn.method import Classifier
from femtobarn.recipes.higgs_channels import CHANNELS
from femtobarn.recipes.higgs_page import page
from femtobarn.recipes.higgs_samples import FOLDS, SOURCES, selected, simulated
from femtobarn.recipes.higgs_templates import ANALYSES, Scored, significances
from femtobarn.recipes.run import Run, Settings, Unit, recipe

Floats = NDArray[np.float64]
NOT_READ = ("label", "source", "split", "expected", "objects")
GEV = ("m_", "pt_", "met", "mt_", "sum_pt")
"""How features begin that are energies, read as asinh."""
CLASSES = Label(field="label", classes={"s": ["signal"], "b": ["background"]})
LABELS = {
    "cuts": "Cuts, mass",
    "fisher": "Fisher",
    "likelihood": "Likelihood",
    "boosted_trees": "Boosted trees",
    "mlp": "MLP",
    "event_graph": "Graph network",
    "event_transformer": "Transformer",
}
TRAINED = ("boosted_trees", "mlp", "event_graph", "event_transformer")
"""Those whose result depends on a seed."""


UNCERTAINTIES = {
    "w_jets": 0.2, "z_jets": 0.2, "ttbar": 0.1, "single_top": 0.15, "wz_bb": 0.2, "zz_bb": 0.2,
    "ttbar_1l": 0.1, "ttbar_2l": 0.1, "diphoton": 0.1, "z_tautau": 0.05, "w_fakes": 0.2, "z_fakes": 0.2,
}  # fmt: skip
"""Ours, of the size that such analyses quote before the fit."""


class HiggsSettings(Settings):
    """What differs between the scales.

    Attributes:
        events: collisions simulated of each source.
        channels: analysed.
        luminosity: per fb.
        uncertainties: of the normalisation of each source, relative; of what is not named, 5 %.
        seeds: of the trainings.
        epochs: of the networks.
        trees: of the boosted trees, at most.
        bins: of each template, about.
        least: effective simulated background events in a bin.
        replicas: bootstrap samples of the test events.
    """

    events: dict[str, int]
    channels: tuple[str, ...] = tuple(CHANNELS)
    luminosity: float = 36.1
    uncertainties: dict[str, float] = Field(default_factory=lambda: dict(UNCERTAINTIES))
    seeds: tuple[int, ...] = (1,)
    epochs: int = 20
    trees: int = 300
    bins: int = 12
    least: float = 6.0
    replicas: int = 40


SCALES = {
    "smoke": HiggsSettings(
        events={"higgs_gamgam": 400, "diphoton": 4000}, channels=("gamgam",), epochs=2, trees=20, bins=4,
        least=1.0, replicas=3,
    ),
    "quick": HiggsSettings(
        events={"higgs_gamgam": 5_000, "diphoton": 25_000}, channels=("gamgam",), least=3.0, replicas=20,
    ),
    "standard": HiggsSettings(
        events={"higgs_gamgam": 40_000, "diphoton": 1_200_000, "wh_bb": 60_000, "ttbar_1l": 240_000,
                "ttbar_2l": 160_000, "w_jets": 1_000_000, "single_top": 240_000, "wz_bb": 30_000,
                "higgs_tautau": 60_000, "z_tautau": 400_000, "w_fakes": 300_000, "z_fakes": 150_000,
                "ttbar": 150_000},
        channels=("gamgam", "vh_1lepton", "tautau"), seeds=(1, 2, 3),
    ),
    "full": HiggsSettings(
        events={name: 3_000_000 for name in SOURCES}, seeds=(1, 2, 3), bins=15, least=20.0,
    ),
}  # fmt: skip


@recipe(scales=SCALES)
def higgs_sensitivity(settings: HiggsSettings, run: Run) -> Result:
    """Expected significance of three Higgs analyses with and without machine learning [Nature 560, 41]."""
    rows = {channel: open_rows(settings, run, channel) for channel in settings.channels}
    units = [Unit(name, seed) for name in LABELS for seed in settings.seeds[: None if name in TRAINED else 1]]
    scored = {
        unit: {channel: scores(settings, run, channel, unit, variants) for channel, variants in rows.items()}
        for unit in units
    }
    nominal = {channel: variants["nominal"] for channel, variants in rows.items()}
    analyses = {name: own for name, own in ANALYSES.items() if set(own) <= set(settings.channels)}
    analyses |= {channel: (channel,) for channel in settings.channels if (channel,) not in analyses.values()}
    with run.stage("fits"):
        found = {unit: significances(settings, rows, own, analyses) for unit, own in scored.items()}
    cuts = found[units[0]]
    parts = []
    for unit in units:
        part = Result.start(run.recipe, run.scale, run.seed, run.command)
        part.sizes = sizes(nominal)
        part.metrics = [*measured(unit, found[unit], cuts), *areas(unit, scored[unit], nominal)]
        parts.append(part)
    result = combine(parts)
    result.metrics = with_references(result.metrics, read_references(Path(__file__).with_suffix(".csv")))
    return page(
        settings, run, result, rows, {unit.method: own for unit, own in reversed(scored.items())}, LABELS
    )


def open_rows(settings: HiggsSettings, run: Run, channel: str) -> dict[str, ak.Array]:
    """Selected rows of a channel, by variation."""
    sources = (*CHANNELS[channel].signal, *CHANNELS[channel].backgrounds)
    files = {name: simulated(run, name, settings.events[name]) for name in sources}
    folder = selected(run, channel, files, settings.luminosity)
    return {path.stem: ak.from_parquet(path) for path in sorted(folder.glob("*.parquet"))}


def method_for(
    settings: HiggsSettings, unit: Unit, channel: str, rows: ak.Array
) -> tuple[Classifier, Inputs]:
    """A classifier and what it reads in a channel: features that a physicist computed, or the objects."""
    features = [name for name in rows.fields if name not in NOT_READ]
    here = CHANNELS[channel]
    if unit.method == "cuts":
        cuts = Cuts(sides=dict(here.cuts), uncertainty=0.1, combinations=2000, least=0.05)
        return cuts, Inputs(event=list(here.cuts), labels={"class": CLASSES}, weight="weight")
    makers: dict[str, Callable[[], Classifier]] = {
        "fisher": Fisher,
        "likelihood": partial(Likelihood, decorrelate=True),
        "boosted_trees": partial(BoostedTrees, trees=settings.trees, learning_rate=0.05, leaves=12,
                                 fewest=30, patience=30, members=5, share=0.8, seed=unit.seed),
        "mlp": partial(MLP, dropout=0.1),
        "event_graph": partial(EventGraph, dropout=0.1),
        "event_transformer": partial(EventTransformer, dropout=0.1),
    }  # fmt: skip
    made = makers[unit.method]()
    read = [Feature(name=name, transform="asinh", scale=30.0) if name.startswith(GEV) else Feature(name=name)
            for name in features]  # fmt: skip
    inputs = Inputs(event=list(read), labels={"class": CLASSES}, weight="weight")
    if unit.method.startswith("event_"):  # the objects besides
        inputs = object_inputs().model_copy(update={"event": inputs.event})
    return made, inputs


def training_sample(rows: ak.Array, split: str, unit: Unit, channel: str) -> Sample:
    """Rows of a split; cuts see the events expected near the signal's mass, others both classes alike."""
    rows = rows[rows.split == list(FOLDS).index(split)]
    weight = ak.to_numpy(rows.expected).astype(np.float64)
    if unit.method == "cuts":
        (mass, *_), (low, high) = CHANNELS[channel].mass, CHANNELS[channel].window
        inside = (rows[mass] > low) & (rows[mass] < high)
        rows, weight = rows[inside], weight[ak.to_numpy(inside)]
    else:
        label = ak.to_numpy(rows.label)
        weight *= (len(rows) / 2 / np.bincount(label, weight, minlength=2))[label]
    rows = ak.with_field(rows, weight.astype(np.float32), "weight")
    return from_memory(rows, {"label": ["signal", "background"]}, name=f"{channel} {split}")


def scores(
    settings: HiggsSettings, run: Run, channel: str, unit: Unit, variants: Mapping[str, ak.Array]
) -> Scored:
    """What a method, trained on the channel's training events, says of all rows of all variations."""
    made, inputs = method_for(settings, unit, channel, variants["nominal"])
    training = made.default_training().with_(seed=unit.seed)
    if unit.method in ("mlp", "event_graph", "event_transformer"):
        training = training.with_(epochs=settings.epochs)

    def build(path: Path) -> None:
        train, valid = (
            training_sample(variants["nominal"], split, unit, channel) for split in ("train", "valid")
        )
        made.fit(train, valid, inputs=inputs, training=training)
        columns = {}
        for name, rows in variants.items():
            if isinstance(made, Cuts):
                values = np.stack([ak.to_numpy(rows[feature]) for feature in CHANNELS[channel].cuts], axis=1)
                columns[name] = made.passes(values).astype(np.float64)
            else:
                columns[name] = ak.to_numpy(made.predict(rows)[f"{made.name}_ps"]).astype(np.float64)
        with atomic(path) as folder:
            made.save(folder / "model")
            np.savez(folder / "scores.npz", allow_pickle=False, **columns)

    key = settings.model_dump(mode="json", include={"events", "luminosity"}) | {
        "channel": channel, "run": run.seed, "method": made.parameters,
        "inputs": inputs.model_dump(mode="json"), "training": training.model_dump(mode="json"),
    }  # fmt: skip
    code = ["simulation", "physics", "learn", __name__, type(made).__module__]
    path = run.cached(f"{channel} {unit}", key, build, code=code)
    with np.load(path / "scores.npz") as file:
        return Scored(unit.method == "cuts", {name: file[name] for name in file.files})


def measured(
    unit: Unit, found: Mapping[str, tuple[float, Floats]], cuts: Mapping[str, tuple[float, Floats]]
) -> list[Metric]:
    """Significance of each analysis, over that of the cuts, and the data the cuts would need beyond."""
    metrics = []
    for analysis, (z, replicas) in found.items():
        ratio, ratios = z / cuts[analysis][0], replicas / cuts[analysis][1]
        values = {
            "significance": (z, replicas),
            "significance_ratio": (ratio, ratios),
            "extra_data": (ratio**2 - 1, ratios**2 - 1),
        }
        metrics += [
            Metric(name=name, at={"channel": analysis}, method=unit.method, sample="simulation", value=value,
                   error=float(np.std(spread, ddof=1)), seeds=[unit.seed])
            for name, (value, spread) in values.items()
        ]  # fmt: skip
    return metrics


def areas(unit: Unit, scored: Mapping[str, Scored], nominal: Mapping[str, ak.Array]) -> list[Metric]:
    """Area under the ROC curve of each channel's test events."""
    metrics = []
    for channel, own in scored.items():
        rows = nominal[channel]
        test = ak.to_numpy(rows.split == list(FOLDS).index("test"))
        weights = ak.to_numpy(rows.expected)[test]
        area = auc(own.values["nominal"][test], ak.to_numpy(rows.label)[test] == 0, weights)
        metrics.append(
            Metric(name="auc", at={"channel": channel}, method=unit.method, sample="simulation",
                   value=float(area.value), error=float(area.error), seeds=[unit.seed])
        )  # fmt: skip
    return metrics


def sizes(nominal: Mapping[str, ak.Array]) -> dict[str, int]:
    """Selected events of each split."""
    return {
        split: sum(int(ak.sum(rows.split == k)) for rows in nominal.values()) for k, split in enumerate(FOLDS)
    }
