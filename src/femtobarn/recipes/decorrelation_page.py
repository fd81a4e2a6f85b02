"""The page of `mass_decorrelation`: the trade, the spectra, and what all scores read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from femtobarn.evaluate.metrics import Estimate
from femtobarn.evaluate.numbers import percent, shown_metric
from femtobarn.evaluate.report import Cell, Report
from femtobarn.evaluate.result import Metric, Result
from femtobarn.evaluate.sculpting import Point, shapes_figure, trade_figure
from femtobarn.evaluate.steps import distributions_figure
from femtobarn.evaluate.style import METHOD_COLOURS, METHOD_MARKERS, Caption, Line, lines_for
from femtobarn.recipes.ladder_page import TITLES
from femtobarn.recipes.run import Run

__all__ = ["KINDS", "Judged", "Kind", "Variant", "page"]

Array = NDArray[np.float64]
Events = NDArray[np.float32]


class Kind(NamedTuple):
    """A score before anything is done to it: what the reader sees, and the signal it is judged by."""

    label: str
    signal: str


KINDS = {
    "vae": Kind("VAE", "W' to XX"),
    "isolation_forest": Kind("isolation forest", "W' to XX"),
    "supervised": Kind("supervised trees", "W' to XY"),
}
REMEDIES = {"": "o", "DisCo": "^", "quantile": "s"}
SAMPLE = "QCD dijets, 1 % kept"
SIGNALS = {"W' to XX": "W' → XX, 500 GeV both", "W' to XY": "W' → XY, 500 and 100 GeV"}


class Variant(NamedTuple):
    """What is trained once: a kind of score, and the strength of the distance correlation in its loss."""

    kind: str
    strength: float

    @property
    def name(self) -> str:
        """The method's name in metrics, without ranks."""
        return f"{self.kind}_disco_{self.strength:g}" if self.strength else self.kind


class Judged(NamedTuple):
    """A score of every event: its kind, scores of background and signals by part, and what passes the cut."""

    kind: str
    parts: list[dict[str, Array]]
    passed: dict[float, NDArray[np.bool_]]


def shown_as(name: str) -> str:
    """What the reader sees of a method's name."""
    for kind, about in KINDS.items():
        if name.startswith(kind):
            rest = name.removeprefix(kind)
            if rest.startswith("_disco_"):
                return f"{about.label}, DisCo {rest.removeprefix('_disco_')}"
            return f"{about.label}, quantile" if rest else about.label
    return name


def page(settings: Any, run: Run, result: Result, judged: dict[str, Judged], background: Events,
         signals: dict[str, Events], edges: Array) -> Result:  # fmt: skip
    """Answer, table, trade, spectra, inputs."""
    report = Report("Scores that do not know the mass", f"{len(background):,} dijets, {run.scale} scale")
    judged = dict(sorted(judged.items(), key=lambda item: list(KINDS).index(item[1].kind)))
    fulfilled = [name for name in judged if _fulfils(result, name, settings.limit, settings.kept)]
    _answer(report, settings, result, fulfilled)
    _table(report, settings, result, judged, fulfilled)
    _trade(report, settings, result, judged)
    _spectra(report, judged, background, edges)
    _inputs(report, background, signals)
    return run.finish(report, result, settings)


def _answer(report: Report, settings: Any, result: Result, fulfilled: list[str]) -> None:
    """What was asked for, and what does it."""
    chance, highest = _random(result, "jsd_random"), _random(result, "jsd_random_highest")
    report.text(
        f"Asked for beforehand: after a cut that keeps 1 % of the background, a Jensen-Shannon distance of "
        f"the dijet spectrum below **{settings.limit:g}**, and at least **{percent(settings.kept)}** of the "
        f"significance improvement. Fulfilled by **{', '.join(map(shown_as, fulfilled)) or 'none'}**. Cuts "
        f"at random are at {shown_metric(chance)}, 95 % of them below {highest.value:.3f}."
    )
    report.text(
        "All scores read the mass of the lighter jet, the difference of both masses, and τ21 of both; none "
        "reads the dijet mass. **DisCo** adds to the loss of the variational autoencoder the distance "
        "correlation of score and dijet mass, times a strength. **Quantile** replaces a score by its rank at "
        "fixed mass, calibrated on background that neither learnt nor is cut on. **Supervised trees** know "
        "the signal of the LHC Olympics, W' to XY of 500 and 100 GeV; what is rare finds the other one, W' "
        "to XX of 500 GeV both."
    )


def _random(result: Result, name: str) -> Metric:
    """Distances after cuts at random that keep 1 %."""
    metric = result.find(name, "vae", efficiency=0.01)
    assert metric is not None
    return metric


