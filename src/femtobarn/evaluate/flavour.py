"""The flavour-tagging page: the table that answers, then every figure a physicist asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import awkward as ak
import numpy as np
from matplotlib.figure import Figure

from femtobarn.evaluate import figures
from femtobarn.evaluate.binned import efficiency_at_mistag, efficiency_in_bins, rejection_in_bins
from femtobarn.evaluate.discriminants import frontier
from femtobarn.evaluate.drawing import FEWEST
from femtobarn.evaluate.flavour_inputs import input_figures
from femtobarn.evaluate.flavour_metrics import (
    MISTAG,
    WORKING_POINTS,
    choose_fraction,
    flavour_metrics,
    pt_bins,
)
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.flavour_tables import flavour_tables, verdict
from femtobarn.evaluate.jet_display import NEEDED, jet_display, telling_jet
from femtobarn.evaluate.metrics import Estimate, Floats, Rejection, confusion, one_vs_rest_auc, reliability
from femtobarn.evaluate.numbers import percent
from femtobarn.evaluate.report import Report, slug
from femtobarn.evaluate.result import Result
from femtobarn.evaluate.style import FLAVOURS, Caption, Line, lines_for
from femtobarn.evaluate.track_metrics import b_vertices, origin_curves, origin_labels, vertex_rates
from femtobarn.evaluate.vertex_positions import lxy_residuals, resolution_in_bins, vertices_can_be_fitted

__all__ = [
    "WORKING_POINTS",
    "FlavourScores",
    "Jets",
    "choose_fraction",
    "flavour_figures",
    "flavour_metrics",
    "flavour_page",
    "flavour_tables",
    "verdict",
]

Histories = Mapping[str, Sequence[Mapping[str, float]]]


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
    histories: Histories | None = None,
    settings: str = "",
) -> Report:
    """The whole page: the answer in a sentence and in tables, all figures, and how it was made.

    Args:
        jets: judged by.
        scores: one per method; the first is the baseline.
        result: its metrics (with references, combined over seeds) fill the tables; its command, times and
            versions the end of the page.
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
    histories: Histories | None = None,
    title: str = "",
) -> None:
    """All figures of the page, in sections; the first tagger is the reference of ratios.

    Args:
        caption: who made the sample and what it is, above every figure.
        own, common: the f_c of each tagger, and of all.
        working_point: b-efficiency of the figures against pT.
        pt_edges: bins of jet pT (GeV); None: with the same number of b-jets each.
        histories: training history by method.
        title: of the sample, in front of the names of the sections.
    """
    edges = np.asarray(pt_edges) if pt_edges is not None else pt_bins(jets)
    page = Page(report, jets, scores, caption, title, own, common, working_point, working_points, edges)
    page.rejections()
    page.against_pt()
    page.scores_by_flavour()
    if any(tagger.origins is not None or tagger.vertex is not None for tagger in scores):
        page.tracks()
    page.section("Inputs")
    for number, figure in enumerate(input_figures(jets, caption), start=1):
        page.show(figure, "", f"input-{number}", small=True)
    report.text(
        "Each of unit area; the outer bins hold what lies beyond; a flavour with fewer than "
        f"{FEWEST} entries is left out."
    )
    if histories and any(histories.values()):
        page.section("Training")
        for name, history in histories.items():
            if history:
                label = page.lines[name].label
                figure = figures.loss_figure(history, caption, title=label)
                page.show(figure, f"{label}: loss of each task per epoch.", f"loss-{name}")


