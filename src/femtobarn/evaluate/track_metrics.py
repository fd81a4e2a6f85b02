"""What a tagger says of the tracks and vertices of a jet: areas under the origin curves, vertices found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.errors import InputError
from femtobarn.evaluate.flavour_scores import ORIGINS, FlavourScores, Jets
from femtobarn.evaluate.metrics import Estimate, Floats, Survival, one_vs_rest_auc, roc, weighted_mean
from femtobarn.evaluate.result import At, Metric
from femtobarn.evaluate.vertexing import Vertices, exclusive_vertices, inclusive_vertices

__all__ = [
    "b_vertices",
    "heavy_and_primary",
    "origin_curves",
    "origin_labels",
    "origin_metrics",
    "vertex_metrics",
    "vertex_rates",
]


HEAVY_FLAVOUR = ("FromB", "FromBC", "FromC")


def origin_labels(jets: Jets, tagger: FlavourScores) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Of every track: its origin as the tagger's class number, the probabilities (T, C), its weight.

    A class the tagger does not have counts as OtherSecondary (GN1 has no FromTau).

    Raises:
        InputError: when the prediction has other numbers of tracks per jet than the truth.
    """
    tracks = _tracks(jets)
    assert tagger.origins is not None
    counts = ak.to_numpy(ak.num(tracks.ftagTruthOriginLabel))
    if not np.array_equal(counts, ak.to_numpy(ak.num(tagger.origins))):
        raise InputError(
            f"{tagger.name}: predicted and true tracks differ in number per jet: use the jets it was run on"
        )
    classes = tagger.origin_classes
    rest = classes.index("OtherSecondary") if "OtherSecondary" in classes else -1
    fold = np.array([classes.index(origin) if origin in classes else rest for origin in ORIGINS] + [-1])
    code = ak.to_numpy(ak.flatten(tracks.ftagTruthOriginLabel)).astype(np.int64)
    labels = fold[np.where((code >= 0) & (code < len(ORIGINS)), code, len(ORIGINS))]
    flat = ak.flatten(tagger.origins)
    probabilities = np.stack([ak.to_numpy(flat[name]) for name in classes], axis=1)
    # A track the tagger did not look at, beyond its longest jet, has no probabilities and no say.
    unseen = np.isnan(probabilities).any(axis=1)
    labels, probabilities = np.where(unseen, -1, labels), np.where(unseen[:, None], 0.0, probabilities)
    return labels, probabilities, np.repeat(jets.weights, counts)


def _tracks(jets: Jets) -> ak.Array:
    needed = ("ftagTruthOriginLabel", "ftagTruthVertexIndex")
    if "tracks" not in jets.rows.fields or not set(needed) <= set(jets.rows.tracks.fields):
        raise InputError(
            f"to judge tracks the jets need 'tracks' with {' and '.join(needed)}: read these fields too"
        )
    return jets.rows.tracks


def origin_metrics(jets: Jets, tagger: FlavourScores, sample: str) -> list[Metric]:
    """AUC of each track origin against the rest, their mean, and their mean weighted by frequency."""
    labels, probabilities, weights = origin_labels(jets, tagger)
    each, mean, weighted = one_vs_rest_auc(probabilities, labels, weights)
    metrics = [
        tagger.metric("origin_auc_mean", {}, sample, mean),
        tagger.metric("origin_auc_weighted", {}, sample, weighted),
    ]
    for code, name in enumerate(tagger.origin_classes):
        value = Estimate(each.value[code], each.error[code])
        metrics.append(tagger.metric("origin_auc", {"class": name}, sample, value))
    return metrics


