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
from femtobarn.recipes.higgs_samples import SOURCES, selected, simulated
from femtobarn.recipes.higgs_templates import ANALYSES, Scored, significances
from femtobarn.recipes.run import Run, Settings, Unit, recipe

Floats = NDArray[np.float64]
NOT_READ = ("label", "source", "fold", "expected", "objects")
ROUNDS = 5
"""Trainings of each method: every event is judged by the one of them that has not seen it."""
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


STEPS = (
    ("cuts", "fisher"), ("cuts", "likelihood"), ("fisher", "boosted_trees"), ("likelihood", "boosted_trees"),
    ("boosted_trees", "mlp"), ("boosted_trees", "event_graph"), ("boosted_trees", "event_transformer"),
)  # fmt: skip
"""Each method and one that it took over from."""

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
        least: effective simulated background events in a bin: 25 for a statistical error of 20 %.
        replicas: bootstrap samples of the events.
    """

    events: dict[str, int]
    channels: tuple[str, ...] = tuple(CHANNELS)
    luminosity: float = 36.1
    uncertainties: dict[str, float] = Field(default_factory=lambda: dict(UNCERTAINTIES))
    seeds: tuple[int, ...] = (1,)
    epochs: int = 20
    trees: int = 300
    bins: int = 12
    least: float = 25.0
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
        channels=("gamgam", "vh_1lepton", "tautau"), seeds=(1, 2),
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
        before = {old: found[Unit(old, unit.seed if old in TRAINED else settings.seeds[0])]
                  for old, new in STEPS if new == unit.method}  # fmt: skip
        part.metrics = [*measured(unit, found[unit], cuts), *steps(unit, found[unit], before),
                        *areas(unit, scored[unit], nominal)]  # fmt: skip
        parts.append(part)
    result = combine(parts)
    result.metrics = with_references(result.metrics, read_references(Path(__file__).with_suffix(".csv")))
    return page(
        settings,
        run,
        result,
        rows,
        {unit.method: own for unit, own in reversed(scored.items())},
        LABELS,
        STEPS,
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


def folds_of(turn: int) -> dict[str, tuple[int, ...]]:
    """Which of the ten folds of events a round trains on, stops by and judges."""
    order = np.roll(np.arange(10), -10 // ROUNDS * turn).tolist()
    share = 10 // ROUNDS
    return {"test": tuple(order[:share]), "valid": tuple(order[share : 2 * share]),
            "train": tuple(order[2 * share :])}  # fmt: skip


def training_sample(rows: ak.Array, folds: tuple[int, ...], unit: Unit, channel: str) -> Sample:
    """Rows of some folds; cuts see the events expected near the signal's mass, others both classes alike."""
    rows = rows[np.isin(ak.to_numpy(rows.fold), folds)]
    weight = ak.to_numpy(rows.expected).astype(np.float64) * 10 / len(folds)
    if unit.method == "cuts":
        (mass, *_), (low, high) = CHANNELS[channel].mass, CHANNELS[channel].window
        inside = (rows[mass] > low) & (rows[mass] < high)
        rows, weight = rows[inside], weight[ak.to_numpy(inside)]
    else:
        label = ak.to_numpy(rows.label)
        weight *= (len(rows) / 2 / np.bincount(label, weight, minlength=2))[label]
    rows = ak.with_field(rows, weight.astype(np.float32), "weight")
    return from_memory(rows, {"label": ["signal", "background"]}, name=f"{channel} events")


def scores(
    settings: HiggsSettings, run: Run, channel: str, unit: Unit, variants: Mapping[str, ak.Array]
) -> Scored:
    """What a method says of all rows of all variations, each judged by a training that has not seen it."""
    made, inputs = method_for(settings, unit, channel, variants["nominal"])
    training = made.default_training().with_(seed=unit.seed)
    if unit.method in ("mlp", "event_graph", "event_transformer"):
        training = training.with_(epochs=settings.epochs)

    def build(path: Path, turn: int) -> None:
        made, _ = method_for(settings, unit, channel, variants["nominal"])
        folds = folds_of(turn)
        train, valid = (
            training_sample(variants["nominal"], folds[split], unit, channel) for split in ("train", "valid")
        )
        made.fit(train, valid, inputs=inputs, training=training)
        columns = {}
        for name, rows in variants.items():
            rows = rows[np.isin(ak.to_numpy(rows.fold), folds["test"])]
            if isinstance(made, Cuts):
                values = np.stack([ak.to_numpy(rows[feature]) for feature in CHANNELS[channel].cuts], axis=1)
                columns[name] = made.passes(values).astype(np.float64)
            else:
                columns[name] = log_odds(made.predict(rows), made.name)
        with atomic(path) as folder:
            made.save(folder / "model")
            np.savez(folder / "scores.npz", allow_pickle=False, **columns)

    key = settings.model_dump(mode="json", include={"events", "luminosity"}) | {
        "channel": channel, "run": run.seed, "method": made.parameters,
        "inputs": inputs.model_dump(mode="json"), "training": training.model_dump(mode="json"),
    }  # fmt: skip
    code = ["simulation", "physics", "learn", __name__, type(made).__module__]
    values = {name: np.zeros(len(rows)) for name, rows in variants.items()}
    for turn in range(ROUNDS):
        path = run.cached(f"{channel} {unit} {turn}", key | {"round": turn}, partial(build, turn=turn),
                          code=code)  # fmt: skip
        with np.load(path / "scores.npz") as file:
            for name, rows in variants.items():
                values[name][np.isin(ak.to_numpy(rows.fold), folds_of(turn)["test"])] = file[name]
    return Scored(unit.method == "cuts", values)


def log_odds(scores: ak.Array, name: str) -> Floats:
    """ln(p_s / p_b) (N,): the probability itself is 1 for all that is very like signal."""
    least = np.finfo(np.float32).tiny
    one, other = (np.maximum(ak.to_numpy(scores[f"{name}_p{which}"]), least) for which in "sb")
    return np.asarray(np.log(one.astype(np.float64)) - np.log(other.astype(np.float64)))


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


def steps(
    unit: Unit,
    found: Mapping[str, tuple[float, Floats]],
    before: Mapping[str, Mapping[str, tuple[float, Floats]]],
) -> list[Metric]:
    """Significance over that of the methods it took over from, in the same bootstrap samples."""
    return [
        Metric(name="significance_step", at={"channel": analysis, "over": old}, method=unit.method,
               sample="simulation", value=z / earlier[analysis][0],
               error=float(np.std(replicas / earlier[analysis][1], ddof=1)), seeds=[unit.seed])
        for old, earlier in before.items()
        for analysis, (z, replicas) in found.items()
    ]  # fmt: skip


def areas(unit: Unit, scored: Mapping[str, Scored], nominal: Mapping[str, ak.Array]) -> list[Metric]:
    """Area under the ROC curve of each channel."""
    metrics = []
    for channel, own in scored.items():
        rows = nominal[channel]
        area = auc(own.values["nominal"], ak.to_numpy(rows.label) == 0, ak.to_numpy(rows.expected))
        metrics.append(
            Metric(name="auc", at={"channel": channel}, method=unit.method, sample="simulation",
                   value=float(area.value), error=float(area.error), seeds=[unit.seed])
        )  # fmt: skip
    return metrics


def sizes(nominal: Mapping[str, ak.Array]) -> dict[str, int]:
    """Selected events of each channel."""
    return {channel: len(rows) for channel, rows in nominal.items()}
