"""Calibration to data: how GN1 tags b-, c- and light jets in collisions that the simulation gets wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import awkward as ak
import numpy as np

from femtobarn.calibration.closure import offset, pseudo_experiments
from femtobarn.calibration.closure_page import (
    SimulatedJets,
    applied_section,
    closure_metrics,
    closure_section,
)
from femtobarn.calibration.scale_factors import ScaleFactors, write_correctionlib
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Metric, Result
from femtobarn.evaluate.style import Caption
from femtobarn.progress import progress_bar
from femtobarn.recipes import gn1
from femtobarn.recipes.flavour import ONE_CYCLE
from femtobarn.recipes.run import Run, recipe
from femtobarn.recipes.scale_factor_samples import (
    CROOKED,
    F_C,
    FLAVOURS,
    OTHER_SHOWER,
    Calibration,
    ScaleFactorSettings,
)

HOW = {
    "b": "two-jet likelihood in ttbar to e mu",
    "c": "W decays in ttbar with one lepton",
    "light": "tagged jets in dijets, less heavy flavour",
}


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
        data=SMALL.model_copy(update={"pythia": OTHER_SHOWER, "tracker": CROOKED}),
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
        replicas=400,
        fraction={"b": 0.1, "c": 0.5, "light": 0.1},
    ),
}


@recipe(scales=SCALES)
def scale_factors(settings: ScaleFactorSettings, run: Run) -> Result:
    """Scale factors of GN1 for b, c and light jets, closed on pseudo-data [1907.05120, 2109.10627]."""
    calibration = Calibration(settings, run)
    result = Result.start(run.recipe, run.scale, run.seed, run.command)
    report = Report(
        "Calibration of GN1 to data", f"{settings.experiments} pseudo-experiments, {run.scale} scale"
    )
    report.text(
        "Data are simulated with another tune of Pythia, a stronger shower, and a misaligned tracker that "
        "resolves less; like the simulation they are top pairs, or dijets, alone. Each "
        "pseudo-experiment draws its events, its simulation and the size of every systematic effect anew; "
        "the scale factors shown and written are those of one in which these are zero. It draws from pools "
        "that hold the same collisions, each jet tagged by chance: as often as jets like it are in data, or "
        "in the simulation. So the pools do not differ by fluctuations, which all pseudo-experiments would "
        "share. b-jets are measured first, light ones with the tags of simulated b-jets corrected, c-jets "
        "with those of both; jets of a flavour that is measured later are tagged in both pools as in data: "
        "nuisances at zero mean that the simulation is right about them. The samples as they are, with their "
        "own collisions and tags, are measured too, all at once."
    )
    found: dict[str, ScaleFactors] = {}
    known: dict[str, ScaleFactors] = {}
    true: dict[str, ScaleFactors] = {}
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
        # The value is that of all of the pool, of which the uncertainty says how wrong it may be.
        known[flavour] = replace(found[flavour], value=alike.factors(*alike.rates)[0])
        true[flavour] = replace(found[flavour], value=alike.truth(alike.rates[0]))
    point = f"{100 * settings.working_point:.0f}"
    run.out.mkdir(parents=True, exist_ok=True)
    file = run.out / "scale_factors.json"
    definition = (
        f"D_b of GN1, f_c = {F_C}, above {calibration.cut:.4f}: {point} % of b-jets in simulated ttbar"
    )
    write_correctionlib(list(found.values()), "GN1", point, file, definition)
    result.metrics.append(
        Metric(name="cut", at={"b_efficiency": settings.working_point}, method="gn1", sample="ttbar",
               value=calibration.cut)
    )  # fmt: skip
    _applied(report, result, calibration, file, list(found.values()), true)
    result.artifacts = [file.name]
    return run.finish(report, result, settings)


def _applied(
    report: Report,
    result: Result,
    calibration: Calibration,
    file: Path,
    factors: Sequence[ScaleFactors],
    true: Mapping[str, ScaleFactors],
) -> None:
    """The scale factors applied to simulated ttbar with one lepton."""
    data, jets = (calibration.jets("one lepton", kind) for kind in ("data", "simulation"))
    seen, weights = (ak.to_numpy(one.mcEventWeight).astype(np.float64) for one in (data, jets))
    code = ak.to_numpy(jets.HadronConeExclTruthLabelID).astype(np.int64)
    simulated = SimulatedJets(
        np.where(np.isin(code, (4, 5)), code, 0),
        ak.to_numpy(jets.pt).astype(np.float64),
        calibration.tagged(jets),
        weights,
    )
    name = f"GN1_{100 * calibration.settings.working_point:.0f}"
    result.metrics += applied_section(
        report, file, name, factors, simulated, (calibration.tagged(data), seen), true=true, method="gn1",
        sample="ttbar, one lepton",
    )  # fmt: skip
