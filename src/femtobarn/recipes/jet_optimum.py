"""How far from the best possible is each jet tagger, on jets whose likelihood ratio is known exactly?"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from femtobarn.data import Sample, open_sample
from femtobarn.data.atomic import atomic
from femtobarn.data.formats import open_writer
from femtobarn.data.inputs import Inputs, Label
from femtobarn.evaluate.figures import loss_figure, rejection_figure
from femtobarn.evaluate.metrics import Survival, auc, auc_difference
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Metric, Result, combine
from femtobarn.evaluate.style import Caption, canvas, figure_style, headline, lines_for
from femtobarn.learn.method import Classifier
from femtobarn.learn.model_files import load
from femtobarn.learn.training import Training
from femtobarn.progress import progress_bar
from femtobarn.recipes.run import Run, Settings, Unit, recipe
from femtobarn.simulation.branching import CLASSES, Branching, branching_jets
from femtobarn.tagging.candidates import candidate_inputs
from femtobarn.tagging.jet_rnn import JetRNN
from femtobarn.tagging.lorentz import LorentzNet
from femtobarn.tagging.part import ParT
from femtobarn.tagging.particlenet import ParticleNet
from femtobarn.tagging.pcnn import PCNN
from femtobarn.tagging.pfn import PFN
from femtobarn.tagging.substructure_bdt import SubstructureBDT

TAGGERS: dict[str, tuple[str, type[Classifier]]] = {
    "substructure_bdt": ("Trees on substructure", SubstructureBDT),
    "pfn": ("PFN", PFN),
    "pcnn": ("P-CNN", PCNN),
    "rnn": ("RNN, hardest first", JetRNN),
    "rnn_angle": ("RNN, by angle", JetRNN),
    "lorentz": ("LorentzNet", LorentzNet),
    "particlenet": ("ParticleNet", ParticleNet),
    "part": ("ParT", ParT),
}
DRAWN = tuple(name for name in TAGGERS if name != "rnn")
"""Whose ROC curves are shown."""
BOUNDS = {
    "llr": ("optimum", "Optimum"),
    "llr_emissions": ("optimum_emissions", "Emissions one by one"),
    "llr_azimuths": ("optimum_azimuths", "Azimuths of successive ones"),
}
"""Exact log-likelihood ratios, as methods and for readers."""
SMALL: dict[str, dict[str, Any]] = {
    "particlenet": {"neighbours": 7, "blocks": ((32, 32, 32), (64, 64, 64)), "hidden": 128},
    "part": {"width": 48, "blocks": 2, "class_blocks": 1, "heads": 4, "embedding": (48,), "pair": (32, 32),
             "dropout": 0.0},
    "lorentz": {"width": 24, "layers": 3, "dropout": 0.0},
    "rnn": {"longest": 20},
    "rnn_angle": {"longest": 20, "order": "angle"},
}  # fmt: skip
"""Sizes for jets of six candidates and minutes of one core; ParticleNet as its paper's Lite."""
CYCLE = Training(
    optimiser="adamw", learning_rate=3e-3, weight_decay=0.01, batch_size=512, schedule="one-cycle"
)
WHY = """
The two classes differ in how emissions are distributed, which each emission tells by itself, and in how
the azimuth of one remembers that of the emission at the next larger angle, which only pairs tell, and
only those that follow each other. Trees read numbers that sum over azimuths. A deep set knows pairs
through its sum alone. Convolutions see neighbours in transverse momentum, which here are not neighbours
in angle. A Lorentz-invariant network sees all pairs, but a boost along the jet scales all angles, so
that it cannot know where the radiation began. ParticleNet compares near candidates, and ParT all pairs, but
which of them follow each other both must learn. A memory that reads candidates by their angle to the hardest
is given just that: it meets each emission right after the one whose azimuth it remembers. Read by falling
momentum the same memory has to find the order itself.
"""


class JetOptimumSettings(Settings):
    """What differs between the scales.

    Attributes:
        jets: drawn for training, validation and test.
        model: of the jets.
        epochs: of each tagger that trains in epochs.
        sizes: hyper-parameters that differ from the published ones, by tagger.
        training: all taggers, apart from the epochs.
        seeds: of the trainings.
    """

    jets: dict[str, int]
    model: Branching = Branching()
    epochs: dict[str, int]
    sizes: dict[str, dict[str, Any]] = SMALL
    training: Training = CYCLE
    seeds: tuple[int, ...] = (1,)


