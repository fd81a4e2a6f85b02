"""The page of `higgs-sensitivity`: significances, what machine learning gains, the templates behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
from matplotlib.figure import Figure

from femtobarn.evaluate.fit_figures import stack_figure
from femtobarn.evaluate.gain import gain_figure
from femtobarn.evaluate.numbers import shown_metric
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Result
from femtobarn.evaluate.style import Caption
from femtobarn.recipes.higgs_channels import CHANNELS
from femtobarn.recipes.higgs_samples import SOURCES
from femtobarn.recipes.higgs_templates import ANALYSES, Scored, model_of, templates, without_empty
from femtobarn.recipes.run import Run
from femtobarn.statistics.postfit import yields

__all__ = ["page"]

DRAWN = ("cuts", "boosted_trees", "event_transformer")

TITLES = {"vh": r"$VH \to b\bar{b}$", "gamgam": r"$H \to \gamma\gamma$", "tautau": r"$H \to \tau\tau$"}
PLAIN = {
    "vh": "VH → bb, 0, 1 and 2 leptons", "gamgam": "H → γγ", "tautau": "H → ττ, lepton and hadrons",
    "vh_0lepton": "VH → bb, 0 leptons", "vh_1lepton": "VH → bb, 1 lepton", "vh_2lepton": "VH → bb, 2 leptons",
}  # fmt: skip
MASSES = {"m_bb": r"$m_{bb}$ [GeV]", "m_yy": r"$m_{\gamma\gamma}$ [GeV]", "m_tautau": r"$m_{\tau\tau}$ [GeV]"}


def page(
    settings: Any,
    run: Run,
    result: Result,
    rows: Mapping[str, Mapping[str, ak.Array]],
    scored: Mapping[str, Mapping[str, Scored]],
    labels: Mapping[str, str],
    steps: Sequence[tuple[str, str]],
) -> Result:
    """Write it; `scored` has what each method of the first seed said, channel by channel."""
    report = Report(
        "What machine learning buys in sigma", f"{settings.luminosity:g}/fb at 13.6 TeV, {run.scale} scale"
    )
    analyses = [name for name in PLAIN if result.find("significance", "cuts", channel=name)]
    best = [max(labels, key=lambda m: _value(result, "significance", m, name)) for name in analyses]
    for name, method in zip(analyses, best, strict=True):
        gain, data = (
            result.find(what, method, channel=name) for what in ("significance_ratio", "extra_data")
        )
        if gain and data and data.value is not None and name in ("vh", *set(analyses) - set(ANALYSES["vh"])):
            report.text(
                f"{PLAIN[name]}: the best, {labels[method]}, has **{shown_metric(gain)}** times the "
                f"significance of cuts and a fit of the mass; these would need {100 * data.value:.0f} % more "
                "data for it."
            )
    report.text(
        "Every method sees the same simulated events, luminosity and systematic uncertainties. "
        "Each is trained five times, and every event is judged by a training that has not seen it "
        "at all; the events of one half are counted in bins chosen on the other half. "
        "Errors are those of the limited simulation, from bootstrap samples common to all methods, so that "
        "ratios know them to cancel; the spread over seeds is added. Cross-sections are Pythia's, times "
        "the factors of higher orders in the table below."
    )
    tables = {
        "significance": ("Expected significance", analyses),
        "significance_ratio": ("Significance over cuts'", analyses),
        "auc": ("Area under the ROC curve", list(rows)),
    }
    for what, (title, places) in tables.items():
        table = []
        for name in places:
            table.append([PLAIN[name], *(_cell(result, what, method, channel=name) for method in labels)])
        report.table([title, *labels.values()], table)
    report.table(
        ["Significance over that of the step before", *(PLAIN[name] for name in analyses)],
        [
            [f"{labels[new]} over {labels[old].lower()}",
             *(_cell(result, "significance_step", new, channel=name, over=old) for name in analyses)]
            for old, new in steps
        ],
        "Errors are paired: both in the same bootstrap samples.",
    )  # fmt: skip
    report.table(
        ["More data that cuts would need", *labels.values(), "published"],
        [_extra(result, name, labels) for name in analyses],
        "Published: Nature 560, 41, Table 1, boosted trees against cuts in 2011 and 2012.",
    )
    caption = Caption(sample=f"√s = 13.6 TeV, {settings.luminosity:g} fb$^{{-1}}$")
    shown = {name: TITLES[name] for name in analyses if name in TITLES}
    quantity = "Significance over that of cuts"
    figure = gain_figure(result, "significance_ratio", shown, labels, caption, quantity=quantity)
    report.figure(figure, f"{quantity}. Dashed: published for boosted trees.", "gain")
    for channel, variants in rows.items():
        report.section(PLAIN[channel])
        for method in DRAWN:
            figure = _stack(settings, channel, variants, scored[method][channel], labels[method], caption)
            text = "mass after cuts" if method == "cuts" else f"score of {labels[method].lower()}"
            what = (
                f"{PLAIN[channel]}, one half of the events: {text}. Data are the expectation with the signal."
            )
            if method == "cuts":
                what += " Bins are joined until each holds enough simulated background."
            report.figure(figure, what, f"{channel}-{method}", small=method != "cuts")
    report.section("Samples")
    samples = [[_what(n), f"{k:,}", f"{SOURCES[n].k_factor:.2f}"] for n, k in settings.events.items()]
    report.table(["Source", "Events", "Factor"], samples)
    return run.finish(report, result, settings)


def _stack(
    settings: Any,
    channel: str,
    variants: Mapping[str, ak.Array],
    scored: Scored,
    label: str,
    caption: Caption,
) -> Figure:
    """Templates of a method before the fit, of one half of the events."""
    made, _ = templates(settings.model_copy(update={"replicas": 0}), channel, variants, scored, half=0)
    made = without_empty(made)
    (found,) = yields(model_of(settings, [made]))
    axis = MASSES[CHANNELS[channel].mass[0]] if scored.cuts else f"Bin of the score, {label.lower()}"
    edges = made.edges.tolist() if scored.cuts else None
    return stack_figure(found, caption, edges=edges, label=axis, signals=CHANNELS[channel].signal,
                        note=CHANNELS[channel].title, logarithmic=not scored.cuts)  # fmt: skip


def _what(name: str) -> str:
    """A source, and what of the process is simulated."""
    source = SOURCES[name]
    lines = [line.replace("PhaseSpace:", "") for line in source.lines]
    fakes = [f"fakes × {source.fakes:g}"] if source.fakes > 1 else []
    return name + (f" ({'; '.join([*lines, *fakes])})" if lines or fakes else "")


def _cell(result: Result, name: str, method: str, **at: str) -> str:
    metric = result.find(name, method, **at)
    return shown_metric(metric) if metric else "–"


def _value(result: Result, name: str, method: str, channel: str) -> float:
    metric = result.find(name, method, channel=channel)
    return metric.value if metric is not None and metric.value is not None else float("-inf")


def _extra(result: Result, name: str, labels: Mapping[str, str]) -> list[str]:
    found = [result.find("extra_data", method, channel=name) for method in labels]
    published = next((m.reference for m in found if m is not None and m.reference is not None), None)
    cells = [
        "–" if m is None or m.value is None else f"{100 * m.value:.0f} ± {100 * (m.error or 0):.0f} %"
        for m in found
    ]
    return [PLAIN[name], *cells, "–" if published is None else f"{100 * published:.0f} %"]
