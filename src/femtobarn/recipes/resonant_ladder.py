"""A resonance in dijet events, found with less and less knowledge of it: from a score to a bump hunt.

Our own QCD dijets and W' -> X Y with the masses of the LHC Olympics 2020 [2101.08320], at several shares of
signal. Each method is trained in all but one part of the data and scores that part, so that no event is cut
on by what learnt it. The cut keeps a fixed share of the sidebands; what passes is fitted outside the signal
region and searched for a bump. The same chain on pseudo-experiments without a signal, trainings included,
says what the bump is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.anomaly.anode import ANODE
from femtobarn.anomaly.cathode import CATHODE
from femtobarn.anomaly.curtains import CURTAINs
from femtobarn.anomaly.cwola import CWoLa
from femtobarn.anomaly.isolation_forest import IsolationForest
from femtobarn.anomaly.regions import ensemble, mean_of
from femtobarn.background.dijet import Dijet
from femtobarn.data import Inputs, Sample, from_memory, open_sample
from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError
from femtobarn.evaluate.improvement import improvement
from femtobarn.evaluate.metrics import Survival, auc
from femtobarn.evaluate.result import Metric, Result, combine
from femtobarn.learn.background_model import Background
from femtobarn.learn.scorer import Scorer
from femtobarn.progress import progress_bar
from femtobarn.recipes.ladder_page import Found, Ladder, page, shaping, significance, untied
from femtobarn.recipes.run import Run, Settings, recipe
from femtobarn.simulation import EventSettings, simulate
from femtobarn.statistics.bump_hunt import Hunt, hunt, windows

Array = NDArray[np.float64]
FEATURES = ("mj1", "dmj", "tau21_1", "tau21_2")
COLUMNS = (*FEATURES, "mjj")
INPUTS = Inputs(event=list(COLUMNS), weight="weight")
WINDOW = (3300.0, 3700.0)
RANGE = (2700.0, 5700.0)
LEADING = 1200.0
"""GeV: transverse momentum of the hardest jet at least, as in the LHC Olympics: so the spectrum falls."""
DETECTOR = {
    "dijet": EventSettings(pythia=("PhaseSpace:pTHatMin = 1100.", "PhaseSpace:bias2Selection = off"),
                           overlay=0.0),
    "wprime_xy": EventSettings(overlay=0.0),
}  # fmt: skip
DATA, RESERVE, TEST = (0, 4), (4, 6), (6, 10)
"""Folds of the background: searched, known to some methods as a template, and judging."""
INJECTED, KNOWN = (0, 2), (2, 6)
"""Folds of the signal: put into the data, and known to the supervised method. `TEST` judges."""
RATES = (1e-2, 1e-3)
METHODS = ("supervised", "idealised", "cwola", "anode", "cathode", "curtains", "isolation_forest")


class ResonantLadderSettings(Settings):
    """What differs between the scales.

    Attributes:
        background: QCD dijets simulated, of which about half pass.
        signal: W' -> X Y simulated.
        ratios: of signal over background in the signal region.
        parts: of the data, each scored by what learnt the others.
        kept: share of the sidebands that passes the cut.
        toys: pseudo-experiments without a signal, for each of which all is trained again.
        epochs: of the flows.
        batch_size: likewise; there are fewer events than in the papers.
        members: classifiers averaged, of every method of trees.
        trees: of each, at most.
        terms: parameters of the dijet function fitted after the cut.
        bins: of the spectrum, of equal logarithmic width.
    """

    background: int
    signal: int
    ratios: tuple[float, ...] = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.05)
    parts: int = 2
    kept: float = 0.01
    toys: int = 20
    epochs: int = 8
    batch_size: int = 250
    members: int = 6
    trees: int = 100
    terms: int = 3
    bins: int = 25


SCALES = {
    "smoke": ResonantLadderSettings(background=1500, signal=250, ratios=(0.0, 0.1), kept=0.2, toys=1,
                                    epochs=1, members=1, trees=10),
    "quick": ResonantLadderSettings(background=16_000, signal=2_000, ratios=(0.0, 0.02, 0.05), kept=0.03,
                                    toys=3, epochs=5, members=3),
    "standard": ResonantLadderSettings(background=120_000, signal=8_000),
}  # fmt: skip


class Events(NamedTuple):
    """Columns (N, 5) as in `COLUMNS`, and the fold (N,) of each event."""

    values: NDArray[np.float32]
    fold: NDArray[np.int64]

    def of(self, folds: tuple[int, int]) -> NDArray[np.float32]:
        """Columns of the events of a range of folds."""
        return self.values[(self.fold >= folds[0]) & (self.fold < folds[1])]


@recipe(scales=SCALES)
def resonant_ladder(settings: ResonantLadderSettings, run: Run) -> Result:
    """Dijet resonance by supervised, idealised, CWoLa, ANODE, CATHODE, CURTAINs to a bump hunt [LHCO]."""
    background, signal = (simulated(settings, run, name) for name in DETECTOR)
    result = Result.start(run.recipe, run.scale, run.seed, run.command)
    test = np.concatenate([background.of(TEST), signal.of(TEST)])
    truth = np.arange(len(test)) >= len(background.of(TEST))
    here = inside(test)
    found: dict[tuple[str, float], Found] = {}
    toys: dict[str, list[Hunt]] = {name: [] for name in METHODS}
    before: dict[float, Found] = {}
    parts: list[Result] = []
    for number, ratio in enumerate((*settings.ratios, *[0.0] * settings.toys)):
        toy = max(0, number + 1 - len(settings.ratios))
        data = searched(settings, background, signal, ratio, run.seed, toy)
        if not toy:
            one, expected = hunted(settings, data.values, run.seed, naive=1000, terms=None)
            before[ratio] = Found(one, spectrum(settings, data.values), expected, np.zeros(0))
        for name in METHODS:
            held, judged = scored(settings, run, name, ratio, toy, data, background, signal)
            passed = cut(settings, data, held)
            one, expected = hunted(settings, data.values[passed], run.seed, naive=1000, terms=settings.terms)
            if toy:
                toys[name].append(one)
                continue
            counts = spectrum(settings, data.values[passed])
            found[name, ratio] = Found(one, counts, expected, judged[0])
            for k, score in enumerate(judged):
                part = Result.start(run.recipe, run.scale, run.seed, run.command)
                part.metrics = separation(name, ratio, k + 1, score[here], truth[here])
                parts.append(part)
    result.sizes = {
        "dijets": len(background.values), "signal": len(signal.values),
        "searched": len(background.of(DATA)),
        "searched, signal region": int(inside(background.of(DATA)).sum()),
        "template, signal region": int(inside(background.of(RESERVE)).sum()),
        "test background, signal region": int((here & ~truth).sum()),
        "test signal, signal region": int((here & truth).sum()),
    }  # fmt: skip
    result.metrics = combine(parts).metrics
    ladder = Ladder(edges(settings), WINDOW, settings.ratios, found, toys, before, test, truth, here)
    result.metrics += [metric for key in found for metric in significance(*key, ladder)]
    result.metrics += [metric for name in METHODS for metric in shaping(settings.kept, name, ladder)]
    return page(settings.kept, run, result, ladder, settings)


def simulated(settings: ResonantLadderSettings, run: Run, name: str) -> Events:
    """Events of a process with two fat jets, hard and heavy enough."""
    count = settings.background if name == "dijet" else settings.signal
    detector = DETECTOR[name]

    def build(path: Path) -> None:
        raw = path.with_name(f"{path.name}.raw.parquet")
        with progress_bar(f"simulate {name}", "collisions") as progress:
            simulate(
                name, count, raw, seed=run.seed, workers=run.workers, settings=detector, progress=progress
            )
        rows = dijets(open_sample(raw).read(fields=["fold", "fat_jets"]))
        with atomic(path) as temporary:
            ak.to_parquet(rows, temporary)
        raw.unlink()

    key = {"events": count, "seed": run.seed, "settings": detector.model_dump(mode="json")}
    code = ["simulation", "physics.kinematics"]
    key |= {"leading": LEADING, "range": RANGE}
    path = run.cached(f"dijets {name}", key, build, code=code, suffix=".parquet")
    rows = ak.from_parquet(path)
    values = np.stack([ak.to_numpy(rows[column]) for column in COLUMNS], axis=1).astype(np.float32)
    return Events(values, ak.to_numpy(rows["fold"]).astype(np.int64))


def dijets(events: ak.Array) -> ak.Array:
    """`COLUMNS` of events with two fat jets, a hard first one, and a mass in `RANGE`: the lighter jet is 1.

    Raises:
        InputError: when there are none.
    """
    jets = events.fat_jets[ak.argsort(events.fat_jets.pt, axis=1, ascending=False)]
    enough = ak.num(jets) > 1
    jets, fold = jets[enough], events.fold[enough]
    two = {name: ak.to_numpy(jets[name][:, :2]).astype(np.float64) for name in jets.fields}
    px, py = two["pt"] * np.cos(two["phi"]), two["pt"] * np.sin(two["phi"])
    pz = two["pt"] * np.sinh(two["eta"])
    energy = np.sqrt(px**2 + py**2 + pz**2 + two["mass"] ** 2)
    total = [part.sum(axis=1) for part in (energy, px, py, pz)]
    mjj = np.sqrt(np.maximum(total[0] ** 2 - total[1] ** 2 - total[2] ** 2 - total[3] ** 2, 0))
    order = np.argsort(two["mass"], axis=1)
    mass, tau21 = (np.take_along_axis(two[name], order, axis=1) for name in ("mass", "tau21"))
    kept = (two["pt"][:, 0] > LEADING) & (mjj >= RANGE[0]) & (mjj < RANGE[1])
    if not kept.any():
        raise InputError("no event has two hard fat jets: simulate more")
    columns = [mass[:, 0], mass[:, 1] - mass[:, 0], tau21[:, 0], tau21[:, 1], mjj]
    fields = {name: column[kept] for name, column in zip(COLUMNS, columns, strict=True)}
    return ak.zip(fields | {"fold": ak.to_numpy(fold)[kept]})


def inside(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which events (N, 5) are in the signal region."""
    return np.asarray((values[:, -1] >= WINDOW[0]) & (values[:, -1] < WINDOW[1]))


