"""Limits, CLs and significances of signals from a published HistFactory likelihood."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError, closest
from femtobarn.evaluate.fit_figures import (
    impact_figure,
    limit_figure,
    pull_figure,
    stack_figure,
    toy_figure,
)
from femtobarn.evaluate.numbers import rounded, shown
from femtobarn.evaluate.report import Cell, Report
from femtobarn.evaluate.result import Metric, Result
from femtobarn.evaluate.style import Caption
from femtobarn.progress import CONSOLE
from femtobarn.recipes.run import Run, Settings, recipe
from femtobarn.statistics.histfactory import Channel, Process, Systematic, workspace
from femtobarn.statistics.inference import Limit, Model, cls, discovery, fit, upper_limit
from femtobarn.statistics.postfit import impacts, yields
from femtobarn.statistics.published import Region, read_archive
from femtobarn.statistics.toys import toy_cls


class PublishedSettings(Settings):
    """What differs between the scales, and what to look at.

    Attributes:
        archive: tar or zip archive, or folder, of workspaces and patches; None: a small made-up one.
        regions: folders in it; none: all.
        signals: patches; none: `most` of each region, from first to last.
        most: signals of a region when none are named.
        level: of confidence.
        toys: pseudo-experiments for the CLs of each region's first signal, with and without signal each.
    """

    archive: Path | None = None
    regions: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()
    most: int = 5
    level: float = 0.95
    toys: int = 1000


SCALES = {
    "smoke": PublishedSettings(most=2, toys=200),
    "quick": PublishedSettings(),
    "standard": PublishedSettings(most=20, toys=10_000),
}


@recipe(scales=SCALES)
def published_likelihood(settings: PublishedSettings, run: Run) -> Result:
    """A published likelihood read, fitted and reinterpreted [ATL-PHYS-PUB-2019-029]."""
    archive = settings.archive or run.cached("example", {}, example, code=[__name__])
    with run.stage("read"):
        regions = read_archive(archive)
        digest = _digest(archive)
    result = Result.start(run.recipe, run.scale, run.seed, run.command)
    sample = archive.name.partition(".")[0] if settings.archive else "example"
    report = Report("A published likelihood", f"{sample}, {run.scale} scale")
    report.text(
        f"Limits are upper limits on the signal strength at {100 * settings.level:g} % confidence level by "
        "CLs with asymptotic formulas; mu = 1 is the signal as predicted. A significance is that of the data "
        "against the model without signal, in standard deviations; expected means with the signal present."
    )
    figures = []
    for name in settings.regions or tuple(regions):
        if name not in regions:
            raise InputError(f"{archive} has no region '{name}'{closest(name, regions)}")
        region = regions[name]
        signals = chosen(settings, region)

        def build(path: Path, region: Region = region, signals: tuple[str, ...] = signals) -> None:
            numbers = {}
            for signal in signals:
                try:
                    numbers[signal] = measured(settings, region, signal)
                except InputError as error:
                    CONSOLE.print(f"{region.name}, {signal} left out: {error}")
            if not numbers:
                raise InputError(f"{region.name}: none of {len(signals)} signals can be fitted")
            with atomic(path) as temporary:
                temporary.write_text(json.dumps(numbers))

        key = {"archive": digest, "region": name, "signals": signals, "level": settings.level}
        code = ["statistics.inference", "statistics.published", __name__]
        numbers = json.loads(run.cached(f"fit {name}", key, build, code=code, suffix=".json").read_text())
        result.metrics += metrics(numbers, name, sample)
        result.sizes[f"{name} signals"] = len(signals)
        report.table(
            ["signal", "CLs (mu = 1)", "limit on mu", "significance", "fitted mu"], rows(numbers), name
        )
        figures.append((region, tuple(numbers), numbers))
    for region, signals, numbers in figures:
        page(settings, run, report, result, region, signals, numbers, sample)
    return run.finish(report, result, settings)


def example(path: Path) -> None:
    """An archive like those on HEPData, of a search that nobody made."""
    b, top = np.array([60.0, 31.0, 14.0, 5.0]), np.array([22.0, 14.0, 6.0, 3.0])
    scale = Systematic("jet energy scale", b * [1.0, 1.04, 1.1, 1.2], b * [1.01, 0.97, 0.9, 0.82])
    signal = Process("signal", [1e-6] * 4, signal=True)
    search = Channel("SR", [signal, Process("Z", b, [scale, Systematic("Z cross-section", 0.05)]),
                            Process("top", top, [Systematic("jet energy scale", 0.04)], free=True)],
                     data=[84.0, 41.0, 22.0, 10.0])  # fmt: skip
    control = Channel("CR", [Process("Z", [20.0], [Systematic("Z cross-section", 0.05)]),
                             Process("top", [210.0], [Systematic("jet energy scale", 0.04)], free=True)],
                      data=[223.0])  # fmt: skip
    spec = workspace([search, control], luminosity=0.017)
    with atomic(path) as folder:
        (folder / "Search").mkdir(parents=True)
        (folder / "Search" / "BkgOnly.json").write_text(json.dumps(spec))
        for mass in (400, 600, 800, 1000):
            heavy = 30 * np.exp(-mass / 300) * np.array([1.0, 2.0, 3.0, 2.0 + mass / 300])
            patch = [{"op": "replace", "path": "/channels/0/samples/0/data", "value": heavy.tolist()}]
            (folder / "Search" / f"patch.signal_{mass}.json").write_text(json.dumps(patch))


def chosen(settings: PublishedSettings, region: Region) -> tuple[str, ...]:
    """The signals asked for, or `most` spread over what there is."""
    if settings.signals:
        return settings.signals
    if not region.patches:
        raise InputError(f"{region.name} has no patches: there is no signal to look at")
    names = list(region.patches)
    count = min(settings.most, len(names))
    places = np.linspace(0, len(names) - 1, count).round().astype(int) if count > 1 else [0]
    return tuple(names[place] for place in places)


def measured(settings: PublishedSettings, region: Region, signal: str) -> dict[str, Any]:
    """All numbers of one signal."""
    model = Model.of(region.with_signal(signal))
    at_one, limit = cls(model), upper_limit(model, level=settings.level)
    best = fit(model.with_negative_signal())
    fitted = model.asimov(1.0, model.minimum(model.observed, 1.0).theta)  # nuisances as the data have them
    return {
        "cls": at_one.observed,
        "cls_expected": at_one.expected.tolist(),
        "upper_limit": limit.observed,
        "upper_limit_expected": limit.expected.tolist(),
        "significance": discovery(model).z,
        "significance_expected": discovery(model, fitted).z,
        "mu": best.mu,
        "mu_error": best.mu_error,
    }


def metrics(numbers: dict[str, Any], region: str, sample: str) -> list[Metric]:
    """Of bands the median."""
    answer = []
    for signal, values in numbers.items():
        for name in ("cls", "cls_expected", "upper_limit", "upper_limit_expected", "significance",
                     "significance_expected", "mu"):  # fmt: skip
            value = values[name][2] if isinstance(values[name], list) else values[name]
            error = values["mu_error"] if name == "mu" else None
            answer.append(Metric(name=name, at={"region": region, "signal": signal}, method="asymptotic",
                                 sample=sample, value=value, error=error))  # fmt: skip
    return answer


def rows(numbers: dict[str, Any]) -> list[list[Any]]:
    """A row of the table for each signal: observed, and expected in small."""
    table = []
    for signal, values in numbers.items():
        expected, limits = values["cls_expected"], values["upper_limit_expected"]
        table.append([
            signal,
            Cell(f"{values['cls']:.4g}", f"expected {expected[2]:.3g}"),
            Cell(rounded(values["upper_limit"]),
                 f"expected {rounded(limits[2])} ({rounded(limits[1])}–{rounded(limits[3])})"),
            Cell(f"{values['significance']:.2f}", f"expected {values['significance_expected']:.2f}"),
            shown(values["mu"], values["mu_error"]) + ("" if values["mu_error"] else " (at bound)"),
        ])  # fmt: skip
    return table


def page(
    settings: PublishedSettings,
    run: Run,
    report: Report,
    result: Result,
    region: Region,
    signals: tuple[str, ...],
    numbers: dict[str, Any],
    sample: str,
) -> None:
    """Figures of one region; yields, pulls and impacts of the signal whose limit is nearest to one."""
    report.section(region.name)
    limits = {name: Limit(values["upper_limit"], np.array(values["upper_limit_expected"]))
              for name, values in numbers.items()}  # fmt: skip
    signal = min(signals, key=lambda name: abs(np.log(limits[name].expected[2])))
    model = Model.of(region.with_signal(signal))
    caption = Caption("femtobarn fit", f"{sample}, {region.name}")
    report.figure(
        limit_figure(limits, caption), "Upper limits on the signal strength.", f"limits {region.name}"
    )
    free = model.with_negative_signal()
    with run.stage(f"impacts {region.name}"):
        best = fit(free)
        ranking = impacts(free, fitted=best)
    named = caption._replace(sample=f"{caption.sample}, {signal.replace('_', ' ')}")
    scaled = _scaled_by(model)
    for when, fitted in (("before", None), ("after", best)):
        for channel in yields(model, fitted):
            words = named._replace(sample=f"{channel.name.replace('_', ' ')}, {when} the fit")
            figure = stack_figure(channel, words, signals=[n for n in channel.processes if n in scaled])
            report.figure(figure, f"{channel.name} {when} the fit.", f"{region.name} {channel.name} {when}")
    report.figure(pull_figure(best, named), "Pulls.", f"pulls {region.name}")
    report.figure(impact_figure(ranking, named), "Impacts on the signal strength.", f"impacts {region.name}")
    if settings.toys:
        with run.stage(f"toys {region.name}"):
            counted = toy_cls(model, 1.0, count=settings.toys, seed=run.seed)
        result.metrics.append(
            Metric(name="cls", at={"region": region.name, "signal": signal}, method="toys", sample=sample,
                   value=counted.value, error=counted.error)
        )  # fmt: skip
        statistics = {"with signal": counted.signal.statistics.numpy(),
                      "without signal": counted.background.statistics.numpy()}  # fmt: skip
        figure = toy_figure(statistics, counted.seen, named, label=r"$\tilde{q}_\mu$")
        report.figure(
            figure,
            f"Toys: CLs of {signal} is {shown(counted.value, counted.error)}, by asymptotic formulas "
            f"{numbers[signal]['cls']:.3g}; the curve is that of toys with signal.",
            f"toys {region.name}",
        )


def _scaled_by(model: Model) -> set[str]:
    """Processes that the signal strength multiplies."""
    twin = model.twin
    cells = (twin.factors == twin.poi).any(1)
    return {twin.rows[row][1] for row in twin.row[cells].tolist()}


def _digest(archive: Path) -> str:
    """Of the contents of a file, or of all files of a folder."""
    files = sorted(archive.rglob("*.json")) if archive.is_dir() else [archive]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
