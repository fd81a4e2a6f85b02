"""The closure of a calibration on pseudo-experiments: its numbers, and its part of a page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from femtobarn.calibration.closure import Experiment, Measurement
from femtobarn.evaluate.calibration import pull_figure, scale_factor_figure
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import At, Metric
from femtobarn.evaluate.style import Caption

__all__ = ["closure_metrics", "closure_section"]


def closure_metrics(
    measurement: Measurement, done: list[Experiment], shared: NDArray[np.float64], *, method: str
) -> list[Metric]:
    """Means over the pseudo-experiments, and means and widths of pulls with their errors.

    That of a mean has two parts: the number of pseudo-experiments, and the offset `shared` (B,) by them all.
    """
    metrics, number = [], len(done)
    every = {
        "scale_factor": np.array([one.factors.value for one in done]),
        "scale_factor_true": np.array([one.truth for one in done]),
        "statistical_error": np.array([one.factors.statistical_error for one in done]),
        "total_error": np.array([one.factors.error for one in done]),
    }
    pulls = {kind: np.array([one.pull(kind == "total") for one in done]) for kind in ("statistical", "total")}
    for k, (low, high) in enumerate(zip(measurement.edges[:-1], measurement.edges[1:], strict=True)):
        at: At = {"flavour": measurement.flavour, "pt_min": float(low), "pt_max": float(high)}
        found: list[tuple[str, At, float, float]] = []
        for name, values in every.items():
            spread = float(values[:, k].std(ddof=1))
            found.append((name, at, float(values[:, k].mean()), spread / number**0.5))
        for kind, values in pulls.items():
            mean, width, of = (
                float(values[:, k].mean()),
                float(values[:, k].std(ddof=1)),
                {**at, "kind": kind},
            )
            error = every["total_error" if kind == "total" else "statistical_error"][:, k].mean()
            found.append(("pull_mean", of, mean, float(np.hypot(width / number**0.5, shared[k] / error))))
            found.append(("pull_width", of, width, width / (2 * number) ** 0.5))
        metrics += [
            Metric(name=name, at=where, method=method, sample="pseudo-data", value=value, error=error)
            for name, where, value, error in found
        ]
    return metrics


def closure_section(
    report: Report,
    measurement: Measurement,
    nominal: Experiment,
    done: list[Experiment],
    shared: NDArray[np.float64],
    *,
    how: str,
    caption: Caption,
) -> None:
    """Table and figures of one flavour; `how` says in its heading what measured it."""
    first, flavour = nominal.factors, measurement.flavour
    report.section(f"{flavour}-jets: {how}")
    bins = [f"{low:.0f}-{high:.0f}" for low, high in zip(first.edges[:-1], first.edges[1:], strict=True)]
    pulls = np.array([one.pull(True) for one in done])
    mean, width = pulls.mean(axis=0), pulls.std(axis=0, ddof=1)
    error = np.mean([one.factors.error for one in done], axis=0)
    mean_error = np.hypot(width / len(done) ** 0.5, shared / error)
    systematic = np.sqrt(np.maximum(first.error**2 - first.statistical_error**2, 0))
    rows = [
        [
            name, f"{100 * first.efficiency[k]:.2f} %",
            f"{first.value[k]:.3f} ± {first.statistical_error[k]:.3f} ± {systematic[k]:.3f}",
            f"{nominal.truth[k]:.3f}", f"{mean[k]:+.2f} ± {mean_error[k]:.2f}",
            f"{width[k]:.2f} ± {width[k] / (2 * len(done)) ** 0.5:.2f}",
        ]
        for k, name in enumerate(bins)
    ]  # fmt: skip
    columns = ["pT [GeV]", "efficiency in simulation", "scale factor", "true", "mean pull", "width of pulls"]
    text = (
        "Scale factors, errors statistical and systematic; pulls by both over the pseudo-experiments. The "
        "error of their mean includes what they share, the fluctuations of what they are drawn from."
    )
    report.table(columns, rows, text)
    sources = [
        [name, *(f"{shift[k]:+.4f}" for shift in first.systematic.values())] for k, name in enumerate(bins)
    ]
    report.table(["pT [GeV]", *first.systematic], sources, "Shift by one standard deviation of each source.")
    figure = scale_factor_figure(
        first.edges, first.value, first.statistical_error, first.error, nominal.truth, caption,
        label=f"{flavour}-jet scale factor",
    )  # fmt: skip
    report.figure(figure, f"Scale factors of {flavour}-jets, all nuisances at 0.", f"sf-{flavour}")
    pulls_of = {
        "statistical": np.concatenate([one.pull(False) for one in done]),
        "total": np.concatenate([one.pull(True) for one in done]),
    }
    figure = pull_figure(pulls_of, caption)
    report.figure(
        figure, f"Pulls of all bins of {flavour}-jets over all pseudo-experiments.", f"pulls-{flavour}"
    )
