"""How GN1 and DL1r grow with the number of jets they are trained on, and where their ratio is the papers'."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np

from femtobarn.evaluate.metrics import Estimate
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import At, Metric, Result
from femtobarn.evaluate.scaling import PowerLaw, scaling_figure
from femtobarn.evaluate.style import Caption, lines_for
from femtobarn.recipes import flavour_history as history
from femtobarn.recipes.flavour import FlavourSettings, Study, Tagger
from femtobarn.recipes.run import Run, Unit, recipe
from femtobarn.tagging.dl1 import DL1
from femtobarn.tagging.gn1 import GN1
from femtobarn.tagging.rnnip import RNNIP

PARTS = (8, 4, 2)
"""Also trained on this part of the jets."""
PUBLISHED = {"c_rejection": 2.28, "light_rejection": 1.76}
"""GN1 over DL1r in ttbar at 70 % [ATL-PHYS-PUB-2022-027, Figure 4: 30.7 / 13.4 and 1260 / 718]."""
AT: At = {"b_efficiency": 0.7, "f_c": 0.05, "f_c_choice": "common"}


def taggers() -> dict[str, Tagger]:
    """Those of `flavour-history`; GN1, and DL1r with its RNNIP, on parts of the jets too.

    What DL1r reads beside RNNIP are histograms, which need few jets: they are always made of all.
    """
    every = dict(history.TAGGERS)
    for part in PARTS:
        label, fraction = f"1/{part} of the jets", 1 / part
        gn1, dl1r, rnnip = f"gn1_{part}th", f"dl1r_{part}th", f"rnnip_{part}th"
        every[gn1] = replace(
            every["gn1"], label=f"GN1, {label}", make=partial(GN1, name=gn1), fraction=fraction
        )
        every[rnnip] = replace(every["rnnip"], make=RNNIP, fraction=fraction)
        make = partial(DL1, name=dl1r, taggers=("rnnip",))
        reads = (*history.LOW, rnnip)
        every[dl1r] = Tagger(f"DL1r, {label}", make, reads, fraction)
    return every


METHODS = ("ip3d", *(f"{name}_{part}th" for part in PARTS for name in ("dl1r", "gn1")), "dl1r", "gn1")


def scale(name: str) -> FlavourSettings:
    """The sample and the trainings of `flavour-history`: what is the same is not done again.

    A network that sees a part of the jets sees them more often, by the root of that: as often as all it
    would learn too little, in as many steps it would know them by heart.
    """
    settings = history.SCALES[name]
    trainings = dict(settings.trainings)
    for part in PARTS:
        for one in ("gn1", "dl1r", "rnnip"):
            training = trainings.get(one, settings.training)
            trainings[f"{one}_{part}th"] = training.with_(epochs=round(training.epochs * part**0.5))
    return settings.model_copy(
        update={"methods": METHODS, "single": METHODS, "trainings": trainings, "parallel": settings.parallel}
    )


def opening(study: Study, report: Report, result: Result) -> None:
    """The two figures of the scan, and the sizes at which the ratios would be the published ones."""
    seed = study.settings.seeds[0]
    trained = [study.trained(Unit(name, seed)) for name in (*(f"gn1_{part}th" for part in PARTS), "gn1")]
    x = np.array(
        [json.loads((folder / "sizes.json").read_text())["train"] for folder in trained], dtype=float
    )
    labels = {"dl1r": "DL1r", "gn1": "GN1"}
    for what, published in PUBLISHED.items():
        curves = {}
        for name in labels:
            found = [result.find(what, n, "ttbar", **AT) for n in (*(f"{name}_{p}th" for p in PARTS), name)]
            numbers = [(m.value, m.error) if m and m.value and m.error else (np.nan, np.nan) for m in found]
            curves[name] = Estimate(*np.array(numbers, dtype=np.float64).T)
        ratio = curves["gn1"].value / curves["dl1r"].value
        # The same test jets are behind both: taken as independent, their errors are too large, not too small.
        relative = np.hypot(*(curve.error / curve.value for curve in curves.values()))
        both = Estimate(ratio, ratio * relative)
        if not np.isfinite(both.error).all():
            report.text(f"Too few jets to fit how the {what.replace('_', ' ')} grows.")
            continue
        law = PowerLaw.fit(x, both)
        flavour = "Charm" if what == "c_rejection" else "Light-jet"
        caption = Caption(sample="ttbar, √s = 13.6 TeV, 70 % b-efficiency")
        figure = scaling_figure(
            x, curves, lines_for(list(labels), labels), caption,
            quantity=f"{flavour} rejection", ratio=both, law=law, published=published,
        )  # fmt: skip
        slope, meets = float(np.sqrt(law.covariance[0, 0])), law.reaches(published)
        where = f"at {meets:.2g} jets" if np.isfinite(meets) else "nowhere: it does not grow"
        text = (
            f"{flavour} rejection of GN1 and DL1r against the jets they are trained on, and their ratio. "
            f"It grows as the {law.slope:.3f} ± {slope:.3f} power of these and would meet the published "
            f"{published} {where}. Errors are those of the test sample; each point is one training."
        )
        report.figure(figure, text, f"scaling-{what}")
        for size, value, error in zip(x, both.value, both.error, strict=True):
            at = {**AT, "train_jets": int(size)}
            result.metrics.append(
                Metric(name=f"{what}_ratio", at=at, method="gn1/dl1r", sample="ttbar", value=value,
                       error=error, seeds=[seed], reference=published, source="ATL-PHYS-PUB-2022-027")
            )  # fmt: skip
        result.metrics.append(
            Metric(name=f"{what}_ratio_power", at=dict(AT), method="gn1/dl1r", sample="ttbar",
                   value=law.slope, error=slope, seeds=[seed],
                   note=f"the fitted power law meets the published ratio {where}")
        )  # fmt: skip


@recipe(scales={name: scale(name) for name in history.SCALES})
def training_size(settings: FlavourSettings, run: Run) -> Result:
    """GN1 against DL1r as the training sample grows [ATL-PHYS-PUB-2022-027]."""
    title = "b-tagging against the size of the training sample"
    return Study(settings, run, taggers(), history.PUBLISHED, title, opening).result()