def searched(
    settings: ResonantLadderSettings, background: Events, signal: Events, ratio: float, seed: int, toy: int
) -> Events:
    """The data of one search, whose `fold` is the part that each event belongs to.

    A pseudo-experiment draws as many events from the background of data and test, none twice: its spectrum
    then fluctuates as that of data does. Drawn with replacement it would fluctuate by 22 % more, since those
    drawn from fluctuate themselves. Half of the events of one are those of another, so that the
    pseudo-experiments say less than as many independent ones would.
    """
    if toy:
        pool = np.concatenate([background.of(DATA), background.of(TEST)])
        rows = np.random.default_rng([seed, toy]).permutation(len(pool))[: len(background.of(DATA))]
        return Events(pool[rows], np.arange(len(rows)) % settings.parts)
    values, offered = background.of(DATA), signal.of(INJECTED)
    wanted = round(ratio * inside(values).sum())
    count = np.cumsum(inside(offered))
    if wanted > (count[-1] if len(count) else 0):
        raise InputError(f"{wanted} signal events are wanted in the signal region, {count[-1:].sum()} are "
                         "there: simulate more")  # fmt: skip
    injected = offered[: int(np.searchsorted(count, wanted)) + 1] if wanted else offered[:0]
    values = np.concatenate([values, injected])
    return Events(values, np.arange(len(values)) % settings.parts)


