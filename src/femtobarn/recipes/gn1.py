"""From collisions to a b-tagger: GN1 against IP3D and against itself without auxiliary tasks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
from pydantic import Field

from femtobarn.data import Sample, mix, open_sample, resample, reweight
from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError, closest
from femtobarn.evaluate.flavour import flavour_figures
from femtobarn.evaluate.flavour_metrics import choose_fraction, flavour_metrics
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.flavour_tables import flavour_tables, verdict
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Result, combine, read_references, with_references
from femtobarn.evaluate.style import Caption
from femtobarn.learn.method import Classifier
from femtobarn.learn.model_files import load
from femtobarn.learn.training import Training
from femtobarn.progress import progress_bar
from femtobarn.recipes.run import Run, Settings, Unit, recipe
from femtobarn.simulation import SimulationSettings, simulate
from femtobarn.simulation.settings import PileupSettings
from femtobarn.tagging.gn1 import GN1
from femtobarn.tagging.ip3d import IP3D

TAGGERS: dict[str, Callable[[], Classifier]] = {
    "ip3d": IP3D,
    "gn1": GN1,
    "gn1_no_aux": partial(GN1, name="gn1_no_aux", origin_weight=0.0, vertex_weight=0.0),
}
LABELS = {"ip3d": "IP3D", "gn1": "GN1", "gn1_no_aux": "GN1, no auxiliary tasks"}
TITLES = {"ttbar": "ttbar", "zprime": "Z'"}
PUBLISHED = Path(__file__).with_suffix(".csv")
SPECTRUM = {"pt": np.geomspace(20, 5000, 25).tolist(), "abs_eta": np.linspace(0, 2.5, 6).tolist()}
TRUTH = [
    "pt",
    "mcEventWeight",
    "HadronConeExclTruthLabelID",
    "tracks.ftagTruthOriginLabel",
    "tracks.ftagTruthVertexIndex",
]
KINEMATICS = {"ttbar": (20.0, 250.0), "zprime": (250.0, 5000.0)}
"""Jet pT (GeV) on which each sample is judged, as in the note."""


class GN1Settings(Settings):
    """What differs between the scales.

    Attributes:
        events: collisions simulated of each process; about five jets each in ttbar.
        pileup: mean number of further collisions.
        underlying_event: how simulated.
        simulation: beams, detector, selection.
        mixture: fractions of the training jets; the note's 60 % ttbar and 40 % Z' at full scale. A Z' jet,
            with its seventeen tracks, costs several times the arithmetic of a ttbar jet: smaller scales take
            fewer.
        seeds: of the trainings of each network.
        methods: compared.
        parallel: trainings at once, which share the cores.
        training: of the networks.
    """

    events: dict[str, int]
    pileup: float = 20.0
    underlying_event: Literal["full", "overlay"] = "full"
    simulation: SimulationSettings = SimulationSettings()
    mixture: dict[str, float] = Field(default={"ttbar": 0.9, "zprime": 0.1})
    seeds: tuple[int, ...] = Field(default=(1,), min_length=1)
    methods: tuple[Literal["ip3d", "gn1", "gn1_no_aux"], ...] = Field(default=("ip3d", "gn1"), min_length=1)
    parallel: int = 1
    training: Training


ONE_CYCLE = Training(
    optimiser="adamw", weight_decay=1e-5, schedule="one-cycle", warmup=0.1, learning_rate=4e-3, batch_size=250
)
SCALES = {
    "smoke": GN1Settings(
        events={"ttbar": 150, "zprime": 150},
        pileup=1.0,
        simulation=SimulationSettings(pileup=PileupSettings(train=60, valid=60, test=60)),
        training=ONE_CYCLE.with_(epochs=2, batch_size=100),
    ),
    "quick": GN1Settings(events={"ttbar": 30_000, "zprime": 5_000}, training=ONE_CYCLE.with_(epochs=8)),
    "standard": GN1Settings(
        events={"ttbar": 205_000, "zprime": 35_000},
        seeds=(1, 2, 3),
        methods=("ip3d", "gn1_no_aux", "gn1"),
        parallel=2,
        training=ONE_CYCLE.with_(epochs=7),
    ),
    "full": GN1Settings(
        events={"ttbar": 7_400_000, "zprime": 8_400_000},
        mixture={"ttbar": 0.6, "zprime": 0.4},
        seeds=(1, 2, 3),
        methods=("ip3d", "gn1_no_aux", "gn1"),
        training=Training(epochs=100, batch_size=4000, learning_rate=1e-3),
    ),
}


@recipe(scales=SCALES)
def gn1(settings: GN1Settings, run: Run) -> Result:
    """Graph attention network on tracks, with track-origin and vertex tasks [ATL-PHYS-PUB-2022-027]."""
    if run.only:
        return run.part(Result.read(measured(settings, run, run.only)))
    first, *others = (Unit(name, seed) for name in settings.methods for seed in seeds_of(name, settings))
    parts = [measured(settings, run, first), *run.map(partial(measured, settings), others, settings.parallel)]
    return page(settings, run, combine([Result.read(part) for part in parts]))


def seeds_of(method: str, settings: GN1Settings) -> tuple[int, ...]:
    """The training seeds of a method; templates need one."""
    return settings.seeds if method != "ip3d" else settings.seeds[:1]


def simulated(settings: GN1Settings, run: Run) -> dict[str, Sample]:
    """The jets of each process, simulated once and kept."""
    samples = {}
    for process, events in settings.events.items():
        how: dict[str, Any] = {"n": events, "seed": run.seed, "pileup": settings.pileup}
        how["underlying_event"] = settings.underlying_event

        def build(path: Path, process: str = process, how: dict[str, Any] = how) -> None:
            with progress_bar(f"simulate {process}", "collisions") as progress:
                simulate(
                    process,
                    out=path,
                    workers=run.workers,
                    settings=settings.simulation,
                    progress=progress,
                    **how,
                )

        key = {**how, "settings": settings.simulation.model_dump(mode="json")}
        path = run.cached(f"simulate {process}", key, build, code=["simulation"], suffix=".h5")
        samples[process] = open_sample(path, name=process)
    return samples


def training_samples(
    settings: GN1Settings, samples: dict[str, Sample], network: bool
) -> tuple[Sample, Sample]:
    """Training and validation jets of all processes, the flavours brought to one spectrum of (pT, |eta|).

    By weights; for training a network by choosing jets, charm ones several times, since batches in which each
    flavour counts the same in number teach it more than batches in which a few jets weigh much.
    """
    both = []
    for split in ("train", "valid"):
        # No taus, which the taggers here do not know.
        parts = {name: sample.split(split).select(flavour_label=(0, 3)) for name, sample in samples.items()}
        jets = mix(parts, settings.mixture)
        if network and split == "train":
            both.append(resample(jets, "flavour_label", SPECTRUM, target="bjets"))
        else:
            both.append(reweight(jets, "flavour_label", SPECTRUM, weight="mcEventWeight"))
    return both[0], both[1]


def trained(settings: GN1Settings, run: Run, unit: Unit) -> Path:
    """Train one tagger with one seed: a folder of `model` and what it says of the jets, a file each."""
    if unit.method not in settings.methods:
        raise InputError(
            f"--only {unit}: the recipe has no such method{closest(unit.method, settings.methods)}"
        )
    samples = simulated(settings, run)
    tagger, training = TAGGERS[unit.method](), settings.training.with_(seed=unit.seed)

    def build(path: Path) -> None:
        train, valid = training_samples(settings, samples, tagger.trains_network)
        tagger.fit(train, valid, training=training, resume=path.with_name(path.name + ".checkpoints"))
        with atomic(path) as folder:
            tagger.save(folder / "model")
            (folder / "sizes.json").write_text(json.dumps({"train": len(train), "valid": len(valid)}))
            for name, sample in (judging(samples) | {"valid": choosing(samples)}).items():
                ak.to_parquet(ak.to_packed(tagger.predict(sample)), folder / f"{name}.parquet")

    key = settings.model_dump(
        mode="json", include={"events", "mixture", "pileup", "underlying_event", "simulation", "training"}
    )
    code = ["simulation", "learn", type(tagger).__module__, __name__]
    return run.cached(f"{unit.method} seed {unit.seed}", {**key, "sample seed": run.seed}, build, code=code)


def measured(settings: GN1Settings, run: Run, unit: Unit) -> Path:
    """Train one tagger with one seed and measure it beside the first of the methods: a part of the result."""
    folder, samples = trained(settings, run, unit), simulated(settings, run)
    first = Unit(settings.methods[0], settings.seeds[0])
    baseline = trained(settings, run, first)

    def build(path: Path) -> None:
        units = {first: baseline, unit: folder}
        own = {
            one.method: choose_fraction(
                *scored(ak.from_parquet(where / "valid.parquet"), choosing(samples), one)
            )
            for one, where in units.items()
        }
        result = Result.start(run.recipe, run.scale, run.seed, run.command)
        result.sizes = json.loads((folder / "sizes.json").read_text())
        for name, sample in judging(samples).items():
            both = [
                scored(ak.from_parquet(where / f"{name}.parquet"), sample, one)
                for one, where in units.items()
            ]
            metrics = flavour_metrics(both[0][0], [scores for _, scores in both], sample=name, own=own)
            result.metrics += [metric for metric in metrics if metric.method == unit.method]
            result.sizes[f"test {name}"] = len(sample)
        result.metrics = with_references(result.metrics, read_references(PUBLISHED))
        result.write(path)

    return run.cached(
        f"measure {unit}",
        {"tagger": folder.name, "baseline": baseline.name, "published": PUBLISHED.read_text()},
        build,
        code=["evaluate.flavour_metrics", __name__],
        suffix=".json",
    )


def choosing(samples: dict[str, Sample]) -> Sample:
    """The validation jets on which a tagger's own f_c is chosen: like those it is judged on."""
    return samples["ttbar"].split("valid").select(pt=KINEMATICS["ttbar"])


