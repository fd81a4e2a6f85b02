"""May minimum-bias events laid over a collision stand for its multi-parton interactions?"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal

import awkward as ak
import numpy as np

from femtobarn.data import Sample
from femtobarn.evaluate.figures import distribution_figure
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.metrics import Estimate
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Metric, Result
from femtobarn.evaluate.style import Caption
from femtobarn.learn.model_files import load
from femtobarn.recipes import gn1
from femtobarn.recipes.flavour import Study
from femtobarn.recipes.run import Run, Settings, Unit, recipe

FLAVOURS = {"b": "b-jets", "c": "c-jets", "u": "light-jets"}
FIELDS = ["pt", "mcEventWeight", "HadronConeExclTruthLabelID", "eventNumber", "tracks"]
F_C = 0.05


class OverlaySettings(Settings):
    """What differs between the scales.

    Attributes:
        events: ttbar collisions simulated in either way; 100k jets need 21,000.
        seed: of both, far from the seeds of other recipes.
        tagger: scale of the recipe `gn1` whose first GN1 is applied.
        agreement: pulls all below this, in standard deviations, is agreement.
    """

    events: int
    seed: int = 1001
    tagger: Literal["smoke", "quick", "standard"] = "quick"
    agreement: float = 3.0


SCALES = {
    "smoke": OverlaySettings(events=200, tagger="smoke"),
    "quick": OverlaySettings(events=5_000),
    "standard": OverlaySettings(events=21_500, tagger="standard"),
}


@recipe(scales=SCALES)
def overlay_validation(settings: OverlaySettings, run: Run) -> Result:
    """GN1's efficiencies and the numbers of tracks and jets in ttbar, overlaid against fully simulated."""
    study = Study(gn1.SCALES[settings.tagger], run, gn1.TAGGERS, gn1.PUBLISHED, "")
    tagger = load(study.trained(Unit("gn1", study.settings.seeds[0])) / "model")
    result = Result.start(run.recipe, run.scale, settings.seed, run.command)
    samples, jets, scores = {}, {}, {}
    for way in ("full", "overlay"):
        changes = {"events": {"ttbar": settings.events}, "underlying_event": way}
        other = study.settings.model_copy(update=changes)
        sample = replace(study, settings=other, run=_with_seed(run, settings.seed)).simulated()["ttbar"]
        samples[way], jets[way] = sample, Jets(sample.read(fields=FIELDS))
        with run.stage(f"predict {way}"):
            scores[way] = FlavourScores.from_prediction(tagger.predict(sample), "gn1").discriminant_b(F_C)
        result.sizes[way] = len(sample)
    compare = partial(_ratio, result)
    signal = jets["full"].survival(scores["full"], "b")
    for point in (0.60, 0.70, 0.77, 0.85):
        cut = signal.threshold(point)
        for flavour in FLAVOURS:
            both = [jets[way].survival(scores[way], flavour).efficiency(cut) for way in samples]
            compare("efficiency_ratio", {"b_efficiency": point, "flavour": flavour}, *both)
    for flavour in FLAVOURS:
        both = [_mean(ak.to_numpy(ak.num(j.rows.tracks))[j.flavour == flavour]) for j in jets.values()]
        compare("tracks_per_jet_ratio", {"flavour": flavour}, *both)
    compare(
        "jets_per_event_ratio", {}, *(_mean(_jets_per_event(s, settings.events)) for s in samples.values())
    )
    return _page(settings, run, result, jets)


def _with_seed(run: Run, seed: int) -> Run:
    """The same run with another seed for its samples, and the same table of times."""
    return Run(run.recipe, run.scale, run.out, seed, run.workers, cache=run.cache, seconds=run.seconds)


def _mean(values: np.ndarray) -> Estimate:
    return Estimate(np.asarray(values.mean()), np.asarray(values.std(ddof=1) / np.sqrt(len(values))))


def _jets_per_event(sample: Sample, events: int) -> np.ndarray:
    return np.bincount(sample.column("eventNumber"), minlength=events)


def _ratio(
    result: Result, name: str, at: dict[str, float | int | str], full: Estimate, overlay: Estimate
) -> None:
    """Add overlay / full with its error, the two samples being independent but for their hard process."""
    value = float(overlay.value / full.value)
    error = value * float(np.hypot(overlay.error / overlay.value, full.error / full.value))
    metric = Metric(
        name=name, at=at, method="overlay", sample="ttbar", value=value, error=error, seeds=[result.seed]
    )
    result.metrics.append(metric)


def _page(settings: OverlaySettings, run: Run, result: Result, jets: dict[str, Jets]) -> Result:
    """The verdict, the table of ratios, and the distributions of the overlaid sample."""
    rows, worst = [], 0.0
    for metric in result.metrics:
        pull = ((metric.value or 0.0) - 1) / (metric.error or 1.0)
        worst = max(worst, abs(pull))
        where = ", ".join(f"{FLAVOURS.get(str(value), value)}" for value in metric.at.values())
        rows.append(
            [
                f"{metric.name.replace('_', ' ')} {where}",
                f"{metric.value:.4f} ± {metric.error:.4f}",
                f"{pull:+.1f}",
            ]
        )
    agrees = worst < settings.agreement
    report = Report(
        "Overlaid minimum bias against multi-parton interactions",
        f"ttbar, {result.sizes['full']:,} jets each",
    )
    report.text(
        f"The overlay **{'agrees' if agrees else 'does not agree'}** with the full simulation: the largest "
        f"of {len(rows)} pulls is {worst:.1f} standard deviations. Cuts are those of the full sample."
    )
    report.table(["overlay / full", "ratio", "pull"], rows)
    report.section("Distributions")
    for way, these in jets.items():
        caption = Caption(sample=f"ttbar, {way}")
        tracks = ak.to_numpy(ak.num(these.rows.tracks)).astype(np.int64)
        report.figure(
            distribution_figure(tracks, these.flavour, caption, label="Tracks per jet"),
            f"Tracks per jet, {way}.",
        )
        pt = np.log10(ak.to_numpy(these.rows.pt))
        figure = distribution_figure(pt, these.flavour, caption, label="$\\log_{10}(p_T$ / GeV)")
        report.figure(figure, f"Jet pT, {way}.")
    return run.finish(report, result, settings)
