"""What a flavour tagger is judged by: rejections at working points, track origins, vertices, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.errors import InputError, closest
from femtobarn.evaluate.discriminants import discriminant_b, discriminant_c, frontier, own_fraction
from femtobarn.evaluate.metrics import (
    Estimate,
    Floats,
    Survival,
    auc,
    one_vs_rest_auc,
    rejection,
    rejection_ratio,
    reliability,
    weighted_mean,
)
from femtobarn.evaluate.result import At, Metric
from femtobarn.evaluate.vertexing import HEAVY, Vertices, exclusive_vertices, inclusive_vertices

__all__ = ["ORIGINS", "WORKING_POINTS", "FlavourScores", "Jets", "choose_fraction", "flavour_metrics"]

ORIGINS = ("Pileup", "Fake", "Primary", "FromB", "FromBC", "FromC", "FromTau", "OtherSecondary")
"""Classes of `ftagTruthOriginLabel`, in the order of their codes."""

WORKING_POINTS = (0.60, 0.70, 0.77, 0.85)
CODES = {5: "b", 4: "c", 0: "u", 15: "tau"}
LONG = {"b": "b-jets", "c": "c-jets", "u": "light-jets", "tau": "tau-jets"}


class Jets:
    """The truth a tagger is judged by.

    Args:
        rows: one record per jet: the flavour label, `pt` (GeV), the weight if there is one and, to judge tracks,
            `tracks.ftagTruthOriginLabel` and `tracks.ftagTruthVertexIndex`.
        label: field with 5, 4, 0 and 15 for b, c, light and tau.
        weight: field of the event weights; None: all one.

    Attributes:
        flavour: (N,) `b`, `c`, `u`, `tau`, or empty where the code is another.
        weights: (N,) float.
    """

    def __init__(
        self, rows: ak.Array, label: str = "HadronConeExclTruthLabelID", weight: str | None = "mcEventWeight"
    ) -> None:
        for field in (label, *([weight] if weight else [])):
            if field not in rows.fields:
                raise InputError(f"the jets have no field '{field}'{closest(field, rows.fields)}")
        code = np.abs(ak.to_numpy(rows[label]).astype(np.int64))
        self.rows = rows
        self.flavour: NDArray[np.str_] = np.full(len(code), "", dtype="U3")
        for number, name in CODES.items():
            self.flavour[code == number] = name
        self.weights: Floats = np.ones(len(code)) if weight is None else ak.to_numpy(rows[weight]).astype(np.float64)
        for name in ("b", "c", "u"):
            if not (self.flavour == name).any():
                raise InputError(f"no {LONG[name]} among {len(code)} jets by '{label}': check the label, use a larger sample")

    def __len__(self) -> int:
        return len(self.flavour)


@dataclass(frozen=True)
class FlavourScores:
    """What one tagger says of every jet and, if it can, of every track.

    Attributes:
        name: the method.
        pb, pc, pu: (N,) probabilities.
        ptau: (N,) or None; enters with the fraction `f_tau`.
        origins: ragged records, a probability per track and origin class, named as in `ORIGINS`, or None.
        vertex: ragged, index of each track's reconstructed vertex, below zero: none; or None.
        label: how figures and tables call it.
        seeds: of its training.
    """

    name: str
    pb: Floats
    pc: Floats
    pu: Floats
    ptau: Floats | None = None
    f_tau: float = 0.0
    origins: ak.Array | None = None
    vertex: ak.Array | None = None
    label: str = ""
    seeds: tuple[int, ...] = ()

    @classmethod
    def from_prediction(
        cls, prediction: ak.Array, name: str, *, label: str = "", seeds: Sequence[int] = (), f_tau: float = 0.0
    ) -> FlavourScores:
        """From what `predict` gives: `<name>_pb`, ... and `tracks.<name>_p<Origin>`, `tracks.<name>_VertexIndex`.

        Raises:
            InputError: when the three probabilities are not there.
        """
        for flavour in ("b", "c", "u"):
            if f"{name}_p{flavour}" not in prediction.fields:
                raise InputError(
                    f"the prediction has no field '{name}_p{flavour}'{closest(f'{name}_p{flavour}', prediction.fields)}"
                )
        tau = f"{name}_ptau"
        tracks = prediction["tracks"] if "tracks" in prediction.fields else None
        origins = vertex = None
        if tracks is not None:
            classes = [origin for origin in ORIGINS if f"{name}_p{origin}" in tracks.fields]
            if classes:
                origins = ak.zip({origin: tracks[f"{name}_p{origin}"] for origin in classes})
            if f"{name}_VertexIndex" in tracks.fields:
                vertex = tracks[f"{name}_VertexIndex"]
        pb, pc, pu = (ak.to_numpy(prediction[f"{name}_p{flavour}"]).astype(np.float64) for flavour in ("b", "c", "u"))
        ptau = ak.to_numpy(prediction[tau]).astype(np.float64) if tau in prediction.fields else None
        return cls(name, pb, pc, pu, ptau, f_tau, origins, vertex, label or name, tuple(seeds))

    def discriminant_b(self, f_c: float) -> Floats:
        """D_b at this charm fraction, (N,)."""
        return discriminant_b(self.pb, self.pc, self.pu, f_c, self.ptau, self.f_tau)

    def discriminant_c(self, f_b: float = 0.2) -> Floats:
        """D_c at this b-fraction, (N,)."""
        return discriminant_c(self.pb, self.pc, self.pu, f_b, self.ptau, self.f_tau)

    @property
    def probabilities(self) -> dict[str, Floats]:
        """The probabilities by flavour."""
        tau = {} if self.ptau is None else {"tau": self.ptau}
        return {"b": self.pb, "c": self.pc, "u": self.pu, **tau}

    @property
    def origin_classes(self) -> list[str]:
        """The origin classes this tagger tells apart."""
        return [] if self.origins is None else list(self.origins.fields)


def choose_fraction(jets: Jets, scores: FlavourScores, efficiency: float = 0.70) -> float:
    """A tagger's own f_c: the largest geometric mean of c- and light-rejection at 70 %. Use validation jets."""
    return own_fraction(frontier(scores.probabilities, jets.flavour, efficiency, jets.weights))


