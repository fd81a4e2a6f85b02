"""H -> bb in one large jet: b-taggers' networks on its tracks against tops and QCD."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.data import Sample, mix, open_sample, resample, reweight
from femtobarn.data.atomic import atomic
from femtobarn.evaluate.figures import loss_figure, rejection_figure
from femtobarn.evaluate.metrics import Survival, rejection
from femtobarn.evaluate.numbers import percent, shown_metric
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import At, Metric, Result, combine, read_references, with_references
from femtobarn.evaluate.sculpting import sculpting, shapes_figure
from femtobarn.evaluate.style import Caption, lines_for
from femtobarn.learn.method import Classifier
from femtobarn.learn.model_files import load
from femtobarn.learn.training import Training
from femtobarn.progress import progress_bar
from femtobarn.recipes.flavour import ONE_CYCLE
from femtobarn.recipes.flavour_history import GN2_CYCLE
from femtobarn.recipes.run import Run, Settings, Unit, recipe
from femtobarn.simulation import SimulationSettings, simulate
from femtobarn.simulation.settings import LARGE_RADIUS, PileupSettings
from femtobarn.tagging.dips import DIPS
from femtobarn.tagging.gn1 import GN1
from femtobarn.tagging.gn2 import GN2
from femtobarn.tagging.large_radius import CLASSES, F_HCC, F_TOP, discriminant_hbb, large_radius

HARD = ("PhaseSpace:pTHatMin = 180.", "PhaseSpace:bias2Selection = on", "PhaseSpace:bias2SelectionPow = 4.",
        "PhaseSpace:bias2SelectionRef = 220.")  # fmt: skip
ANY_MASS = ("25:doForceWidth = on", "25:mWidth = 80.", "25:mMin = 50.", "25:mMax = 250.")
PROCESSES = {"higgs": (ANY_MASS, (2, 4)), "ttbar": (HARD, (1, 2)), "dijet": (HARD, (0, 1))}
"""Further Pythia settings of each process, and the range of resonance labels taken from it."""
SPECTRUM = {
    "pt": [250, 300, 350, 400, 450, 500, 600, 750, 1000],
    "abs_eta": [0, 2],
    "mass": [50, 70, 90, 110, 130, 155, 180, 220],
}
"""All classes are brought to the spectrum of H -> bb in these bins, of the mass too: a boson of any mass,
so that no network learns that of the Higgs boson."""
TAGGERS: dict[str, Callable[[], Classifier]] = {
    "dips": DIPS,
    "gn1x": partial(GN1, name="gn1x"),
    "gn2x": partial(GN2, name="gn2x"),
}
LABELS = {"dips": "DIPS", "gn1x": "GN1X", "gn2x": "GN2X"}
NAMES = {"qcd": "QCD", "top": "Top", "hcc": "$H \\to cc$"}
WORDS = {"qcd": "QCD jets", "top": "tops", "hcc": "H → cc"}
EFFICIENCIES = (0.5, 0.6, 0.7)
SHAPED = 0.5
"""Efficiency of the cut whose effect on the mass of QCD jets is shown."""
MASSES = np.linspace(50.0, 220.0, 18)
PUBLISHED = Path(__file__).with_suffix(".csv")


class XbbSettings(Settings):
    """What differs between the scales.

    Attributes:
        events: collisions simulated of each process.
        pileup: mean number of further collisions.
        simulation: beams, detector, jets.
        seeds: of the trainings.
        training: of each network.
    """

    events: dict[str, int]
    pileup: float = 20.0
    simulation: SimulationSettings = LARGE_RADIUS
    seeds: tuple[int, ...] = (1,)
    training: dict[str, Training]


def trainings(epochs: int, batch_size: int = 250) -> dict[str, Training]:
    """How each network is trained."""
    chosen = {"dips": ONE_CYCLE, "gn1x": ONE_CYCLE, "gn2x": GN2_CYCLE}
    return {name: training.with_(epochs=epochs, batch_size=batch_size) for name, training in chosen.items()}


SCALES = {
    "smoke": XbbSettings(
        events={"higgs": 200, "ttbar": 200, "dijet": 200},
        pileup=1.0,
        simulation=LARGE_RADIUS.model_copy(update={"pileup": PileupSettings(train=60, valid=60, test=60)}),
        training=trainings(2, batch_size=50),
    ),
    "quick": XbbSettings(events={"higgs": 15_000, "ttbar": 15_000, "dijet": 12_000}, training=trainings(5)),
    "standard": XbbSettings(
        events={"higgs": 60_000, "ttbar": 60_000, "dijet": 50_000}, seeds=(1, 2, 3), training=trainings(6)
    ),
}


@recipe(scales=SCALES)
def xbb(settings: XbbSettings, run: Run) -> Result:
    """Boosted H -> bb against top and QCD jets with b-taggers' networks [ATL-PHYS-PUB-2023-021]."""
    jets = samples(settings, run)
    units = [Unit(name, seed) for seed in settings.seeds for name in LABELS]
    folders = {unit: trained(settings, run, unit, jets) for unit in units}
    test = judging(jets)
    parts = []
    for unit, folder in folders.items():
        part = Result.start(run.recipe, run.scale, run.seed, run.command)
        part.sizes = json.loads((folder / "sizes.json").read_text()) | {"test": len(test)}
        part.metrics = measured(unit, score(folder, unit.method), truth(test))
        parts.append(part)
    result = combine(parts)
    result.metrics = with_references(result.metrics, read_references(PUBLISHED))
    return page(settings, run, result, folders, truth(test))


