"""The page of the search with rapidity-mass matrices: gains, scores, spectra, bump hunts and limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from femtobarn.evaluate.anomaly_figures import (
    Stack,
    alarm_figure,
    gain_figure,
    score_figure,
    weighted_spectrum_figure,
)
from femtobarn.evaluate.numbers import percent, shown, shown_metric
from femtobarn.evaluate.report import Cell, Report
from femtobarn.evaluate.result import Metric, Result
from femtobarn.evaluate.spectrum_figures import mass_limit_figure, tomography_figure
from femtobarn.evaluate.style import Caption, lines_for
from femtobarn.recipes.rmm_gains import SUM, Background
from femtobarn.recipes.rmm_samples import SIGNALS, SQRT_S, Events
from femtobarn.recipes.rmm_scores import OURS, PUBLISHED
from femtobarn.recipes.rmm_spectra import Searched
from femtobarn.recipes.run import Run

__all__ = ["INCLUSIVE", "METHODS", "Outcome", "gaining", "page"]

Array = NDArray[np.float64]
INCLUSIVE = "all events"
METHODS = {PUBLISHED: "loss", OURS: "density", SUM: "sum $p_T$"}
"""What makes regions: the autoencoder's loss, the density of sums over the matrix, the scalar sum."""
TEX = {"jj": "m_{jj}", "jb": "m_{jb}", "jmu": r"m_{j\mu}", "je": "m_{je}", "jgamma": r"m_{j\gamma}",
       "bb": "m_{bb}", "bmu": r"m_{b\mu}", "be": "m_{be}", "bgamma": r"m_{b\gamma}"}  # fmt: skip
PLAIN = {"jj": "jj", "jb": "jb", "jmu": "jμ", "je": "je", "jgamma": "jγ", "bb": "bb", "bmu": "bμ", "be": "be",
         "bgamma": "bγ"}  # fmt: skip
COLOURS = {"W + jets": "#9c9ca1", "Z + jets": "#7a21dd", "top pairs": "#f89c20", "single top": "#964a8b",
           "dibosons": "#5790fc", "dijets": "#e42536"}  # fmt: skip


class Outcome(NamedTuple):
    """All that the search made.

    Attributes:
        background: searched.
        labels: of its sources, in their order.
        signals: by name, without what was learnt.
        scores: of `background` and of each signal, first seed.
        windows: mass window of each signal, GeV.
        regions: which background events are in each region.
        spectra: searched, by region and mass.
    """

    background: Background
    labels: list[str]
    signals: Mapping[str, Events]
    scores: Mapping[str, Array]
    windows: Mapping[str, tuple[float, float]]
    regions: Mapping[str, NDArray[np.bool_]]
    spectra: Mapping[str, Mapping[str, Searched]]


def page(settings: Any, run: Run, result: Result, outcome: Outcome) -> Result:
    """The answer, then gains, scores, and the spectra of each region."""
    count = sum(len(some) for some in outcome.spectra.values())
    report = Report("Resonances in anomalous events",
                    f"{len(outcome.background.weight):,} simulated events, {run.scale} scale")  # fmt: skip
    caption = Caption(sample=rf"$\sqrt{{s}}$ = {SQRT_S / 1000:g} TeV, lepton above 60 GeV")
    _answer(settings, report, result, count)
    _gains(settings, report, result, outcome, caption)
    _scores(settings, report, result, outcome, caption)
    _hunts(settings, report, outcome, caption)
    for region, spectra in outcome.spectra.items():
        _region(settings, report, region, spectra)
    return run.finish(report, result, settings)


def gaining(result: Result, method: str) -> list[str]:
    """Signals whose significance rises in some region by more than the error, or whose limit says so."""
    found = [
        metric.sample for metric in result.metrics
        if metric.name == "gain" and metric.method == method and _surely(metric) > 1
    ]  # fmt: skip
    return list(dict.fromkeys(found))