SCALES = {
    "smoke": JetOptimumSettings(
        jets={"train": 600, "valid": 200, "test": 1000},
        epochs=dict.fromkeys((*SMALL, "pfn", "pcnn"), 1),
        training=CYCLE.with_(batch_size=100),
    ),
    "quick": JetOptimumSettings(
        jets={"train": 30_000, "valid": 5_000, "test": 30_000},
        epochs={"pfn": 6, "pcnn": 4, "rnn": 4, "rnn_angle": 4, "lorentz": 2, "particlenet": 3, "part": 4},
    ),
    "standard": JetOptimumSettings(
        jets={"train": 200_000, "valid": 10_000, "test": 100_000},
        epochs={"pfn": 12, "pcnn": 8, "rnn": 12, "rnn_angle": 12, "lorentz": 4, "particlenet": 5, "part": 16},
    ),
}


@recipe(scales=SCALES)
def jet_optimum(settings: JetOptimumSettings, run: Run) -> Result:
    """Taggers beside the exact optimum, on jets of an analytic branching model."""
    samples = {split: drawn(settings, run, split) for split in settings.jets}
    units = [Unit(name, seed) for seed in settings.seeds for name in TAGGERS]
    if run.only is not None:
        units = [unit for unit in units if unit == run.only]
    folders = {unit: trained(settings, run, unit, samples) for unit in units}
    test = samples["test"]
    signal = test.column("jet_label") == CLASSES.index("signal")
    exact = {name: test.column(name) for name in BOUNDS}
    parts = []
    for unit, folder in folders.items():
        part = Result.start(run.recipe, run.scale, run.seed, run.command)
        part.sizes = {split: len(sample) for split, sample in samples.items()}
        part.metrics = measured(unit, score(folder), signal, exact, folder)
        parts.append(part)
    result = combine(parts)
    if run.only is not None:
        return run.part(result)
    result.metrics = [*bounds(signal, exact), *result.metrics]
    return page(settings, run, result, folders, signal, exact)


def drawn(settings: JetOptimumSettings, run: Run, split: str) -> Sample:
    """The jets of a split, each of its own seed."""
    count, seed = settings.jets[split], 10 * run.seed + list(settings.jets).index(split)

    def build(path: Path) -> None:
        jets, classes = branching_jets(count, seed, settings.model)
        with open_writer(path, classes) as writer:
            writer.append(jets)

    key = {"jets": count, "seed": seed, "model": settings.model.model_dump(mode="json")}
    path = run.cached(f"draw {split}", key, build, code=["simulation.branching"], suffix=".parquet")
    return open_sample(path, name=split)


def inputs_of() -> Inputs:
    """The four-momenta, and the two classes."""
    label = Label(field="jet_label", classes={name: [name] for name in CLASSES})
    return candidate_inputs(properties=False).model_copy(update={"labels": {"jet": label}})


def trained(settings: JetOptimumSettings, run: Run, unit: Unit, samples: Mapping[str, Sample]) -> Path:
    """Train one tagger: a folder of `model`, its log-odds of the test jets, and its rates."""
    sizes = settings.sizes.get(unit.method, {})
    tagger = TAGGERS[unit.method][1](**sizes)
    training = settings.training.with_(seed=unit.seed, epochs=settings.epochs.get(unit.method, 1))

    def build(path: Path) -> None:
        checkpoints = path.with_name(f"{path.name}.checkpoints")
        started = time.perf_counter()
        tagger.fit(samples["train"], samples["valid"], inputs_of(), training, checkpoints)
        seconds = time.perf_counter() - started
        with progress_bar(f"predict {unit.method}", "jets"):
            started = time.perf_counter()
            said = tagger.predict(samples["test"])
            rate = len(said) / (time.perf_counter() - started)
        odds = [np.log(ak.to_numpy(said[f"{tagger.name}_p{name}"])) for name in ("signal", "background")]
        with atomic(path) as folder:
            tagger.save(folder / "model")
            np.save(folder / "test.npy", (odds[0] - odds[1]).astype(np.float32))
            numbers = {"train_seconds": seconds, "predict_rate": rate, "parameters": parameters(tagger)}
            (folder / "numbers.json").write_text(json.dumps(numbers))
        shutil.rmtree(checkpoints, ignore_errors=True)

    key = settings.model_dump(mode="json", include={"jets", "model"}) | {"seed": run.seed}
    key |= {"tagger": tagger.parameters, "training": training.model_dump(mode="json")}
    code = ["simulation.branching", "learn", type(tagger).__module__, __name__]
    return run.cached(str(unit), key, build, code=code)


def parameters(tagger: Classifier) -> int | None:
    """Weights of a network."""
    return sum(p.numel() for p in tagger.module.parameters()) if tagger.module is not None else None


