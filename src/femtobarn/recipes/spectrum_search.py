"""What a search in a spectrum measured, and its page: fits, bump hunt, limits, tests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from femtobarn.background.dijet import DijetFit
from femtobarn.evaluate.numbers import percent, rounded, shown
from femtobarn.evaluate.report import Cell, Report
from femtobarn.evaluate.result import At, Metric
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
from femtobarn.learn.background_model import Background
from femtobarn.statistics.bump_hunt import Hunt
from femtobarn.statistics.resonances import Limits, Scan
from femtobarn.statistics.shape_fit import deviance
from femtobarn.statistics.spectrum import Spectrum
from femtobarn.statistics.tails import Tail

__all__ = ["Search", "Tests", "measured", "page"]

Array = NDArray[np.float64]
LABELS = {"dijet": "dijet, {} parameters", "dijet_long": "dijet, {} parameters",
          "gaussian_process": "Gaussian process", "sliding_window": "sliding window"}  # fmt: skip
HUNTS = {"refitted": "fit repeated in each", "systematic": "and another function as truth",
         "known": "background known"}  # fmt: skip


class Tests(NamedTuple):
    """What the search does where the answer is known.

    Attributes:
        spurious: fits of signals to other background models, by model.
        toy_limits: (M, 3) mass, CLs of the observed limit by pseudo-experiments, its error.
        injection: (M', S, 5) put in, found, error, mean and width of the pulls, in units of the fit's error.
        false_alarms: (2,) trials without a signal below a global p of 5 %, and all of them.
    """

    spurious: dict[str, Scan]
    toy_limits: Array
    injection: Array
    false_alarms: Array


class Search(NamedTuple):
    """Everything found in one spectrum; scans and limits by signal width, against `mass` (GeV)."""

    spectrum: Spectrum
    terms: int
    fits: dict[int, DijetFit]
    models: dict[str, Background]
    hunts: dict[str, Hunt]
    mass: Array
    scans: dict[float, Scan]
    limits: dict[float, Limits]
    tests: Tests


def measured(search: Search, of: str, luminosity: float) -> list[Metric]:
    """All numbers of a search in the sample `of`; limits in fb with the luminosity in 1/fb."""
    return [
        *_fits(search, of),
        *_hunts(search, of),
        *_limits(search, of, luminosity),
        *_tests(search.tests, of),
    ]


def _fits(search: Search, of: str) -> list[Metric]:
    """Deviances, degrees of freedom and F-tests."""
    metrics = []
    for terms, fit in search.fits.items():
        at: At = {"terms": terms}
        values = {"deviance": fit.deviance, "degrees_of_freedom": fit.dof, "f_test": fit.f_test}
        for name, value in values.items():
            if value is not None:
                metrics.append(Metric(name=name, at=at, method="dijet", sample=of, value=value))
    chosen: At = {"chosen": "f-test"}
    metrics.append(Metric(name="terms", at=chosen, method="dijet", sample=of, value=search.terms))
    for name in ("gaussian_process", "sliding_window"):
        value = float(deviance(search.spectrum.counts, search.models[name].expected))
        metrics.append(Metric(name="deviance", method=name, sample=of, value=value))
    return metrics


def _hunts(search: Search, of: str) -> list[Metric]:
    """Local and global significance and where it is."""
    metrics, spectrum = [], search.spectrum
    for name, one in search.hunts.items():
        at: At = {"toys": len(one.toys)}
        values: dict[str, tuple[float, float | None]] = {
            "local_significance": (one.local_significance, None),
            "global_p": (one.tail.p, 0.5 * (one.tail.high - one.tail.low)),
            "global_significance": (one.global_significance, None),
            "window_low": (spectrum.edges[one.low], None),
            "window_high": (spectrum.edges[one.high], None),
        }
        metrics += [Metric(name=key, at=at, method=name, sample=of, value=value, error=error)
                    for key, (value, error) in values.items()]  # fmt: skip
    return metrics


def _limits(search: Search, of: str, luminosity: float) -> list[Metric]:
    """Limits in fb at about ten masses of each width, and the largest signal of the scan."""
    metrics, mass = [], search.mass
    for width, limit in search.limits.items():
        for k in np.unique(np.linspace(0, len(mass) - 1, 11).round().astype(int)):
            at: At = {"width": width, "mass": round(float(mass[k]), 1)}
            for name, values in (("upper_limit", limit.observed), ("expected_limit", limit.expected[2])):
                value = float(values[k]) / luminosity
                metrics.append(Metric(name=name, at=at, method="dijet", sample=of, value=value, note="fb"))
        scan = search.scans[width]
        best = int(scan.significance.argmax())
        at = {"width": width, "mass": round(float(mass[best]), 1)}
        metrics.append(Metric(name="largest_local_significance", at=at, method="dijet", sample=of,
                              value=float(scan.significance[best])))  # fmt: skip
    return metrics


def _tests(tests: Tests, of: str) -> list[Metric]:
    """Spurious signals, CLs by pseudo-experiments where the asymptotic one is 0.05, pulls, false alarms."""
    metrics = [
        Metric(name="spurious_signal", method=name, sample=of, note="largest, over the error of the fit",
               value=float(np.abs(s.strength / s.error).max()))
        for name, s in tests.spurious.items()
    ]  # fmt: skip
    for mass, cls, error in tests.toy_limits:
        at: At = {"mass": round(float(mass), 1)}
        metrics.append(Metric(name="cls_by_toys", at=at, method="dijet", sample=of, value=float(cls),
                              error=float(error), reference=0.05, source="asymptotic"))  # fmt: skip
    for k, rows in enumerate(tests.injection):
        for put, found, error, _, width in rows:
            at = {"mass": round(float(tests.toy_limits[k][0]), 1), "injected": float(put)}
            metrics.append(Metric(name="signal_found", at=at, method="dijet", sample=of, value=float(found),
                                  error=float(error)))  # fmt: skip
            metrics.append(Metric(name="pull_width", at=at, method="dijet", sample=of, value=float(width)))
    alarms, trials = tests.false_alarms
    rate = alarms / trials
    metrics.append(Metric(name="false_alarm_rate", at={"size": 0.05}, method="refitted", sample=of,
                          value=float(rate), error=float(np.sqrt(rate * (1 - rate) / trials))))  # fmt: skip
    return metrics


def page(report: Report, search: Search, caption: Caption, luminosity: float, resolution: float) -> None:
    """Fill the page: the answer, then spectrum, bump hunt, limits and tests."""
    spectrum, terms, fits, found, hunts, mass, scans, limits, tests = search
    edges, best = spectrum.edges / 1000, hunts["refitted"]
    excess = "no excess is claimed" if best.global_significance < 3 else "an excess to look into"
    report.text(
        f"The strongest window, {edges[best.low]:.2f} to {edges[best.high]:.2f} TeV, holds {best.excess:.0f} "
        f"events more than the fit: locally {best.local_significance:.1f} standard deviations, globally "
        f"p = {_p(best.tail)} or {best.global_significance:.1f}; **{excess}**. The global p-value comes from "
        f"{len(best.toys):,} pseudo-experiments with the fit repeated in each."
    )
    rows = [[f"{n} parameters" + (", chosen" if n == terms else ""), f"{fit.deviance:.2f} / {fit.dof}",
             rounded(fit.f_test) if fit.f_test is not None else None] for n, fit in fits.items()]  # fmt: skip
    others = [[LABELS[name], f"{float(deviance(spectrum.counts, found[name].expected)):.2f}", None]
              for name in ("gaussian_process", "sliding_window")]  # fmt: skip
    report.table(["background", "deviance / d.o.f.", Cell("F-test", "last parameter idle")], [*rows, *others])
    report.table(
        ["pseudo-experiments", "local σ", "global p", "global σ"],
        [[label, f"{hunts[name].local_significance:.2f}", _p(hunts[name].tail),
          f"{hunts[name].global_significance:.2f}"] for name, label in HUNTS.items()],
        "The other function is the longest one: its distance from the fit is a nuisance parameter of one "
        "standard deviation.",
    )  # fmt: skip
    labels = {name: label.format(terms if name == "dijet" else max(fits)) for name, label in LABELS.items()}
    estimates = {name: Estimate(b.expected, b.error) for name, b in found.items()}
    report.section("Spectrum")
    note = f"deviance {fits[terms].deviance:.1f} / {fits[terms].dof}\nlocal {best.local_significance:.1f} σ"
    report.figure(
        spectrum_figure(edges, spectrum.counts, estimates["dijet"], caption, label=labels["dijet"],
                        window=(best.low, best.high), note=note),
        "The spectrum, the function fitted to it, and their difference in standard deviations of the counts. "
        "Grey: the strongest window. Blue: the error of the fit.", "spectrum",
    )  # fmt: skip
    compared = {name: estimates[name] for name in labels if name != "dijet"}
    report.figure(
        background_figure(edges, spectrum.counts, estimates["dijet"], compared,
                          lines_for(list(compared), labels), caption, label=labels["dijet"]),
        "Other models of the background, less the function chosen.", "backgrounds",
    )  # fmt: skip
    report.section("Bump hunt")
    report.figure(tomography_figure(edges, best, caption),
                  "Each line is a window that holds more than expected.", "tomography")  # fmt: skip
    report.figure(
        hunt_figure(hunts, lines_for(list(hunts), HUNTS), caption),
        "How often the background alone makes a bump as strong. The fit takes the edge off every bump, in "
        "the data as in the pseudo-experiments. Vertical: the data. Dotted: the tail that is extrapolated.",
        "global-p",
    )  # fmt: skip
    names = {str(width): "resolution" if width == 0 else f"width {percent(width)}" for width in limits}
    signal_lines = lines_for(list(names), names)
    report.figure(
        scan_figure(mass / 1000, {str(w): s for w, s in scans.items()}, signal_lines, caption),
        "A Gaussian signal fitted together with the background, of either sign.", "scan",
    )  # fmt: skip
    report.section("Limits")
    report.text(
        "Upper limits at 95 % confidence level (CLs, asymptotic) on cross-section times branching fraction "
        f"times acceptance of Gaussian signals. A mass resolution of {percent(resolution)} is ours, and "
        "added to the widths in quadrature. All parameters of the background are free in every fit; there is "
        "no other systematic uncertainty."
    )
    scale = 1 / luminosity
    low = 0.5 * scale * min(min(one.observed.min(), one.expected.min()) for one in limits.values())
    high = 3 * scale * max(max(one.observed.max(), one.expected.max()) for one in limits.values())
    for width, limit in limits.items():
        report.figure(
            mass_limit_figure(mass / 1000, limit, caption, quantity=r"$\sigma \times B \times A$ [fb]",
                              note=f"Gaussian, {names[str(width)]}", scale=scale, limits_of_axis=(low, high)),
            f"Limits, {names[str(width)]}.", f"limit-{round(100 * width)}",
        )  # fmt: skip
    report.section("Tests")
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
        scan_figure(mass / 1000, bias, lines_for(list(bias), labels), caption, spurious=True),
        "Signal that the fit finds where another model of the background, without a signal, is the truth.",
        "spurious",
    )  # fmt: skip
    points = [f"{m / 1000:.1f} TeV" for m, *_ in tests.toy_limits[: len(tests.injection)]]
    report.figure(
        injection_figure(list(tests.injection[:, :, 0]), list(tests.injection[:, :, 1]),
                         list(tests.injection[:, :, 2]), list(lines_for(points).values()), caption),
        "Signals put into pseudo-experiments and found by the fit.", "injection",
    )  # fmt: skip


def _p(tail: Tail) -> str:
    """A tail probability with its error."""
    return shown(tail.p, 0.5 * (tail.high - tail.low)) + (" (extrapolated)" if tail.extrapolated else "")