@dataclass(frozen=True)
class Page:
    """What every section of the page draws from."""

    report: Report
    jets: Jets
    scores: Sequence[FlavourScores]
    caption: Caption
    title: str
    own: Mapping[str, float]
    common: float
    working_point: float
    working_points: Sequence[float]
    edges: Floats

    @cached_property
    def lines(self) -> dict[str, Line]:
        """How each tagger is drawn."""
        labels = {tagger.name: tagger.label or tagger.name for tagger in self.scores}
        return lines_for(list(labels), labels)

    @cached_property
    def best(self) -> FlavourScores:
        """The tagger shown where one is shown: of the largest product of light- and c-rejection."""

        def product(tagger: FlavourScores) -> float:
            score = tagger.discriminant_b(self.common)
            cut = self.jets.survival(score, "b").threshold(self.working_point)
            passing = [self.jets.survival(score, name).efficiency(cut).value for name in ("u", "c")]
            return float(-passing[0] * passing[1])

        return max(self.scores, key=product)

    def section(self, name: str) -> None:
        """Begin a section of this sample."""
        self.report.section(f"{self.title}: {name.lower()}" if self.title else name)

    def show(self, figure: Figure, text: str, name: str, *, small: bool = False) -> None:
        """Put a figure on the page, under a name of its own for each sample."""
        self.report.figure(figure, text, f"{slug(self.title)}-{name}" if self.title else name, small=small)

    def rejections(self) -> None:
        """Rejection curves, the f_c scan, charm tagging."""
        self.section("Rejection")
        for background, name in (("u", "Light"), ("c", "$c$")):
            curves = {}
            for tagger in self.scores:
                score = tagger.discriminant_b(self.common)
                curves[tagger.name] = (self.jets.survival(score, "b"), self.jets.survival(score, background))
            figure = figures.rejection_figure(
                curves, self.lines, self.caption, background=f"{name}-jet", marks=self.working_points
            )
            plain = name.replace("$", "")
            text = f"{plain}-jet rejection against b-jet efficiency at f_c = {self.common:g} for all."
            self.show(figure, text, f"roc-{plain.lower()}")
        point = self.working_point
        scans = {
            t.name: frontier(t.probabilities, self.jets.flavour, point, self.jets.weights)
            for t in self.scores
        }
        figure = figures.frontier_figure(
            scans, self.lines, self.caption, own=self.own, common=self.common, efficiency=point
        )
        text = f"c- against light-rejection at {percent(point)} b-efficiency as f_c varies."
        self.show(figure, f"{text} Up and to the right is better.", "f-c-scan")
        curves = {}
        for tagger in self.scores:
            score = tagger.discriminant_c()
            curves[tagger.name] = (self.jets.survival(score, "c"), self.jets.survival(score, "b"))
        figure = figures.rejection_figure(
            curves, self.lines, self.caption, signal="$c$-jet", background="$b$-jet",
            efficiencies=(0.1, 0.8), marks=(0.25,),
        )  # fmt: skip
        text = "Charm tagging: b-jet rejection against c-jet efficiency, f_b = 0.2."
        self.show(figure, text, "roc-charm-b")

    def against_pt(self) -> None:
        """Efficiency and rejections in bins of pT, at one cut and at one mistag rate."""
        self.section("Against jet pT")
        jets, edges, pt = self.jets, self.edges, ak.to_numpy(self.jets.rows.pt)
        panels = {"b": "$b$-jet efficiency", "u": "Light-jet rejection", "c": "$c$-jet rejection"}
        one_cut: dict[str, dict[str, Estimate | Rejection]] = {panel: {} for panel in panels.values()}
        one_mistag: dict[str, Estimate | Rejection] = {}
        for tagger in self.scores:
            score = tagger.discriminant_b(self.common)
            passing = score >= jets.survival(score, "b").threshold(self.working_point)
            for flavour, panel in panels.items():
                use = jets.flavour == flavour
                binned = efficiency_in_bins if flavour == "b" else rejection_in_bins
                one_cut[panel][tagger.name] = binned(passing[use], pt[use], edges, jets.weights[use])
            one_mistag[tagger.name] = efficiency_at_mistag(
                score, jets.flavour == "b", jets.flavour == "u", pt, edges, MISTAG, jets.weights
            )
        title = rf"overall $\varepsilon_b$ = {percent(self.working_point)}"
        figure = figures.binned_figure(one_cut, edges, self.lines, self.caption, title=title)
        text = (
            f"One cut, {percent(self.working_point)} b-efficiency over all jets: efficiency and rejection in "
            "bins of jet pT. Arrows are limits (95 % CL) where no jet passes."
        )
        self.show(figure, text, "pt-one-cut")
        title = f"light mistag {percent(MISTAG)} in each bin"
        figure = figures.binned_figure(
            {panels["b"]: one_mistag}, edges, self.lines, self.caption, title=title
        )
        text = f"b-efficiency in bins of jet pT, each bin cut at a light-jet mistag of {percent(MISTAG)}."
        self.show(figure, text, "pt-one-mistag")

    def scores_by_flavour(self) -> None:
        """Discriminants by flavour, reliability of the probabilities, confusion."""
        self.section("Scores")
        jets = self.jets
        listed = ", ".join(percent(point) for point in sorted(self.working_points))
        for tagger in self.scores:
            score, label = tagger.discriminant_b(self.common), self.lines[tagger.name].label
            figure = figures.score_figure(
                score, jets.flavour, self.caption, label=f"{label} discriminant $D_b$", weights=jets.weights,
                cuts=list(jets.survival(score, "b").threshold(self.working_points)),
                cuts_label="working points",
            )  # fmt: skip
            text = f"{label}: D_b by flavour at f_c = {self.common:g}; cuts at {listed} b-efficiency."
            self.show(figure, text, f"score-{tagger.name}")
        known = jets.flavour != ""
        is_b, weights = jets.flavour[known] == "b", jets.weights[known]
        curves = {tagger.name: reliability(tagger.pb[known], is_b, weights) for tagger in self.scores}
        figure = figures.reliability_figure(curves, self.lines, self.caption, of=FLAVOURS["b"].label)
        text = (
            "Are the probabilities true? Observed against predicted fraction of b-jets, and the expected "
            "calibration error (ECE). Training on another mixture of flavours bends the curve."
        )
        self.show(figure, text, "reliability")
        tagger = self.best
        label = self.lines[tagger.name].label
        classes = [name for name in tagger.probabilities if (jets.flavour == name).any()]
        use = np.isin(jets.flavour, classes)
        guess = np.argmax([tagger.probabilities[name][use] for name in classes], axis=0)
        truth = np.argmax([jets.flavour[use] == name for name in classes], axis=0)
        matrix = confusion(truth, guess, len(classes), jets.weights[use]).value
        names = [FLAVOURS[name].label for name in classes]
        figure = figures.confusion_figure(matrix, names, self.caption, title=label)
        self.show(figure, f"{label}: most probable flavour against the true one.", "confusion")

    def tracks(self) -> None:
        """Track origins and vertices of the taggers that predict them."""
        self.section("Tracks and vertices")
        areas: dict[str, Estimate] = {}
        means: dict[str, float] = {}
        seen = ak.any(ak.num(self.jets.rows.tracks) > 0)
        judged = [tagger for tagger in self.scores if seen and tagger.origins is not None]
        for tagger in judged:
            labels, probabilities, weights = origin_labels(self.jets, tagger)
            areas[tagger.name], mean, _ = one_vs_rest_auc(probabilities, labels, weights)
            means[tagger.name] = float(mean.value)
        if judged:
            tagger, label = judged[-1], self.lines[judged[-1].name].label
            classes, known = tagger.origin_classes, labels >= 0
            own = {one.name: one.origin_classes for one in judged}
            figure = figures.origin_auc_figure(areas, means, own, self.lines, self.caption)
            self.show(figure, "Area under the ROC curve of each track origin, and their mean.", "origin-auc")
            curves = origin_curves(labels, probabilities, weights, classes)
            figure = figures.origin_roc_figure(curves, self.caption)
            self.show(figure, f"{label}: ROC curve of each track origin against all others.", "origin-roc")
            guess = probabilities[known].argmax(axis=1)
            matrix = confusion(labels[known], guess, len(classes), weights[known]).value
            figure = figures.confusion_figure(matrix, classes, self.caption, title=label)
            text = f"{label}: most probable origin of a track against the true one."
            self.show(figure, text, "origin-confusion")
        for kind, meaning in (
            ("exclusive", "each decay vertex by itself"),
            ("inclusive", "all tracks of the b-decay chain as one"),
        ):
            self.vertices(kind, f"Secondary vertices in b-jets, {kind}: {meaning}.")
        self.positions()
        if judged:
            self.one_jet(judged[-1])

    def one_jet(self, tagger: FlavourScores) -> None:
        """A b-jet whose decay chain is seen, as the tagger sees it."""
        rows = self.jets.rows
        if "phi" not in rows.fields or not set(NEEDED) <= set(rows.tracks.fields):
            return
        row = telling_jet(self.jets)
        if row is None:
            return
        sample = f"{self.caption.sample.partition(',')[0]}, a b-jet of {rows.pt[row]:.0f} GeV"
        figure = jet_display(self.jets, tagger, row, Caption(self.caption.source, sample))
        text = (
            f"{self.lines[tagger.name].label} on one b-jet: tracks in the transverse plane, coloured by the "
            "origin found most probable, dashed where it is wrong; all probabilities; and each track's share "
            "in the vector by which the jet is judged."
        )
        self.show(figure, text, "one-jet")

    def positions(self) -> None:
        """How far the fitted vertices are from where the b-hadrons decayed."""
        medians, widths = [], {}
        for tagger in self.scores:
            if vertices_can_be_fitted(self.jets, tagger):
                residuals = lxy_residuals(self.jets, tagger)
                _, widths[tagger.name] = resolution_in_bins(*residuals, list(self.edges))
                bias, _ = resolution_in_bins(*residuals, [0.0, np.inf])
                medians.append(f"{self.lines[tagger.name].label} {bias.value[0]:+.2f} mm")
        if not widths:
            return
        figure = figures.binned_figure(
            {"$L_{xy}$ resolution [mm]": widths}, self.edges, self.lines, self.caption,
            variable="$b$-jet $p_T$ [GeV]", title="inclusive vertices, fitted",
        )  # fmt: skip
        text = (
            "A vertex fitted to all tracks that each tagger takes to be of the b-decay chain: half the width "
            "of the central 68 % of its distance across the beam less that at which the b-hadron decayed. "
            "Tracks of the c-hadron, which flies on, pull it outwards; medians: "
            f"{', '.join(medians)}."
        )
        self.show(figure, text, "vertex-positions")

    def vertices(self, kind: str, text: str) -> None:
        """Efficiency, purity and fake rate of vertices against pT."""
        titles = {
            "vertex_efficiency": "Efficiency",
            "vertex_purity": "Purity",
            "vertex_fake_rate": "Fake rate",
        }
        panels: dict[str, dict[str, Estimate | Rejection]] = {}
        pt = ak.to_numpy(self.jets.rows.pt)
        for tagger in self.scores:
            if tagger.vertex is None:
                continue
            vertices, rows = b_vertices(self.jets, tagger, kind)
            rates = vertex_rates(vertices, self.jets.weights[rows], pt[rows], list(self.edges))
            for name, values in rates.items():
                panels.setdefault(titles[name], {})[tagger.name] = values
        if panels:
            figure = figures.binned_figure(
                panels, self.edges, self.lines, self.caption, variable="$b$-jet $p_T$ [GeV]",
                title=f"{kind} vertices",
            )  # fmt: skip
            self.show(figure, text, f"vertices-{kind}")