def _surely(metric: Metric) -> float:
    """A gain less its error, or its lower limit."""
    if metric.value is None:
        return metric.lower_limit or 0.0
    return metric.value - _error(metric)


def _error(metric: Metric) -> float:
    return float(np.hypot(metric.error or 0, metric.error_seed or 0))


def _summary(settings: Any, result: Result, method: str) -> str:
    """How many signals gain by one method, and the surest gain, in words."""
    text = f"**{len(gaining(result, method))} of {len(settings.benchmarks)}**"
    known = [one for one in result.metrics if one.name == "gain" and one.method == method and one.value]
    if not known:
        return text
    best = max(known, key=_surely)
    return (
        f"{text}, most **{shown_metric(best)}** times, {SIGNALS[best.sample].text} in the region of "
        f"{best.at['region']:g} pb"
    )


def _answer(settings: Any, report: Report, result: Result, count: int) -> None:
    inputs = _value(result.find("inputs", PUBLISHED, "all"))
    report.text(
        f"An autoencoder of **{inputs:.0f} cells** of the rapidity-mass matrix learns a simulated cocktail, "
        "and of another one the events it rebuilds worst are searched in nine pair masses. Signals whose "
        f"significance these regions raise outside errors: {_summary(settings, result, PUBLISHED)}. Regions "
        "of the same cross-sections made by the density that a flow gives 46 sums over the matrix: "
        f"{_summary(settings, result, OURS)}. By a plain cut on the sum of all transverse momenta, which "
        f"learns nothing: {_summary(settings, result, SUM)}."
    )
    alarm = result.find("false_alarm_rate", "search", "background", size=0.05)
    if alarm:
        rate = shown(100 * _value(alarm), 100 * (alarm.error or 0))
        report.text(
            f"{count} spectra are searched; without a signal the smallest of their global p-values raises "
            f"an alarm meant to be 5 % in **{rate} %** of pseudo-experiments."
        )
    share = result.find("learnt_share", "simulation", "background")
    report.text(
        "There are no data here: each source is simulated with more of the rare, hard events, and counts "
        "with its weights. The data that are searched are drawn from smooth functions fitted to the weighted "
        f"spectra, at {settings.luminosity:g}/fb. So they hold no bump, and no shape that the functions "
        "cannot follow. ATLAS learns from 1 % of its data. The events learnt here, simulated for that alone, "
        f"are a share of {100 * _value(share):.2g} %: {share.note if share else ''}. "
        "Multijet events with true leptons of heavy quarks are left out, and there is no underlying event. "
        "Cells of rapidities are multiplied by 0.15, as they are in the sums over the matrix, and the sizes "
        "of the network's layers are ours."
    )


def _gains(settings: Any, report: Report, result: Result, outcome: Outcome, caption: Caption) -> None:
    """Table of gains, and a figure for each region."""
    report.section("What the regions gain")
    rows = []
    for name in outcome.signals:
        signal, (low, high) = SIGNALS[name], outcome.windows[name]
        head = Cell(signal.text, f"m({PLAIN[signal.mass]}) {low:.0f} to {high:.0f} GeV")
        for method, text in METHODS.items():
            row: list[Any] = [head if method == PUBLISHED else "", text.replace("$p_T$", "pT")]
            for region in settings.regions:
                passing = result.find("signal_efficiency", method, name, region=region)
                row.append(_cell(result.find("gain", method, name, region=region), passing))
            rows.append(row)
    report.table(
        ["signal", "regions by", *(f"{region:g} pb" for region in settings.regions)], rows,
        "Asimov significance in the mass window with the cut over that without, for a signal of s/√b = 2 "
        "before; small: share of the signal in the window that passes. Errors: simulated events and, with "
        "several trainings, their spread. Loss: of the autoencoder of all cells; density: of a flow of 46 "
        "sums over the matrix; sum pT: of all transverse momenta, which learns nothing. > : too few "
        "simulated background events pass, 95 % limit.",
    )  # fmt: skip
    labels = [_drawn(name) for name in outcome.signals]
    lines = lines_for(list(METHODS), METHODS)
    for region in settings.regions:
        gains: dict[str, dict[str, tuple[float, float]]] = {method: {} for method in METHODS}
        for method, some in gains.items():
            for name in outcome.signals:
                metric = result.find("gain", method, name, region=region)
                if metric and metric.value is not None:
                    some[_drawn(name)] = metric.value, _error(metric)
                elif metric and metric.lower_limit is not None:
                    some[_drawn(name)] = metric.lower_limit, float("nan")
        report.figure(gain_figure(gains, labels, lines, caption),
                      f"Gain in significance in the mass window of each signal, regions of {region:g} pb; "
                      "arrows are lower limits.",
                      f"gain-{region:g}".replace(".", ""))  # fmt: skip


