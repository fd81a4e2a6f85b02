"""The page of a search in a spectrum: the answer, then spectrum, bump hunt, limits and tests."""

from __future__ import annotations

import numpy as np

from femtobarn.evaluate.numbers import percent, rounded, shown
from femtobarn.evaluate.report import Cell, Report
from femtobarn.evaluate.spectrum_figures import (
    Estimate,
    background_figure,
    hunt_figure,
    injection_figure,
    mass_limit_figure,
    scan_figure,
    spectrum_figure,
    tomography_figure,
)
from femtobarn.evaluate.style import Caption, lines_for
from femtobarn.recipes.spectrum_search import Search
from femtobarn.statistics.shape_fit import deviance
from femtobarn.statistics.tails import Tail

__all__ = ["page"]

LABELS = {"dijet": "dijet, {} parameters", "dijet_long": "dijet, {} parameters",
          "gaussian_process": "Gaussian process", "sliding_window": "sliding window"}  # fmt: skip
HUNTS = {"refitted": "fit repeated in each", "systematic": "and another function as truth",
         "known": "background known"}  # fmt: skip


def page(report: Report, search: Search, caption: Caption, luminosity: float, resolution: float) -> None:
    """Fill the page.

    Args:
        report: the page.
        search: what was found.
        caption: above all figures.
        luminosity: 1/fb.
        resolution: of the mass, added to the widths of signals.
    """
    _answer(report, search)
    _spectrum(report, search, caption)
    _hunts(report, search, caption)
    _limits(report, search, caption, luminosity, resolution)
    _tests(report, search, caption)


def _answer(report: Report, search: Search) -> None:
    """The strongest window, the fits, and what the pseudo-experiments say."""
    edges, best, spectrum = search.spectrum.edges / 1000, search.hunts["refitted"], search.spectrum
    excess = "no excess is claimed" if best.global_significance < 3 else "an excess to look into"
    report.text(
        f"The strongest window, {edges[best.low]:.2f} to {edges[best.high]:.2f} TeV, holds {best.excess:.0f} "
        f"events more than the fit: locally {best.local_significance:.1f} standard deviations, globally "
        f"p = {_p(best.tail)} or {best.global_significance:.1f}; **{excess}**. The global p-value comes from "
        f"{len(best.toys):,} pseudo-experiments with the fit repeated in each."
    )
    rows = [[f"{n} parameters" + (", chosen" if n == search.terms else ""), f"{fit.deviance:.2f} / {fit.dof}",
             rounded(fit.f_test) if fit.f_test is not None else None]
            for n, fit in search.fits.items()]  # fmt: skip
    others = [[LABELS[name], f"{float(deviance(spectrum.counts, search.models[name].expected)):.2f}", None]
              for name in ("gaussian_process", "sliding_window")]  # fmt: skip
    report.table(["background", "deviance / d.o.f.", Cell("F-test", "last parameter idle")], [*rows, *others])
    report.table(
        ["pseudo-experiments", "local σ", "global p", "global σ"],
        [[label, f"{search.hunts[name].local_significance:.2f}", _p(search.hunts[name].tail),
          f"{search.hunts[name].global_significance:.2f}"] for name, label in HUNTS.items()],
        "The other function is the longest one: its distance from the fit is a nuisance parameter of one "
        "standard deviation.",
    )  # fmt: skip


def _spectrum(report: Report, search: Search, caption: Caption) -> None:
    """The data, the function fitted to them, and other models of the background."""
    report.section("Spectrum")
    edges, counts, best = search.spectrum.edges / 1000, search.spectrum.counts, search.hunts["refitted"]
    fit, labels = search.fits[search.terms], _labels(search)
    estimates = {name: Estimate(b.expected, b.error) for name, b in search.models.items()}
    note = f"deviance {fit.deviance:.1f} / {fit.dof}\nlocal {best.local_significance:.1f} σ"
    report.figure(
        spectrum_figure(edges, counts, estimates["dijet"], caption, label=labels["dijet"],
                        window=(best.low, best.high), note=note),
        "The spectrum, the function fitted to it, and their difference in standard deviations of the counts. "
        "Grey: the strongest window. Blue: the error of the fit.", "spectrum",
    )  # fmt: skip
    compared = {name: estimates[name] for name in labels if name != "dijet"}
    report.figure(
        background_figure(edges, counts, estimates["dijet"], compared, lines_for(list(compared), labels),
                          caption, label=labels["dijet"]),
        "Other models of the background, less the function chosen.", "backgrounds",
    )  # fmt: skip