def samples(settings: XbbSettings, run: Run) -> dict[str, Sample]:
    """Large-radius jets of each process, those of its own label alone."""
    found = {}
    for process, (further, labels) in PROCESSES.items():
        detector = settings.simulation.model_copy(update={"pythia": (*settings.simulation.pythia, *further)})
        events = settings.events[process]

        def build(path: Path, process: str = process, events: int = events,
                  detector: SimulationSettings = detector) -> None:  # fmt: skip
            with progress_bar(f"simulate {process}", "collisions") as progress:
                simulate(process, events, path, seed=run.seed, pileup=settings.pileup, workers=run.workers,
                         settings=detector, progress=progress)  # fmt: skip

        key = {"events": events, "seed": run.seed, "pileup": settings.pileup,
               "settings": detector.model_dump(mode="json")}  # fmt: skip
        path = run.cached(f"simulate {process}", key, build, code=["simulation"], suffix=".h5")
        found[process] = open_sample(path, name=process).select(resonance_label=labels)
    return found


def together(jets: dict[str, Sample], split: str) -> Sample:
    """The jets of a split, a third of each process."""
    return mix({name: one.split(split) for name, one in jets.items()}, dict.fromkeys(jets, 1 / len(jets)))


def judging(jets: dict[str, Sample]) -> Sample:
    """The test jets, weighted so that all classes have the spectrum of H -> bb."""
    return reweight(together(jets, "test"), "resonance_label", SPECTRUM, target="hbb", weight="mcEventWeight")


def trained(settings: XbbSettings, run: Run, unit: Unit, jets: dict[str, Sample]) -> Path:
    """Train one tagger on classes of one spectrum: a folder of `model` and what it says of the test jets."""
    tagger: Classifier = TAGGERS[unit.method]()
    inputs = large_radius(tagger.default_inputs())
    training = settings.training[unit.method].with_(seed=unit.seed)

    def build(path: Path) -> None:
        train = resample(together(jets, "train"), "resonance_label", SPECTRUM, target="hbb")
        valid = resample(together(jets, "valid"), "resonance_label", SPECTRUM, target="hbb")
        checkpoints = path.with_name(f"{path.name}.checkpoints")
        tagger.fit(train, valid, inputs=inputs, training=training, resume=checkpoints)
        with atomic(path) as folder:
            tagger.save(folder / "model")
            (folder / "sizes.json").write_text(json.dumps({"train": len(train), "valid": len(valid)}))
            ak.to_parquet(ak.to_packed(tagger.predict(judging(jets))), folder / "test.parquet")
        shutil.rmtree(checkpoints, ignore_errors=True)

    key = settings.model_dump(mode="json", include={"events", "pileup", "simulation"}) | {"seed": run.seed}
    key |= {"tagger": tagger.parameters, "training": training.model_dump(mode="json")}
    code = ["simulation", "learn", "tagging.large_radius", type(tagger).__module__, __name__]
    return run.cached(str(unit), key, build, code=code)


class Truth(dict[str, NDArray[np.bool_]]):
    """Which test jets are of each class, their weights and masses (GeV)."""

    weights: NDArray[np.float64]
    mass: NDArray[np.float64]


def truth(test: Sample) -> Truth:
    """The classes of the test jets."""
    label = test.column("resonance_label")
    names = test.schema.classes["resonance_label"]
    found = Truth({name: label == names.index(name) for name in CLASSES})
    assert test.weights is not None
    found.weights = test.weights.astype(np.float64) * test.column("mcEventWeight")
    found.mass = test.column("mass").astype(np.float64)
    return found


def score(folder: Path, method: str) -> NDArray[np.float64]:
    """The discriminant of H -> bb of the test jets."""
    said = ak.from_parquet(folder / "test.parquet")
    return discriminant_hbb({n: ak.to_numpy(said[f"{method}_p{n}"]).astype(np.float64) for n in CLASSES})


def survival(found: NDArray[np.float64], of: Truth, name: str) -> Survival:
    """Efficiency of cuts for one class."""
    return Survival(found[of[name]], of.weights[of[name]], name)


def left(found: NDArray[np.float64], of: Truth, point: float) -> NDArray[np.bool_]:
    """Which of the QCD jets a cut leaves that has an efficiency of `point` for H -> bb."""
    cut = float(survival(found, of, "hbb").threshold([point])[0])
    return np.asarray(found[of["qcd"]] >= cut)


