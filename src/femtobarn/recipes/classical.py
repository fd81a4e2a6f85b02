"""From cuts to networks on two problems whose best answer is known: what each step buys, how each fails."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from femtobarn.evaluate.figures import rejection_figure
from femtobarn.evaluate.metrics import Estimate, Survival, auc, auc_difference, rejection
from femtobarn.evaluate.numbers import shown, shown_metric
from femtobarn.evaluate.plane import Guide, Plane, plane_figure, trend_figure
from femtobarn.evaluate.report import Cell, Report
from femtobarn.evaluate.result import At, Metric, Result, combine
from femtobarn.evaluate.style import Caption, Line
from femtobarn.recipes.classical_fits import (
    METHODS,
    NEIGHBOURS,
    PROBLEMS,
    SMEARING,
    ClassicalSettings,
    fit_and_score,
    problem_of,
    test_events,
)
from femtobarn.recipes.run import Run, recipe
from femtobarn.simulation.toys import Drawn, Optimum, optimum
from femtobarn.statistics.significance import asimov
from femtobarn.statistics.thresholds import held_out_yields

Floats = NDArray[np.float64]

SCALES = {
    "smoke": ClassicalSettings(
        train=600, test=1500, scan_test=1500, dimensions=(2, 3), seeds=(1,), scan_seeds=(1,),
        training=ClassicalSettings.model_fields["training"].default.with_(epochs=2),
    ),
    "quick": ClassicalSettings(
        train=10_000, test=50_000, scan_test=20_000, dimensions=(2, 5, 10), seeds=(1, 2), scan_seeds=(1,)
    ),
    "standard": ClassicalSettings(
        train=160_000, test=200_000, scan_test=20_000, dimensions=(2, 4, 8),
        seeds=(1, 2, 3, 4, 5), scan_seeds=(1, 2),
    ),
}  # fmt: skip
LEAST = 1e-3
"""Share of the background that has to pass where the significance is asked for: one event of a thousand."""
DASH, DOT, MIXED = (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1.2, 1, 1.2))
LINES = {
    "best": Line("black", "-", "*", "best possible"),
    "cuts": Line("#5c6370", DASH, "s", "cuts"),
    "fisher": Line("#a96b59", MIXED, "^", "Fisher"),
    "likelihood": Line("#832db6", DOT, "v", "likelihood"),
    "likelihood_decorrelated": Line("#832db6", "-", "v", "lik. decorrelated"),
    "knn1": Line("#b9ac70", DOT, "P", "kNN, k = 1"),
    "knn3": Line("#b9ac70", DASH, "p", "kNN, k = 3"),
    "knn5": Line("#b9ac70", "-", "h", "kNN, k = 5"),
    "tree": Line("#92dadd", DASH, "D", "one tree"),
    "boosted_trees": Line("#3f90da", "-", "o", "boosted trees"),
    "mlp": Line("#e76300", "-", "X", "MLP"),
}
GROUPS = {
    "one shape for all": ("cuts", "fisher", "likelihood", "likelihood_decorrelated"),
    "shapes that are learnt": ("knn1", "knn5", "tree", "boosted_trees", "mlp"),
}
TITLES = {"gaussians": "Correlated Gaussians", "crescent": "Crescent and blob"}
PLANES = {"gaussians": Plane(-4, 4), "crescent": Plane(-3.5, 3.5)}
STORIES = {
    "gaussians": (
        "Both classes are Gaussians of one shape. The second feature alone tells nothing, but it tells how "
        "far the first one has fluctuated. The best boundary is a straight line along the correlation. A box "
        "cannot lean, and a product of densities takes the features one by one: both lose what the "
        "correlation knows. Fisher's discriminant, and the likelihood once it is decorrelated, are exact."
    ),
    "crescent": (
        "The signal bends around the background. A straight line is worth nearly nothing, a box holds only a "
        "piece of the crescent, and decorrelating does not help since nothing is linear here. What takes "
        "its shape from the events comes close to the best: neighbours with the noise of a few, a tree "
        "in steps, many small trees and a network smoothly."
    ),
}
REMARKS = {
    "cuts": "A box, the best of {combinations} tried; boxes in boxes give other efficiencies.",
    "fisher": "The best straight line if both classes are Gaussians of one covariance.",
    "likelihood": "Bends along each axis, but takes the features one by one.",
    "likelihood_decorrelated": "The same after the features have been made uncorrelated.",
    "knn1": "The class of the nearest event: follows each fluctuation.",
    "knn3": "Three votes: still noise.",
    "knn5": "Five votes: better, and still coarse.",
    "tree": "Boxes in boxes, in steps.",
    "boosted_trees": "Many small trees added: the steps are fine.",
    "mlp": "A smooth surface from 64 + 64 neurons.",
}


@recipe(scales=SCALES)
def classical(settings: ClassicalSettings, run: Run) -> Result:
    """Cuts, Fisher, likelihood, kNN, trees and an MLP against the exact optimum [Neyman, Pearson 1933]."""
    best = {name: optimum(make()) for name, make in PROBLEMS.items()}
    parts, first = [], dict[str, dict[str, Floats]]()
    for name in PROBLEMS:
        for dimensions in settings.dimensions:
            test = test_events(settings, name, dimensions, run.seed)
            for seed in settings.seeds if dimensions == 2 else settings.scan_seeds:
                said = scores(settings, run, name, dimensions, seed)
                part = Result.start(run.recipe, run.scale, run.seed, run.command)
                part.sizes = {"train": settings.train, "valid": settings.train // 4, "test": settings.test}
                at: At = {"dimensions": dimensions}
                part.metrics = measured(said, test, best[name], settings, name, at, seed)
                parts.append(part)
                first.setdefault(f"{name}-{dimensions}", said)
    result = combine(parts)
    for name, found in best.items():
        result.metrics += optimal(found, settings, name)
    return page(settings, run, result, best, first)


def scores(settings: ClassicalSettings, run: Run, name: str, dimensions: int, seed: int) -> dict[str, Floats]:
    """What all methods say of the test events of a problem, after one training each."""
    key = {
        "problem": name, "dimensions": dimensions, "seed": seed, "run_seed": run.seed,
        "train": settings.train, "test": settings.test if dimensions == 2 else settings.scan_test,
        "training": settings.training.model_dump(mode="json"), "plane": PLANES[name],
    }  # fmt: skip
    path = run.cached(
        f"{name} in {dimensions} dimensions, seed {seed}", key,
        lambda path: fit_and_score(path, settings, name, dimensions, seed, run.seed, PLANES[name].points),
        code=["recipes.classical_fits"], suffix=".npz",
    )  # fmt: skip
    with np.load(path) as arrays:
        return {key: np.asarray(arrays[key], dtype=np.float64) for key in arrays.files}


def measured(
    said: Mapping[str, Floats],
    test: Drawn,
    best: Optimum,
    settings: ClassicalSettings,
    sample: str,
    at: At,
    seed: int,
) -> list[Metric]:
    """AUC, its ratio to the best, rejection at half the signal, significance; errors of the regression.

    The ratio compares with the exact likelihood ratio on the same events, so that their fluctuations cancel.
    """
    metrics = []
    weights = np.where(test.is_signal, settings.signal, settings.background) / (len(test.x) / 2)
    ideal = np.subtract(*problem_of(sample, int(at["dimensions"])).log_densities(test.x))

    def metric(what: str, method: str, where: At, value: Estimate, reference: float | None = None) -> None:
        metrics.append(
            Metric(name=what, at={**at, **where}, method=method, sample=sample, value=float(value.value),
                   error=float(value.error), seeds=[seed], reference=reference,
                   source="exact optimum (Neyman, Pearson)" if reference else None)
        )  # fmt: skip

    for method in METHODS:
        score = said[f"score_{method}"]
        area = auc(score, test.is_signal)
        metric("auc", method, {}, area, best.auc if at["dimensions"] == 2 else None)
        apart = auc_difference((score, ideal), test.is_signal)
        metric("auc_ratio", method, {}, Estimate(1 + apart.value / best.auc, apart.error / best.auc))
        ranks = untied(score)
        found = rejection(Survival(ranks[test.is_signal]), Survival(ranks[~test.is_signal]), 0.5)
        metric("background_rejection", method, {"signal_efficiency": 0.5}, Estimate(found.value, found.error))
        fewest = max(LEAST * len(test.x) / 2, 10)
        yields, _ = held_out_yields(score, test.is_signal, weights, minimum=fewest)
        where: At = {"signal": settings.signal, "background": settings.background}
        metric("significance", method, where, asimov(*yields))
    for k in NEIGHBOURS:
        square = said[f"regression_{k}"] ** 2
        rms = np.sqrt(square.mean())
        error = square.std() / np.sqrt(len(square)) / (2 * rms)
        metric("rms_error", "knn", {"k": k}, Estimate(np.asarray(rms), np.asarray(error)))
    return metrics


def untied(score: Floats) -> Floats:
    """Ranks of the scores, equal ones in random order: what a coarse score does at any efficiency."""
    ranks = np.empty(len(score))
    ranks[np.lexsort((np.random.default_rng(1).random(len(score)), score))] = np.arange(len(score))
    return ranks


def optimal(best: Optimum, settings: ClassicalSettings, sample: str) -> list[Metric]:
    """What the best classifier reaches: integrals, so without errors."""
    passing = float(np.interp(0.5, best.signal, best.background))
    enough = best.background >= LEAST
    z = asimov(settings.signal * best.signal[enough], settings.background * best.background[enough]).value
    numbers: list[tuple[str, At, float]] = [
        ("auc", {}, best.auc),
        ("background_rejection", {"signal_efficiency": 0.5}, 1 / passing),
        ("significance", {"signal": settings.signal, "background": settings.background}, float(z.max())),
    ]
    return [
        Metric(name=name, at={"dimensions": 2, **at}, method="best", sample=sample, value=value,
               note="integrated over the plane")
        for name, at, value in numbers
    ]  # fmt: skip


def page(
    settings: ClassicalSettings,
    run: Run,
    result: Result,
    best: dict[str, Optimum],
    first: dict[str, dict[str, Floats]],
) -> Result:
    """The table, the two problems with all boundaries, the scan over dimensions, and the regression."""
    report = Report(
        "From cuts to networks",
        f"Two problems whose best answer is known, {settings.train:,} events to learn from",
    )
    ratios = {
        (name, method): found
        for name in PROBLEMS
        for method in ("boosted_trees", "mlp")
        if (found := result.find("auc_ratio", method, name, dimensions=2))
    }
    report.text(
        "No classifier does better than a cut on the ratio of the two densities, and here the densities are "
        "known. Of the best area under the ROC curve, "
        + "; ".join(
            f"**{LINES[method].label}** reach{'es' if method == 'mlp' else ''} {shown_percent(found)} "
            f"({TITLES[name].lower()})"
            for (name, method), found in ratios.items()
        )
        + "."
    )
    for name, limit in best.items():
        rows: list[list[str | Cell]] = [[*summary(result, name, method)] for method in METHODS]
        area, reject, z = (metric.value for metric in optimal(limit, settings, name))
        rows.append([Cell("best possible", "", True), f"{area:.4f}", "0", f"{reject:.1f}", f"{z:.2f}"])
        report.table(
            [TITLES[name], "AUC", "below the best, %", "rejection at 50 %", "significance"], rows,
            f"Errors: test sample and spread over {len(settings.seeds)} training samples. Significance: "
            f"{settings.signal:g} signal and {settings.background:g} background events, threshold chosen on "
            f"other events, {LEAST:.1%} of the background left at least.",
        )  # fmt: skip
    for name in PROBLEMS:
        problem_section(report, settings, run, name, best[name], first[f"{name}-2"])
    if len(settings.dimensions) > 1:
        dimensions_section(report, settings, result)
    regression_section(report, settings, result)
    return run.finish(report, result, settings)


def summary(result: Result, sample: str, method: str) -> list[str]:
    """A method's row of the first table."""
    area, ratio, reject, z = (
        result.find(what, method, sample, dimensions=2)
        for what in ("auc", "auc_ratio", "background_rejection", "significance")
    )
    assert area and ratio and ratio.value is not None and reject and z
    error = float(np.hypot(ratio.error or 0, ratio.error_seed or 0))
    lost = shown(100 * (1 - ratio.value), 100 * error)
    return [LINES[method].label, shown_metric(area), lost, shown_metric(reject), shown_metric(z)]


