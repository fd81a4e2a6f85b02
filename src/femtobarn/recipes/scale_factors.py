"""Calibration to data: how GN1 tags b-, c- and light jets in collisions that the simulation gets wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.calibration.chance import tag_probability, tags_by_chance
from femtobarn.calibration.closure import (
    LightMeasurement,
    Measurement,
    PairMeasurement,
    offset,
    pseudo_experiments,
)
from femtobarn.calibration.closure_page import applied_section, closure_metrics, closure_section
from femtobarn.calibration.combinatorial import Pairs
from femtobarn.calibration.negative_tags import TaggedJets, flipped
from femtobarn.calibration.scale_factors import (
    ScaleFactors,
    known_weights,
    write_correctionlib,
)
from femtobarn.calibration.selection import dilepton_pairs, w_pairs
from femtobarn.data import Sample, open_sample
from femtobarn.data.atomic import atomic
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Result
from femtobarn.evaluate.style import Caption
from femtobarn.learn.method import Classifier
from femtobarn.learn.model_files import load
from femtobarn.progress import progress_bar
from femtobarn.recipes import gn1
from femtobarn.recipes.flavour import ONE_CYCLE, FlavourSettings, Study
from femtobarn.recipes.run import Run, Settings, Unit, recipe
from femtobarn.simulation import SimulationSettings, simulate
from femtobarn.simulation.tracker import TrackerSettings

F_C = 0.05
FLAVOURS = ("b", "light", "c")
"""In the order in which they are measured: among the jets of a W are b- and light ones."""
EDGES = {
    "b": [20, 35, 50, 75, 110, 200],
    "c": [20, 40, 65, 140],
    "light": [20, 40, 75, 200],
}
"""Bins of jet pT, GeV."""
LEPTONS = "24:onMode = off", "24:onPosIfAny = 11", "24:onNegIfAny = 13"
"""Of the other charges there are as many: a W that goes to a tau or the same lepton is no use here."""
ONE_LEPTON = "24:onMode = off", "24:onPosIfAny = 11 13", "24:onNegIfAny = 1 2 3 4 5"
DIJET = ("PhaseSpace:pTHatMax = 250.",)
SOURCES = {"dilepton": ("ttbar", LEPTONS), "one lepton": ("ttbar", ONE_LEPTON), "dijet": ("dijet", DIJET)}
"""Process of each control sample, and what of it is generated."""
COLUMNS = ["runNumber", "eventNumber", "pt", "eta", "phi", "energy", "numberOfElectrons", "numberOfMuons",
           "leadingLeptonMass", "subleadingLeptonMass", "flavour_label", "mcEventWeight", "truthPt",
           "HadronConeExclTruthLabelPt", "HadronConeExclTruthLabelID",
           "actualInteractionsPerCrossing"]  # fmt: skip
OTHER_SECONDARY = 7
OTHER_SHOWER = "Tune:pp = 21", "TimeShower:alphaSvalue = 0.1340", "SpaceShower:dipoleRecoil = on"
"""A tune of ATLAS in place of Monash, a stronger final-state shower than its 0.127, recoil within dipoles."""
HOW = {
    "b": "two-jet likelihood in ttbar to e mu",
    "c": "W decays in ttbar with one lepton",
    "light": "tagged jets in dijets, less heavy flavour",
}


class ScaleFactorSettings(Settings):
    """What differs between the scales.

    Attributes:
        tagger: sample and training of GN1, as in the recipe `gn1`.
        working_point: b-efficiency in ttbar.
        events: collisions simulated of each control sample, data and simulation.
        fraction: part of the pool that a pseudo-experiment sees, by flavour.
        experiments: number of pseudo-experiments.
        replicas: how often samples are drawn anew for the errors that come from their size.
        pileup: mean number of further collisions.
        underlying_event: how simulated; overlay is three times faster.
        simulation: what we believe.
        data: what is true: another tune of Pythia, a stronger shower with another recoil, and a misaligned
            tracker that resolves less, with more tails.
    """

    tagger: FlavourSettings
    working_point: float = 0.7
    events: dict[str, tuple[int, int]]
    fraction: dict[str, float]
    experiments: int = 200
    replicas: int = 60
    pileup: float = 20.0
    underlying_event: Literal["full", "overlay"] = "overlay"
    simulation: SimulationSettings = SimulationSettings()
    data: SimulationSettings = SimulationSettings(
        pythia=OTHER_SHOWER,
        tracker=TrackerSettings(
            d0=(0.0112, 0.083), tail_fraction=0.026, fake_rate=0.0095, misalignment=(0.004, 0.015)
        ),
    )


SMALL = gn1.SCALES["smoke"].simulation
SCALES = {
    "smoke": ScaleFactorSettings(
        tagger=gn1.SCALES["smoke"],
        events={"dilepton": (200, 200), "one lepton": (400, 400), "dijet": (100, 100)},
        fraction=dict.fromkeys(FLAVOURS, 0.8),
        experiments=3,
        replicas=6,
        pileup=1.0,
        simulation=SMALL,
        data=SMALL.model_copy(update={"pythia": OTHER_SHOWER}),
    ),
    "quick": ScaleFactorSettings(
        tagger=gn1.SCALES["quick"],
        events={"dilepton": (15_000,) * 2, "one lepton": (20_000,) * 2, "dijet": (15_000,) * 2},
        fraction=dict.fromkeys(FLAVOURS, 0.1),
        experiments=100,
    ),
    "standard": ScaleFactorSettings(
        tagger=gn1.SCALES["quick"].model_copy(
            update={"underlying_event": "overlay", "training": ONE_CYCLE.with_(epochs=5)}
        ),
        events={"dilepton": (60_000, 30_000), "one lepton": (30_000,) * 2, "dijet": (25_000,) * 2},
        working_point=0.85,
        experiments=1000,
        replicas=200,
        fraction={"b": 0.1, "c": 0.5, "light": 0.1},
    ),
}


class Calibration:
    """Samples, the tagger on them, and the three measurements."""

    def __init__(self, settings: ScaleFactorSettings, run: Run) -> None:
        self.settings, self.run = settings, run
        self.study = Study(settings.tagger, run, gn1.TAGGERS, gn1.PUBLISHED, "GN1")
        unit = Unit("gn1", settings.tagger.seeds[0])
        self.folder = self.study.trained(unit)
        jets = Jets(
            self.study.choosing(self.study.simulated()).read(
                fields=["pt", "mcEventWeight", "HadronConeExclTruthLabelID"]
            )
        )
        scores = self.study.scores(unit, self.folder / "valid.parquet").discriminant_b(F_C)
        self.cut = float(jets.survival(scores, "b").threshold([settings.working_point])[0])

    def sample(self, source: str, kind: str) -> Path:
        """Jets of a control sample, `simulation` or `data`."""
        settings, (process, decays) = self.settings, SOURCES[source]
        detector = settings.simulation if kind == "simulation" else settings.data
        detector = detector.model_copy(update={"pythia": (*detector.pythia, *decays)})
        events = settings.events[source][kind == "simulation"]
        seed = self.run.seed + (1000 if kind == "simulation" else 2000)

        def build(path: Path) -> None:
            with progress_bar(f"simulate {source}, {kind}", "collisions") as progress:
                simulate(
                    process, events, path, seed=seed, pileup=settings.pileup,
                    underlying_event=settings.underlying_event, workers=self.run.workers, settings=detector,
                    progress=progress,
                )  # fmt: skip

        key = {"events": events, "seed": seed, "pileup": settings.pileup, "process": process}
        key["underlying_event"] = settings.underlying_event
        key["settings"] = detector.model_dump(mode="json")
        return self.run.cached(f"{source} {kind}", key, build, code=["simulation"], suffix=".h5")

    def jets(self, source: str, kind: str) -> ak.Array:
        """Its jets with D_b, in dijets on flipped tracks too, and whether a long-lived hadron is inside."""
        file = self.sample(source, kind)

        def build(path: Path) -> None:
            tagger = load(self.folder / "model")
            assert isinstance(tagger, Classifier)
            parts = list(_tagged(tagger, open_sample(file), flip=source == "dijet"))
            tagged = ak.concatenate(parts)
            event = np.stack([ak.to_numpy(tagged[n]).astype(np.int64) for n in ("runNumber", "eventNumber")])
            _, of, counts = np.unique(event, axis=1, return_inverse=True, return_counts=True)
            with atomic(path) as temporary:
                ak.to_parquet(ak.with_field(tagged, counts[of.reshape(-1)], "numberOfJets"), temporary)

        key = {"file": file.name, "model": self.folder.name, "columns": COLUMNS}
        code = ["learn", "evaluate.flavour_scores", "calibration.negative_tags"]
        path = self.run.cached(f"tag {source} {kind}", key, build, code=code, suffix=".parquet")
        return ak.from_parquet(path)

    def measurement(
        self, flavour: str, known: Mapping[str, ScaleFactors], *, alike: bool = False, negative: bool = False
    ) -> Measurement:
        """How the scale factors of a flavour are measured.

        Args:
            flavour: `b`, `c` or `light`.
            known: scale factors of other flavours, by which the simulation is corrected.
            alike: data and simulation hold the same collisions, with tags by chance as each has them.
            negative: light jets by negative tags.
        """
        edges = np.array(EDGES[flavour], dtype=np.float64)
        source = {"b": "dilepton", "c": "one lepton", "light": "dijet"}[flavour]
        both = [self.jets(source, kind) for kind in ("data", "simulation")]
        if alike:
            both = [ak.concatenate(both)] * 2
        chances = [
            self.chance[kind](self.features(jets)) for kind, jets in zip(self.chance, both, strict=True)
        ]
        if flavour == "light":
            (counted, one), (believed, other) = (
                self.counted(jets, by, alike, negative, corrected)
                for jets, by, corrected in zip(both, chances, ({}, known), strict=True)
            )
            return LightMeasurement(flavour, edges, counted, believed, (one, other), 2 if alike else 1)
        (pairs, one), (simulated, other) = (
            self.pairs(jets, flavour, edges, by, alike, corrected)
            for jets, by, corrected in zip(both, chances, ({}, known), strict=True)
        )
        # A W decays to cs as often as to ud, and nothing but the tags tells them apart.
        signal = ((1, 1),) if flavour == "b" else ((0, 0), (0, 1), (1, 0), (1, 1))
        return PairMeasurement(flavour, edges, pairs, simulated, (one, other), 3, signal, 4 if alike else 1)

    @cached_property
    def chance(self) -> dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
        """Of jets with `features` to be tagged, in data and in the simulation, learnt from all samples."""
        learnt = {}
        for kind in ("data", "simulation"):
            every = [self.jets(source, kind) for source in SOURCES]
            features = np.concatenate([self.features(jets) for jets in every])
            learnt[kind] = tag_probability(features, np.concatenate([self.tagged(jets) for jets in every]))
        return learnt

    def tagged(self, jets: ak.Array) -> NDArray[np.bool_]:
        """(N,) at the working point."""
        return np.asarray(ak.to_numpy(jets.D_b) >= self.cut)

    def pairs(
        self,
        jets: ak.Array,
        flavour: str,
        edges: Any,
        chance: NDArray[np.float64],
        outcomes: bool,
        known: Mapping[str, ScaleFactors],
    ) -> tuple[Pairs, dict[str, NDArray[np.float64]]]:
        """Pairs whose jets are both within the edges, and how their number answers to each source.

        Args:
            jets: of a control sample.
            flavour: looked for.
            edges: of pT.
            chance: that each jet is tagged.
            outcomes: every outcome of a pair's tags is a row, however the jets were tagged.
            known: scale factors by which jets of other flavours are corrected.
        """
        rows, region = dilepton_pairs(jets) if flavour == "b" else w_pairs(jets, self.tagged(jets))
        pt = ak.to_numpy(jets.pt)[rows]
        inside = ((pt >= edges[0]) & (pt < edges[-1])).all(axis=1)
        rows, region = rows[inside], region[inside]
        weights = ak.to_numpy(jets.mcEventWeight)[rows[:, 0]].astype(np.float64)
        tagged = self.tagged(jets)[rows]
        if outcomes:
            tagged, share = tags_by_chance(chance[rows])
            times = len(tagged) // len(rows)
            rows, region, weights = np.tile(rows, (times, 1)), np.tile(region, times), np.tile(weights, times)
            weights = weights * share
        pt, true = ak.to_numpy(jets.pt)[rows], ak.to_numpy(jets.HadronConeExclTruthLabelID)[rows]
        bins = np.digitize(pt, edges) - 1
        number = ak.to_numpy(jets.numberOfJets)[rows[:, 0]]
        mu = ak.to_numpy(jets.actualInteractionsPerCrossing)[rows[:, 0]]
        kinds = _kinds(true)
        weights = weights * known_weights(known, kinds, pt, tagged, chance[rows]).prod(axis=1)
        softness = np.where(kinds["b"], self.softness(jets)[rows], 0).sum(axis=1)
        responses = {
            "b fragmentation": 0.5 * softness,
            "radiation": 0.2 * (number - number.mean()),
            "pile-up": 0.1 * (mu - mu.mean()) / 4.5,
            "top pT": 0.15 * (np.log(pt).mean(axis=1) - np.log(pt).mean()),
            "light mistags": 0.2 * (tagged & kinds["light"]).sum(axis=1),
        }
        if flavour == "b":
            responses["c-jet tags"] = 0.1 * (tagged & kinds["c"]).sum(axis=1)
        else:
            responses["b-jet tags"] = 0.03 * (tagged & kinds["b"]).sum(axis=1)
            responses["W with b-jets"] = 0.2 * kinds["b"].any(axis=1)
        return Pairs(bins, region, tagged, weights, kinds[flavour]), responses

    def counted(
        self,
        jets: ak.Array,
        chance: NDArray[np.float64],
        outcomes: bool,
        negative: bool,
        known: Mapping[str, ScaleFactors],
    ) -> tuple[TaggedJets, dict[str, NDArray[np.float64]]]:
        """Of dijets, whose spectrum is the flattened one, in data too: as triggers with prescales make it.

        Args:
            jets: of the control sample.
            chance: that each jet is tagged.
            outcomes: every jet is there tagged and not tagged, however it was.
            negative: counted are negative tags.
            known: scale factors by which jets of other flavours are corrected.
        """
        tagged, share, times = self.tagged(jets), np.ones(len(jets)), 1
        if outcomes:
            outcome, share = tags_by_chance(chance[:, None])
            tagged, times = outcome[:, 0], 2
        true = np.tile(ak.to_numpy(jets.HadronConeExclTruthLabelID), times)
        pt = np.tile(ak.to_numpy(jets.pt).astype(np.float64), times)
        mu = np.tile(ak.to_numpy(jets.actualInteractionsPerCrossing), times)
        counted = ak.to_numpy(jets.D_b_flipped) >= self.cut if negative else tagged
        responses = {
            "b-jets": 0.2 * (true == 5),
            "c-jets": 0.2 * (true == 4),
            "b-jet tags": 0.03 * (counted & (true == 5)),
            "c-jet tags": 0.1 * (counted & (true == 4)),
            "pile-up": 0.1 * (mu - mu.mean()) / 4.5,
            "long-lived hadrons": 0.2 * np.tile(ak.to_numpy(jets.longLived), times),
        }
        kinds = _kinds(true)
        weights = share * known_weights(known, kinds, pt, tagged, np.tile(chance, times))
        return TaggedJets(pt, tagged, counted, kinds["light"], weights, np.ones(len(pt))), responses

    def features(self, jets: ak.Array) -> NDArray[np.float64]:
        """(N, 6) of each jet that its chance to be tagged depends on."""
        true = ak.to_numpy(jets.HadronConeExclTruthLabelID)
        heavy = np.where(np.isin(true, (4, 5)), self.softness(jets), np.nan)
        names = ("pt", "numberOfJets", "actualInteractionsPerCrossing", "longLived")
        columns = [np.abs(ak.to_numpy(jets.eta)), heavy, *(ak.to_numpy(jets[name]) for name in names)]
        return np.stack([np.searchsorted([0, 4, 5, 15], true), *columns], axis=1).astype(np.float64)

    def softness(self, jets: ak.Array) -> NDArray[np.float64]:
        """Share of the hadron in the jet's pT, less its mean of about 0.75."""
        share = ak.to_numpy(jets.HadronConeExclTruthLabelPt) / np.maximum(ak.to_numpy(jets.truthPt), 1.0)
        return np.asarray(np.clip(share, 0, 1.2) - 0.75, dtype=np.float64)


