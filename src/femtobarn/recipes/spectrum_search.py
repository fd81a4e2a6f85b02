"""What a search in a spectrum measured: fits, bump hunt, limits, tests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from femtobarn.background.dijet import DijetFit
from femtobarn.evaluate.result import At, Metric
from femtobarn.learn.background_model import Background
from femtobarn.statistics.bump_hunt import Hunt
from femtobarn.statistics.resonances import Limits, Scan
from femtobarn.statistics.shape_fit import deviance
from femtobarn.statistics.spectrum import Spectrum

__all__ = ["Search", "Tests", "measured"]

Array = NDArray[np.float64]


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
