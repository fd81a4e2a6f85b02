"""What the flavour-tagging recipes share: one sample, taggers trained on it and measured on it, one page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
from pydantic import Field

from femtobarn.data import Sample, mix, open_sample, open_writer, resample, reweight
from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError, closest
from femtobarn.evaluate.flavour import flavour_figures
from femtobarn.evaluate.flavour_metrics import choose_fraction, flavour_metrics, mistag_metrics
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.flavour_tables import flavour_tables, verdict
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Result, combine, read_references, with_references
from femtobarn.evaluate.style import Caption
from femtobarn.evaluate.vertex_positions import position_metrics
from femtobarn.learn.method import Classifier
from femtobarn.learn.model_files import load
from femtobarn.learn.training import Training
from femtobarn.progress import progress_bar
from femtobarn.recipes.run import Run, Settings, Unit
from femtobarn.simulation import SimulationSettings, simulate

__all__ = ["ONE_CYCLE", "FlavourSettings", "Study", "Tagger"]

TITLES = {"ttbar": "ttbar", "zprime": "Z'"}
SPECTRUM = {"pt": np.geomspace(20, 5000, 25).tolist(), "abs_eta": np.linspace(0, 2.5, 6).tolist()}
TRUTH = [
    "pt",
    "mcEventWeight",
    "HadronConeExclTruthLabelID",
    "tracks.ftagTruthOriginLabel",
    "tracks.ftagTruthVertexIndex",
]
KINEMATICS = {"ttbar": (20.0, 250.0), "zprime": (250.0, 5000.0)}
"""Jet pT (GeV) on which each sample is judged, as in ATL-PHYS-PUB-2022-027."""
HALVES = ((0, 1, 2), (3, 4, 5))
"""Folds of the training split: what one tagger says of one half, to feed another, it learnt on the other."""
ONE_CYCLE = Training(
    optimiser="adamw", weight_decay=1e-5, schedule="one-cycle", warmup=0.1, learning_rate=4e-3, batch_size=250
)


class FlavourSettings(Settings):
    """What differs between the scales of a flavour-tagging recipe.

    Attributes:
        events: collisions simulated of each process; about five jets each in ttbar.
        pileup: mean number of further collisions.
        underlying_event: how simulated.
        simulation: beams, detector, selection.
        mixture: fractions of the training jets; 60 % ttbar and 40 % Z' in the papers. A Z' jet, with its
            seventeen tracks, costs several times the arithmetic of a ttbar jet: smaller scales take fewer.
        seeds: of the trainings of each network.
        single: methods trained with the first seed only.
        methods: compared; the first is the baseline.
        parallel: trainings at once, which share the cores.
        training: of the networks.
        trainings: of single methods, where it differs.
    """

    events: dict[str, int]
    pileup: float = 20.0
    underlying_event: Literal["full", "overlay"] = "full"
    simulation: SimulationSettings = SimulationSettings()
    mixture: dict[str, float] = Field(default={"ttbar": 0.9, "zprime": 0.1})
    seeds: tuple[int, ...] = Field(default=(1,), min_length=1)
    single: tuple[str, ...] = ()
    methods: tuple[str, ...] = Field(min_length=1)
    parallel: int = 1
    training: Training
    trainings: dict[str, Training] = Field(default_factory=dict)


@dataclass(frozen=True)
class Tagger:
    """A tagger of a recipe.

    Attributes:
        label: how tables call it.
        make: it, not yet fitted.
        reads: the taggers whose columns it reads.
        fraction: of the collisions, whose jets it is trained on.
    """

    label: str
    make: Callable[[], Classifier]
    reads: tuple[str, ...] = ()
    fraction: float = 1.0


@dataclass(frozen=True)
class Study:
    """Taggers trained and measured on the same jets.

    Attributes:
        settings, run: of the recipe.
        taggers: by name; those of `settings.methods` are compared, others may be read by them.
        published: CSV of the papers' numbers.
        title: of the page.
        opening: what the page begins with.
        drawn: the methods that figures show, where all of them would be too many lines.
    """

    settings: FlavourSettings
    run: Run
    taggers: dict[str, Tagger]
    published: Path
    title: str
    opening: Callable[[Study, Report, Result], None] | None = None
    drawn: tuple[str, ...] = ()

    def result(self) -> Result:
        """Train and measure everything, or the one unit asked for, and write the page."""
        if self.run.only:
            return self.run.part(Result.read(self.measured(self.run.only)))
        first, *others = (Unit(name, seed) for name in self.settings.methods for seed in self.seeds(name))
        # The last methods take longest: begun first, no core waits for them at the end.
        parts = [self.measured(first)]
        parts += self.run.map(self.measured, others[::-1], self.settings.parallel)[::-1]
        for unit in others:
            self.trained(unit)  # found, for the table of times
        return self.page(combine([Result.read(part) for part in parts]))

    def seeds(self, method: str) -> tuple[int, ...]:
        """The training seeds of a method; what draws no random numbers needs one."""
        once = method in self.settings.single or not self.taggers[method].make().trains_network
        return self.settings.seeds[:1] if once else self.settings.seeds

    # ------------------------------------------------------------------ the jets

    def simulated(self) -> dict[str, Sample]:
        """The jets of each process, simulated once and kept."""
        settings, run, samples = self.settings, self.run, {}
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

    def samples(self, unit: Unit) -> dict[str, Sample]:
        """The jets with the columns of the taggers that this one reads."""
        samples = self.simulated()
        for name in self.taggers[unit.method].reads:
            seed = unit.seed if unit.seed in self.seeds(name) else self.settings.seeds[0]
            folder = self.columns(Unit(name, seed))
            samples = {
                process: sample.beside(open_sample(folder / f"{process}.parquet"))
                for process, sample in samples.items()
            }
        return samples

    def training_samples(
        self, unit: Unit, samples: dict[str, Sample], *, network: bool, folds: tuple[int, ...] = ()
    ) -> tuple[Sample, Sample]:
        """Training and validation jets of all processes, the flavours brought to one spectrum of (pT, |eta|).

        By weights; for training a network by choosing jets, charm ones several times, since batches in which
        each flavour counts the same in number teach it more than batches in which a few jets weigh much.
        `folds` are the part of the training split that is used, all of it by default.
        """
        fraction = self.taggers[unit.method].fraction
        both = []
        for split in ("train", "valid"):
            parts = {}
            for name, sample in samples.items():
                part = sample.folds(*folds) if folds and split == "train" else sample.split(split)
                if fraction < 1 and split == "train":
                    part = part.select(eventNumber=(0, fraction * self.settings.events[name]))
                # No taus, which the taggers here do not know.
                parts[name] = part.select(flavour_label=(0, 3))
            jets = mix(parts, self.settings.mixture)
            if network and split == "train":
                both.append(resample(jets, "flavour_label", SPECTRUM, target="bjets"))
            else:
                both.append(reweight(jets, "flavour_label", SPECTRUM, weight="mcEventWeight"))
        return both[0], both[1]

    def judging(self, samples: dict[str, Sample]) -> dict[str, Sample]:
        """The test jets of each process, in the papers' range of pT."""
        return {name: sample.split("test").select(pt=KINEMATICS[name]) for name, sample in samples.items()}

    def choosing(self, samples: dict[str, Sample]) -> Sample:
        """The validation jets on which a tagger's own f_c is chosen: like those it is judged on."""
        return samples["ttbar"].split("valid").select(pt=KINEMATICS["ttbar"])

    # ------------------------------------------------------------------ the taggers

    def tagger(self, unit: Unit) -> tuple[Classifier, Training]:
        """A tagger not yet fitted, and how it is trained."""
        if unit.method not in self.taggers:
            raise InputError(
                f"--only {unit}: the recipe has no such method{closest(unit.method, list(self.taggers))}"
            )
        training = self.settings.trainings.get(unit.method, self.settings.training)
        return self.taggers[unit.method].make(), training.with_(seed=unit.seed)

    def stage(self, name: str, unit: Unit, build: Callable[[Path], object]) -> Path:
        """A stage that depends on the sample, on one tagger and on those whose columns it reads."""
        key = self.settings.model_dump(
            mode="json", include={"events", "mixture", "pileup", "underlying_event", "simulation"}
        )
        taggers, waiting = [], [unit.method]
        while waiting:
            tagger, training = self.tagger(Unit(waiting[0], unit.seed))
            taggers.append((tagger, training, self.taggers[waiting[0]].fraction))
            waiting = [*waiting[1:], *self.taggers[waiting[0]].reads]
        key["taggers"] = [[t.parameters, how.model_dump(mode="json"), part] for t, how, part in taggers]
        code = ["simulation", "learn", __name__, *sorted({type(tagger).__module__ for tagger, *_ in taggers})]
        return self.run.cached(
            f"{name} seed {unit.seed}", {**key, "sample seed": self.run.seed}, build, code=code
        )

    def trained(self, unit: Unit) -> Path:
        """Train one tagger with one seed: a folder of `model` and what it says of the jets, a file each."""
        tagger, training = self.tagger(unit)
        samples = self.samples(unit)

        def build(path: Path) -> None:
            train, valid = self.training_samples(unit, samples, network=tagger.trains_network)
            tagger.fit(train, valid, training=training, resume=_checkpoints(path))
            with atomic(path) as folder:
                tagger.save(folder / "model")
                (folder / "sizes.json").write_text(json.dumps({"train": len(train), "valid": len(valid)}))
                for name, sample in (self.judging(samples) | {"valid": self.choosing(samples)}).items():
                    ak.to_parquet(ak.to_packed(tagger.predict(sample)), folder / f"{name}.parquet")
            shutil.rmtree(_checkpoints(path), ignore_errors=True)

        return self.stage(unit.method, unit, build)

    def columns(self, unit: Unit) -> Path:
        """What a tagger says of all jets, for others to read: a folder with a file per process.

        Of the training jets it speaks as one trained on the other half of them, of all others as the mean of
        the two, so that whatever reads it is trained on scores as good as those it will be judged with.
        """
        samples = self.samples(unit)

        def build(path: Path) -> None:
            models = []
            for number, folds in enumerate(HALVES):
                tagger, training = self.tagger(unit)
                network = tagger.trains_network
                train, valid = self.training_samples(unit, samples, network=network, folds=folds)
                models.append(
                    tagger.fit(train, valid, training=training, resume=_checkpoints(path, str(number)))
                )
            with atomic(path) as folder:
                folder.mkdir(parents=True)
                for name, sample in samples.items():
                    with open_writer(folder / f"{name}.parquet") as writer:
                        for rows in _columns(models, sample):
                            writer.append(rows)
            for number in range(len(HALVES)):
                shutil.rmtree(_checkpoints(path, str(number)), ignore_errors=True)

        return self.stage(f"{unit.method} columns", unit, build)

    # ------------------------------------------------------------------ the numbers

    def measured(self, unit: Unit) -> Path:
        """Train one tagger with one seed and measure it beside the baseline: a part of the result."""
        first = Unit(self.settings.methods[0], self.settings.seeds[0])
        units = {one: self.trained(one) for one in (first, unit)}
        samples = self.simulated()

        def build(path: Path) -> None:
            own = {one.method: self.own_fraction(one, folder, samples) for one, folder in units.items()}
            result = Result.start(self.run.recipe, self.run.scale, self.run.seed, self.run.command)
            result.sizes = json.loads((units[unit] / "sizes.json").read_text())
            for name, sample in self.judging(samples).items():
                jets = Jets(sample.read(fields=TRUTH))
                both = [self.scores(one, folder / f"{name}.parquet") for one, folder in units.items()]
                metrics = flavour_metrics(jets, both, sample=name, own=own)
                result.metrics += [metric for metric in metrics if metric.method == unit.method]
                result.sizes[f"test {name}"] = len(sample)
            result.metrics = with_references(result.metrics, read_references(self.published))
            result.write(path)

        key = {"units": [folder.name for folder in units.values()], "published": self.published.read_text()}
        code = ["evaluate.flavour_metrics", __name__]
        return self.run.cached(f"measure {unit}", key, build, code=code, suffix=".json")

    def own_fraction(self, unit: Unit, folder: Path, samples: dict[str, Sample]) -> float:
        """A tagger's own f_c."""
        jets = Jets(self.choosing(samples).read(fields=TRUTH))
        return choose_fraction(jets, self.scores(unit, folder / "valid.parquet"))

    def scores(self, unit: Unit, file: Path) -> FlavourScores:
        """What a tagger said of jets."""
        label = self.taggers[unit.method].label
        prediction = ak.from_parquet(file)
        return FlavourScores.from_prediction(prediction, unit.method, label=label, seeds=[unit.seed])

    def page(self, result: Result) -> Result:
        """The report and the result of all units; figures show the first seed of each method drawn."""
        run, samples = self.run, self.simulated()
        report = Report(self.title, f"{sum(result.sizes.values()):,} jets, {run.scale} scale")
        if self.opening:
            self.opening(self, report, result)
        units = {name: Unit(name, self.settings.seeds[0]) for name in self.settings.methods}
        folders = {name: self.trained(unit) for name, unit in units.items()}
        labels = {name: self.taggers[name].label for name in units}
        for name in samples:
            low, high = KINEMATICS[name]
            report.text(
                f"**{TITLES[name]}**, {low:g} < pT < {high:g} GeV. {verdict(result.metrics, labels, name)}"
            )
            flavour_tables(report, result.metrics, labels, name)
        for method, folder in folders.items():
            shutil.copytree(folder / "model", run.out / method, dirs_exist_ok=True)
        drawn = {name: unit for name, unit in units.items() if not self.drawn or name in self.drawn}
        histories = {name: load(folders[name] / "model").history for name in drawn}
        own = {name: self.own_fraction(unit, folders[name], samples) for name, unit in drawn.items()}
        for name, sample in self.judging(samples).items():
            low, high = KINEMATICS[name]
            caption = Caption(sample=rf"{TITLES[name]}, √s = 13.6 TeV, ${low:g} < p_T < {high:g}$ GeV")
            jets, scores = Jets(sample.read()), []
            for one, unit in units.items():
                said = self.scores(unit, folders[one] / f"{name}.parquet")
                result.metrics += mistag_metrics(jets, said, name) + position_metrics(jets, said, name)
                scores += [said] if one in drawn else []
            flavour_figures(report, jets, scores, caption=caption, own=own, title=TITLES[name],
                            histories=histories if name == "ttbar" else None)  # fmt: skip
        result.artifacts = [*folders]
        return run.finish(report, result, self.settings)


def _checkpoints(path: Path, part: str = "") -> Path:
    """The folder of a stage's unfinished training."""
    return path.with_name(f"{path.name}.checkpoints{part}")


def _columns(models: list[Classifier], sample: Sample, size: int = 20_000) -> Iterator[ak.Array]:
    """One number per jet and column, each jet's from the model that did not learn from it, else the mean."""
    for start in range(0, len(sample), size):
        rows = sample.read(start, start + size)
        fold = ak.to_numpy(rows.fold)
        taught = [np.isin(fold, folds) for folds in HALVES]
        said = [model.predict(rows) for model in models]
        names = [name for name in said[0].fields if said[0][name].ndim == 1]
        columns = {}
        for name in names:
            one, other = (ak.to_numpy(part[name]).astype(np.float32) for part in said)
            columns[name] = np.select(taught, [other, one], (one + other) / 2)
        yield ak.zip(columns)