def _kinds(true: NDArray[np.int_]) -> dict[str, NDArray[np.bool_]]:
    """Which jets of these true flavours are b-, c- and light ones."""
    return {"b": true == 5, "c": true == 4, "light": ~np.isin(true, (4, 5))}


def _tagged(tagger: Classifier, sample: Sample, *, flip: bool, size: int = 20_000) -> Iterator[ak.Array]:
    """Columns of jets with D_b, block by block; with `flip` that of flipped jets too."""
    for start in range(0, len(sample), size):
        rows = sample.read(start, start + size)
        columns = {name: rows[name] for name in COLUMNS}
        for name, seen in {"D_b": rows, **({"D_b_flipped": flipped(rows)} if flip else {})}.items():
            scores = FlavourScores.from_prediction(tagger.predict(seen), tagger.name)
            columns[name] = scores.discriminant_b(F_C).astype(np.float32)
        columns["longLived"] = ak.any(rows.tracks.ftagTruthOriginLabel == OTHER_SECONDARY, axis=1)
        yield ak.zip(columns)


@recipe(scales=SCALES)
def scale_factors(settings: ScaleFactorSettings, run: Run) -> Result:
    """Scale factors of GN1 for b, c and light jets, closed on pseudo-experiments [1907.05120]."""
    calibration = Calibration(settings, run)
    result = Result.start(run.recipe, run.scale, run.seed, run.command)
    report = Report(
        "Calibration of GN1 to data", f"{settings.experiments} pseudo-experiments, {run.scale} scale"
    )
    report.text(
        "Data are simulated with another tune and shower and a misaligned tracker that resolves less. Each "
        "pseudo-experiment draws its events, its simulation and the size of every systematic effect anew; "
        "the scale factors shown and written are those of one in which these are zero. It draws from pools "
        "that hold the same collisions, each jet tagged by chance: as often as jets like it are in data, or "
        "in the simulation. So the pools do not differ by fluctuations, which all pseudo-experiments would "
        "share. b-jets are measured first, light ones with the tags of simulated b-jets corrected, c-jets "
        "with those of both. The samples as they are, with their own collisions and tags, are measured too, "
        "all at once."
    )
    found: dict[str, ScaleFactors] = {}
    known: dict[str, ScaleFactors] = {}
    for number, flavour in enumerate(FLAVOURS):
        alike = calibration.measurement(flavour, known, alike=True)
        rng = np.random.default_rng([run.seed, number])
        with run.stage(f"measure {flavour}"), progress_bar(f"measure {flavour}", "experiments") as progress:
            done = pseudo_experiments(
                alike, settings.experiments, settings.fraction[flavour], rng, settings.replicas, progress
            )
        with run.stage(f"check {flavour}"):
            ways = {HOW[flavour]: calibration.measurement(flavour, known)}
            if flavour == "light":
                ways["negative tags"] = calibration.measurement(flavour, {}, negative=True)
            checks = {how: offset(one, rng, settings.replicas) for how, one in ways.items()}
        result.metrics += closure_metrics(alike, done, checks, method="gn1")
        caption = Caption(sample="pseudo-data, √s = 13.6 TeV, GN1")
        closure_section(report, alike, done.valid, checks, how=HOW[flavour], caption=caption)
        found[flavour] = done.nominal.factors
        # Control samples for b- and light jets are large: all of the pool says how to correct the others.
        known[flavour] = replace(found[flavour], value=alike.factors(*alike.rates)[0])
    point = f"{100 * settings.working_point:.0f}"
    run.out.mkdir(parents=True, exist_ok=True)
    file = run.out / "scale_factors.json"
    write_correctionlib(list(found.values()), "GN1", point, file)
    _applied(report, result, calibration, file, list(found.values()))
    result.artifacts = [file.name]
    return run.finish(report, result, settings)


def _applied(
    report: Report, result: Result, calibration: Calibration, file: Path, factors: Sequence[ScaleFactors]
) -> None:
    """The scale factors applied to simulated ttbar with one lepton."""
    jets = calibration.jets("one lepton", "simulation")
    true = ak.to_numpy(jets.HadronConeExclTruthLabelID)
    flavour = np.select([true == 5, true == 4], ["b", "c"], "light")
    pt, tagged = ak.to_numpy(jets.pt).astype(np.float64), ak.to_numpy(jets.D_b) >= calibration.cut
    seen = ak.to_numpy(calibration.jets("one lepton", "data").D_b) >= calibration.cut
    name = f"GN1_{100 * calibration.settings.working_point:.0f}"
    result.metrics += applied_section(
        report, file, name, factors, (flavour, pt, tagged), seen, method="gn1", sample="ttbar, one lepton"
    )