def _scores(settings: Any, report: Report, result: Result, outcome: Outcome, caption: Caption) -> None:
    """Losses of cocktail and signals with the cuts, and what is in each region."""
    report.section("Loss and regions")
    background = outcome.background
    label = np.array(outcome.labels)[background.source]
    parts = []
    for name in sorted(set(outcome.labels), key=lambda name: float(background.weight[label == name].sum())):
        mine = label == name
        parts.append(Stack(outcome.scores["background"][mine], background.weight[mine], COLOURS[name], name))
    chosen = list(outcome.signals)[:4]
    texts = {name: _drawn(name).partition(", ")[0].replace("pairs of ", "") for name in chosen}
    cuts = {f"{region:g} pb": _value(result.find("cut", PUBLISHED, "background", region=region))
            for region in settings.regions}  # fmt: skip
    signals = {name: outcome.scores[name] for name in chosen}
    figure = score_figure(parts, signals, lines_for(chosen, texts), cuts, caption,
                          variable="ln(mean |x − x̂|)")  # fmt: skip
    report.figure(figure, "Loss of the cocktail, and of signals of 1 pb after the selection; lines: where "
                  "the regions begin. First training.", "loss")  # fmt: skip
    rows = []
    for place, text in _sources(outcome):
        row: list[Any] = [text]
        for which in outcome.regions.values():
            weight = background.weight[which & np.isin(background.source, place)]
            row.append(Cell(f"{weight.sum():.3g}", f"{len(weight):,} simulated"))
        rows.append(row)
    report.table(["cross-section [pb]", *outcome.regions], rows, "Searched, after the selection.")
    cut_rows = [[f"{region:g} pb", _cell(result.find("cut", PUBLISHED, "background", region=region))]
                for region in settings.regions]  # fmt: skip
    report.table(["region", "cut on the loss"], cut_rows, "Small: ATLAS, for its data and its network.")


def _sources(outcome: Outcome) -> list[tuple[list[int], str]]:
    """Places of the sources of each label."""
    labels = dict.fromkeys(outcome.labels)
    return [([k for k, other in enumerate(outcome.labels) if other == label], label) for label in labels]


