"""One network for all masses of a resonance, asked at a mass it has not seen, beside the exact optimum."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.classification.mlp import MLP
from femtobarn.classification.parametrised import Parametrised, drawn_parameters
from femtobarn.data import Sample, from_memory
from femtobarn.data.atomic import atomic
from femtobarn.data.inputs import Inputs, Label
from femtobarn.evaluate.metrics import Estimate
from femtobarn.evaluate.numbers import shown_metric
from femtobarn.evaluate.paired import Area, area_of, mean_area
from femtobarn.evaluate.plane import trend_figure
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import At, Metric, Result
from femtobarn.evaluate.steps import distributions_figure
from femtobarn.evaluate.style import Caption, lines_for
from femtobarn.learn.method import Classifier
from femtobarn.learn.training import Training
from femtobarn.recipes.run import Run, Settings, Unit, recipe

Array = NDArray[np.float64]

LOW, HIGH, FALL, WIDTH = 300.0, 2200.0, 400.0, 0.06
"""Range of the background's mass and the scale of its exponential (GeV); width over mass of the signal."""
LABELS = {
    "optimum": "Exact ratio",
    "parametrised": "Parametrised",
    "dedicated": "This mass alone",
    "mixed": "m not told",
}
CAPTION = Caption("femtobarn toy", "two-body resonance on a falling background")


class ResonanceSettings(Settings):
    """What differs between the scales.

    Attributes:
        masses: of the signal trained on, GeV.
        unseen: masses asked about that no signal of training has.
        events: of signal per mass and, together, as many of background as of signal, for training.
        test: events of each class that judge at each mass.
        seeds: of the trainings.
        training: of all networks.
    """

    masses: tuple[float, ...] = (500.0, 750.0, 1250.0, 1500.0)
    unseen: tuple[float, ...] = (1000.0,)
    events: int = 5_000
    test: int = 20_000
    seeds: tuple[int, ...] = (1,)
    training: Training = (
        MLP().default_training().with_(epochs=12, batch_size=500, progress="none", accelerator="cpu")
    )


SCALES = {
    "smoke": ResonanceSettings(events=200, test=500, training=ResonanceSettings().training.with_(epochs=2)),
    "quick": ResonanceSettings(events=3_000),
    "standard": ResonanceSettings(events=10_000, test=50_000, seeds=(1, 2, 3)),
}


@recipe(scales=SCALES)
def parametrised_resonance(settings: ResonanceSettings, run: Run) -> Result:
    """A network f(x; m) over the mass of a resonance, at a mass it was not trained on [1601.07913]."""
    units = [Unit("parametrised", seed) for seed in settings.seeds]
    units += [Unit("mixed", seed) for seed in settings.seeds]
    said = {unit: trained(settings, run, unit, settings.masses) for unit in units}
    for mass in settings.unseen:
        for seed in settings.seeds:
            said[Unit(f"dedicated-{mass:g}", seed)] = trained(
                settings, run, Unit(f"dedicated-{mass:g}", seed), (mass,)
            )
    areas = {
        (method, mass): judged(settings, run, said, method, mass)
        for mass in asked(settings)
        for method in LABELS
        if method != "dedicated" or mass in settings.unseen
    }
    result = Result.start(run.recipe, run.scale, run.seed, run.command)
    result.sizes = {"train": 2 * settings.events * len(settings.masses), "test": 2 * settings.test}
    for (method, mass), (area, seeds) in areas.items():
        result.metrics.append(_metric("auc", method, mass, area, seeds, settings))
        if method != "optimum":
            best = areas["optimum", mass][0]
            short = Area(best.value - area.value, best.influence - area.influence)
            result.metrics.append(
                _metric(
                    "auc_below_optimum", method, mass, short, [best.value - one for one in seeds], settings
                )
            )
    return page(settings, run, result, said)


def asked(settings: ResonanceSettings) -> list[float]:
    """All masses that are judged."""
    return sorted({*settings.masses, *settings.unseen})