def judging(samples: dict[str, Sample]) -> dict[str, Sample]:
    """The test jets of each process, in the note's range of pT."""
    return {name: sample.split("test").select(pt=KINEMATICS[name]) for name, sample in samples.items()}


def scored(prediction: ak.Array, sample: Sample, unit: Unit) -> tuple[Jets, FlavourScores]:
    """The truth of jets, and what a tagger said of them."""
    scores = FlavourScores.from_prediction(
        prediction, unit.method, label=LABELS[unit.method], seeds=[unit.seed]
    )
    return Jets(sample.read(fields=TRUTH)), scores


def fraction(result: Result, method: str) -> float:
    """A tagger's own f_c, as its part of the result says."""
    return next(
        float(m.at["f_c"]) for m in result.metrics if m.method == method and m.at.get("f_c_choice") == "own"
    )


def page(settings: GN1Settings, run: Run, result: Result) -> Result:
    """The report and the result of all units; figures show the first seed of each method."""
    methods: tuple[str, ...] = settings.methods
    folders = {method: trained(settings, run, Unit(method, settings.seeds[0])) for method in methods}
    report = Report("GN1 on simulated collisions", f"{sum(result.sizes.values()):,} jets, {run.scale} scale")
    tests = judging(simulated(settings, run))
    labels = {method: LABELS[method] for method in folders}
    for name in tests:
        low, high = KINEMATICS[name]
        report.text(
            f"**{TITLES[name]}**, {low:g} < pT < {high:g} GeV. {verdict(result.metrics, labels, name)}"
        )
        flavour_tables(report, result.metrics, labels, name)
    histories = {}
    for method, folder in folders.items():
        shutil.copytree(folder / "model", run.out / method, dirs_exist_ok=True)
        histories[method] = load(folder / "model").history
    for name, sample in tests.items():
        low, high = KINEMATICS[name]
        caption = Caption(sample=rf"{TITLES[name]}, √s = 13.6 TeV, ${low:g} < p_T < {high:g}$ GeV")
        own = {method: fraction(result, method) for method in folders}
        scores = []
        for method, folder in folders.items():
            unit = Unit(method, settings.seeds[0])
            scores.append(scored(ak.from_parquet(folder / f"{name}.parquet"), sample, unit)[1])
        flavour_figures(report, Jets(sample.read()), scores, caption=caption, own=own, title=TITLES[name],
                        histories=histories if name == "ttbar" else None)  # fmt: skip
    result.artifacts = [*folders]
    return run.finish(report, result, settings)