def flavour_metrics(
    jets: Jets,
    scores: Sequence[FlavourScores],
    *,
    sample: str,
    own: Mapping[str, float],
    common: float = 0.05,
    working_points: Sequence[float] = WORKING_POINTS,
    f_b: float = 0.2,
    c_efficiency: float = 0.25,
) -> list[Metric]:
    """Everything a flavour tagger is judged by, for each tagger.

    Rejections are given at each tagger's own f_c and at the common one; their ratios to the first tagger too. Of
    taggers that classify tracks: AUCs of the origins. Of those that find vertices: efficiency, purity and fakes.

    Args:
        sample: name of the sample in the metrics.
        own: f_c of each tagger by name, chosen on other jets (`choose_fraction`).
        common: f_c for all.
        working_points: b-efficiencies.
        f_b, c_efficiency: for c-tagging.
    """
    metrics: list[Metric] = []
    for tagger in scores:
        seeds = list(tagger.seeds)

        def add(name: str, at: At, value: Estimate, method: str = tagger.name, seeds: list[int] = seeds) -> None:
            metrics.append(_metric(name, at, method, sample, value, seeds))

        for choice, f_c in (("own", own[tagger.name]), ("common", common)):
            metrics += _rejections(jets, tagger, scores[0], sample, choice, f_c, (own, common), working_points)
            score = tagger.discriminant_b(f_c)
            for background, name in (("c", "c"), ("u", "light")):
                use = (jets.flavour == "b") | (jets.flavour == background)
                area = auc(score[use], jets.flavour[use] == "b", jets.weights[use])
                add("auc", {"signal": "b", "background": name, "f_c": f_c, "f_c_choice": choice}, area)
        metrics += _charm(jets, tagger, sample, f_b, c_efficiency)
        for flavour, probability in tagger.probabilities.items():
            known = jets.flavour != ""
            curve = reliability(probability[known], jets.flavour[known] == flavour, jets.weights[known])
            add("calibration_error", {"class": flavour}, Estimate(np.array(curve.calibration_error), np.array(np.nan)))
        if tagger.origins is not None:
            metrics += _origins(jets, tagger, sample)
        if tagger.vertex is not None:
            metrics += _vertices(jets, tagger, sample)
    return metrics