def shown_percent(metric: Metric) -> str:
    """A ratio as a percentage with its error."""
    assert metric.value is not None
    return f"{shown(100 * metric.value, 100 * float(np.hypot(metric.error or 0, metric.error_seed or 0)))} %"


def problem_section(
    report: Report, settings: ClassicalSettings, run: Run, name: str, best: Optimum, said: dict[str, Floats]
) -> None:
    """The boundaries of all methods, and their rejections beside the best one's."""
    report.section(TITLES[name])
    report.text(STORIES[name])
    test = test_events(settings, name, 2, run.seed)
    plane, problem = PLANES[name], problem_of(name, 2)
    signal, background = problem.log_densities(plane.points)
    ideal = 1 / (1 + np.exp(np.clip(background - signal, -500, 500)))
    shown_events = test.x[:300], test.is_signal[:300]
    caption = Caption("femtobarn toy", LINES["best"].label)
    figure = plane_figure(ideal, plane, caption, events=shown_events)
    report.figure(
        figure, "The probability of signal (red), its boundary at 1/2; events: signal dark, background open.",
        f"{name}-best", small=True,
    )  # fmt: skip
    for method in METHODS:
        caption = Caption("femtobarn toy", LINES[method].label)
        figure = plane_figure(said[f"map_{method}"], plane, caption, best=ideal)
        remark = REMARKS[method].format(combinations="up to a million")
        report.figure(figure, remark, f"{name}-{method.replace('_', '-')}", small=True)
    signal, background = problem.log_densities(test.x)
    caption = Caption("femtobarn toy", TITLES[name])
    for group, methods in GROUPS.items():
        curves = {
            "best": signal - background,
            **{method: untied(said[f"score_{method}"]) for method in methods},
        }
        survivals = {
            method: (Survival(score[test.is_signal]), Survival(score[~test.is_signal]))
            for method, score in curves.items()
        }
        figure = rejection_figure(
            survivals, LINES, caption, signal="Signal", background="Background",
            efficiencies=(0.1, 1.0),
        )  # fmt: skip
        report.figure(
            figure, f"Background rejection against signal efficiency, {group}; below, the ratio to the best.",
            f"{name}-{group.split()[0]}",
        )  # fmt: skip


