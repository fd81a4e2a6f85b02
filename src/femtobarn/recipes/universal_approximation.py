"""What n neurons can draw: a sine, a square and XOR, with one hidden layer and with two."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from femtobarn.evaluate.metrics import Estimate
from femtobarn.evaluate.numbers import shown
from femtobarn.evaluate.plane import Guide, Plane, curves_figure, plane_figure, trend_figure
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Metric, Result
from femtobarn.evaluate.style import Caption, Line
from femtobarn.recipes.approximation_fits import TARGETS, best_lines, fit
from femtobarn.recipes.run import Run, Settings, recipe

Floats = NDArray[np.float64]


class ApproximationSettings(Settings):
    """What differs between the scales.

    Attributes:
        networks: fitted to each function with each number of neurons, each from another start.
        neurons: in all hidden layers together.
        steps, rate: of Adam.
    """

    networks: int = 4
    neurons: tuple[int, ...] = (1, 2, 3, 5, 8, 13, 21, 34, 55, 100)
    steps: int = 1500
    rate: float = 0.01


SCALES = {
    "smoke": ApproximationSettings(networks=2, neurons=(2, 5, 8), steps=40),
    "quick": ApproximationSettings(networks=3, neurons=(2, 3, 5, 8, 13, 21), steps=1000),
    "standard": ApproximationSettings(),
}


class Kind(NamedTuple):
    """A kind of network: its activation and how many hidden layers share the neurons."""

    activation: str
    layers: int


KINDS = {
    "relu_1": Kind("relu", 1),
    "relu_2": Kind("relu", 2),
    "tanh_1": Kind("tanh", 1),
    "tanh_2": Kind("tanh", 2),
}
LINES = {
    "target": Line("0.75", "-", "*", "target"),
    "relu_1": Line("#3f90da", "-", "o", "ReLU, one layer"),
    "relu_2": Line("#3f90da", (0, (5, 1.5)), "s", "ReLU, two layers"),
    "tanh_1": Line("#e76300", "-", "^", "tanh, one layer"),
    "tanh_2": Line("#e76300", (0, (5, 1.5)), "v", "tanh, two layers"),
}
TITLES = {"sine": "sin πx", "square": "(x1 − x2)²", "xor": "XOR of two signs"}
SHORT = {name: line._replace(label=line.label.removesuffix(", one layer")) for name, line in LINES.items()}
SHOWN = (2, 5, 13)
"""Numbers of neurons whose fits are drawn."""
FIRST = 5
"""Slopes are taken from as many neurons on."""
STORIES = {
    "sine": (
        "A ReLU network in one variable is a broken line with a corner per neuron. The best broken line "
        "misses a curve by n^(-2) (dotted); training finds good corners, not the best. A tanh is smooth as "
        "the sine is, and its error falls faster than any power. Barron's bound, 2C/√n with C = π here, "
        "holds for one layer of sigmoids in any dimension; for one smooth curve far more is possible."
    ),
    "square": (
        "A function of two variables, but of one direction only: neurons that all look along x1 − x2 draw it "
        "as they draw a parabola, and the best of these broken lines is the dotted line. A network has to "
        "find the direction first."
    ),
    "xor": (
        "One where the signs of x1 and x2 differ, zero elsewhere: it jumps, and no sum of functions of one "
        "direction each is a product of two signs. One layer gains slowly, n^(-1/2) or so. Two layers take "
        "the signs first and combine them next, and need a handful of neurons; what is left is the finite "
        "slope of a jump. This is what depth is for."
    ),
}


@recipe(scales=SCALES)
def universal_approximation(settings: ApproximationSettings, run: Run) -> Result:
    """sin x, (x1 - x2)^2 and XOR by n neurons in one and two layers [Cybenko 1989; Barron 1993]."""
    result = Result.start(run.recipe, run.scale, run.seed, run.command)
    result.sizes = {name: target.points**target.dimensions for name, target in TARGETS.items()}
    answers: dict[tuple[str, str, int], Floats] = {}
    for name in TARGETS:
        for kind, (activation, layers) in KINDS.items():
            for neurons in settings.neurons:
                if neurons < layers:
                    continue
                rms, answer = fitted(settings, run, name, activation, layers, neurons)
                result.metrics += measured(rms, name, kind, neurons)
                answers[name, kind, neurons] = answer
            result.metrics += slope(settings, result, name, kind)
    return page(settings, run, result, answers)


def fitted(
    settings: ApproximationSettings, run: Run, name: str, activation: str, layers: int, neurons: int
) -> tuple[Floats, Floats]:
    """The errors of all networks of a kind, and what the best one says."""
    key = {"target": name, "activation": activation, "layers": layers, "neurons": neurons,
           "networks": settings.networks, "steps": settings.steps, "rate": settings.rate}  # fmt: skip
    path = run.cached(
        f"{name} {activation} {layers} layers {neurons} neurons", key,
        lambda path: fit(
            path, name, activation, layers, neurons, settings.networks, settings.steps, settings.rate
        ),
        code=["recipes.approximation_fits"], suffix=".npz",
    )  # fmt: skip
    with np.load(path) as arrays:
        return arrays["rms"], arrays["answer"]


def measured(rms: Floats, name: str, kind: str, neurons: int) -> list[Metric]:
    """The smallest error of all starts, and the median with its error."""
    at = {"neurons": neurons}
    low, median, high = np.quantile(rms, [0.25, 0.5, 0.75])
    return [
        Metric(name="rms_error_best", method=kind, sample=name, at=at, value=float(rms.min())),
        Metric(name="rms_error", method=kind, sample=name, at=at, value=float(median),
               error_seed=float(high - low) / 1.35, seeds=list(range(1, len(rms) + 1)),
               note="median of the starts; error_seed: a third of the quartiles' distance, as of a Gaussian"),
    ]  # fmt: skip


def best_of(result: Result, name: str, kind: str, neurons: tuple[int, ...]) -> Floats:
    """The smallest errors of a kind by number of neurons, NaN where none was fitted."""
    found = [result.find("rms_error_best", kind, name, neurons=n) for n in neurons]
    return np.array([metric.value if metric else np.nan for metric in found], dtype=np.float64)


def slope(settings: ApproximationSettings, result: Result, name: str, kind: str) -> list[Metric]:
    """The power of n with which the smallest error falls, by least squares in the logarithms."""
    neurons = tuple(n for n in settings.neurons if n >= FIRST)
    if len(neurons) < 4:
        return []
    (power, _), covariance = np.polyfit(
        np.log(neurons), np.log(best_of(result, name, kind, neurons)), 1, cov=True
    )
    known = kind == "relu_1" and name in ("sine", "square")
    return [
        Metric(
            name="power", method=kind, sample=name, at={"neurons_from": FIRST}, value=float(power),
            error=float(np.sqrt(covariance[0, 0])), reference=-2.0 if known else None,
            source="best broken line (de Boor 1968)" if known else None,
        )
    ]  # fmt: skip


def guides(name: str, neurons: tuple[int, ...]) -> list[Guide]:
    """What theory says of a function."""
    n = np.geomspace(neurons[0], neurons[-1], 50)
    step = 1e-3
    x = np.arange(-2 + step / 2, 2, step)
    if name == "sine":
        inside = np.abs(x) < 1
        bent = best_lines(np.pi**2 * np.sin(np.pi * x), inside / 2, step, n + 1)
        return [
            Guide("best broken line, $n^{-2}$", n, bent),
            Guide("Barron's bound", n, 2 * np.pi / np.sqrt(n), "--"),
        ]
    if name == "square":
        bent = best_lines(np.full_like(x, 2.0), (2 - np.abs(x)) / 4, step, n + 1)
        return [Guide("best broken line, $n^{-2}$", n, bent)]
    return [Guide("$n^{-1/2}$, scaled", n, 0.5 / np.sqrt(n), "--")]


def page(
    settings: ApproximationSettings, run: Run, result: Result, answers: dict[tuple[str, str, int], Floats]
) -> Result:
    """For each function the error against neurons, the powers, and fits."""
    report = Report("Universal approximation", "What n neurons can draw")
    report.text(
        "One hidden layer with enough neurons comes as close as wanted to any continuous function on a "
        "bounded domain [Cybenko, Math. Control Signals Systems 2 (1989) 303]. How many are enough depends "
        "on the function: Barron [IEEE Trans. Inf. Theory 39 (1993) 930] bounds the RMS error by 2C/√n in "
        "any number of dimensions, if the moment C of the Fourier transform exists. Errors here are of the "
        f"best of {settings.networks} starts, on points that were not fitted: what the network can do, not "
        "what one training does."
    )
    rows = []
    for name, title in TITLES.items():
        powers = [result.find("power", kind, name) for kind in KINDS]
        rows.append([title, *(shown(p.value, p.error) if p else "–" for p in powers)])
    report.table(
        ["power of n", *(LINES[kind].label for kind in KINDS)], rows,
        f"RMS error ∝ n^power, fitted from {FIRST} neurons on, errors from the scatter of the points. Theory "
        "for the best ReLU network of one layer: −2 for the first two functions.",
    )  # fmt: skip
    for name, title in TITLES.items():
        report.section(title)
        report.text(STORIES[name])
        caption = Caption("femtobarn", title)
        curves = {}
        for kind in KINDS:
            best = best_of(result, name, kind, settings.neurons)
            curves[kind] = Estimate(best, np.zeros_like(best))
        figure = trend_figure(
            np.array(settings.neurons, dtype=np.float64), curves, LINES, caption, variable="Neurons",
            quantity="RMS error", guides=guides(name, settings.neurons),
        )  # fmt: skip
        report.figure(figure, f"Error against neurons, best of {settings.networks} starts.", f"error-{name}")
        fits(report, settings, name, answers)
        median_table(report, settings, result, name)
    return run.finish(report, result, settings)


def fits(
    report: Report, settings: ApproximationSettings, name: str, answers: dict[tuple[str, str, int], Floats]
) -> None:
    """Drawings of the best fits with a few neurons."""
    target = TARGETS[name]
    drawn = [n for n in SHOWN if n in settings.neurons]
    if target.dimensions == 1:
        x = target.judges
        for n in drawn:
            curves = {
                "target": target.value(x),
                **{kind: answers[name, kind, n] for kind in ("relu_1", "tanh_1")},
            }
            caption = Caption("femtobarn", f"{TITLES[name]}, {n} neurons")
            figure = curves_figure(x[:, 0], curves, SHORT, caption, labels=("$x$", "$y$"))
            report.figure(figure, f"{n} neurons in one layer.", f"fit-{name}-{n}", small=True)
        return
    plane = Plane(-1 + 1 / 99, 1 - 1 / 99, 99)
    scale = 1 / float(target.value(plane.points).max())
    truth = target.value(plane.points) * scale
    for kind in ("relu_1", "relu_2"):
        for n in drawn:
            caption = Caption("femtobarn", f"{LINES[kind].label}, {n} neurons")
            figure = plane_figure(answers[name, kind, n] * scale, plane, caption, best=truth)
            said = (
                "Red is the largest value, blue zero; the line is at half of it, dashed that of the target."
            )
            report.figure(figure, said, f"fit-{name}-{kind.replace('_', '-')}-{n}", small=True)


def median_table(report: Report, settings: ApproximationSettings, result: Result, name: str) -> None:
    """The median start beside the best."""
    rows = []
    for n in settings.neurons:
        row = [str(n)]
        for kind in KINDS:
            median, best = (
                result.find(what, kind, name, neurons=n) for what in ("rms_error", "rms_error_best")
            )
            known = median and best and median.value is not None and best.value is not None
            row.append(f"{best.value:.2g} | {median.value:.2g}" if known and best and median else "–")
        rows.append(row)
    report.table(
        ["neurons", *(LINES[kind].label for kind in KINDS)], rows,
        f"RMS error of the best start | of the median one, of {settings.networks}.",
    )  # fmt: skip
