"""The flavour-tagging page: the table that answers, then every figure a physicist asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.evaluate import figures
from femtobarn.evaluate.binned import efficiency_at_mistag, efficiency_in_bins, rejection_in_bins
from femtobarn.evaluate.discriminants import frontier
from femtobarn.evaluate.flavour_metrics import WORKING_POINTS, choose_fraction, flavour_metrics
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.flavour_tables import flavour_tables, verdict
from femtobarn.evaluate.metrics import (
    Estimate,
    Floats,
    Rejection,
    Survival,
    confusion,
    one_vs_rest_auc,
    reliability,
    roc,
)
from femtobarn.evaluate.numbers import percent
from femtobarn.evaluate.report import Report
from femtobarn.evaluate.result import Result
from femtobarn.evaluate.style import FLAVOURS, Caption, Line, lines_for
from femtobarn.evaluate.track_metrics import b_vertices, origin_labels, vertex_rates

__all__ = [
    "WORKING_POINTS",
    "FlavourScores",
    "Jets",
    "choose_fraction",
    "flavour_figures",
    "flavour_metrics",
    "flavour_page",
]

NAMES = {"b": "$b$-jets", "c": "$c$-jets", "u": "light-jets"}


def flavour_page(
    jets: Jets,
    scores: Sequence[FlavourScores],
    result: Result,
    *,
    title: str,
    subtitle: str,
    sample: str,
    caption: Caption,
    own: Mapping[str, float],
    common: float = 0.05,
    histories: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    settings: str = "",
) -> Report:
    """The whole page: the answer in a sentence and in tables, all figures, and how it was made.

    Args:
        jets: judged by.
        scores: one per method; the first is the baseline, the last the answer.
        result: its metrics (with references, combined over seeds) fill the tables; command, times, versions
            the end.
        title, subtitle: of the page.
        sample: of the metrics shown.
        caption: above every figure.
        own, common: f_c of each method, and of all.
        histories: training history by method.
        settings: the settings as text.
    """
    report = Report(title, subtitle)
    labels = {tagger.name: tagger.label or tagger.name for tagger in scores}
    if answer := verdict(result.metrics, labels, sample):
        report.text(answer)
    flavour_tables(report, result.metrics, labels, sample)
    flavour_figures(report, jets, scores, caption=caption, own=own, common=common, histories=histories)
    report.provenance(result, settings)
    return report


def flavour_figures(
    report: Report,
    jets: Jets,
    scores: Sequence[FlavourScores],
    *,
    caption: Caption,
    own: Mapping[str, float],
    common: float = 0.05,
    working_point: float = 0.70,
    working_points: Sequence[float] = WORKING_POINTS,
    pt_edges: Sequence[float] | None = None,
    histories: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    title: str = "",
) -> None:
    """All figures of the page, in sections; the first tagger is the reference of ratios, the last the one
    shown alone.

    Args:
        caption: who made the sample and what it is, above every figure.
        own, common: the f_c of each tagger, and of all.
        working_point: b-efficiency of the figures against pT.
        pt_edges: bins of jet pT (GeV); None: quantiles of the b-jets' pT.
        histories: training history by method.
        title: of the sample, in front of the names of the sections.
    """
    prefix = f"{title}: " if title else ""
    lines = lines_for(
        [tagger.name for tagger in scores], {tagger.name: tagger.label or tagger.name for tagger in scores}
    )
    edges = np.asarray(pt_edges if pt_edges is not None else _pt_edges(jets))
    report.section(f"{prefix}Rejection")
    _rejection_figures(report, jets, scores, lines, caption, own, common, working_points)
    report.section(f"{prefix}Against jet pT")
    _pt_figures(report, jets, scores, lines, caption, common, working_point, edges)
    report.section(f"{prefix}Scores")
    _score_figures(report, jets, scores, lines, caption, common, working_points)
    if any(tagger.origins is not None or tagger.vertex is not None for tagger in scores):
        report.section(f"{prefix}Tracks and vertices")
        _track_figures(report, jets, scores, lines, caption, edges)
    report.section(f"{prefix}Inputs")
    _input_figures(report, jets, caption)
    if histories:
        report.section(f"{prefix}Training")
        for name, history in histories.items():
            if history:
                figure = figures.loss_figure(history, caption, title=lines[name].label)
                report.figure(figure, f"{lines[name].label}: loss of each task per epoch.", f"loss-{name}")


def _pt_edges(jets: Jets) -> Floats:
    pt = ak.to_numpy(jets.rows.pt)[jets.flavour == "b"]
    steps = np.quantile(pt, np.linspace(0.002, 0.995, 9))
    rounded: Floats = np.unique(np.round(steps / 5) * 5)
    return rounded if len(rounded) > 2 else np.array([pt.min(), np.median(pt), pt.max() + 1.0])


def _survivals(jets: Jets, score: Floats, background: str, signal: str = "b") -> tuple[Survival, Survival]:
    true, false = jets.flavour == signal, jets.flavour == background
    return Survival(score[true], jets.weights[true]), Survival(score[false], jets.weights[false])


def _rejection_figures(
    report: Report,
    jets: Jets,
    scores: Sequence[FlavourScores],
    lines: Mapping[str, Line],
    caption: Caption,
    own: Mapping[str, float],
    common: float,
    points: Sequence[float],
) -> None:
    for background, name in (("u", "Light"), ("c", "$c$")):
        curves = {t.name: _survivals(jets, t.discriminant_b(common), background) for t in scores}
        figure = figures.rejection_figure(curves, lines, caption, background=f"{name}-jet", marks=points)
        plain = name.replace("$", "")
        text = f"{plain}-jet rejection against b-jet efficiency at f_c = {common:g} for all."
        report.figure(figure, text, f"roc-{'light' if background == 'u' else 'c'}")
    scans = {t.name: frontier(t.probabilities, jets.flavour, 0.70, jets.weights) for t in scores}
    figure = figures.frontier_figure(scans, lines, caption, own=own, common=common, efficiency=0.70)
    report.figure(
        figure,
        "c- against light-rejection at 70 % b-efficiency as f_c varies; up and right is better.",
        "f-c-scan",
    )
    curves = {t.name: _survivals(jets, t.discriminant_c(), "b", "c") for t in scores}
    figure = figures.rejection_figure(
        curves, lines, caption, signal="$c$-jet", background="$b$-jet", efficiencies=(0.1, 0.8), marks=(0.25,)
    )
    report.figure(
        figure, "Charm tagging: b-jet rejection against c-jet efficiency, f_b = 0.2.", "roc-charm-b"
    )


def _pt_figures(
    report: Report,
    jets: Jets,
    scores: Sequence[FlavourScores],
    lines: Mapping[str, Line],
    caption: Caption,
    common: float,
    point: float,
    edges: Floats,
) -> None:
    pt = ak.to_numpy(jets.rows.pt)
    which = {flavour: jets.flavour == flavour for flavour in ("b", "c", "u")}
    at_cut: dict[str, dict[str, Estimate | Rejection]] = {
        "$b$-jet efficiency": {}, "Light-jet rejection": {}, "$c$-jet rejection": {}
    }  # fmt: skip
    flat: dict[str, Estimate | Rejection] = {}
    for tagger in scores:
        score = tagger.discriminant_b(common)
        passing = score >= Survival(score[which["b"]], jets.weights[which["b"]]).threshold(point)
        for flavour, panel in (
            ("b", "$b$-jet efficiency"),
            ("u", "Light-jet rejection"),
            ("c", "$c$-jet rejection"),
        ):
            use = which[flavour]
            binned = efficiency_in_bins if flavour == "b" else rejection_in_bins
            at_cut[panel][tagger.name] = binned(passing[use], pt[use], edges, jets.weights[use])
        flat[tagger.name] = efficiency_at_mistag(score, which["b"], which["u"], pt, edges, 0.01, jets.weights)
    figure = figures.binned_figure(
        at_cut, edges, lines, caption, title=rf"overall $\varepsilon_b$ = {percent(point)}"
    )
    text = (
        f"One cut, {percent(point)} b-efficiency over all jets: efficiency and rejections in bins of jet pT. "
        "Arrows are limits (95 % CL) where no jet passes."
    )
    report.figure(figure, text, "pt-fixed-cut")
    figure = figures.binned_figure(
        {"$b$-jet efficiency": flat}, edges, lines, caption, title=f"light mistag {percent(0.01)} in each bin"
    )
    report.figure(
        figure,
        "b-efficiency in bins of jet pT, each bin cut at a light-jet mistag of 1 %.",
        "pt-fixed-mistag",
    )


def _score_figures(
    report: Report,
    jets: Jets,
    scores: Sequence[FlavourScores],
    lines: Mapping[str, Line],
    caption: Caption,
    common: float,
    points: Sequence[float],
) -> None:
    listed = ", ".join(percent(point) for point in sorted(points))
    for tagger in scores:
        score, label = tagger.discriminant_b(common), lines[tagger.name].label
        signal = jets.flavour == "b"
        cuts = Survival(score[signal], jets.weights[signal]).threshold(points)
        figure = figures.score_figure(
            score, jets.flavour, caption, label=f"{label} discriminant $D_b$", weights=jets.weights,
            cuts=list(cuts), cuts_label="working points",
        )  # fmt: skip
        text = f"{label}: D_b by flavour at f_c = {common:g}; cuts at {listed} b-efficiency."
        report.figure(figure, text, f"score-{tagger.name}")
    known = np.isin(jets.flavour, list(NAMES))
    curves = {
        t.name: reliability(t.pb[known], jets.flavour[known] == "b", jets.weights[known]) for t in scores
    }
    figure = figures.reliability_figure(curves, lines, caption, of=NAMES["b"])
    text = (
        "Are the probabilities true? Observed against predicted fraction of b-jets, and the expected "
        "calibration error (ECE). Training on another mixture of flavours than this sample's moves the curve off the diagonal."
    )
    report.figure(figure, text, "reliability")
    shown = scores[-1]
    classes = [name for name in FLAVOURS if name in shown.probabilities and (jets.flavour == name).any()]
    use = np.isin(jets.flavour, classes)
    guess = np.argmax(np.stack([shown.probabilities[name][use] for name in classes]), axis=0)
    truth = np.argmax(np.stack([jets.flavour[use] == name for name in classes]), axis=0)
    matrix = confusion(truth, guess, len(classes), jets.weights[use]).value
    figure = figures.confusion_figure(
        matrix, [FLAVOURS[name].label for name in classes], caption, title=lines[shown.name].label
    )
    report.figure(
        figure, f"{lines[shown.name].label}: most probable flavour against the true one.", "confusion"
    )


def _track_figures(
    report: Report,
    jets: Jets,
    scores: Sequence[FlavourScores],
    lines: Mapping[str, Line],
    caption: Caption,
    edges: Floats,
) -> None:
    areas: dict[str, Estimate] = {}
    means: dict[str, float] = {}
    for tagger in (tagger for tagger in scores if tagger.origins is not None):
        labels, probabilities, weights = origin_labels(jets, tagger)
        areas[tagger.name], mean, _ = one_vs_rest_auc(probabilities, labels, weights)
        means[tagger.name] = float(mean.value)
        last = tagger, labels, probabilities, weights
    if areas:
        tagger, labels, probabilities, weights = last
        classes = tagger.origin_classes
        figure = figures.origin_auc_figure(areas, means, classes, lines, caption)
        report.figure(figure, "Area under the ROC curve of each track origin, and their mean.", "origin-auc")
        figure = figures.origin_roc_figure(_origin_curves(labels, probabilities, weights, classes), caption)
        report.figure(
            figure,
            f"{lines[tagger.name].label}: ROC curve of each track origin against all others.",
            "origin-roc",
        )
        matrix = confusion(
            labels[labels >= 0], probabilities.argmax(axis=1)[labels >= 0], len(classes), weights[labels >= 0]
        )
        figure = figures.confusion_figure(matrix.value, classes, caption, title=lines[tagger.name].label)
        report.figure(
            figure,
            f"{lines[tagger.name].label}: most probable origin of a track against the true one.",
            "origin-confusion",
        )
    pt = ak.to_numpy(jets.rows.pt)
    for kind in ("exclusive", "inclusive"):
        panels: dict[str, dict[str, Estimate | Rejection]] = {}
        for tagger in (tagger for tagger in scores if tagger.vertex is not None):
            vertices, rows = b_vertices(jets, tagger, kind)
            for name, values in vertex_rates(vertices, jets.weights[rows], pt[rows], list(edges)).items():
                title = {
                    "vertex_efficiency": "Efficiency",
                    "vertex_purity": "Purity",
                    "vertex_fake_rate": "Fake rate",
                }[name]
                panels.setdefault(title, {})[tagger.name] = values
        if panels:
            figure = figures.binned_figure(
                panels, edges, lines, caption, variable="$b$-jet $p_T$ [GeV]", title=f"{kind} vertices"
            )
            meaning = (
                "each decay vertex by itself"
                if kind == "exclusive"
                else "all tracks of the b-decay chain as one"
            )
            text = f"Secondary vertices in b-jets, {kind}: {meaning}."
            report.figure(figure, text, f"vertices-{kind}")


def _origin_curves(
    labels: NDArray[np.int64], probabilities: Floats, weights: Floats, classes: Sequence[str]
) -> dict[str, tuple[Floats, Floats, float]]:
    """ROC of each class present against the rest, at one threshold per mille."""
    known = labels >= 0
    curves = {}
    for code, name in enumerate(classes):
        mine = known & (labels == code)
        rest = known & ~mine
        if not mine.any() or not rest.any():
            continue
        false, true, _ = roc(
            Survival(probabilities[mine, code], weights[mine]),
            Survival(probabilities[rest, code], weights[rest]),
        )
        curves[name] = (false, true, float(np.trapezoid(true, false)))
    return curves


def _input_figures(report: Report, jets: Jets, caption: Caption) -> None:
    rows = jets.rows
    variables: dict[str, tuple[NDArray[Any], NDArray[np.str_], Floats]] = {}
    for field, label in (("pt", "Jet $p_T$ [GeV]"), ("eta", r"Jet $\eta$"), ("n_tracks", "Tracks per jet")):
        if field in rows.fields:
            variables[label] = (ak.to_numpy(rows[field]), jets.flavour, jets.weights)
    if "tracks" in rows.fields:
        counts = ak.to_numpy(ak.num(rows.tracks))
        flavour, weights = np.repeat(jets.flavour, counts), np.repeat(jets.weights, counts)
        for field, label in TRACK_VARIABLES.items():
            if field in rows.tracks.fields:
                variables[label] = (ak.to_numpy(ak.flatten(rows.tracks[field])), flavour, weights)
    for number, (label, (values, flavour, weights)) in enumerate(variables.items(), start=1):
        logarithmic = label.startswith(("Jet $p_T", "Track", "Signed", "Hits"))
        figure = figures.distribution_figure(
            values, flavour, caption, label=label, weights=weights, logarithmic=logarithmic
        )
        report.figure(figure, "", f"input-{number}", small=True)
    report.text(
        "Each of unit area; the outer bins hold what lies beyond; a flavour with fewer than 100 is left out."
    )


TRACK_VARIABLES = {
    "IP3D_signed_d0_significance": "Signed $d_0$ significance",
    "IP3D_signed_z0_significance": r"Signed $z_0\,\sin\theta$ significance",
    "pt": "Track $p_T$ [GeV]",
    "dr": r"Track $\Delta R$ to the jet",
    "numberOfInnermostPixelLayerHits": "Hits in the innermost layer",
    "numberOfPixelHits": "Pixel hits",
}