def _table(report: Report, settings: Any, result: Result, judged: dict[str, Judged],
           fulfilled: list[str]) -> None:  # fmt: skip
    """Distances and significances of every score."""
    rows = []
    for name, one in judged.items():
        own = KINDS[one.kind].signal
        cells = [result.find("jsd", name, efficiency=at) for at in (0.1, 0.01)]
        cells += [result.find("sic", name, signal, fpr=0.01) for signal in SIGNALS]
        cells += [result.find("sic_kept", name, own, fpr=at) for at in (0.1, 0.01)]
        rows.append([Cell(shown_as(name), strong=name in fulfilled), *map(_cell, cells)])
    report.table(
        ["", "distance, 10 %", "distance, 1 %", *(f"SIC, {name}" for name in SIGNALS), "SIC kept, 10 %",
         "SIC kept, 1 %"],
        rows,
        f"Mean of {len(settings.seeds)} trainings of each score. Errors: bootstrap of the events and spread "
        "of the trainings in quadrature. SIC in the signal region, 3.3 to 3.7 TeV, at a false positive rate "
        "of 1 %; kept: over that of the same score without decorrelation, of the signal it is judged by.",
    )  # fmt: skip


def _trade(report: Report, settings: Any, result: Result, judged: dict[str, Judged]) -> None:
    """Distance of the spectrum against significance kept."""
    report.section("What it costs")
    kinds = {
        kind: Line(METHOD_COLOURS[k + 1], "-", METHOD_MARKERS[k], about.label)
        for k, (kind, about) in enumerate(KINDS.items())
    }
    points = []
    for name, one in judged.items():
        distance = result.find("jsd", name, efficiency=0.01)
        share = result.find("sic_kept", name, fpr=0.01)
        assert distance is not None
        remedy, _, text = shown_as(name).partition(", ")[2].partition(" ")
        points.append(Point(one.kind, remedy, text, _estimate(distance), _estimate(share)))
    chance = _random(result, "jsd_random")
    report.figure(
        trade_figure(points, kinds, REMEDIES, Caption(sample=SAMPLE), limit=settings.limit,
                     kept=settings.kept, chance=(chance.value or 0, chance.error or 0)),
        "Green: what was asked for. Grey: the distance of cuts at random. Numbers: the strength of DisCo.",
        "trade",
    )  # fmt: skip


def _spectra(report: Report, judged: dict[str, Judged], background: Events, edges: Array) -> None:
    """What cuts on each kind of score make of the spectrum."""
    report.section("Spectra after the cut")
    for kind, about in KINDS.items():
        disco = [name for name, one in judged.items() if one.kind == kind and "_disco_" in name]
        chosen = [kind, *disco[-1:], f"{kind}_quantile"]
        lines = lines_for(chosen, {name: shown_as(name) for name in chosen})
        report.figure(
            shapes_figure(edges / 1000, background[:, -1].astype(np.float64) / 1000,
                          {name: judged[name].passed[0.01] for name in chosen}, lines,
                          Caption(sample=SAMPLE), window=(3.3, 3.7)),
            f"{about.label[0].upper()}{about.label[1:]}, first training: spectra before and after the cut. "
            "Below: their ratio; flat is blind. Grey band: the signal region.",
            f"spectrum-{kind}",
        )  # fmt: skip


def _inputs(report: Report, background: Events, signals: dict[str, Events]) -> None:
    """What all scores read, of the background and of each signal."""
    report.section("What all read")
    for k, (column, label) in enumerate(TITLES.items()):
        for signal, events in signals.items():
            both = np.concatenate([background, events])
            truth = np.arange(len(both)) >= len(background)
            report.figure(
                distributions_figure(both[:, k], truth, label, Caption(sample=SIGNALS[signal])),
                "All events.", f"{column}-{signal[-2:].lower()}", small=True,
            )  # fmt: skip


def _fulfils(result: Result, name: str, limit: float, kept: float) -> bool:
    """Whether a method's spectrum and significance are what was asked for."""
    distance = result.find("jsd", name, efficiency=0.01)
    share = result.find("sic_kept", name, fpr=0.01)
    if distance is None or share is None or distance.value is None or share.value is None:
        return False
    return distance.value < limit and share.value >= kept


def _estimate(metric: Metric | None) -> Estimate:
    """Value and both errors in quadrature; one without an error if there is nothing to compare with."""
    if metric is None:
        return Estimate(np.asarray(1.0), np.asarray(0.0))
    value = np.nan if metric.value is None else metric.value
    return Estimate(np.asarray(value), np.asarray(np.hypot(metric.error or 0, metric.error_seed or 0)))


def _cell(metric: Metric | None) -> Cell:
    return Cell("–" if metric is None else shown_metric(metric))