def _metric(
    name: str, at: At, method: str, sample: str, value: Estimate, seeds: list[int], limit: float | None = None
) -> Metric:
    number = float(value.value)
    missing = not np.isfinite(number)
    note = None
    if missing:
        note = "no background jet passes" if limit is not None else "nothing to measure in this sample"
    return Metric(
        name=name, at=at, method=method, sample=sample, value=number, error=float(value.error), seeds=seeds,
        lower_limit=limit if missing else None, note=note,
    )  # fmt: skip


def _rejections(
    jets: Jets,
    tagger: FlavourScores,
    baseline: FlavourScores,
    sample: str,
    choice: str,
    f_c: float,
    fractions: tuple[Mapping[str, float], float],
    working_points: Sequence[float],
) -> list[Metric]:
    score = tagger.discriminant_b(f_c)
    against = baseline.discriminant_b(fractions[0][baseline.name] if choice == "own" else fractions[1])
    which = {flavour: jets.flavour == flavour for flavour in ("b", "c", "u")}
    signal = Survival(score[which["b"]], jets.weights[which["b"]], "b-jets")
    metrics = []
    for flavour, name in (("c", "c_rejection"), ("u", "light_rejection")):
        background = Survival(score[which[flavour]], jets.weights[which[flavour]], LONG[flavour])
        result = rejection(signal, background, working_points)
        for point, value, error, limit in zip(working_points, *result, strict=True):
            at: At = {"b_efficiency": point, "f_c": f_c, "f_c_choice": choice}
            seeds = list(tagger.seeds)
            metrics.append(
                _metric(name, at, tagger.name, sample, Estimate(value, error), seeds, limit=float(limit))
            )
            if tagger is not baseline:
                ratio = rejection_ratio((score, against), which["b"], which[flavour], point, jets.weights)
                at = {**at, "relative_to": baseline.name}
                metrics.append(_metric(f"{name}_ratio", at, tagger.name, sample, ratio, seeds))
    return metrics


def _charm(jets: Jets, tagger: FlavourScores, sample: str, f_b: float, efficiency: float) -> list[Metric]:
    score = tagger.discriminant_c(f_b)
    charm = jets.flavour == "c"
    signal = Survival(score[charm], jets.weights[charm], "c-jets")
    metrics = []
    for flavour, name in (("b", "b_rejection"), ("u", "light_rejection")):
        which = jets.flavour == flavour
        result = rejection(signal, Survival(score[which], jets.weights[which], LONG[flavour]), [efficiency])
        value = Estimate(result.value[0], result.error[0])
        at: At = {"c_efficiency": efficiency, "f_b": f_b}
        limit = float(result.lower_limit[0])
        metrics.append(_metric(name, at, tagger.name, sample, value, list(tagger.seeds), limit=limit))
    return metrics


