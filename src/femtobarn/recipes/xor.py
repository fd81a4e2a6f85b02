"""XOR: what a hidden layer is for, activation by activation, and the exact solution of two ReLUs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from femtobarn.evaluate.metrics import Estimate
from femtobarn.evaluate.numbers import percent, shown_metric
from femtobarn.evaluate.plane import Plane, plane_figure, trend_figure
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Metric, Result
from femtobarn.evaluate.style import Caption, Line
from femtobarn.recipes.run import Run, Settings, recipe
from femtobarn.recipes.xor_fits import (
    CORNERS,
    DIFFERENCE,
    TEXTBOOK,
    TRUTH,
    Solution,
    distance,
    search,
    train,
)

Floats = NDArray[np.float64]


class XorSettings(Settings):
    """What differs between the scales.

    Attributes:
        networks: trained for each activation and width, each from another start.
        widths: numbers of hidden units.
        steps, rate: of Adam.
        searched: networks of two ReLUs among which the exact solutions are looked for.
        search_steps: of Adam, four times over.
    """

    networks: int = 200
    widths: tuple[int, ...] = (1, 2, 3, 4, 8, 16)
    steps: int = 1500
    rate: float = 0.05
    searched: int = 500
    search_steps: int = 4000


SCALES = {
    "smoke": XorSettings(networks=20, widths=(2, 4), steps=300, searched=40, search_steps=1000),
    "quick": XorSettings(networks=100, widths=(2, 3, 4, 8), searched=200, search_steps=2000),
    "standard": XorSettings(),
}
LINES = {
    "linear": Line("#5c6370", (0, (5, 1.5)), "s", "linear"),
    "step": Line("#a96b59", (0, (4, 1.2, 1, 1.2)), "^", "step"),
    "sigmoid": Line("#832db6", "-", "v", "sigmoid"),
    "tanh": Line("#b9ac70", (0, (8, 2)), "P", "tanh"),
    "relu": Line("#3f90da", "-", "o", "ReLU"),
    "leaky_relu": Line("#e76300", (0, (1, 1)), "D", "leaky ReLU"),
}
LEARNT = {
    "linear": "Layers of a linear network are one linear layer: the best plane through four corners is flat.",
    "step": "A step has no slope: hidden units stay where they were drawn, only the last layer learns.",
    "sigmoid": "Two smooth steps make a ridge between the corners.",
    "tanh": "As the sigmoid, centred on zero.",
    "relu": "Two kinks are enough, if neither unit is dead at all corners from the start.",
    "leaky_relu": "A unit below zero still has a slope and comes back to life.",
}
SOLVED = 0.1
"""Of a network that has learnt XOR no corner is further off."""
SAME = 0.01
"""Parameters that differ by less are the same."""
PLANE = Plane(-0.5, 1.5, 121)
HIDDEN = Plane(-0.6, 2.4, 121)


@recipe(scales=SCALES)
def xor(settings: XorSettings, run: Run) -> Result:
    """XOR by activation, from linear to leaky ReLU, and the exact ReLU solution found by training."""
    result = Result.start(run.recipe, run.scale, run.seed, run.command)
    result.sizes = {"corners": 4, "networks each": settings.networks}
    maps: dict[str, Floats] = {}
    for activation in LINES:
        for width in settings.widths:
            corners, answers = trained(settings, run, activation, width)
            result.metrics += measured(corners, activation, width)
            if width == 2:
                maps[activation] = answers
    found = searched(settings, run)
    result.metrics += compared(found)
    return page(settings, run, result, maps, found)


def trained(settings: XorSettings, run: Run, activation: str, width: int) -> tuple[Floats, Floats]:
    """What all networks say of the corners (networks, 4), and the best of them of the plane."""
    key = {"networks": settings.networks, "steps": settings.steps, "rate": settings.rate,
           "activation": activation, "width": width, "plane": PLANE}  # fmt: skip
    path = run.cached(
        f"{activation} with {width} hidden", key,
        lambda path: train(
            path, activation, width, settings.networks, settings.steps, settings.rate, PLANE.points
        ),
        code=["recipes.xor_fits"], suffix=".npz",
    )  # fmt: skip
    with np.load(path) as arrays:
        return arrays["corners"], arrays["map"]


def searched(settings: XorSettings, run: Run) -> Solution:
    """Networks of two ReLUs that have been trained with a decay that falls."""
    key = {"networks": settings.searched, "steps": settings.search_steps, "seed": run.seed}
    path = run.cached(
        "search of exact solutions", key,
        lambda path: search(path, settings.searched, settings.search_steps, run.seed),
        code=["recipes.xor_fits"], suffix=".npz",
    )  # fmt: skip
    with np.load(path) as arrays:
        return Solution(*(arrays[name] for name in Solution._fields))


def share(passing: NDArray[np.bool_]) -> tuple[float, float]:
    """A fraction and its error, that of the Bayesian posterior: none is not exactly none."""
    n, k = len(passing), int(passing.sum())
    return k / n, float(np.sqrt((k + 1) * (n - k + 1) / ((n + 2) ** 2 * (n + 3))))


def measured(corners: Floats, activation: str, width: int) -> list[Metric]:
    """How many networks have learnt XOR, and their median squared error."""
    value, error = share(np.abs(corners - TRUTH).max(axis=1) < SOLVED)
    squared = float(np.median(((corners - TRUTH) ** 2).mean(axis=1)))
    what = {"method": activation, "sample": "xor", "at": {"hidden": width}}
    return [
        Metric.model_validate({"name": "success_rate", "value": value, "error": error, **what}),
        Metric.model_validate({"name": "median_squared_error", "value": squared, **what}),
    ]


def compared(found: Solution) -> list[Metric]:
    """How many of the searched networks are exact, and which of the exact solutions they are."""
    exact = np.abs(found(CORNERS) - TRUTH).max(axis=1) < SAME
    metrics = [Metric(name="exact_share", method="relu", sample="xor", value=share(exact)[0],
                      error=share(exact)[1], at={"hidden": 2})]  # fmt: skip
    if not exact.any():
        return metrics
    solutions = found.take(exact)
    for name, reference in (("textbook", TEXTBOOK), ("difference", DIFFERENCE)):
        apart = distance(solutions, reference)
        value, error = share(apart < SAME)
        at = {"hidden": 2, "solution": name}
        metrics.append(
            Metric(name="share_of_exact", method="relu", sample="xor", value=value, error=error, at=at)
        )
        metrics.append(
            Metric(name="smallest_parameter_difference", method="relu", sample="xor", at=at,
                   value=float(apart.min()), note="from the exact weights, up to symmetries")
        )  # fmt: skip
    return metrics


def page(settings: XorSettings, run: Run, result: Result, maps: dict[str, Floats], found: Solution) -> Result:
    """Success by activation and width, the decision maps, and the exact solution."""
    report = Report("XOR", "One hidden layer, activation by activation")
    report.text(
        "A neuron cuts the plane with one straight line, and no line separates the corners where the inputs "
        "differ from those where they agree [Minsky, Papert, Perceptrons, 1969]. A hidden layer can, but "
        "only if it is not linear, and only if training finds how."
    )
    rows = []
    for activation, line in LINES.items():
        rates = [result.find("success_rate", activation, hidden=width) for width in settings.widths]
        rows.append([line.label, *(f"{shown_metric(rate)}" if rate else "–" for rate in rates)])
    report.table(
        ["hidden units", *(str(width) for width in settings.widths)], rows,
        f"Share of {settings.networks} networks, each from another start, that are within {SOLVED} of the "
        f"truth at all four corners after {settings.steps:,} steps of Adam on the squared error.",
    )  # fmt: skip
    report.section("Activation by activation")
    if len(settings.widths) > 1:
        curves = {}
        for activation in LINES:
            rates = [result.find("success_rate", activation, hidden=width) for width in settings.widths]
            numbers = np.array([(rate.value, rate.error) for rate in rates if rate], dtype=np.float64)
            curves[activation] = Estimate(*numbers.T)
        figure = trend_figure(
            np.array(settings.widths, dtype=np.float64), curves, LINES, Caption("femtobarn", "XOR"),
            variable="Hidden units", quantity="Networks that learn XOR", logarithmic=(True, False),
            limits=(-0.03, 1),
        )  # fmt: skip
        report.figure(figure, "Success against the number of hidden units.", "success")
    report.text(
        "Below, the network with the smallest error of all with two hidden units: red is 1, blue 0, the line "
        "where the answer is 1/2."
    )
    for activation, answers in maps.items():
        rate = result.find("success_rate", activation, hidden=2)
        caption = Caption("femtobarn", f"{LINES[activation].label}, two hidden units")
        figure = plane_figure(answers, PLANE, caption, events=(CORNERS, TRUTH > 0), large=True)
        said = f"{LEARNT[activation]} Learnt by {percent(rate.value or 0)} of the networks." if rate else ""
        report.figure(figure, said, f"map-{activation.replace('_', '-')}", small=True)
    exact_section(report, result, found)
    return run.finish(report, result, settings)


def exact_section(report: Report, result: Result, found: Solution) -> None:
    """The textbook's weights, that they are right, and which solutions training finds."""
    report.section("The exact solution")
    wrong = float(np.abs(TEXTBOOK(CORNERS) - TRUTH).max())
    report.text(
        "f(x) = relu(x1 + x2) − 2 relu(x1 + x2 − 1) is XOR at the four corners [Goodfellow, Bengio, "
        f"Courville, Deep Learning, 2016, section 6.1]; evaluated here, the largest error is {wrong:g}. Seen "
        "by the two hidden units the corners where the inputs differ fall on one point, and a line separates "
        "it from the others: the hidden layer has made the problem linear."
    )
    caption = Caption("femtobarn", "exact ReLU solution")
    figure = plane_figure(TEXTBOOK(PLANE.points), PLANE, caption, events=(CORNERS, TRUTH > 0), large=True)
    report.figure(figure, "The exact solution in the plane of the inputs.", "exact", small=True)
    figure = plane_figure(
        HIDDEN.points @ TEXTBOOK.v + TEXTBOOK.b, HIDDEN, caption, large=True,
        events=(TEXTBOOK.hidden(CORNERS), TRUTH > 0), axes_labels=("$h_1$", "$h_2$"),
    )  # fmt: skip
    report.figure(figure, "The same as its hidden units see it.", "hidden", small=True)
    exact = result.find("exact_share", "relu")
    shares = [result.find("share_of_exact", "relu", solution=name) for name in ("textbook", "difference")]
    if not exact or not all(shares):
        report.text("None of the searched networks was exact.")
        return
    textbook, difference = (share for share in shares if share)
    report.text(
        "Does training find it? Four equations leave nine parameters much freedom, so the weights are kept "
        "small by a decay that falls to nothing, and solutions are compared up to what does not matter: "
        "exchanging or scaling hidden units, a constant moved from a unit that is always on into the last "
        f"bias, and the eight symmetries of XOR. Of {len(found.b):,} networks {shown_metric(exact)} become "
        f"exact. Of these **{shown_metric(textbook)} are the textbook's solution**, every parameter to "
        f"{SAME}, and {shown_metric(difference)} are another one: relu(x1 − x2) + relu(x2 − x1) = |x1 − x2|."
    )
    solutions = found.take(np.abs(found(CORNERS) - TRUTH).max(axis=1) < SAME)
    rows = []
    for name, reference in (("textbook", TEXTBOOK), ("|x1 − x2|", DIFFERENCE)):
        apart = distance(solutions, reference)
        best = solutions.take(int(apart.argmin())).normal()
        target = reference.normal()
        rows += [
            [f"{name}, exact", *(written(part) for part in target), ""],
            [f"{name}, trained", *(written(part) for part in best), f"{apart.min():.1g}"],
        ]
    report.table(
        ["|v| = 1", "W", "c", "v", "b", "difference"], rows,
        "Parameters with hidden units scaled so that their last weights are ±1. The trained ones are shown "
        "as found, one symmetry of XOR away; the difference is the largest of any parameter after it.",
    )  # fmt: skip


def written(values: Floats) -> str:
    """Numbers of a matrix, row by row, without signs of zeros."""
    rows = np.atleast_2d(np.round(values, 3) + 0.0)
    return "; ".join(" ".join(f"{value:g}" for value in row) for row in rows)
