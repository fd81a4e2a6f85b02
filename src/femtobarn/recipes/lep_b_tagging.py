"""b-tagging as it began: Z -> bb events at LEP, told by a linear discriminant, LVQ and a small network."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.classification.fisher import Fisher
from femtobarn.classification.lvq import LVQ
from femtobarn.classification.mlp import MLP
from femtobarn.data import Feature, Inputs, Label, Sample, from_memory, open_sample
from femtobarn.evaluate.figures import distribution_figure, loss_figure, rejection_figure
from femtobarn.evaluate.metrics import Rejection, Survival, auc, rejection
from femtobarn.evaluate.numbers import shown_metric
from femtobarn.evaluate.report import Report, slug
from femtobarn.evaluate.result import At, Metric, Result, combine
from femtobarn.evaluate.style import FLAVOURS, Caption, lines_for
from femtobarn.learn.method import Classifier
from femtobarn.learn.training import Training
from femtobarn.progress import progress_bar
from femtobarn.recipes.run import Run, Settings, recipe
from femtobarn.simulation import ZPoleSettings, simulate
from femtobarn.statistics.estimate import Estimate

SHAPES = ("thrust", "sphericity", "boostedSphericityProduct", "boostedSphericityLarger", "leptonPtRel")
LIFETIME = (*(f"significance{place}" for place in range(1, 7)), "nDisplaced2", "nDisplaced4")
FEATURES = {"shapes": SHAPES, "lifetime": LIFETIME, "all": SHAPES + LIFETIME}
CLASSES = {"b": ["bb"], "c": ["cc"], "u": ["light"]}
LABELS = {"fisher": "Fisher", "lvq": "LVQ", "mlp": "MLP", "combined": "combination"}
EFFICIENCIES = (0.3, 0.5, 0.7)
EVENTS = {
    name: FLAVOURS[name]._replace(label=label)
    for name, label in (("b", r"$b\bar{b}$"), ("c", r"$c\bar{c}$"), ("u", "light"))
}
"""How events of each flavour are drawn."""
TITLES = {
    "thrust": "Thrust",
    "sphericity": "Sphericity",
    "boostedSphericityProduct": "Boosted sphericities, product",
    "boostedSphericityLarger": "Boosted sphericity, larger",
    "leptonPtRel": "Lepton momentum across thrust [GeV]",
    **{f"significance{place}": f"$d_0$ significance, track {place}" for place in range(1, 7)},
    "nDisplaced2": r"Tracks above 2 $\sigma$",
    "nDisplaced4": r"Tracks above 4 $\sigma$",
}
LOGARITHMIC = ("leptonPtRel", "nDisplaced2", "nDisplaced4")


class LepSettings(Settings):
    """What differs between the scales.

    Attributes:
        events: hadronic Z decays simulated.
        seeds: of the trainings.
        training: of LVQ and of the networks.
    """

    events: int
    seeds: tuple[int, ...] = (1, 2, 3)
    training: Training = Training(
        schedule="one-cycle", learning_rate=5e-3, batch_size=250, epochs=20, progress="none"
    )


SCALES = {
    "smoke": LepSettings(events=600, seeds=(1,), training=Training(epochs=2, batch_size=50, progress="none")),
    "quick": LepSettings(events=40_000, seeds=(1,)),
    "standard": LepSettings(events=300_000),
}


class Judged(NamedTuple):
    """Test events: their flavour (N,), and per method the score (N,) that ranks them."""

    flavour: NDArray[np.str_]
    score: dict[str, NDArray[np.float64]]


@recipe(scales=SCALES)
def lep_b_tagging(settings: LepSettings, run: Run) -> Result:
    """Z -> bb at LEP by Fisher, LVQ, MLP, and all three [10.1016/0168-9002(93)90993-R]."""
    jets = sample(settings, run)
    train, valid, test = (jets.split(name) for name in ("train", "valid", "test"))
    parts, first = [], dict[str, tuple[dict[str, Classifier], Judged]]()
    for seed in settings.seeds:
        part = Result.start(run.recipe, run.scale, run.seed, run.command)
        part.sizes = {"train": len(train), "valid": len(valid), "test": len(test)}
        for kind, features in FEATURES.items():
            with run.stage(f"{kind} seed {seed}"):
                methods = fitted(features, train, valid, settings.training.with_(seed=seed))
                judged = judge(methods, test)
            part.metrics += measured(judged, kind, seed)
            first.setdefault(kind, (methods, judged))
        parts.append(part)
    return page(settings, run, combine(parts), first, test)


def sample(settings: LepSettings, run: Run) -> Sample:
    """Simulated Z decays, a row each."""

    def build(path: Path) -> None:
        with progress_bar("simulate zpole", "events") as progress:
            simulate("zpole", settings.events, path, seed=run.seed, workers=run.workers, progress=progress)

    key = {"events": settings.events, "seed": run.seed, "settings": ZPoleSettings().model_dump(mode="json")}
    return open_sample(
        run.cached("simulate zpole", key, build, code=["simulation"], suffix=".h5"), name="zpole"
    )


def inputs_of(features: tuple[str, ...]) -> Inputs:
    """These features of an event, and its three flavours."""
    event: list[Feature | str] = [
        Feature(name=name, transform="asinh") if name in LIFETIME else name for name in features
    ]
    label = {"class": Label(field="flavour_label", classes=CLASSES)}
    return Inputs(event=event, labels=label, weight="mcEventWeight")


def fitted(
    features: tuple[str, ...], train: Sample, valid: Sample, training: Training
) -> dict[str, Classifier]:
    """Three classifiers on the same features, and a network on their answers to events they did not learn."""
    inputs, methods = inputs_of(features), dict[str, Classifier]()
    for make in (Fisher, partial(LVQ, prototypes=20), partial(MLP, hidden=(25, 25))):
        method = make().fit(train, valid, inputs=inputs, training=training)
        methods[method.name] = method
    names = [f"{name}_p{flavour}" for name in methods for flavour in CLASSES]
    combination = MLP(name="combined", hidden=(10,))
    both = inputs.model_copy(update={"event": names})
    methods["combined"] = combination.fit(answered(methods, valid), inputs=both, training=training)
    return methods


def answered(methods: dict[str, Classifier], events: Sample) -> Sample:
    """Events with what methods say of them."""
    rows = events.read(fields=["flavour_label", "mcEventWeight"])
    for method in methods.values():
        said = method.predict(events)
        for name in said.fields:
            rows = ak.with_field(rows, said[name], name)
    return from_memory(rows, events.schema.classes)


def judge(methods: dict[str, Classifier], test: Sample) -> Judged:
    """The probability of bb that each method gives the test events."""
    single = {name: method for name, method in methods.items() if name != "combined"}
    rows = answered(single, test)
    scores = {name: ak.to_numpy(rows.read()[f"{name}_pb"]).astype(np.float64) for name in single}
    scores["combined"] = ak.to_numpy(methods["combined"].predict(rows)["combined_pb"]).astype(np.float64)
    return Judged(np.array(list(CLASSES))[test.column("flavour_label").astype(int)], scores)


def measured(judged: Judged, kind: str, seed: int) -> list[Metric]:
    """AUC of bb against all else; at fixed bb-efficiency the purity, and the rejections of cc and light."""
    metrics = []
    is_b = judged.flavour == "b"
    for name, score in judged.score.items():

        def metric(what: str, at: At, found: Estimate | Rejection, name: str = name) -> Metric:
            limit = getattr(found, "lower_limit", None)
            return Metric(
                name=what, at={"features": kind, **at}, method=name, sample="zpole", value=float(found.value),
                error=float(found.error), seeds=[seed],
                lower_limit=None if limit is None or np.isfinite(found.value) else float(limit),
            )  # fmt: skip

        metrics.append(metric("auc", {"signal": "b", "background": "other"}, auc(score, is_b)))
        signal = Survival(score[is_b], name="bb")
        for point in EFFICIENCIES:
            at: At = {"b_efficiency": point}
            others = rejection(signal, Survival(score[~is_b], name="other"), point)
            efficiency = float(signal.efficiency(signal.threshold(np.asarray(point))).value)
            found = purity(others, efficiency, int(is_b.sum()), int((~is_b).sum()))
            metrics.append(metric("purity", at, found))
            for flavour, what in (("c", "c_rejection"), ("u", "light_rejection")):
                background = Survival(score[judged.flavour == flavour], name=flavour)
                metrics.append(metric(what, at, rejection(signal, background, point)))
    return metrics


def purity(others: Rejection, efficiency: float, signal: int, background: int) -> Rejection:
    """How many of the events left are signal: p = e N_s / (e N_s + N_b / R).

    Its error is p (1 - p) times that of N_s R / N_b, R with the uncertainty of the cut, which is where the
    efficiency is e; where no background is left it has the lower limit that R has.

    Args:
        others: R, the rejection of the background at the efficiency.
        efficiency: e of the signal.
        signal: number of its events before the cut.
        background: likewise.
    """
    value, limit = (
        efficiency * signal / (efficiency * signal + background / rejected)
        for rejected in (others.value, others.lower_limit)
    )
    relative = np.sqrt((others.error / others.value) ** 2 + 1 / signal + 1 / background)
    return Rejection(value, value * (1 - value) * relative, limit)


def page(
    settings: LepSettings,
    run: Run,
    result: Result,
    first: dict[str, tuple[dict[str, Classifier], Judged]],
    test: Sample,
) -> Result:
    """Tables of all features and methods, ROC curves, inputs and losses of the first seed."""
    report = Report("b-tagging at the Z pole", f"{sum(result.sizes.values()):,} hadronic Z decays")
    best = result.find("purity", "combined", features="all", b_efficiency=0.5)
    shapes = result.find("purity", "fisher", features="shapes", b_efficiency=0.5)
    if best and shapes:
        report.text(
            f"Of the events left by a cut that keeps half of Z → bb, **{shown_metric(best)}** are bb with "
            f"all features and the combination, {shown_metric(shapes)} with event shapes and a linear "
            "discriminant."
        )
    for kind in FEATURES:
        rows = []
        for what, at in [
            ("auc", {}),
            *(
                (w, {"b_efficiency": e})
                for w in ("purity", "c_rejection", "light_rejection")
                for e in EFFICIENCIES
            ),
        ]:
            found = [result.find(what, name, features=kind, **at) for name in LABELS]
            where = f" at {100 * at['b_efficiency']:.0f} % bb-efficiency" if at else ""
            title = "AUC" if what == "auc" else what.replace("_", " ")
            rows.append([title + where, *(shown_metric(m) if m else "–" for m in found)])
        report.table([f"Features: {kind}", *LABELS.values()], rows)
    caption = Caption(sample=r"$e^+e^- \to Z \to$ hadrons, √s = 91.2 GeV")
    lines = lines_for(list(LABELS), LABELS)
    for kind, (methods, judged) in first.items():
        report.section(f"Features: {kind}")
        for other, name in (("u", "Light"), ("c", "Charm")):
            curves = {
                method: (Survival(score[judged.flavour == "b"]), Survival(score[judged.flavour == other]))
                for method, score in judged.score.items()
            }
            figure = rejection_figure(
                curves, lines, caption, signal="$b\\bar{b}$", background=name, efficiencies=(0.1, 1.0)
            )
            report.figure(figure, f"{name}-event rejection, features: {kind}.")
        if kind == "all":
            loss = loss_figure(methods["mlp"].history, caption, title="MLP")
            report.figure(loss, "Loss of the MLP.", small=True)
    report.section("Inputs")
    report.text(
        "Shapes are those of the charged tracks above 0.4 GeV, |η| < 1.75. Significances of impact "
        "parameters are signed: positive where a track crosses the thrust axis in front of the vertex."
    )
    flavour = first["all"][1].flavour
    for name in FEATURES["all"]:
        log, title = name in LOGARITHMIC, TITLES[name]
        figure = distribution_figure(
            test.column(name), flavour, caption, label=title, logarithmic=log, lines=EVENTS
        )
        words = title.replace("$d_0$", "d0").replace(r"$\sigma$", "σ")
        report.figure(figure, f"{words}, by the quark that the Z decayed to.", slug(name), small=True)
    return run.finish(report, result, settings)