def sample(values: NDArray[np.float32]) -> Sample:
    """Events (N, 5) as a sample of weight one."""
    fields = {name: values[:, k] for k, name in enumerate(COLUMNS)}
    return from_memory(ak.zip(fields | {"weight": np.ones(len(values))}), {})


Scores = Callable[[NDArray[np.float32]], Array]


def trained(settings: ResonantLadderSettings, name: str, seed: int, data: NDArray[np.float32],
            background: Events, signal: Events) -> Scores:  # fmt: skip
    """A function from events (N, 5) to the score (N,) of a method that learnt from these data."""
    region = data[inside(data)]
    if name in ("supervised", "idealised"):
        known = signal.of(KNOWN)
        one = region if name == "idealised" else known[inside(known)]
        zero = background.of(RESERVE)
        zero = zero[inside(zero)]
        values, labels = np.concatenate([one, zero])[:, :-1], np.repeat([1, 0], [len(one), len(zero)])
        members = ensemble(
            (values, labels, np.ones(len(labels))), settings.members, settings.trees, 0.5, seed
        )
        return lambda events: np.asarray(mean_of(members, events[:, :-1]), dtype=np.float64)
    method = method_of(settings, name, seed)
    if isinstance(method, IsolationForest):
        method.fit(sample(region), inputs=Inputs(event=list(FEATURES), weight="weight"))
    elif isinstance(method, CWoLa):
        method.fit(sample(data), inputs=INPUTS)
    else:
        training = method.default_training().with_(
            seed=seed, epochs=settings.epochs, batch_size=settings.batch_size, progress="none"
        )
        method.fit(sample(data), inputs=INPUTS, training=training)

    def score(events: NDArray[np.float32]) -> Array:
        if name == "anode":  # its signal-region flow knows no other masses: all are judged in the middle
            events = events.copy()
            events[:, -1] = sum(WINDOW) / 2
        return np.asarray(ak.to_numpy(method.score(sample(events))[f"{name}_score"]), dtype=np.float64)

    return score


