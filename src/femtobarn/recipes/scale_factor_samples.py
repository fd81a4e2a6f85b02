"""Control samples of a calibration to data, GN1 on them, and how each flavour is measured with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from femtobarn.calibration.chance import tag_probability, tags_by_chance
from femtobarn.calibration.closure import (
    LightMeasurement,
    Measurement,
    PairMeasurement,
)
from femtobarn.calibration.combinatorial import Pairs
from femtobarn.calibration.negative_tags import TaggedJets, flipped
from femtobarn.calibration.scale_factors import (
    ScaleFactors,
    known_responses,
    known_weights,
    tag_response,
)
from femtobarn.calibration.selection import dilepton_pairs, w_pairs
from femtobarn.data import Sample, open_sample
from femtobarn.data.atomic import atomic
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.learn.method import Classifier
from femtobarn.learn.model_files import load
from femtobarn.progress import progress_bar
from femtobarn.recipes import gn1
from femtobarn.recipes.flavour import FlavourSettings, Study
from femtobarn.recipes.run import Run, Settings, Unit
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
CROOKED = TrackerSettings(
    d0=(0.0112, 0.083), tail_fraction=0.026, fake_rate=0.0095, misalignment=(0.004, 0.015)
)
SOURCES = {"dilepton": ("ttbar", LEPTONS), "one lepton": ("ttbar", ONE_LEPTON), "dijet": ("dijet", DIJET)}
"""Process of each control sample, and what of it is generated."""
COLUMNS = ["runNumber", "eventNumber", "pt", "eta", "phi", "energy", "numberOfElectrons", "numberOfMuons",
           "leadingLeptonMass", "subleadingLeptonMass", "flavour_label", "mcEventWeight", "truthPt",
           "HadronConeExclTruthLabelPt", "HadronConeExclTruthLabelID",
           "actualInteractionsPerCrossing"]  # fmt: skip
OTHER_SECONDARY = 7
OTHER_SHOWER = "Tune:pp = 21", "TimeShower:alphaSvalue = 0.1450", "SpaceShower:dipoleRecoil = on"
"""A tune of ATLAS in place of Monash, a shower in the final state by a coupling of 0.145 where the
simulation's is 0.1365, and recoil within dipoles. Vincia, another shower, would take ten times as long."""