def dimensions_section(report: Report, settings: ClassicalSettings, result: Result) -> None:
    """The share of the best AUC that each method keeps as dimensions of noise are added."""
    report.section("More dimensions")
    report.text(
        "Features are added that are the same Gaussian noise in both classes, and all are turned together at "
        "random. Neither changes the ratio of the densities: the best answer is as good as before, only "
        "harder to find. A million boxes leave one or two thresholds per feature, and none leans. The "
        "likelihood loses what the rotation has made into correlation, and gains where it undoes some. "
        "Neighbours move away from each other and become strangers. Trees cut along the axes and need many "
        "steps for a slanted boundary. A network can turn the features back in its first layer."
    )
    x = np.array(settings.dimensions, dtype=np.float64)
    for name in PROBLEMS:
        curves = {}
        for method in METHODS:
            found = [result.find("auc_ratio", method, name, dimensions=int(d)) for d in x]
            pairs = [(m.value or np.nan, np.hypot(m.error or 0, m.error_seed or 0)) for m in found if m]
            curves[method] = Estimate(*np.array(pairs, dtype=np.float64).T)
        figure = trend_figure(
            x, curves, LINES, Caption("femtobarn toy", TITLES[name]), variable="Dimensions",
            quantity="AUC / best AUC", logarithmic=(False, False),
        )  # fmt: skip
        report.figure(
            figure, f"{TITLES[name]} among dimensions of noise: how much of the best AUC is left, with "
            f"{settings.train:,} training events.", f"dimensions-{name}",
        )  # fmt: skip