def measured(unit: Unit, found: NDArray[np.float64], of: Truth) -> list[Metric]:
    """Rejections of the other classes at fixed efficiency of H -> bb; what the cut does to the QCD mass."""
    qcd = of["qcd"]
    shape = sculpting(of.mass[qcd], left(found, of, SHAPED), MASSES, of.weights[qcd])
    at: At = {"hbb_efficiency": SHAPED}
    metrics = [
        Metric(name=name, at=at, method=unit.method, sample="QCD jets", value=value, error=error,
               seeds=[unit.seed])
        for name, value, error in (("mass_jsd", shape.distance, shape.error),
                                   ("mass_jsd_random", shape.chance, shape.spread))
    ]  # fmt: skip
    for point in EFFICIENCIES:
        at = {"hbb_efficiency": point}
        for name in NAMES:
            result = rejection(survival(found, of, "hbb"), survival(found, of, name), point)
            metrics.append(
                Metric(name=f"{name}_rejection", at=at, method=unit.method, sample="large-radius jets",
                       value=float(result.value), error=float(result.error), seeds=[unit.seed],
                       lower_limit=None if np.isfinite(float(result.value)) else float(result.lower_limit))
            )  # fmt: skip
    return metrics


def page(settings: XbbSettings, run: Run, result: Result, folders: dict[Unit, Path], of: Truth) -> Result:
    """Table of rejections, ROC curves and losses of the first seed."""
    report = Report("H → bb in one jet", f"{sum(result.sizes.values()):,} jets, {run.scale} scale")
    report.text(
        "Anti-kt jets of R = 1.0, 250 < pT < 1000 GeV, |η| < 2, mass 50 to 220 GeV. The boson has any mass "
        "between 50 and 250 GeV, and all classes are brought to the spectrum of pT and mass of H → bb, so "
        "that its mass cannot be learnt. What a jet is, a boson or a top quark that decays to quarks says, "
        "within ΔR = 0.75 of its axis; QCD jets are those of dijets. The networks read the tracks, and the "
        f"jet's pT, η and mass; cuts are on ln p(bb) / ({F_HCC} p(cc) + {F_TOP} p(top) + "
        f"{1 - F_HCC - F_TOP:.2f} p(QCD))."
    )
    rows = []
    for name, point in product(NAMES, EFFICIENCIES):
        metrics = [result.find(f"{name}_rejection", method, hbb_efficiency=point) for method in LABELS]
        cells = [shown_metric(metric) if metric else "–" for metric in metrics]
        published = [f"{m.reference:g}" for m in metrics if m and m.reference]
        rows.append([f"{WORDS[name]} at {percent(point)}", *cells, *(published or ["–"])])
    report.table(
        ["Rejection at H → bb efficiency", *LABELS.values(), "GN2X published"], rows,
        "Errors are of the test jets and of the trainings. Published: ATL-PHYS-PUB-2023-021, of the "
        "collaboration's own simulation and selection.",
    )  # fmt: skip
    caption = Caption(sample="√s = 13.6 TeV, anti-$k_t$ R = 1.0, $250 < p_T < 1000$ GeV")
    first = {unit.method: folder for unit, folder in folders.items() if unit.seed == settings.seeds[0]}
    scores = {method: score(folder, method) for method, folder in first.items()}
    for name, label in NAMES.items():
        curves = {
            method: (survival(found, of, "hbb"), survival(found, of, name))
            for method, found in scores.items()
        }
        figure = rejection_figure(
            curves, lines_for(list(scores), LABELS), caption, signal="$H \\to bb$", background=label,
            efficiencies=(0.3, 1.0), marks=EFFICIENCIES,
        )  # fmt: skip
        report.figure(figure, f"Rejection of {WORDS[name]} against the efficiency of H → bb.", f"roc-{name}")
    qcd = of["qcd"]
    passed = {method: left(found, of, SHAPED) for method, found in scores.items()}
    shapes = [
        f"{LABELS[method]} {shown_metric(metric)}"
        for method in scores
        if (metric := result.find("mass_jsd", method, hbb_efficiency=SHAPED)) is not None
    ]
    chance = result.find("mass_jsd_random", next(iter(scores)), hbb_efficiency=SHAPED)
    report.figure(
        shapes_figure(MASSES, of.mass[qcd], passed, lines_for(list(scores), LABELS), caption,
                      xlabel="Jet mass [GeV]", weights=of.weights[qcd]),
        f"Mass of QCD jets before and after a cut that keeps {percent(SHAPED)} of H → bb. Jensen-Shannon "
        f"distances: {', '.join(shapes)}; of cuts at random {shown_metric(chance) if chance else '–'}.",
        "mass-qcd",
    )  # fmt: skip
    for method, folder in first.items():
        model = load(folder / "model")
        shutil.copytree(folder / "model", run.out / method, dirs_exist_ok=True)
        report.figure(
            loss_figure(model.history, caption, title=LABELS[method]),
            f"Loss of {LABELS[method]}.",
            f"loss-{method}",
        )
    result.artifacts = list(first)
    return run.finish(report, result, settings)