class ScaleFactorSettings(Settings):
    """What differs between the scales.

    Attributes:
        tagger: sample and training of GN1, as in the recipe `gn1`.
        working_point: b-efficiency in ttbar.
        events: collisions simulated of each control sample, data and simulation.
        fraction: part of the pool that a pseudo-experiment sees, by flavour.
        experiments: number of pseudo-experiments.
        replicas: how often samples are drawn anew for the shifts and errors that come from their size.
        pileup: mean number of further collisions.
        underlying_event: how simulated; overlay is three times faster.
        simulation: what we believe.
        data: what is true: another tune of Pythia, a stronger shower with another recoil, and a misaligned
            tracker that resolves less, with more tails.
    """

    tagger: FlavourSettings
    working_point: float = Field(default=0.7, gt=0, lt=1)
    events: dict[str, tuple[PositiveInt, PositiveInt]]
    fraction: dict[str, Annotated[float, Field(gt=0, le=1)]]
    experiments: int = Field(default=200, ge=2)
    replicas: int = Field(default=60, ge=2)
    pileup: float = Field(default=20.0, ge=0)
    underlying_event: Literal["full", "overlay"] = "overlay"
    simulation: SimulationSettings = SimulationSettings()
    data: SimulationSettings = SimulationSettings(pythia=OTHER_SHOWER, tracker=CROOKED)


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
            known: scale factors of other flavours, by which the simulation is corrected; they are wrong by
                their uncertainties, whose sources are those of the measurement too.
            alike: data and simulation hold the same collisions, with tags by chance as each has them. Jets of
                flavours of which nothing is known have the tags of data in both: nuisances at zero mean that
                the simulation is right about them.
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
        if alike:
            kinds = _kinds(ak.to_numpy(both[0].HadronConeExclTruthLabelID))
            own = np.any([kinds[name] for name in (flavour, *known)], axis=0)
            chances[1] = np.where(own, chances[1], chances[0])
        if flavour == "light":
            (counted, one), (believed, other) = (
                self.counted(jets, by, alike, negative, known, corrected)
                for jets, by, corrected in zip(both, chances, (False, True), strict=True)
            )
            return LightMeasurement(flavour, edges, counted, believed, (one, other), 2 if alike else 1)
        (pairs, one), (simulated, other) = (
            self.pairs(jets, flavour, edges, by, alike, known, corrected)
            for jets, by, corrected in zip(both, chances, (False, True), strict=True)
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
        corrected: bool,
    ) -> tuple[Pairs, dict[str, NDArray[np.float64]]]:
        """Pairs whose jets are both within the edges, and how their number answers to each source.

        Args:
            jets: of a control sample.
            flavour: looked for.
            edges: of pT.
            chance: that each jet is tagged.
            outcomes: every outcome of a pair's tags is a row, however the jets were tagged.
            known: scale factors of other flavours.
            corrected: whether the jets are corrected by them.
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
        if corrected:
            weights = weights * known_weights(known, kinds, pt, tagged, chance[rows]).prod(axis=1)
        softness = np.where(kinds["b"], self.softness(jets)[rows], 0).sum(axis=1)
        responses = {
            "b fragmentation": 0.5 * softness,
            "radiation": 0.2 * (number - number.mean()),
            "pile-up": 0.1 * (mu - mu.mean()) / 4.5,
            "top pT": 0.15 * (np.log(pt).mean(axis=1) - np.log(pt).mean()),
        }
        if flavour == "b":
            for name, kind, size in (("light mistags", "light", 0.2), ("c-jet tags", "c", 0.1)):
                responses[name] = tag_response(size * kinds[kind], tagged, chance[rows]).sum(axis=1)
        else:
            responses["W with b-jets"] = 0.2 * kinds["b"].any(axis=1)
        for source, one in known_responses(known, kinds, pt, tagged, chance[rows]).items():
            responses[source] = responses.get(source, 0.0) + one.sum(axis=1)
        return Pairs(bins, region, tagged, weights, kinds[flavour]), responses

    def counted(
        self,
        jets: ak.Array,
        chance: NDArray[np.float64],
        outcomes: bool,
        negative: bool,
        known: Mapping[str, ScaleFactors],
        corrected: bool,
    ) -> tuple[TaggedJets, dict[str, NDArray[np.float64]]]:
        """Of dijets, whose spectrum is the flattened one, in data too: as triggers with prescales make it.

        Args:
            jets: of the control sample.
            chance: that each jet is tagged.
            outcomes: every jet is there tagged and not tagged, however it was.
            negative: counted are negative tags.
            known: scale factors of other flavours.
            corrected: whether the jets are corrected by them.
        """
        tagged, share, times = self.tagged(jets), np.ones(len(jets)), 1
        if outcomes:
            outcome, share = tags_by_chance(chance[:, None])
            tagged, times = outcome[:, 0], 2
            chance = np.tile(chance, times)
        true = np.tile(ak.to_numpy(jets.HadronConeExclTruthLabelID), times)
        pt = np.tile(ak.to_numpy(jets.pt).astype(np.float64), times)
        mu = np.tile(ak.to_numpy(jets.actualInteractionsPerCrossing), times)
        counted = ak.to_numpy(jets.D_b_flipped) >= self.cut if negative else tagged
        responses = {
            "b-jets": 0.2 * (true == 5),
            "c-jets": 0.2 * (true == 4),
            "c-jet tags": tag_response(0.1 * (true == 4), counted, chance),
            "pile-up": 0.1 * (mu - mu.mean()) / 4.5,
            "long-lived hadrons": 0.2 * np.tile(ak.to_numpy(jets.longLived), times),
        }
        kinds = _kinds(true)
        if corrected:
            share = share * known_weights(known, kinds, pt, tagged, chance)
        for source, response in known_responses(known, kinds, pt, tagged, chance).items():
            responses[source] = responses.get(source, 0.0) + response
        return TaggedJets(pt, tagged, counted, kinds["light"], share, np.ones(len(pt))), responses

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