def method_of(settings: ResonantLadderSettings, name: str, seed: int) -> Scorer:
    """A scorer as it is compared; all trees alike."""
    trees: dict[str, Any] = {"members": settings.members, "trees": settings.trees}
    region: dict[str, Any] = {"mass": "mjj", "window": WINDOW}
    if name == "cwola":
        return CWoLa(**region, **trees, folds=2, seed=seed)
    if name == "anode":
        return ANODE(**region)
    if name == "cathode":
        return CATHODE(**region, **trees)
    return CURTAINs(**region, **trees) if name == "curtains" else IsolationForest(seed=seed)


def scored(settings: ResonantLadderSettings, run: Run, name: str, ratio: float, toy: int, data: Events,
           background: Events, signal: Events) -> tuple[Array, Array]:  # fmt: skip
    """Scores of the data (N,), each part by what learnt the others, and of the test events (parts, T)."""
    test = np.concatenate([background.of(TEST), signal.of(TEST)])

    def build(path: Path) -> None:
        held, judged = np.zeros(len(data.values)), []
        for k in range(settings.parts):
            mine = data.fold == k
            score = trained(settings, name, run.seed + k, data.values[~mine], background, signal)
            held[mine] = score(data.values[mine])
            if not toy:
                judged.append(score(test))
        with atomic(path) as temporary:
            with open(temporary, "wb") as file:
                np.savez(file, held=held, judged=np.array(judged))

    include = {"background", "signal", "parts", "epochs", "batch_size", "members", "trees"}
    key = settings.model_dump(mode="json", include=include) | {"seed": run.seed, "ratio": ratio, "toy": toy}
    label = f"{name} toy {toy}" if toy else f"{name} {100 * ratio:g}"
    path = run.cached(label, key, build, code=["simulation", __name__], suffix=".npz")
    with np.load(path) as file:
        return file["held"], file["judged"]


def cut(settings: ResonantLadderSettings, data: Events, score: Array) -> NDArray[np.bool_]:
    """Events (N,) above the score that a share `kept` of the sidebands of their part exceeds."""
    passed = np.zeros(len(score), dtype=np.bool_)
    beside, rank = ~inside(data.values), untied(score)
    for k in range(settings.parts):
        mine = data.fold == k
        passed |= mine & (rank > np.quantile(rank[mine & beside], 1 - settings.kept))
    return passed


def edges(settings: ResonantLadderSettings) -> Array:
    """Bin edges in GeV, two of them those of the signal region, the others equally wide in logarithm."""
    width = np.log(RANGE[1] / RANGE[0]) / settings.bins
    middle = max(1, round(np.log(WINDOW[1] / WINDOW[0]) / width))
    low = max(2, round(np.log(WINDOW[0] / RANGE[0]) / width))
    high = settings.bins - middle - low
    pieces = [np.geomspace(RANGE[0], WINDOW[0], low + 1), np.geomspace(*WINDOW, middle + 1)[1:],
              np.geomspace(WINDOW[1], RANGE[1], high + 1)[1:]]  # fmt: skip
    return np.concatenate(pieces)


def spectrum(settings: ResonantLadderSettings, values: NDArray[np.float32]) -> Array:
    """Counts (B,) of events (N, 5)."""
    return np.histogram(values[:, -1], edges(settings))[0].astype(np.float64)


def hunted(settings: ResonantLadderSettings, values: NDArray[np.float32], seed: int, naive: int,
           terms: int | None) -> tuple[Hunt, Background]:  # fmt: skip
    """The bump hunt after the cut, with a fit beside the signal region that `naive` spectra repeat;
    `terms` None: an F-test chooses how many parameters it has."""
    bins, counts = edges(settings), spectrum(settings, values)
    blind = (bins[:-1] >= WINDOW[0] - 1) & (bins[1:] <= WINDOW[1] + 1)
    model = Dijet(terms=terms)
    expected = model.estimate(bins, counts, blind)
    one = hunt(
        counts, expected.expected, windows(len(counts), 2, 5), toys=naive,
        refit=lambda pseudo: model.repeat(bins, counts, pseudo, blind), rng=np.random.default_rng(seed),
    )  # fmt: skip
    return one, expected


def separation(name: str, ratio: float, part: int, score: Array, truth: NDArray[np.bool_]) -> list[Metric]:
    """SIC and AUC in the signal region of the test events."""
    pair = Survival(score[truth], name="signal"), Survival(score[~truth], name="background")
    found = [
        ("sic", {"fpr": at}, improvement(*pair, at)) for at in RATES if at * pair[1].effective_count >= 1
    ]
    found += [("auc", {}, auc(score, truth))]
    return [
        Metric(name=what, at={**at, "s_over_b": ratio}, method=name, sample="W' to XY", seeds=[part],
               value=float(number.value), error=float(number.error))
        for what, at, number in found
    ]  # fmt: skip
