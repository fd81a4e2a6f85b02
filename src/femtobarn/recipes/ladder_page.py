"""The page of `resonant-ladder`: how well events are told apart, and what that makes of a bump."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from femtobarn.evaluate.improvement import improvement_figure
from femtobarn.evaluate.metrics import Survival
from femtobarn.evaluate.numbers import percent, shown_metric
from femtobarn.evaluate.report import Cell, Report
from femtobarn.evaluate.result import Metric, Result, read_references
from femtobarn.evaluate.sculpting import Sculpting, sculpting
from femtobarn.evaluate.search_figures import passing_figure, significance_figure, toys_figure
from femtobarn.evaluate.spectrum_figures import Estimate, spectrum_figure
from femtobarn.evaluate.steps import distributions_figure
from femtobarn.evaluate.style import Caption, lines_for
from femtobarn.learn.background_model import Background
from femtobarn.recipes.run import Run, Settings
from femtobarn.statistics.bump_hunt import Hunt

__all__ = ["LABELS", "Found", "Ladder", "page", "shaping", "significance", "untied"]

Array = NDArray[np.float64]
LABELS = {
    "supervised": "supervised",
    "idealised": "idealised",
    "cwola": "CWoLa",
    "anode": "ANODE",
    "cathode": "CATHODE",
    "curtains": "CURTAINs",
    "isolation_forest": "isolation forest",
}
TITLES = {"mj1": "Mass of the lighter jet [GeV]", "dmj": "Difference of the masses [GeV]",
          "tau21_1": r"$\tau_{21}$ of the lighter jet",
          "tau21_2": r"$\tau_{21}$ of the heavier jet"}  # fmt: skip
SHAPE = ("jensen_shannon", "jensen_shannon_at_random", "false_alarms", "median_strongest")


class Found(NamedTuple):
    """One search: the hunt, counts after the cut, their background, and scores (T,) of the test events."""

    hunt: Hunt
    counts: Array
    background: Background
    score: Array


class Ladder(NamedTuple):
    """Everything found.

    Attributes:
        edges: of the spectrum, GeV.
        window: the signal region.
        ratios: of signal over background.
        found: by method and ratio.
        toys: hunts in pseudo-experiments without a signal, by method.
        before: the same without a cut, by ratio; no scores.
        test: columns of the test events (T, 5), the dijet mass last.
        truth: which are signal (T,).
        here: which are in the signal region (T,).
    """

    edges: Array
    window: tuple[float, float]
    ratios: tuple[float, ...]
    found: dict[tuple[str, float], Found]
    toys: dict[str, list[Hunt]]
    before: dict[float, Found]
    test: NDArray[np.float32]
    truth: NDArray[np.bool_]
    here: NDArray[np.bool_]

    def strongest(self, name: str) -> Array:
        """Local significance of the strongest bump of each pseudo-experiment."""
        return np.array([one.local_significance for one in self.toys[name]])

    def passing(self, name: str, kept: float) -> NDArray[np.bool_]:
        """Test background that passes a cut which keeps a share of it beside the signal region, learnt at the
        lowest ratio."""
        background = ~self.truth
        score = untied(self.found[name, min(self.ratios)].score[background])
        return np.asarray(score > np.quantile(score[~self.here[background]], 1 - kept))

    def sculpted(self, name: str, kept: float) -> Sculpting:
        """What the cut does to the spectrum of the test background."""
        return sculpting(self.test[~self.truth, -1], self.passing(name, kept), self.edges)


def untied(score: Array) -> Array:
    """Ranks (N,) of scores (N,), equal ones in random order: so that any share of events can be cut on."""
    order = np.lexsort((np.random.default_rng(1).random(len(score)), score))
    rank = np.empty(len(score))
    rank[order] = np.arange(len(score))
    return rank


def significance(name: str, ratio: float, ladder: Ladder) -> list[Metric]:
    """Of the bump: local, global by Poisson spectra of the fit, and p by pseudo-experiments of everything."""
    one = ladder.found[name, ratio].hunt
    toys = ladder.strongest(name)
    beyond = int((toys >= one.local_significance).sum())
    at: dict[str, float | int | str] = {"s_over_b": ratio}
    values: dict[str, tuple[float, float | None]] = {
        "local_significance": (one.local_significance, None),
        "global_p": (one.tail.p, 0.5 * (one.tail.high - one.tail.low)),
        "excess": (one.excess, None),
        "calibrated_p": (
            (1 + beyond) / (1 + len(toys)),
            float(np.sqrt((1 + beyond) * (len(toys) - beyond + 1) / (len(toys) + 3))) / (len(toys) + 2),
        ),
    }
    return [
        Metric(name=what, at=at | ({"toys": len(toys)} if what == "calibrated_p" else {}), method=name,
               sample="W' to XY", value=value, error=error)
        for what, (value, error) in values.items()
    ]  # fmt: skip


def shaping(kept: float, name: str, ladder: Ladder) -> list[Metric]:
    """What the cut does to the spectrum where there is no signal: a distance, beside that of cuts at random,
    and how often Poisson spectra of the fit call the background a bump."""
    shape = ladder.sculpted(name, kept)
    toys = ladder.toys[name]
    alarms = sum(one.tail.p < 0.05 for one in toys)
    rate = (alarms + 1) / (len(toys) + 2)
    at: dict[str, float | int | str] = {"efficiency": kept, "s_over_b": 0.0}
    return [
        Metric(name="jensen_shannon", at=at, method=name, sample="dijets", value=shape.distance,
               error=shape.error),
        Metric(name="jensen_shannon_at_random", at=at, method=name, sample="dijets",
               value=shape.chance, error=shape.spread),
        Metric(name="false_alarms", at={"size": 0.05, "toys": len(toys)}, method=name, sample="dijets",
               value=alarms / max(len(toys), 1), error=float(np.sqrt(rate * (1 - rate) / (len(toys) + 3)))),
        Metric(name="median_strongest", at={"toys": len(toys)}, method=name, sample="dijets",
               value=float(np.median(ladder.strongest(name))) if toys else None,
               note=f"local significance; {-ndtri(1 / (1 + len(toys))):.2f} is the most that can be claimed"),
    ]  # fmt: skip


def page(kept: float, run: Run, result: Result, ladder: Ladder, settings: Settings) -> Result:
    """Answer, tables, SIC, ladder of significance, spectra, and what happens without a signal."""
    report = Report("A resonance with less and less knowledge of it", f"W' → XY in dijets, {run.scale} scale")
    report.text(_answer(ladder))
    report.text(
        "**Supervised** learns signal against background. **Idealised** tells the data of the signal region "
        "from a perfect template, **CWoLa** from the sidebands, **CATHODE** from events drawn from a density "
        "of the sidebands, **CURTAINs** from sideband events carried there. **ANODE** compares two "
        "densities; the **isolation forest** sees the data alone. All read the mass of the lighter jet, the "
        "difference of both masses, and τ21 of both. SIC is measured in the signal region of events that "
        "nobody learnt; its errors are statistical and of the parts trained on, in quadrature."
    )
    high = [ratio for ratio in ladder.ratios if ratio > 0]
    head = ["S/B", *LABELS.values()]

    def table(title: str, what: str, **at: float) -> None:
        """A row for each share of signal."""
        rows = [[percent(ratio), *(_cell(result.find(what, name, s_over_b=ratio, **at)) for name in LABELS)]
                for ratio in ladder.ratios]  # fmt: skip
        report.table(head, rows, title)

    table("SIC at FPR 1e-2", "sic", fpr=1e-2)
    table("SIC at FPR 1e-3", "sic", fpr=1e-3)
    table("AUC", "auc")
    published = {one.method: one for one in read_references(Path(__file__).with_name("resonant_ladder.csv"))}
    row = [Cell(f"~{published[name].value:g}" if name in published else "–") for name in LABELS]
    report.table(head, [[percent(0.0064), *row]],
                 "Published for the LHC Olympics' own, much larger sample: the highest SIC anywhere, so "
                 "not to be held against the numbers above. " + next(iter(published.values())).source + ".",
    )  # fmt: skip
    report.section("From the score to the bump")
    toys = max(len(hunts) for hunts in ladder.toys.values())
    report.text(
        f"The cut keeps {percent(kept)} of the sidebands of each part of the data, by a score that learnt "
        "the other parts. The dijet function is fitted beside the signal region, and all windows of two to "
        f"five bins are searched. The p-value counts {toys} pseudo-experiments without a signal, drawn from "
        "simulated background, none twice, in each of which all was trained again: none can be below "
        f"1/{toys + 1}. What is locally stronger than all of them is significant to that level and no "
        "further. They share half of their events with each other and with the data, so that the error given "
        "is too small. Each number is one experiment, which fluctuates by about one standard deviation."
    )
    table("Strongest bump: local significance", "local_significance")
    table("Its p-value by pseudo-experiments with all trainings", "calibrated_p")
    table("Its global p-value by Poisson spectra of the fit, which know nothing of the cut", "global_p")
    _figures(report, result, ladder, kept, high)
    return run.finish(report, result, settings)


def _answer(ladder: Ladder) -> str:
    """What is found at the largest share of signal."""
    top = max(ladder.ratios)
    parts = []
    for name in ("supervised", "idealised", "cwola", "anode", "cathode", "curtains"):
        one = ladder.found[name, top].hunt
        centre = np.sqrt(ladder.edges[one.low] * ladder.edges[one.high]) / 1000
        parts.append(f"{LABELS[name]} {one.local_significance:.1f} at {centre:.1f} TeV")
    return (f"At S/B = {percent(top)} the strongest bump after the cut has a local significance of "
            f"{', '.join(parts)}; {_plain(ladder, top):.1f} is s/√b before it.")  # fmt: skip


def _plain(ladder: Ladder, ratio: float) -> float:
    """s/sqrt(b) in the signal region before the cut."""
    low, high = np.searchsorted(ladder.edges, np.array(ladder.window) - 1)
    return float(ratio * np.sqrt(ladder.before[ratio].counts[low:high].sum() / (1 + ratio)))


def _figures(report: Report, result: Result, ladder: Ladder, kept: float, high: list[float]) -> None:
    lines, edges = lines_for(list(LABELS), LABELS), ladder.edges / 1000
    window = (ladder.window[0] / 1000, ladder.window[1] / 1000)
    sample = "$W' → XY$, 3.5 TeV, and QCD dijets"
    heights = {name: np.array([ladder.found[name, r].hunt.local_significance for r in ladder.ratios])
               for name in LABELS}  # fmt: skip
    plain = np.array([_plain(ladder, r) for r in ladder.ratios])
    report.figure(
        significance_figure(ladder.ratios, heights, lines, Caption(sample=sample), plain),
        "The strongest bump after the cut, one experiment each; at no signal it is what chance and the cut "
        "make.", "ladder",
    )  # fmt: skip
    top = max(ladder.ratios)
    seen = {name: float(heights[name][list(ladder.ratios).index(top)]) for name in LABELS}
    report.figure(
        toys_figure({name: ladder.strongest(name) for name in LABELS}, seen, lines, Caption(sample=sample)),
        f"Pseudo-experiments without a signal, and crosses: the data at S/B = {percent(top)}.", "toys",
    )  # fmt: skip
    report.section("Significance improvement")
    for ratio in high:
        curves = {}
        for name in LABELS:
            score = ladder.found[name, ratio].score[ladder.here]
            truth = ladder.truth[ladder.here]
            curves[name] = Survival(score[truth], name="signal"), Survival(score[~truth], name="background")
        report.figure(
            improvement_figure(curves, lines, Caption(sample=f"S/B = {percent(ratio)}, signal region")),
            "SIC of the first part's training; bands are statistical.", "sic",
        )  # fmt: skip
    report.section("Spectra")
    whole = ladder.before[top]
    report.figure(
        spectrum_figure(
            edges, whole.counts, Estimate(whole.background.expected, whole.background.error),
            Caption(sample=f"no cut, S/B = {percent(top)}"), label="fit beside the window",
            window=(whole.hunt.low, whole.hunt.high), note=f"local {whole.hunt.local_significance:.1f} σ",
        ),
        f"Before the cut: {whole.counts.sum():,.0f} events.", "spectrum-before", small=True,
    )  # fmt: skip
    for name in LABELS:
        one = ladder.found[name, top]
        report.figure(
            spectrum_figure(
                edges, one.counts, Estimate(one.background.expected, one.background.error),
                Caption(sample=f"{LABELS[name]}, S/B = {percent(top)}, {percent(kept)} kept"),
                label="fit beside the window", window=(one.hunt.low, one.hunt.high),
                note=f"local {one.hunt.local_significance:.1f} σ",
            ),
            f"After the cut on {LABELS[name]}; grey: the strongest bump.", f"spectrum-{name}", small=True,
        )  # fmt: skip
    report.section("Does the cut shape the background?")
    rows = []
    for name in LABELS:
        cells = [result.find(what, name, "dijets") for what in SHAPE]
        rows.append([LABELS[name], *map(_cell, cells)])
    report.table(
        ["", "Jensen-Shannon distance", "of cuts at random", "global p < 5 %", "median strongest bump"], rows,
        "Spectrum of the test background after the cut against that before (base 2), learnt without a "
        "signal; the error is the spread of cuts at random. Right: the pseudo-experiments without a signal.",
    )  # fmt: skip
    coarse = np.geomspace(edges[0], edges[-1], 9)
    report.figure(
        passing_figure(coarse, ladder.test[~ladder.truth, -1] / 1000.0,
                       {name: ladder.passing(name, kept) for name in LABELS}, lines, window,
                       Caption(sample=f"QCD dijets, {percent(kept)} kept"), kept),
        "A flat line leaves the spectrum's shape as it was. Grey: the signal region.", "sculpting",
    )  # fmt: skip
    report.section("What all read")
    for k, (name, label) in enumerate(TITLES.items()):
        report.figure(
            distributions_figure(ladder.test[ladder.here, k], ladder.truth[ladder.here], label,
                                 Caption(sample=sample)),
            "Test events in the signal region.", name, small=True,
        )  # fmt: skip


def _cell(metric: Metric | None) -> Cell:
    return Cell("–" if metric is None else shown_metric(metric))
