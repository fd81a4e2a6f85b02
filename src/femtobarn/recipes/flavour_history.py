"""Thirty years of b-tagging on one sample: from impact parameters to transformers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import awkward as ak

from femtobarn.evaluate import mistags
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.ladder import ladder_figure, step_metrics, step_rows
from femtobarn.evaluate.numbers import shown_metric
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import At, Result, combine
from femtobarn.evaluate.style import Caption
from femtobarn.evaluate.vertex_purity import (
    PurityScan,
    purity_figure,
    purity_metrics,
    purity_rows,
    scan_purity,
)
from femtobarn.learn.training import Training
from femtobarn.recipes.flavour import (
    KINEMATICS,
    ONE_CYCLE,
    TITLES,
    TRUTH,
    FlavourSettings,
    Study,
    Tagger,
)
from femtobarn.recipes.run import Run, Unit, recipe
from femtobarn.simulation import SimulationSettings
from femtobarn.simulation.settings import PileupSettings
from femtobarn.tagging.dips import DIPS
from femtobarn.tagging.dl1 import DL1
from femtobarn.tagging.gn1 import GN1
from femtobarn.tagging.gn2 import GN2
from femtobarn.tagging.ip3d import IP3D
from femtobarn.tagging.ip3d_sv1 import IP3DSV1
from femtobarn.tagging.jetfitter import JetFitter
from femtobarn.tagging.mv2 import MV2
from femtobarn.tagging.rnnip import RNNIP
from femtobarn.tagging.sv1 import SV1

LOW = ("ip2d", "ip3d", "sv1", "jetfitter")
TAGGERS = {
    "ip2d": Tagger("IP2D", partial(IP3D, name="ip2d", z0_bins=1)),
    "ip3d": Tagger("IP3D", IP3D),
    "sv1": Tagger("SV1", SV1),
    "jetfitter": Tagger("JetFitter", JetFitter),
    "ip3d_sv1": Tagger("IP3D+SV1", IP3DSV1, ("ip3d", "sv1")),
    "mv2": Tagger("MV2", MV2, LOW),
    "dl1": Tagger("DL1", DL1, LOW),
    "rnnip": Tagger("RNNIP", RNNIP),
    "dl1r": Tagger("DL1r", partial(DL1, name="dl1r", taggers=("rnnip",)), (*LOW, "rnnip")),
    "dips": Tagger("DIPS", DIPS),
    "dl1d": Tagger("DL1d", partial(DL1, name="dl1d", taggers=("dips",)), (*LOW, "dips")),
    "gn1_no_aux": Tagger(
        "GN1, no auxiliary tasks", partial(GN1, name="gn1_no_aux", origin_weight=0.0, vertex_weight=0.0)
    ),
    "gn1_origin_only": Tagger("GN1, origins only", partial(GN1, name="gn1_origin_only", vertex_weight=0.0)),
    "gn1_vertex_only": Tagger("GN1, vertices only", partial(GN1, name="gn1_vertex_only", origin_weight=0.0)),
    "gn1": Tagger("GN1", GN1),
    "gn1lep": Tagger("GN1Lep", partial(GN1, name="gn1lep", leptons=True)),
    "gn2": Tagger("GN2", GN2),
}
METHODS = tuple(name for name in TAGGERS if name != "ip2d")
GRAPHS = ("gn1_no_aux", "gn1_origin_only", "gn1_vertex_only", "gn1", "gn1lep")
"""GN1 and its variants, which train alike."""
ONCE = ("mv2", "dl1", "rnnip", *(name for name in GRAPHS if name != "gn1"), "gn2")
"""Trained with one seed."""
HIGH_LEVEL = ONE_CYCLE.with_(batch_size=1000, learning_rate=3e-3)
TRACKS = ONE_CYCLE.with_(learning_rate=2e-3)
GN2_CYCLE = ONE_CYCLE.with_(learning_rate=1e-3, initial_rate=1e-7, final_rate=1e-5, clip_norm=1.0)


def trainings(epochs: int, gn2: int) -> dict[str, Training]:
    """How each network is trained, when the graph networks take `epochs`: small ones are cheap."""
    return {
        "dl1": HIGH_LEVEL.with_(epochs=3 * epochs),
        "dl1r": HIGH_LEVEL.with_(epochs=3 * epochs),
        "dl1d": HIGH_LEVEL.with_(epochs=3 * epochs),
        "rnnip": TRACKS.with_(epochs=epochs),
        "dips": TRACKS.with_(epochs=2 * epochs),
        "gn2": GN2_CYCLE.with_(epochs=gn2),
    }


PUBLISHED = Path(__file__).with_suffix(".csv")
SCALES = {
    "smoke": FlavourSettings(
        events={"ttbar": 150, "zprime": 150},
        pileup=1.0,
        simulation=SimulationSettings(pileup=PileupSettings(train=60, valid=60, test=60)),
        methods=("ip3d", "sv1", "ip3d_sv1", "mv2", "dl1r", "gn1"),
        training=ONE_CYCLE.with_(epochs=2, batch_size=100),
    ),
    "quick": FlavourSettings(
        events={"ttbar": 30_000, "zprime": 5_000},
        methods=tuple(name for name in METHODS if name != "gn2"),
        training=ONE_CYCLE.with_(epochs=6),
        trainings=trainings(6, 1),
    ),
    "standard": FlavourSettings(
        events={"ttbar": 405_000, "zprime": 279_000},
        mixture={"ttbar": 0.6, "zprime": 0.4},
        seeds=(1, 2, 3),
        single=ONCE,
        methods=METHODS,
        parallel=2,
        training=ONE_CYCLE.with_(epochs=4),
        trainings=trainings(4, 2)
        | {"dips": TRACKS.with_(epochs=4), "gn2": GN2_CYCLE.with_(epochs=3, precision="bf16-mixed")}
        | dict.fromkeys(GRAPHS, ONE_CYCLE.with_(epochs=8)),
    ),
    "full": FlavourSettings(
        events={"ttbar": 7_400_000, "zprime": 8_400_000},
        mixture={"ttbar": 0.6, "zprime": 0.4},
        seeds=(1, 2, 3),
        methods=METHODS,
        training=Training(epochs=100, batch_size=4000, learning_rate=1e-3),
    ),
}


STEPS = (
    ("ip3d", "ip3d_sv1"), ("ip3d_sv1", "mv2"), ("mv2", "dl1"), ("dl1", "dl1r"), ("dl1", "dl1d"),
    ("dl1r", "gn1"), ("dl1d", "gn1"), ("gn1_no_aux", "gn1"), ("gn1", "gn1lep"), ("gn1", "gn2"),
)  # fmt: skip
"""Each tagger and the one it took over from."""
COMBINED = ("dl1r", "gn1")
"""Whose mean shows what the second has not learnt."""
FITTED, FOUND, VERTEX_PT = ("sv1", "jetfitter"), ("gn1", "gn1lep", "gn2"), 100.0
"""Whose vertices are compared at equal purity, those of the fits and of networks; GeV, of the b-jets."""
FOOLED = ("mv2", "dl1r", "gn1", "gn2")
DRAWN = ("ip3d", "sv1", "mv2", "dl1", "dl1r", "dl1d", "gn1", "gn2")


def opening(study: Study, report: Report, result: Result) -> None:
    """The learning curve of the field, and what each step of it gained on the same jets."""
    labels = {name: study.taggers[name].label for name in study.settings.methods}
    at: At = {"b_efficiency": 0.7, "f_c": 0.05, "f_c_choice": "common"}
    for process, sample in study.judging(study.simulated()).items():
        low, high = KINEMATICS[process]
        caption = Caption(sample=rf"{TITLES[process]}, √s = 13.6 TeV, ${low:g} < p_T < {high:g}$ GeV")
        chosen = [m for m in result.metrics if m.sample == process and m.at.get("f_c_choice") == "common"]
        text = f"{TITLES[process]}: every tagger at f_c = 0.05; open markers are the papers'."
        report.figure(ladder_figure(chosen, labels, caption), text, f"ladder-{process}")
        jets = Jets(sample.read(fields=list(dict.fromkeys([*TRUTH, *mistags.FIELDS]))))
        gains(study, report, result, process, jets, at)
        combined(study, report, result, process, jets, at)
        mistagged(study, report, result, process, jets, at)
        vertices(study, report, result, process, jets)


def gains(study: Study, report: Report, result: Result, process: str, jets: Jets, at: At) -> None:
    """What each step of the field gained, of those whose both taggers are compared."""
    labels = {name: study.taggers[name].label for name in study.settings.methods}
    steps = [step for step in STEPS if set(step) <= set(labels)]
    if not steps:
        return
    # A part for each pair of trainings, whose mean is the step's gain.
    parts = [
        result.model_copy(update={"metrics": step_metrics(jets, *pair, process, at, 0.05)})
        for step in steps
        for pair in paired(study, step, process)
    ]
    mean = combine(parts).metrics
    result.metrics += mean
    columns = ["at 70 % b-efficiency", "light-rejection, ratio", "c-rejection, ratio", "light"]
    text = f"{TITLES[process]}: errors of the same jets, what both judge alike cancels, and of the seeds."
    report.table(columns, step_rows(mean, steps, labels), text)


def combined(study: Study, report: Report, result: Result, process: str, jets: Jets, at: At) -> None:
    """What the mean of an older and a newer tagger gains: more than two trainings of the newer, if it has not
    learnt all that the older is told."""
    if not set(COMBINED) <= set(study.settings.methods):
        return
    older, newer = COMBINED
    told, network = zip(*paired(study, COMBINED, process), strict=True)
    pairs = {"both": list(zip(told, network, strict=True))}
    if len(set(study.seeds(newer))) > 1:
        pairs["alone"] = list(pairwise(network))
    shown = {}
    for what, taggers in pairs.items():
        parts = [
            result.model_copy(
                update={"metrics": step_metrics(jets, before, averaged(*pair), process, at, 0.05)}
            )
            for before, pair in zip(told, taggers, strict=False)
        ]
        found = combine(parts).metrics
        result.metrics += found
        shown[what] = " and ".join(f"**{shown_metric(metric)}**" for metric in found)
    labels = {name: study.taggers[name].label for name in COMBINED}
    text = (
        f"{TITLES[process]}: the mean of {labels[older]} and {labels[newer]} rejects {shown['both']} times "
        f"the light- and c-jets that {labels[older]} rejects"
    )
    if "alone" in shown:
        text += f", the mean of two trainings of {labels[newer]} {shown['alone']} times"
    report.text(f"{text}. What the first rejects beyond that, {labels[newer]} has not learnt of vertices.")


def averaged(one: FlavourScores, other: FlavourScores) -> FlavourScores:
    """The mean of the probabilities of two taggers."""
    mean = {name: (getattr(one, name) + getattr(other, name)) / 2 for name in ("pb", "pc", "pu")}
    seeds = tuple(sorted({*one.seeds, *other.seeds}))
    return FlavourScores(f"{one.name}+{other.name}", **mean, seeds=seeds)


def mistagged(study: Study, report: Report, result: Result, process: str, jets: Jets, at: At) -> None:
    """What the light jets hold that each tagger takes for b-jets: where its gain is, and what limits all."""
    units = [Unit(name, study.settings.seeds[0]) for name in FOOLED if name in study.settings.methods]
    said = [study.scores(unit, study.trained(unit) / f"{process}.parquet") for unit in units]
    found = mistags.mistag_metrics(jets, said, process, at, 0.05)
    result.metrics += found
    text = (
        f"{TITLES[process]}: what fools the taggers at 70 % b-efficiency, f_c = 0.05, first seed. Light jets "
        f"by where their displaced tracks, s(d0) > {mistags.DISPLACED:g}, are from: the share of those taken "
        f"for b-jets, and the rejection of such jets. Each counts once, for the first it holds: "
        f"{'; '.join(f'{name}: {what}' for name, what in mistags.CONTENTS.items())}."
    )
    report.table(*mistags.mistag_rows(found, {tagger.name: tagger.label for tagger in said}), text)


def vertices(study: Study, report: Report, result: Result, process: str, jets: Jets) -> None:
    """Vertices of the networks where they are as pure as those that are fitted."""
    labels = {name: study.taggers[name].label for name in FITTED + FOUND if name in study.settings.methods}
    chosen = (ak.to_numpy(jets.rows.pt) > VERTEX_PT) & (jets.flavour == "b")

    def scan(name: str, seed: int) -> PurityScan:
        unit = Unit(name, seed)
        said = study.scores(unit, study.trained(unit) / f"{process}.parquet")
        return scan_purity(jets.take(chosen), said.take(chosen))

    fitted = [scan(name, study.settings.seeds[0]) for name in FITTED if name in labels]
    found = {name: [scan(name, seed) for seed in study.seeds(name)] for name in FOUND if name in labels}
    if not fitted or not found:
        return
    parts = [
        result.model_copy(update={"metrics": purity_metrics([*fitted, one], process, VERTEX_PT)})
        for scans in found.values()
        for one in scans
    ]
    result.metrics += combine(parts).metrics
    mine = [m for m in result.metrics if m.sample == process]
    title = f"{TITLES[process]}, b-jets with pT > {VERTEX_PT:g} GeV"
    text = (
        f"{title}: inclusive vertices at equal purity. A vertex of a network counts if its surest track is "
        "from heavy flavour with more than some probability, here the one at which its vertices are at least "
        "as pure as those of SV1 or JetFitter on the same jets."
    )
    report.table(*purity_rows(mine, labels, VERTEX_PT), text)
    caption = Caption(sample=rf"{TITLES[process]}, √s = 13.6 TeV, $b$-jets with $p_T > {VERTEX_PT:g}$ GeV")
    figure = purity_figure([*fitted, *(scans[0] for scans in found.values())], caption)
    text = (
        f"{title}: what a network finds of the vertices, and how pure; its marker is at a probability of 0.5."
    )
    report.figure(figure, text, f"vertices-purity-{process}")


def paired(
    study: Study, step: tuple[str, str], process: str
) -> Iterator[tuple[FlavourScores, FlavourScores]]:
    """What the two taggers of a step said, seed by seed; the one with fewer seeds keeps its first."""

    def said(name: str, seed: int) -> FlavourScores:
        unit = Unit(name, seed if seed in study.seeds(name) else study.seeds(name)[0])
        return study.scores(unit, study.trained(unit) / f"{process}.parquet")

    before, after = step
    for seed in max(study.seeds(before), study.seeds(after), key=len):
        yield said(before, seed), said(after, seed)


@recipe(scales=SCALES)
def flavour_history(settings: FlavourSettings, run: Run) -> Result:
    """Every b-tagger from IP3D to GN2 on the same jets [ATL-PHYS-PUB-2022-027 and what it builds on]."""
    title = "Thirty years of b-tagging on one sample"
    return Study(settings, run, TAGGERS, PUBLISHED, title, opening, DRAWN).result()