def _hunts(report: Report, search: Search, caption: Caption) -> None:
    """Windows, the strongest ones of pseudo-experiments, and fits of signals."""
    report.section("Bump hunt")
    report.figure(tomography_figure(search.spectrum.edges / 1000, search.hunts["refitted"], caption),
                  "Each line is a window that holds more than expected.", "tomography")  # fmt: skip
    report.figure(
        hunt_figure(search.hunts, lines_for(list(search.hunts), HUNTS), caption),
        "How often the background alone makes a bump as strong. The fit takes the edge off every bump, in "
        "the data as in the pseudo-experiments. Vertical: the data. Dotted: the tail that is extrapolated.",
        "global-p",
    )  # fmt: skip
    scans = {str(width): scan for width, scan in search.scans.items()}
    lines = lines_for(list(scans), {str(width): _width(width) for width in search.scans})
    report.figure(
        scan_figure(search.mass / 1000, scans, lines, caption),
        "A Gaussian signal fitted together with the background, of either sign.", "scan",
    )  # fmt: skip


def _limits(report: Report, search: Search, caption: Caption, luminosity: float, resolution: float) -> None:
    """A figure for each width, all with the same axis."""
    report.section("Limits")
    report.text(
        "Upper limits at 95 % confidence level (CLs, asymptotic) on cross-section times branching fraction "
        f"times acceptance of Gaussian signals. A mass resolution of {percent(resolution)} is ours, and "
        "added to the widths in quadrature. All parameters of the background are free in every fit; there is "
        "no other systematic uncertainty."
    )
    scale, limits = 1 / luminosity, search.limits
    low = 0.5 * scale * min(min(one.observed.min(), one.expected.min()) for one in limits.values())
    high = 3 * scale * max(max(one.observed.max(), one.expected.max()) for one in limits.values())
    for width, limit in limits.items():
        report.figure(
            mass_limit_figure(search.mass / 1000, limit, caption,
                              quantity=r"$\sigma \times B \times A$ [fb]",
                              note=f"Gaussian, {_width(width)}", scale=scale, limits_of_axis=(low, high)),
            f"Limits, {_width(width)}.", f"limit-{round(100 * width)}",
        )  # fmt: skip


def _tests(report: Report, search: Search, caption: Caption) -> None:
    """What the search finds where the answer is known."""
    report.section("Tests")
    tests = search.tests
    alarms, trials = tests.false_alarms
    rate = alarms / trials
    report.text(
        f"The whole search, fit and hunt, gives a global p-value below 5 % in "
        f"{shown(100 * rate, 100 * np.sqrt(rate * (1 - rate) / trials))} % of {trials:,.0f} spectra "
        "without a signal."
    )
    report.table(
        ["signal mass", Cell("CLs by pseudo-experiments", "asymptotic 0.050")],
        [[f"{m / 1000:.2f} TeV", shown(cls, error)] for m, cls, error in tests.toy_limits],
    )
    bias = dict(tests.spurious)
    report.figure(
        scan_figure(search.mass / 1000, bias, lines_for(list(bias), _labels(search)), caption, spurious=True),
        "Signal that the fit finds where another model of the background, without a signal, is the truth.",
        "spurious",
    )  # fmt: skip
    points = [f"{m / 1000:.1f} TeV" for m, *_ in tests.toy_limits[: len(tests.injection)]]
    put, found, error = (list(tests.injection[:, :, k]) for k in range(3))
    report.figure(
        injection_figure(put, found, error, list(lines_for(points).values()), caption),
        "Signals put into pseudo-experiments and found by the fit.", "injection",
    )  # fmt: skip


def _labels(search: Search) -> dict[str, str]:
    """Of the background models, with the numbers of parameters."""
    return {name: label.format(search.terms if name == "dijet" else max(search.fits))
            for name, label in LABELS.items()}  # fmt: skip


def _width(width: float) -> str:
    return f"width {percent(width)}" if width else "resolution"


def _p(tail: Tail) -> str:
    """A tail probability with its error."""
    return shown(tail.p, 0.5 * (tail.high - tail.low)) + (" (extrapolated)" if tail.extrapolated else "")