def drawn(masses: Array, signal: NDArray[np.bool_], rng: np.random.Generator) -> dict[str, Array]:
    """Decays into two bodies: signal at its mass and without direction, background falling and forward.

    `pt` and `eta`, half the distance of the two in pseudorapidity, are what is measured: m = 2 pt cosh(eta).
    """
    count = len(masses)
    edges = np.exp(-LOW / FALL), np.exp(-HIGH / FALL)
    falling = -FALL * np.log(rng.uniform(edges[1], edges[0], count))
    mass = np.where(signal, masses * (1 + WIDTH * rng.normal(size=count)), falling)
    # The background's density in |cos| is (1 + 6 c^2) / 3; its cumulative is inverted on a grid.
    grid = np.linspace(0, 1, 2001)
    forward = np.interp(rng.random(count), (grid + 2 * grid**3) / 3, grid)
    cosine = np.where(signal, rng.random(count), forward) * rng.choice((-1, 1), count)
    return {"pt": mass / 2 * np.sqrt(1 - cosine**2), "eta": np.arctanh(np.clip(cosine, -0.9999, 0.9999))}


def optimum(events: dict[str, Array], mass: float) -> Array:
    """ln p_s(x | m) / p_b(x), but for a constant."""
    found = 2 * events["pt"] * np.cosh(events["eta"])
    cosine = np.tanh(events["eta"])
    signal = -((found - mass) ** 2) / (2 * (WIDTH * mass) ** 2)
    inside = np.where((found > LOW) & (found < HIGH), -found / FALL - np.log(FALL), -50.0)
    return np.asarray(signal - inside - np.log((1 + 6 * cosine**2) / 3))


def training_sample(
    settings: ResonanceSettings, masses: tuple[float, ...], seed: int, share: float
) -> Sample:
    """As much signal, of equal parts of the masses, as background; background has masses drawn."""
    rng = np.random.default_rng(seed)
    count = 2 * int(share * settings.events * len(settings.masses))
    signal = np.arange(count) % 2 == 0
    mass = rng.choice(masses, count)
    events = drawn(mass, signal, rng)
    events["mass"] = drawn_parameters(mass, signal, seed=seed).astype(np.float64)
    array = ak.zip(
        {"label": (~signal).astype(np.int8), **{k: v.astype(np.float32) for k, v in events.items()}}
    )
    return from_memory(array, {"label": ["signal", "background"]}, name="toy")


def judging(
    settings: ResonanceSettings, mass: float, seed: int
) -> tuple[dict[str, Array], NDArray[np.bool_]]:
    """Events that judge at one mass, the same for all methods, and which are signal."""
    rng = np.random.default_rng([seed, int(mass), 99])
    signal = np.arange(2 * settings.test) % 2 == 0
    return drawn(np.full(len(signal), mass), signal, rng), signal


def trained(settings: ResonanceSettings, run: Run, unit: Unit, masses: tuple[float, ...]) -> Path:
    """Train one network; a file of what it says of the test events at each mass."""
    told = unit.method == "parametrised"
    features = ["pt", "eta", "mass"] if told else ["pt", "eta"]
    classes = {"s": ["signal"], "b": ["background"]}
    inputs = Inputs(event=list(features), labels={"class": Label(field="label", classes=classes)})
    method: Classifier = Parametrised(name="f", blocks=1) if told else MLP(name="f", blocks=1)
    training = settings.training.with_(seed=unit.seed)

    def build(path: Path) -> None:
        train, valid = (
            training_sample(settings, masses, 10 * run.seed + k, share) for k, share in ((0, 1.0), (1, 0.25))
        )
        method.fit(train, valid, inputs=inputs, training=training)
        answers = {}
        for mass in asked(settings):
            events = ak.zip(judging(settings, mass, run.seed)[0])
            ask = (
                partial(method.predict_at, value=mass) if isinstance(method, Parametrised) else method.predict
            )
            answers[f"{mass:g}"] = ak.to_numpy(ask(events)["f_ps"])
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **answers)

    key = settings.model_dump(mode="json", exclude={"seeds", "training"}) | {
        "seed": run.seed,
        "masses": masses,
    }
    key |= {"training": training.model_dump(mode="json")}
    code = [__name__, "learn", type(method).__module__]
    return run.cached(str(unit), key, build, code=code)