def score(folder: Path) -> NDArray[np.float64]:
    """Log-odds of the test jets."""
    return np.asarray(np.load(folder / "test.npy"), dtype=np.float64)


def measured(
    unit: Unit, odds: NDArray[np.float64], signal: NDArray[np.bool_], exact: Mapping[str, NDArray[Any]],
    folder: Path,
) -> list[Metric]:  # fmt: skip
    """AUC, what it lacks to the optimum, and how much of each part of the exact ratio is in the log-odds."""
    make = partial(Metric, method=unit.method, sample="branching", seeds=[unit.seed])
    area, lost = auc(odds, signal), auc_difference((exact["llr"], odds), signal)
    slopes, errors = slopes_of(odds, exact)
    found = [
        make(name="auc", value=float(area.value), error=float(area.error)),
        make(name="auc_short_of_optimum", value=float(lost.value), error=float(lost.error)),
    ]
    for k, part in enumerate(("emissions", "azimuths")):
        found.append(make(name="slope", at={"part": part}, value=float(slopes[k]), error=float(errors[k])))
    for name, value in json.loads((folder / "numbers.json").read_text()).items():
        if value is not None:
            found.append(make(name=name, value=value))
    return found


def slopes_of(
    odds: NDArray[np.float64], exact: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Least-squares slopes of log-odds on the two parts of ln(L_s / L_b): (1, 1) for the optimum; errors."""
    design = np.stack([exact["llr_emissions"], exact["llr_azimuths"], np.ones(len(odds))], -1)
    inverse = np.linalg.inv(design.T @ design)
    slopes = inverse @ design.T @ odds
    spread = design * (odds - design @ slopes)[:, None]
    return slopes[:2], np.sqrt(np.diag(inverse @ spread.T @ spread @ inverse))[:2]


def bounds(signal: NDArray[np.bool_], exact: Mapping[str, NDArray[Any]]) -> list[Metric]:
    """AUC of the exact likelihood ratio and of each of its parts."""
    answer = []
    for name, (method, _) in BOUNDS.items():
        area = auc(exact[name], signal)
        answer.append(Metric(name="auc", method=method, sample="branching", value=float(area.value),
                             error=float(area.error)))  # fmt: skip
    return answer


def page(
    settings: JetOptimumSettings, run: Run, result: Result, folders: Mapping[Unit, Path],
    signal: NDArray[np.bool_], exact: Mapping[str, NDArray[Any]],
) -> Result:  # fmt: skip
    """Table beside the optimum, ROC curves, and what each tagger has understood."""
    best = result.find("auc", "optimum")
    assert best is not None and best.value is not None
    report = Report("How far from the optimum?", f"{sum(result.sizes.values()):,} jets, {run.scale} scale")
    report.text(
        "Jets of an analytic branching model: a core and its emissions, whose likelihood under both classes "
        "is known exactly, so that no tagger can have a larger AUC than the likelihood ratio but by chance. "
        "The difference is measured on the same jets."
    )
    rows: list[list[str]] = []
    for method, label in BOUNDS.values():
        area = result.find("auc", method)
        assert area is not None
        rows.append([label, f"{area.value:.4f} ± {area.error:.4f}", "–", "–", "–", "–", "–"])
    for method, (label, _) in TAGGERS.items():
        rows.append(row(result, method, label, best.value))
    columns = ["", "AUC", "Short of the optimum", "Emissions", "Azimuths", "Weights", "Training, s"]
    report.table(
        columns, rows,
        caption="AUC, and its distance from the optimum in per cent; slopes of the tagger's log-odds on the "
        "two parts of the exact log-likelihood ratio (1 for the optimum, 0 for a part that is not seen).",
    )  # fmt: skip
    report.text(WHY)
    report.text(verdict(result, best.value))
    caption = Caption(sample="Analytic branching model")
    scores = {
        method: score(folder) for (method, seed), folder in folders.items() if seed == settings.seeds[0]
    }
    curves = {"optimum": exact["llr"], **{name: scores[name] for name in reversed(DRAWN)}}
    names = {"optimum": "Optimum", **{method: label for method, (label, _) in TAGGERS.items()}}
    figure = rejection_figure(
        {name: (Survival(s[signal], name="signal"), Survival(s[~signal], name="background"))
         for name, s in curves.items()},
        lines_for(list(curves), names), caption, signal="Signal", background="Background",
        efficiencies=(0.2, 1.0),
    )  # fmt: skip
    report.figure(
        figure, "Background rejection against signal efficiency, and its ratio to the optimum.", "roc"
    )
    report.figure(
        understanding(result, names, caption),
        "How much of each part of the exact log-likelihood ratio is in each tagger's log-odds.",
        "understanding",
    )
    report.figure(
        parts_figure(signal, exact, caption),
        "The two parts of the exact log-likelihood ratio: what each knows of the class.",
        "parts",
    )
    for (method, seed), folder in folders.items():
        if seed == settings.seeds[0]:
            history = load(folder / "model").history
            if history:
                report.figure(
                    loss_figure(history, caption, title=names[method]),
                    f"Loss of {names[method]}.",
                    f"loss-{method}",
                    small=True,
                )
            shutil.copytree(folder / "model", run.out / method, dirs_exist_ok=True)
    result.artifacts = list(scores)
    return run.finish(report, result, settings)


def verdict(result: Result, best: float) -> str:
    """Who comes nearest, and how near."""
    lost = {name: result.find("auc_short_of_optimum", name) for name in TAGGERS}
    known = {name: metric for name, metric in lost.items() if metric and metric.value is not None}
    first = min(known, key=lambda name: known[name].value or 0.0)
    away, error = (100 * (number or 0.0) / best for number in (known[first].value, known[first].error))
    inside = "within" if away < 1 else "not within"
    return (
        f"{TAGGERS[first][0]} comes nearest: {away:.2f} ± {error:.2f} % below, {inside} 1 % of the optimum."
    )


def row(result: Result, method: str, label: str, best: float) -> list[str]:
    """One tagger in the table."""
    area, lost = result.find("auc", method), result.find("auc_short_of_optimum", method)
    slopes = [result.find("slope", method, part=part) for part in ("emissions", "azimuths")]
    weights, seconds = result.find("parameters", method), result.find("train_seconds", method)
    assert area and lost and lost.value is not None and lost.error is not None and seconds
    return [
        label,
        f"{area.value:.4f} ± {area.error:.4f}",
        f"{100 * lost.value / best:.2f} ± {100 * lost.error / best:.2f} %",
        *(f"{slope.value:.2f} ± {slope.error:.2f}" if slope else "–" for slope in slopes),
        f"{weights.value:,.0f}" if weights and weights.value else "–",
        f"{seconds.value:.0f}",
    ]


def understanding(result: Result, names: Mapping[str, str], caption: Caption) -> Figure:
    """Slopes on the two parts against each other, the optimum at (1, 1)."""
    with figure_style():
        figure, (axes,) = canvas((4.2,))
        for name, line in lines_for(["optimum", *TAGGERS], dict(names)).items():
            if name == "optimum":
                axes.plot([1], [1], "*", color="black", markersize=14, label="Optimum")
                continue
            x, y = (result.find("slope", name, part=part) for part in ("emissions", "azimuths"))
            if x and y:
                axes.errorbar([x.value or 0], [y.value or 0], [y.error or 0], [x.error or 0],
                              fmt=line.marker, color=line.colour, label=line.label)  # fmt: skip
        for edge in (axes.axvline, axes.axhline):
            edge(1, color="0.85", linewidth=1, zorder=0)
        axes.set_xlim(-0.05, 1.25)
        axes.set_ylim(-0.08, 1.25)
        axes.set_xlabel("Slope on emissions one by one")
        axes.set_ylabel("Slope on azimuths of successive ones")
        axes.legend(loc="upper left", fontsize=11)
        headline(axes, caption)
    return figure


def parts_figure(signal: NDArray[np.bool_], exact: Mapping[str, NDArray[Any]], caption: Caption) -> Figure:
    """Distributions of the two parts for both classes."""
    with figure_style():
        figure, (axes,) = canvas((3.6,))
        bins = np.linspace(-5, 5, 61)
        for name, colour in (("llr_emissions", "#3f90da"), ("llr_azimuths", "#bd1f01")):
            for chosen, dash, label in ((signal, "-", "signal"), (~signal, (0, (4, 1.5)), "background")):
                axes.hist(np.clip(exact[name][chosen], -5, 5), list(bins), density=True, histtype="step",
                          color=colour, linestyle=dash, linewidth=1.8,
                          label=f"{BOUNDS[name][1]}, {label}")  # fmt: skip
        axes.set_xlim(-5, 5)
        axes.set_yscale("log")
        axes.set_ylim(1e-3, 30)
        axes.set_xlabel("Part of $\\ln(L_s / L_b)$")
        axes.set_ylabel("Density")
        axes.legend(loc="upper left", fontsize=10)
        headline(axes, caption)
    return figure