def regression_section(report: Report, settings: ClassicalSettings, result: Result) -> None:
    """The error of the mean of k neighbours, beside what the noise alone would give."""
    report.section("Neighbours as a regression")
    report.text(
        "The mean of the k nearest events' targets estimates their expectation. The target here is the "
        f"distance from the origin in the plane of the two classes, smeared by {SMEARING}. Its error is the "
        f"noise, {SMEARING}/√k, and the distance to the neighbours on top: more neighbours lower the one and "
        "raise the other, and in many dimensions the second is all there is."
    )
    x = np.array(settings.dimensions, dtype=np.float64)
    lines = {f"knn{k}": LINES[f"knn{k}"] for k in NEIGHBOURS}
    for name in PROBLEMS:
        curves = {}
        for k in NEIGHBOURS:
            found = [result.find("rms_error", "knn", name, dimensions=int(d), k=k) for d in x]
            pairs = [(m.value or np.nan, np.hypot(m.error or 0, m.error_seed or 0)) for m in found if m]
            curves[f"knn{k}"] = Estimate(*np.array(pairs, dtype=np.float64).T)
        ends = np.array([x.min(), x.max()])
        guides = [
            Guide(
                "" if k > 1 else "noise alone", ends, np.full(2, SMEARING / np.sqrt(k)), lines[f"knn{k}"].dash
            )
            for k in NEIGHBOURS
        ]
        figure = trend_figure(
            x, curves, lines, Caption("femtobarn toy", TITLES[name]), variable="Dimensions",
            quantity="RMS error", logarithmic=(False, False), guides=guides, height=3.0,
            limits=(0, max(float(np.nanmax(curve.value)) for curve in curves.values()) * 1.1),
        )  # fmt: skip
        report.figure(figure, f"Regression by neighbours, {TITLES[name].lower()}.", f"regression-{name}")