def judged(settings: ResonanceSettings, run: Run, said: dict[Unit, Path], method: str,
           mass: float) -> tuple[Area, list[float]]:  # fmt: skip
    """Mean area over seeds at one mass, and that of each seed."""
    events, signal = judging(settings, mass, run.seed)
    if method == "optimum":
        area = area_of(optimum(events, mass), signal)
        return area, [area.value] * len(settings.seeds)
    name = f"dedicated-{mass:g}" if method == "dedicated" else method
    each = [area_of(answers(said[Unit(name, seed)], mass), signal) for seed in settings.seeds]
    every = [np.arange(len(signal))] * len(each)
    return mean_area(each, every, len(signal)), [one.value for one in each]


def answers(path: Path, mass: float) -> Array:
    """What a network says of the test events at a mass."""
    with np.load(path) as stored:
        return np.asarray(stored[f"{mass:g}"], dtype=np.float64)


def _metric(name: str, method: str, mass: float, area: Area, seeds: list[float],
            settings: ResonanceSettings) -> Metric:  # fmt: skip
    spread = float(np.std(seeds, ddof=1)) if len(seeds) > 1 and method != "optimum" else None
    at: At = {"mass": mass, "trained": int(mass in settings.masses)}
    error, seeds_used = float(area.estimate.error), list(settings.seeds)
    return Metric(name=name, at=at, method=method, sample="toy", value=area.value, error=error,
                  error_seed=spread, seeds=seeds_used)  # fmt: skip


def page(settings: ResonanceSettings, run: Run, result: Result, said: dict[Unit, Path]) -> Result:
    """Areas at every mass, and how the answer changes with the mass asked."""
    report = Report("One network for all masses", f"{result.sizes['train']:,} events, {run.scale} scale")
    unseen = ", ".join(f"{mass:g} GeV" for mass in settings.unseen)
    report.text(
        "A resonance that decays into two bodies stands on a falling background; the networks read the "
        "transverse momentum and the pseudorapidity of its decay. The parametrised one is told the mass that "
        f"is asked about; it was trained at {', '.join(f'{m:g}' for m in settings.masses)} GeV, and not at "
        f"**{unseen}**. Beside it: a network trained at that mass alone, on as many events; one trained on "
        "all masses without being told; and the exact likelihood ratio, which nothing exceeds."
    )
    columns = ["Mass [GeV]", *LABELS.values()]
    rows = []
    for mass in asked(settings):
        cells = [result.find("auc", name, mass=mass) for name in LABELS]
        name = f"{mass:g}" + ("" if mass in settings.masses else " (not trained on)")
        rows.append([name, *(shown_metric(cell) if cell else "–" for cell in cells)])
    report.table(columns, rows, "AUC ± statistical error of the test events, then the spread over seeds.")
    lines = lines_for(list(LABELS), LABELS)
    x = np.array(asked(settings))
    for metric, quantity, chosen in (
        ("auc", "AUC", ("optimum", "parametrised", "dedicated", "mixed")),
        ("auc_below_optimum", "AUC below the optimum", ("parametrised", "dedicated")),
    ):
        curves = {}
        for name in chosen:
            found = [result.find(metric, name, mass=mass) for mass in asked(settings)]
            numbers = [(np.nan, 0.0) if m is None else (m.value or 0.0, m.error or 0.0) for m in found]
            curves[name] = Estimate(*np.array(numbers).T)
        figure = trend_figure(
            x, curves, lines, CAPTION, variable="Mass of the signal [GeV]", quantity=quantity,
            logarithmic=(False, False),
        )  # fmt: skip
        report.figure(figure, f"{quantity} against the mass; {unseen} is between those trained on.", metric)
    for mass in settings.unseen:
        events, signal = judging(settings, mass, run.seed)
        said_there = answers(said[Unit("parametrised", settings.seeds[0])], mass)
        report.figure(
            distributions_figure(said_there, signal, f"$f(x; {mass:g}\\,$GeV$)$", CAPTION),
            f"The parametrised network's answer at {mass:g} GeV, where it was not trained.",
            "score",
        )
        masses = 2 * events["pt"] * np.cosh(events["eta"])
        report.figure(
            distributions_figure(masses, signal, "$m$ [GeV]", CAPTION),
            "The mass, which the networks have to find in transverse momentum and pseudorapidity.",
            "mass",
        )
    return run.finish(report, result, settings)