def origin_curves(
    labels: NDArray[np.int64], probabilities: Floats, weights: Floats, classes: Sequence[str]
) -> dict[str, tuple[Floats, Floats, float]]:
    """ROC curve of each origin present against the rest: false positive rate, efficiency, area."""
    curves = {}
    for code, name in enumerate(classes):
        mine, rest = labels == code, (labels >= 0) & (labels != code)
        if mine.any() and rest.any():
            signal = Survival(probabilities[mine, code], weights[mine], name)
            false, true, _ = roc(signal, Survival(probabilities[rest, code], weights[rest], f"not {name}"))
            curves[name] = (false, true, float(np.trapezoid(true, false)))
    return curves


def heavy_and_primary(
    tagger: FlavourScores, chosen: NDArray[np.int64], likely: float = 0.5
) -> tuple[ak.Array | None, ak.Array | None]:
    """Of the tracks of chosen jets, ragged: whether heavy flavour is more likely than `likely`, and whether
    Primary is the likeliest origin; None of a tagger that does not classify tracks."""
    if tagger.origins is None:
        return None, None
    origins = tagger.origins[chosen]
    flat = ak.flatten(origins)
    said = {name: ak.to_numpy(flat[name]) for name in tagger.origin_classes}
    from_heavy = sum(said[name] for name in HEAVY_FLAVOUR if name in said)
    best = np.argmax(np.stack(list(said.values()), axis=1), axis=1)
    primary = np.array(tagger.origin_classes)[best] == "Primary"
    return ak.unflatten(from_heavy > likely, ak.num(origins)), ak.unflatten(primary, ak.num(origins))


def b_vertices(
    jets: Jets, tagger: FlavourScores, kind: str, likely: float = 0.5
) -> tuple[Vertices, NDArray[np.int64]]:
    """Vertices of the b-jets, `exclusive`, `inclusive` or `by_origin`, and the row in `jets` of each b-jet.

    A tagger that also classifies tracks is held to it: a reconstructed vertex counts if one of its tracks is
    from heavy flavour, FromB, FromBC or FromC, with a probability above `likely`, and it is not the one with
    the most tracks whose likeliest origin is Primary. Inclusive are all that count as one; by origin, it is
    the tracks themselves above `likely` that make the one vertex, whatever vertices they are in.
    """
    chosen = np.flatnonzero(jets.flavour == "b")
    tracks = _tracks(jets)[chosen]
    assert tagger.vertex is not None
    truth, vertex = (tracks.ftagTruthVertexIndex, tracks.ftagTruthOriginLabel), tagger.vertex[chosen]
    heavy, primary = heavy_and_primary(tagger, chosen, likely)
    if kind == "by_origin" and heavy is not None:
        return inclusive_vertices(*truth, ak.where(heavy, 0, -1)), chosen
    find = exclusive_vertices if kind == "exclusive" else inclusive_vertices
    return find(*truth, vertex, heavy, primary), chosen


def vertex_metrics(jets: Jets, tagger: FlavourScores, sample: str) -> list[Metric]:
    """Efficiency, purity and fake rate of vertices in b-jets, exclusive and inclusive."""
    metrics = []
    pt = ak.to_numpy(jets.rows.pt)
    kinds = [("exclusive", 0.0), ("inclusive", 0.0), ("inclusive", 100.0)]
    if tagger.origins is not None:
        kinds += [("by_origin", 0.0), ("by_origin", 100.0)]
    for kind, low in kinds:
        vertices, rows = b_vertices(jets, tagger, kind)
        at: At = {"kind": kind, **({"pt_min": low} if low else {})}
        for name, value in vertex_rates(vertices, jets.weights[rows], pt[rows], (low, np.inf)).items():
            number = Estimate(value.value[0], value.error[0])
            metrics.append(tagger.metric(name, at, sample, number))
    return metrics


def vertex_rates(
    vertices: Vertices, weights: Floats, pt: NDArray[np.floating], edges: Sequence[float]
) -> dict[str, Estimate]:
    """Efficiency, purity and fake rate of vertices in bins of jet pT.

    Efficiency: found truth vertices over all. Fake rate: reconstructed vertices that find no truth vertex,
    over all.
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