def origin_labels(jets: Jets, tagger: FlavourScores) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Of every track: its true origin as the tagger's class number, the tagger's probabilities (T, C), its weight.

    A class the tagger does not have counts as OtherSecondary (GN1 has no FromTau).

    Raises:
        InputError: when the prediction has other numbers of tracks per jet than the truth.
    """
    tracks = _tracks(jets)
    assert tagger.origins is not None
    counts = ak.to_numpy(ak.num(tracks.ftagTruthOriginLabel))
    if not np.array_equal(counts, ak.to_numpy(ak.num(tagger.origins))):
        raise InputError(f"{tagger.name}: predicted and true tracks differ in number per jet: use the jets it was run on")
    classes = tagger.origin_classes
    rest = classes.index("OtherSecondary") if "OtherSecondary" in classes else -1
    fold = np.array([classes.index(origin) if origin in classes else rest for origin in ORIGINS] + [-1])
    code = ak.to_numpy(ak.flatten(tracks.ftagTruthOriginLabel)).astype(np.int64)
    labels = fold[np.where((code >= 0) & (code < len(ORIGINS)), code, len(ORIGINS))]
    flat = ak.flatten(tagger.origins)
    probabilities = np.stack([ak.to_numpy(flat[name]) for name in classes], axis=1)
    return labels, probabilities, np.repeat(jets.weights, counts)


def _tracks(jets: Jets) -> ak.Array:
    needed = ("ftagTruthOriginLabel", "ftagTruthVertexIndex")
    if "tracks" not in jets.rows.fields or not set(needed) <= set(jets.rows.tracks.fields):
        raise InputError(f"to judge tracks the jets need 'tracks' with {' and '.join(needed)}: read these fields too")
    return jets.rows.tracks


def _origins(jets: Jets, tagger: FlavourScores, sample: str) -> list[Metric]:
    labels, probabilities, weights = origin_labels(jets, tagger)
    each, mean, weighted = one_vs_rest_auc(probabilities, labels, weights)
    seeds = list(tagger.seeds)
    metrics = [
        _metric("origin_auc_mean", {}, tagger.name, sample, mean, seeds),
        _metric("origin_auc_weighted", {}, tagger.name, sample, weighted, seeds),
    ]
    for code, name in enumerate(tagger.origin_classes):
        value = Estimate(each.value[code], each.error[code])
        metrics.append(_metric("origin_auc", {"class": name}, tagger.name, sample, value, seeds))
    return metrics


def b_vertices(jets: Jets, tagger: FlavourScores, kind: str) -> tuple[Vertices, NDArray[np.int64]]:
    """Vertices of the b-jets, `exclusive` or `inclusive`, and the row in `jets` of each b-jet.

    A tagger that also classifies tracks is held to it: a reconstructed vertex counts if one of its tracks is taken to
    be FromB or FromBC and it is not the one with the most Primary tracks.
    """
    chosen = np.flatnonzero(jets.flavour == "b")
    tracks = _tracks(jets)[chosen]
    assert tagger.vertex is not None
    heavy = primary = None
    if tagger.origins is not None:
        origins = tagger.origins[chosen]
        counts = ak.num(origins)
        flat = ak.flatten(origins)
        best = np.argmax(np.stack([ak.to_numpy(flat[name]) for name in tagger.origin_classes], axis=1), axis=1)
        names = np.array(tagger.origin_classes)[best]
        heavy = ak.unflatten(np.isin(names, [ORIGINS[code] for code in HEAVY]), counts)
        primary = ak.unflatten(names == "Primary", counts)
    find = exclusive_vertices if kind == "exclusive" else inclusive_vertices
    return find(tracks.ftagTruthVertexIndex, tracks.ftagTruthOriginLabel, tagger.vertex[chosen], heavy, primary), chosen


def _vertices(jets: Jets, tagger: FlavourScores, sample: str) -> list[Metric]:
    metrics = []
    seeds = list(tagger.seeds)
    pt = ak.to_numpy(jets.rows.pt)
    for kind, low in (("exclusive", 0.0), ("inclusive", 0.0), ("inclusive", 100.0)):
        vertices, rows = b_vertices(jets, tagger, kind)
        at: At = {"kind": kind, **({"pt_min": low} if low else {})}
        for name, value in vertex_rates(vertices, jets.weights[rows], pt[rows], (low, np.inf)).items():
            metrics.append(_metric(name, at, tagger.name, sample, Estimate(value.value[0], value.error[0]), seeds))
    return metrics


def vertex_rates(
    vertices: Vertices, weights: Floats, pt: NDArray[np.floating], edges: Sequence[float]
) -> dict[str, Estimate]:
    """Efficiency, purity and fake rate of vertices in bins of jet pT.

    Efficiency: found truth vertices over all. Fake rate: reconstructed vertices that find no truth vertex, over all.
    Purity: mean over those that do of the fraction of their tracks that come from the vertex found.
    """
    truth_pt, reco_pt = pt[vertices.truth_jet], pt[vertices.reco_jet]
    truth_weight, reco_weight = weights[vertices.truth_jet], weights[vertices.reco_jet]
    rates: dict[str, list[Estimate]] = {"vertex_efficiency": [], "vertex_purity": [], "vertex_fake_rate": []}
    for low, high in pairwise(edges):
        true, made = (truth_pt >= low) & (truth_pt < high), (reco_pt >= low) & (reco_pt < high)
        good = made & vertices.matched
        rates["vertex_efficiency"].append(weighted_mean(vertices.found[true], truth_weight[true]))
        rates["vertex_purity"].append(weighted_mean(vertices.purity[good], reco_weight[good]))
        rates["vertex_fake_rate"].append(weighted_mean(~vertices.matched[made], reco_weight[made]))
    return {
        name: Estimate(*(np.array([estimate[part] for estimate in estimates]) for part in (0, 1)))
        for name, estimates in rates.items()
    }
