"""What fools a b-tagger: the light jets it takes for b-jets, by what their tracks come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.evaluate.flavour_scores import ORIGINS, FlavourScores, Jets
from femtobarn.evaluate.metrics import Estimate, Survival, rejection
from femtobarn.evaluate.numbers import shown_metric
from femtobarn.evaluate.result import At, Metric

__all__ = ["CONTENTS", "FIELDS", "contents", "mistag_metrics", "mistag_rows"]

FIELDS = ["tracks.ftagTruthOriginLabel", "tracks.ftagTruthVertexIndex", "tracks.IP3D_signed_d0_significance"]
DISPLACED = 3.0
"""Lifetime-signed s(d0) above which a track looks like one from a decay."""
CONTENTS = {
    "heavy flavour": "from a b- or c-hadron, which the jet's label does not count",
    "secondary vertex": "one of two or more from another decay, conversion or interaction",
    "secondary track": "the only one from such a place",
    "fake": "of wrong hits",
    "pile-up": "from another collision",
    "resolution": "from the primary vertex",
    "nothing": "there is none",
}
"""Where a jet's displaced track is from. Each jet is counted once, for the first of these that it holds."""


def contents(jets: Jets) -> NDArray[np.int64]:
    """The first entry of `CONTENTS` that each jet holds, (N,) its place.

    Args:
        jets: with the fields `FIELDS`.
    """
    tracks = jets.rows.tracks
    jet = np.repeat(np.arange(len(jets)), ak.to_numpy(ak.num(tracks)))
    origin, vertex, significance = (
        ak.to_numpy(ak.flatten(tracks[name.partition(".")[2]])) for name in FIELDS
    )
    of = {name: origin == ORIGINS.index(name) for name in ORIGINS}
    other = of["OtherSecondary"] | of["FromTau"]
    # How many tracks come from the same place as each; those without a vertex have it to themselves.
    there = other & (vertex > 0)
    place = np.where(there, jet * (int(vertex.max(initial=0)) + 1) + vertex, -1)
    _, group, size = np.unique(place, return_inverse=True, return_counts=True)
    holds = [
        of["FromB"] | of["FromBC"] | of["FromC"],
        there & (size[group] > 1),
        other,
        of["Fake"],
        of["Pileup"],
        of["Primary"],
    ]
    return np.select(
        [np.bincount(jet[chosen & (significance > DISPLACED)], minlength=len(jets)) > 0 for chosen in holds],
        range(len(holds)),
        default=len(holds),
    )


def mistag_metrics(
    jets: Jets, taggers: Sequence[FlavourScores], sample: str, at: At, f_c: float
) -> list[Metric]:
    """Of each tagger, the share of each content in the light jets it tags, and the rejection of such jets.

    The share's error is the binomial one, no less than that of one jet, and that of the cut, as in
    `metrics.rejection`.

    Args:
        jets: judged by, with the fields `FIELDS`.
        taggers: cut at the same b-efficiency.
        sample: name of the jets in the metrics.
        at: the metrics', with `b_efficiency`.
        f_c: charm fraction in the discriminant.
    """
    light, efficiency = jets.flavour == "u", float(at["b_efficiency"])
    held, weights = contents(jets)[light], jets.weights[light]
    found = []
    for tagger in taggers:
        score = tagger.discriminant_b(f_c)
        signal, score = jets.survival(score, "b"), score[light]
        shift = float(signal.efficiency(signal.threshold(efficiency)).error)
        cuts = signal.threshold([efficiency, min(efficiency + shift, 1), max(efficiency - shift, 0)])
        for number, name in enumerate(CONTENTS):
            here, place = held == number, {**at, "content": name}
            if weights[here].sum() <= 0:
                continue
            kept = rejection(signal, Survival(score[here], weights[here]), efficiency)
            found.append(
                tagger.metric(
                    "content_rejection", place, sample, Estimate(*kept[:2]), float(kept.lower_limit)
                )
            )
            parts = [
                Survival(here[tagged].astype(np.float64), weights[tagged])
                for tagged in (score >= cut for cut in cuts)
                if weights[tagged].sum() > 0
            ]
            if len(parts) == len(cuts):
                share, looser, tighter = (part.efficiency(1.0) for part in parts)
                statistical = max(float(share.error), 1 / parts[0].effective_count)
                error = np.hypot(statistical, (looser.value - tighter.value) / 2)
                found.append(tagger.metric("mistag_share", place, sample, Estimate(share.value, error)))
    return found


def mistag_rows(metrics: Sequence[Metric], labels: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a table: a row per content; per tagger its share of the mistags and its rejection.

    Args:
        metrics: of one sample, of `mistag_metrics`.
        labels: how to call each method, in the order of the columns.
    """
    found = {(m.name, m.method, m.at.get("content")): m for m in metrics}
    names = [name for name in labels if any(key[1] == name for key in found)]
    wanted = {"mistag_share": "share", "content_rejection": "rejection"}
    columns = ["displaced track", *(f"{labels[name]}: {what}" for name in names for what in wanted.values())]
    rows = []
    for content in CONTENTS:
        cells = [found.get((metric, name, content)) for name in names for metric in wanted]
        rows.append([content, *(shown_metric(m) if m else "–" for m in cells)])
    return columns, rows
