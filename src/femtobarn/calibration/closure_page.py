"""The closure of a calibration on pseudo-experiments: its numbers, and its part of a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from femtobarn.calibration.closure import Closure, Measurement
from femtobarn.calibration.scale_factors import (
    FLAVOURS,
    ScaleFactors,
    binned_efficiency,
    event_weights,
    known_weights,
    variation,
)
from femtobarn.evaluate.calibration import pull_figure, scale_factor_figure
from femtobarn.evaluate.metrics import Survival
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import At, Metric
from femtobarn.evaluate.style import Caption

__all__ = ["Checks", "SimulatedJets", "applied_section", "closure_metrics", "closure_section"]

Array = NDArray[np.float64]


class SimulatedJets(NamedTuple):
    """Flavour (5, 4 or 0), pT (GeV), tag and weight of each jet, all (N,)."""

    flavour: NDArray[np.int_]
    pt: Array
    tagged: NDArray[np.bool_]
    weights: Array


Checks = Mapping[str, tuple[Array, Array]]
"""Measured minus true scale factors (B,) of samples as they are, and errors, by how they are measured."""


def closure_metrics(
    measurement: Measurement, closure: Closure, checks: Checks, *, method: str
) -> list[Metric]:
    """Means over the pseudo-experiments, their pulls, and measured minus true of the samples."""
    done = closure.valid
    every = {
        "scale_factor": np.array([one.factors.value for one in done.drawn]),
        "scale_factor_true": np.array([one.truth for one in done.drawn]),
        "statistical_error": np.array([one.factors.statistical_error for one in done.drawn]),
        "total_error": np.array([one.factors.error for one in done.drawn]),
    }
    found: list[tuple[str, At, float, float | None]] = []
    for k, (low, high) in enumerate(zip(measurement.edges[:-1], measurement.edges[1:], strict=True)):
        at: At = {"flavour": measurement.flavour, "pt_min": float(low), "pt_max": float(high)}
        for name, values in every.items():
            found.append((name, at, float(values[:, k].mean()), _error(values)[k]))
        for kind, pulls in done.pulls.items():
            of, width = {**at, "kind": kind}, float(pulls[:, k].std(ddof=1))
            error = float(done.pull_mean_errors[kind][k])
            found.append(("pull_mean", of, float(pulls[:, k].mean()), error))
            found.append(("pull_width", of, width, width / (2 * len(pulls)) ** 0.5))
        for how, (value, spread) in checks.items():
            found.append(("offset", {**at, "measured_by": how}, float(value[k]), float(spread[k])))
    share = (len(done.fixed) + len(done.drawn)) / (len(closure.fixed) + len(closure.drawn))
    found.append(("valid_fraction", {"flavour": measurement.flavour}, share, None))
    return [
        Metric(name=name, at=where, method=method, sample="pseudo-data", value=value, error=error)
        for name, where, value, error in found
    ]


def closure_section(
    report: Report, measurement: Measurement, closure: Closure, checks: Checks, *, how: str, caption: Caption
) -> None:
    """Tables and figures of one flavour; `how` says in its heading what measured it."""
    nominal, flavour = closure.nominal, measurement.flavour
    first, pulls = nominal.factors, closure.pulls
    report.section(f"{flavour}-jets: {how}")
    bins = [f"{low:.0f}-{high:.0f}" for low, high in zip(first.edges[:-1], first.edges[1:], strict=True)]
    systematic = np.sqrt(np.maximum(first.error**2 - first.statistical_error**2, 0))
    rows = []
    for k, name in enumerate(bins):
        row = [
            name, f"{100 * first.efficiency[k]:.2f} %",
            f"{first.value[k]:.3f} ± {first.statistical_error[k]:.3f} ± {systematic[k]:.3f}",
            f"{nominal.truth[k]:.3f}",
        ]  # fmt: skip
        for kind, values in pulls.items():
            width = values[:, k].std(ddof=1)
            row += [
                f"{values[:, k].mean():+.2f} ± {closure.pull_mean_errors[kind][k]:.2f}",
                f"{width:.2f} ± {width / (2 * len(values)) ** 0.5:.2f}",
            ]
        rows.append(row)
    columns = [
        "pT [GeV]",
        "efficiency",
        "scale factor",
        "true",
        "stat. pulls",
        "width",
        "total pulls",
        "width",
    ]
    text = (
        "Efficiencies of the simulation, scale factors of one pseudo-experiment, errors statistical and "
        "systematic. Pulls over all of them, mean and width: by the statistical error with nuisances at 0, "
        "by the total error with nuisances drawn. The error of a mean is that of the pulls, and of the shift "
        "by small samples that all have subtracted."
    )
    report.table(columns, rows, text)
    largest = sorted(first.systematic.items(), key=lambda item: -float(np.linalg.norm(item[1])))
    shifts = [[source, *(f"{value:+.4f}" for value in shift)] for source, shift in largest]
    report.table(["pT [GeV]", *bins], shifts, "Shift by one standard deviation of each source.")
    offsets = [
        [name, *(f"{value[k]:+.3f} ± {error[k]:.3f}" for value, error in checks.values())]
        for k, name in enumerate(bins)
    ]
    text = (
        "Measured minus true scale factor with all simulated collisions of data and of simulation as they "
        "are, tags included, all nuisances at 0. The error is that of both samples together, without "
        "systematic effects."
    )
    report.table(["pT [GeV]", *checks], offsets, text)
    figure = scale_factor_figure(
        first.edges, first.value, first.statistical_error, first.error, nominal.truth, caption,
        label=f"{flavour}-jet scale factor",
    )  # fmt: skip
    report.figure(figure, f"Scale factors of {flavour}-jets, all nuisances at 0.", f"sf-{flavour}")
    figure = pull_figure({kind: values.ravel() for kind, values in pulls.items()}, caption)
    report.figure(
        figure, f"Pulls of all bins of {flavour}-jets over all pseudo-experiments.", f"pulls-{flavour}"
    )


def _error(values: Array) -> Array:
    """(B,) of the means of (experiments, B)."""
    return np.asarray(values.std(axis=0, ddof=1) / len(values) ** 0.5, dtype=np.float64)


def applied_section(
    report: Report,
    file: Path,
    name: str,
    factors: Sequence[ScaleFactors],
    simulated: SimulatedJets,
    seen: tuple[NDArray[np.bool_], Array],
    *,
    true: Mapping[str, ScaleFactors],
    method: str,
    sample: str,
) -> list[Metric]:
    """The fraction of tagged jets in data, in simulation, and in simulation to which the factors are applied.

    The errors are those of the number of jets; the last's is also that of every source in the file.

    Args:
        file: what `write_correctionlib` wrote of `factors`, under `name`.
        simulated: jets to which they are applied.
        seen: tag and weight of each jet in data.
        true: scale factors by flavour as they ought to be.
    """
    flavour, pt, tagged, weights = simulated
    edges = {FLAVOURS[one.flavour]: one.edges for one in factors}
    own = binned_efficiency(flavour, pt, tagged, edges, weights)
    kinds = {one: flavour == code for one, code in FLAVOURS.items()}

    def rate(found: NDArray[np.bool_], weights: Array) -> tuple[float, float]:
        passed = Survival(found.astype(np.float64), weights).efficiency([1.0])
        return float(passed.value[0]), float(passed.error[0])

    def corrected(systematic: str) -> tuple[float, float]:
        return rate(tagged, weights * event_weights(file, name, flavour, pt, tagged, systematic, own))

    def shift(sources: Iterable[str]) -> float:
        ends = [[corrected(variation(way, source))[0] for way in ("up", "down")] for source in sources]
        return float(np.linalg.norm([(up - down) / 2 for up, down in ends]))

    statistical = shift({source: None for one in factors for source in one.independent})
    systematic = shift({source: None for one in factors for source in one.systematic})
    after, error = corrected("central")
    fractions = {
        "pseudo-data": rate(*seen),
        "simulation": rate(tagged, weights),
        "simulation with scale factors": (after, float(np.linalg.norm([error, statistical, systematic]))),
        "simulation with true scale factors": rate(
            tagged, weights * known_weights(true, kinds, pt, tagged, own)
        ),
    }
    report.section("Applied")
    report.table(
        [f"Jets of {sample}", "tagged"],
        [[label, f"{100 * value:.2f} ± {100 * e:.2f} %"] for label, (value, e) in fractions.items()],
    )
    report.text(
        f"`{file.name}` holds the scale factors for correctionlib, with all sources up and down. They are "
        f"those of one pseudo-experiment: of the last error, {100 * statistical:.2f} % are statistical and "
        f"{100 * systematic:.2f} % systematic uncertainties of the scale factors. They correct how often "
        "jets of each flavour and pT are tagged, not how many of each there are: what remains with the true "
        "ones is the simulation's mixture of jets."
    )
    return [
        Metric(
            name="tagged_fraction", at={"sample": label}, method=method, sample=sample, value=value, error=e
        )
        for label, (value, e) in fractions.items()
    ]