def _hunts(settings: Any, report: Report, outcome: Outcome, caption: Caption) -> None:
    """Global p-values of all spectra, and the windows of the strongest."""
    report.section("Bump hunt")
    masses = {mass: f"${tex}$" for mass, tex in TEX.items()}
    p = {region: {mass: one.hunt.tail.p for mass, one in spectra.items()}
         for region, spectra in outcome.spectra.items()}  # fmt: skip
    names = list(outcome.spectra)
    report.figure(alarm_figure(p, masses, lines_for(names), caption),
                  "Global p-value of the strongest window of each spectrum of pseudo-data. Fit and choice of "
                  f"the function are repeated in each of {settings.toys:,} pseudo-experiments.",
                  "global-p")  # fmt: skip
    every = [
        (one.hunt.tail.p, region, mass)
        for region, some in outcome.spectra.items()
        for mass, one in some.items()
    ]
    if every:
        smallest, region, mass = min(every)
        one = outcome.spectra[region][mass]
        report.figure(
            tomography_figure(one.truth.edges / 1000, one.hunt, caption, variable=f"${TEX[mass]}$ [TeV]"),
            f"All windows of the spectrum with the smallest global p-value, {shown(smallest)}: "
            f"m({PLAIN[mass]}), {region}. {len(every)} spectra were searched.", "windows",
        )  # fmt: skip
    rows = []
    for region, spectra in outcome.spectra.items():
        for mass, one in spectra.items():
            edges, tail = one.truth.edges, one.hunt.tail
            rows.append([
                f"{PLAIN[mass]}, {region}", f"{edges[0]:.0f} to {edges[-1]:.0f}", one.terms,
                percent(one.truth.probability), f"{edges[one.hunt.low]:.0f} to {edges[one.hunt.high]:.0f}",
                f"{one.hunt.local_significance:.1f}",
                Cell(shown(tail.p), f"± {shown(0.5 * (tail.high - tail.low))}"),
            ])  # fmt: skip
    report.table(
        ["spectrum", "GeV", "parameters", "fit to simulation, p", "best window", "local σ", "global p"], rows,
        "What is not listed has too few simulated events to be fitted.",
    )  # fmt: skip


def _region(settings: Any, report: Report, region: str, spectra: Mapping[str, Searched]) -> None:
    """Spectra and limits of one region."""
    report.section(f"Spectra: {region}", folded=region != "1 pb")
    caption = Caption(sample=rf"$\sqrt{{s}}$ = {SQRT_S / 1000:g} TeV, {region}")
    name = region.replace(" ", "-").replace(".", "")
    for mass, one in spectra.items():
        truth, edges = one.truth, one.truth.edges / 1000
        fb = tuple(1000 * part for part in truth.simulated)
        figure = weighted_spectrum_figure(
            edges, (fb[0], fb[1]), 1000 * truth.expected, (one.spectrum.counts, one.expected), caption,
            label=f"fit, {truth.terms} parameters", window=(one.hunt.low, one.hunt.high),
            note=f"$\\chi^2$/dof {truth.deviance:.1f}/{truth.dof}\nglobal $p$ = {one.hunt.tail.p:.2g}",
            variable=f"${TEX[mass]}$ [TeV]",
        )  # fmt: skip
        report.figure(figure, f"m({PLAIN[mass]}), {region}: simulation and fit; pulls of the simulation "
                      f"(points) and of pseudo-data of {settings.luminosity:g}/fb (bars); grey: the "
                      "strongest window.",
                      f"spectrum-{name}-{mass}", small=True)  # fmt: skip
    width = settings.widths[0]
    for mass, one in spectra.items():
        figure = mass_limit_figure(
            one.mass / 1000, one.limits[width], caption, quantity=r"Limit on $\sigma A \epsilon B$ [fb]",
            scale=1 / settings.luminosity, variable=f"Signal mass ${TEX[mass][2:].strip('{}')}$ [TeV]",
            note=f"width {percent(width)}, resolution {percent(settings.resolution)}",
        )  # fmt: skip
        report.figure(figure, f"95 % CLs limits on a Gaussian signal in m({PLAIN[mass]}), {region}.",
                      f"limit-{name}-{mass}", small=True)  # fmt: skip


def _drawn(name: str) -> str:
    """What a signal is called in figures, whose fonts have no raised plus sign."""
    return SIGNALS[name].text.replace("⁺", "$^+$")


def _value(metric: Metric | None) -> float:
    return metric.value if metric and metric.value is not None else float("nan")


def _cell(metric: Metric | None, efficiency: Metric | None = None) -> Cell:
    """A number with the published one, or with an efficiency, small below it."""
    if metric is None:
        return Cell("–")
    note = "" if metric.reference is None else shown(metric.reference)
    if efficiency and efficiency.value is not None:
        note = percent(efficiency.value)
    if metric.value is None:
        return Cell("–" if metric.lower_limit is None else f"> {metric.lower_limit:.2g}", note)
    return Cell(shown_metric(metric), note)
