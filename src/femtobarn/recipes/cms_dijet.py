"""A dijet spectrum searched for resonances: background fits, bump hunt, limits, and tests of all of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from femtobarn.background.dijet import Dijet, fewest_needed
from femtobarn.background.gaussian_process import GaussianProcess
from femtobarn.background.sliding_window import SlidingWindow
from femtobarn.data.atomic import atomic
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Result, read_references, with_references
from femtobarn.evaluate.style import Caption
from femtobarn.learn.background_model import Background, BackgroundModel
from femtobarn.recipes.run import Run, Settings, recipe
from femtobarn.recipes.spectrum_page import page
from femtobarn.recipes.spectrum_search import Search, Tests, measured
from femtobarn.statistics.bump_hunt import Hunt, Windows, hunt, pseudo_experiments, strongest, windows
from femtobarn.statistics.resonances import (
    Limits,
    gaussian_signals,
    injected,
    signal_scan,
    spurious,
    toy_cls,
    upper_limits,
)
from femtobarn.statistics.shape_fit import Shape
from femtobarn.statistics.spectrum import Spectrum, read_spectrum
from femtobarn.statistics.tails import tail_probability

Array = NDArray[np.float64]
CMS_BINS = (1530, 1607, 1687, 1770, 1856, 1945, 2037, 2132, 2231, 2332, 2438, 2546, 2659, 2775, 2895, 3019,
            3147, 3279, 3416, 3558, 3704, 3854, 4010, 4171, 4337, 4509, 4686, 4869, 5058, 5253, 5455, 5663,
            5877, 6099, 6328, 6564, 6808, 7060, 7320, 7589, 7866, 8152, 8752)  # fmt: skip
"""Edges in GeV of CMS dijet spectra, about one mass resolution apart [1911.03947]."""
SOURCE = "HEPData ins1764471"


class CmsDijetSettings(Settings):
    """What differs between the scales.

    Attributes:
        spectrum: CSV file with columns mjj_low_GeV, mjj_high_GeV and events; None:
            `spectra/cms_dijet_137fb.csv` in $FEMTOBARN_TEST_DATA or ../shared/data. Not read with `pseudo`.
        pseudo: search in a pseudo-experiment of a smooth spectrum instead.
        luminosity: of the spectrum, in 1/fb.
        sqrt_s: GeV.
        toys: pseudo-experiments of each bump hunt.
        trials: pseudo-experiments in which the whole search is repeated, for the rate of false alarms.
        narrowest, widest: windows of the hunt, in bins.
        masses: signal hypotheses between the second and the last but two bins.
        widths: standard deviation over mass of the signals, to which the resolution is added in quadrature.
        resolution: of the mass; ours, about the width of the bins.
        checks: pseudo-experiments for each limit and each injected signal checked.
    """

    spectrum: Path | None = None
    pseudo: bool = False
    luminosity: float = 137.0
    sqrt_s: float = 13_000.0
    toys: int = 10_000
    trials: int = 1_000
    narrowest: int = 2
    widest: int = 12
    masses: int = 61
    widths: tuple[float, ...] = (0.0, 0.05, 0.10, 0.15)
    resolution: float = 0.03
    checks: int = 2_000

    def read(self) -> Spectrum:
        """The spectrum searched."""
        folder = Path(os.environ.get("FEMTOBARN_TEST_DATA", "../shared/data"))
        return read_spectrum(self.spectrum or folder / "spectra" / "cms_dijet_137fb.csv")


SCALES = {
    "smoke": CmsDijetSettings(pseudo=True, toys=300, trials=50, masses=9, widths=(0.0, 0.1), checks=50),
    "quick": CmsDijetSettings(),
    "standard": CmsDijetSettings(toys=200_000, trials=20_000, masses=121, checks=20_000),
}


@recipe(scales=SCALES)
def cms_dijet(settings: CmsDijetSettings, run: Run) -> Result:
    """Search for resonances in the CMS dijet spectrum of 137/fb: fits, bump hunt, limits [1911.03947]."""
    spectrum = pseudo_spectrum(settings, run.seed) if settings.pseudo else settings.read()
    dijet = Dijet(sqrt_s=settings.sqrt_s)
    fits = dijet.fits(spectrum.edges, spectrum.counts)
    terms = fewest_needed(fits)
    models: dict[str, BackgroundModel] = {
        "dijet": Dijet(sqrt_s=settings.sqrt_s, terms=terms),
        "dijet_long": Dijet(sqrt_s=settings.sqrt_s, terms=max(fits)),
        "gaussian_process": GaussianProcess(sqrt_s=settings.sqrt_s),
        "sliding_window": SlidingWindow(sqrt_s=settings.sqrt_s),
    }
    found = {name: model.estimate(spectrum.edges, spectrum.counts) for name, model in models.items()}
    shape = dijet.shape(spectrum.edges, terms)
    hunts = hunted(settings, run, spectrum, models["dijet"], found)
    mass = np.linspace(spectrum.edges[1], spectrum.edges[-3], settings.masses)
    relative = {width: float(np.hypot(width, settings.resolution)) for width in settings.widths}
    signals = {width: gaussian_signals(spectrum.edges, mass, np.full_like(mass, wide))
               for width, wide in relative.items()}  # fmt: skip
    scans = {width: signal_scan(spectrum.counts, shape, signal) for width, signal in signals.items()}
    with run.stage("limits"):
        limits = {width: upper_limits(spectrum.counts, shape, signal) for width, signal in signals.items()}
    tests = tested(settings, run, spectrum, models, found, shape, mass, limits)
    search = Search(spectrum, terms, fits, found, hunts, mass, scans, limits, tests)
    result = Result.start(run.recipe, run.scale, run.seed, run.command)
    result.sizes = {"events": int(spectrum.counts.sum())}
    name = "pseudo-experiment" if settings.pseudo else "CMS dijet spectrum"
    result.metrics = measured(search, name, settings.luminosity)
    if not settings.pseudo:
        result.metrics = with_references(result.metrics, read_references(Path(__file__).with_suffix(".csv")))
    report = Report("Dijet resonances", f"{int(spectrum.counts.sum()):,} events, {run.scale} scale")
    energy = rf"$\sqrt{{s}}$ = {settings.sqrt_s / 1000:g} TeV"
    real = Caption("CMS data, femtobarn fit", f"{energy}, {settings.luminosity:g} fb$^{{-1}}$, {SOURCE}")
    caption = Caption(sample="pseudo-experiment") if settings.pseudo else real
    page(report, search, caption, settings.luminosity, settings.resolution)
    return run.finish(report, result, settings)


def pseudo_spectrum(settings: CmsDijetSettings, seed: int) -> Spectrum:
    """A smooth spectrum like that of CMS, drawn at random."""
    edges = np.array(CMS_BINS, dtype=np.float64)
    x = np.linspace(edges[:-1], edges[1:], 51) / settings.sqrt_s
    mean = np.trapezoid((1 - x) ** 8.16 * x**-5.23, x, axis=0)
    mean *= 6.4e6 / mean.sum()
    return Spectrum.of(edges, np.random.default_rng(seed).poisson(mean), "the pseudo-experiment")


def hunted(
    settings: CmsDijetSettings,
    run: Run,
    spectrum: Spectrum,
    model: BackgroundModel,
    found: dict[str, Background],
) -> dict[str, Hunt]:
    """Bump hunts with the fit repeated in each pseudo-experiment, with another truth, and without a fit."""
    where = windows(len(spectrum.counts), settings.narrowest, settings.widest)
    expected = found["dijet"].expected

    def refit(pseudo: Array) -> Array:
        return model.repeat(spectrum.edges, spectrum.counts, pseudo)

    # One nuisance parameter leads from the function chosen to the longest one.
    another = (found["dijet_long"].expected - expected)[None]
    ways: dict[str, tuple[Callable[[Array], Array] | None, Array | None]] = {
        "refitted": (refit, None), "systematic": (refit, another), "known": (None, None),
    }  # fmt: skip

    def build(path: Path) -> None:
        toys = {}
        for number, (name, (again, shifts)) in enumerate(ways.items()):
            rng = np.random.default_rng([run.seed, number])
            toys[name] = hunt(spectrum.counts, expected, where, toys=settings.toys, refit=again,
                              shifts=shifts, rng=rng).toys  # fmt: skip
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **toys)  # type: ignore[arg-type]

    key = settings.model_dump(mode="json") | {"seed": run.seed, "counts": spectrum.counts.tolist()}
    stored = np.load(run.cached("bump hunt", key, build, code=[__name__], suffix=".npz"))
    hunts = {}
    for name, (_, shifts) in ways.items():
        quick = hunt(spectrum.counts, expected, where, toys=1, shifts=shifts)
        tail = tail_probability(stored[name], float(-np.log(quick.local_p)))
        hunts[name] = quick._replace(toys=stored[name], tail=tail)
    return hunts


def tested(
    settings: CmsDijetSettings, run: Run, spectrum: Spectrum, models: dict[str, BackgroundModel],
    found: dict[str, Background], shape: Shape, mass: Array, limits: dict[float, Limits],
) -> Tests:  # fmt: skip
    """Spurious signals, limits by pseudo-experiments, injected signals, false alarms of the whole search."""
    width = settings.widths[len(settings.widths) // 2]
    relative = float(np.hypot(width, settings.resolution))
    some = np.linspace(0, len(mass) - 1, 5).round().astype(int)[1:]
    signals = gaussian_signals(spectrum.edges, mass, np.full_like(mass, relative))

    def build(path: Path) -> None:
        rng = np.random.default_rng([run.seed, 100])
        cls = [(mass[k], *toy_cls(spectrum.counts, shape, signals[k], float(limits[width].observed[k]),
                                  settings.checks, rng)) for k in some]  # fmt: skip
        truth, injection = found["dijet"].expected, []
        for k in some[:-1]:
            error = float(signal_scan(truth, shape, signals[k : k + 1]).error[0])
            put = np.array([0.0, 1.0, 3.0, 5.0])
            mean, spread, pulls = injected(truth, shape, signals[k], put * error, settings.checks // 4, rng)
            injection.append(np.column_stack([put, mean / error, spread / error, pulls]))
        where = windows(len(spectrum.counts), settings.narrowest, settings.widest)
        alarms = false_alarms(settings, spectrum, models["dijet"], truth, where, rng)
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(file, cls=np.array(cls), injection=np.array(injection), alarms=alarms)

    key = settings.model_dump(mode="json") | {"seed": run.seed, "counts": spectrum.counts.tolist()}
    stored = np.load(run.cached("tests", key, build, code=[__name__], suffix=".npz"))
    bias = {name: spurious(found[name].expected, shape, signals) for name in models if name != "dijet"}
    return Tests(bias, stored["cls"], stored["injection"], stored["alarms"])


def false_alarms(
    settings: CmsDijetSettings, spectrum: Spectrum, model: BackgroundModel, truth: Array, where: Windows,
    rng: np.random.Generator,
) -> Array:  # fmt: skip
    """How many of the trials without a signal have a global p-value below 5 %, and how many trials there are.

    Trials and the pseudo-experiments that calibrate them are independent.
    """
    toys, trials = (pseudo_experiments(truth, number, rng) for number in (settings.toys, settings.trials))
    statistic = [-np.log(strongest(pseudo, model.repeat(spectrum.edges, spectrum.counts, pseudo), where)[0])
                 for pseudo in (toys, trials)]  # fmt: skip
    threshold = np.quantile(statistic[0], 0.95)
    return np.array([(statistic[1] > threshold).sum(), settings.trials])
