"""What fools a b-tagger: the light jets it takes for b-jets, by what their tracks come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.evaluate.flavour_scores import ORIGINS, FlavourScores, Jets
from femtobarn.evaluate.metrics import Survival
from femtobarn.evaluate.numbers import shown_metric
from femtobarn.evaluate.result import At, Metric

__all__ = ["CONTENTS", "FIELDS", "contents", "mistag_metrics", "mistag_rows"]

FIELDS = ["tracks.ftagTruthOriginLabel", "tracks.ftagTruthVertexIndex", "tracks.IP3D_signed_d0_significance"]
DISPLACED = 3.0
"""Lifetime-signed s(d0) above which a track looks like one from a decay."""
CONTENTS = {
    "heavy flavour": "a track from a b- or c-hadron, which the jet's label does not count",
    "secondary vertex": "two or more tracks of one other decay, conversion or interaction, one displaced",
    "secondary track": f"a single such track, displaced: s(d0) > {DISPLACED:g}",
    "fake": f"a fake track with s(d0) > {DISPLACED:g}",
    "pile-up": f"a track from pile-up with s(d0) > {DISPLACED:g}",
    "resolution": f"a primary track with s(d0) > {DISPLACED:g}",
    "nothing": "no such track",
}
"""Each jet is counted once, for the first of these that it holds."""


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
    displaced = significance > DISPLACED
    of = {name: origin == ORIGINS.index(name) for name in ORIGINS}
    heavy = of["FromB"] | of["FromBC"] | of["FromC"]
    other = of["OtherSecondary"] | of["FromTau"]
    # The number of tracks that come from the same place as each one.
    _, place, size = np.unique(
        np.stack([jet, np.where(other, vertex, -1)]), axis=1, return_inverse=True, return_counts=True
    )
    shared = other & (size[place.ravel()] > 1)
    holds = [
        heavy, shared & displaced, other & displaced, of["Fake"] & displaced, of["Pileup"] & displaced,
        of["Primary"] & displaced,
    ]  # fmt: skip
    return np.select(
        [np.bincount(jet[chosen], minlength=len(jets)) > 0 for chosen in holds],
        range(len(holds)), default=len(holds),
    )  # fmt: skip


def mistag_metrics(
    jets: Jets, taggers: Sequence[FlavourScores], sample: str, at: At, f_c: float
) -> list[Metric]:
    """Of each tagger, the share of each content in the light jets it tags, and how often it is tagged.

    `mistag_share` is of the light jets tagged, `mistag_rate` of those with the content.

    Args:
        jets: judged by, with the fields `FIELDS`.
        taggers: whose cut is at the same b-efficiency.
        sample: name of the jets in the metrics.
        at: the metrics', with `b_efficiency`.
        f_c: charm fraction in the discriminant.
    """
    light = jets.flavour == "u"
    held, weights = contents(jets)[light], jets.weights[light]
    found = []
    for tagger in taggers:
        score = tagger.discriminant_b(f_c)
        cut = jets.survival(score, "b").threshold(float(at["b_efficiency"]))
        tagged = score[light] >= cut
        for number, name in enumerate(CONTENTS):
            here = held == number
            for what, chosen, among in (("share", here, tagged), ("rate", tagged, here)):
                if among.any() and weights[among].sum() > 0:
                    part = Survival(chosen[among].astype(np.float64), weights[among]).efficiency(1.0)
                    found.append(tagger.metric(f"mistag_{what}", {**at, "content": name}, sample, part))
    return found


def mistag_rows(metrics: Sequence[Metric], labels: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a table: a row per content; per tagger the share of its mistags, and the rate.

    Args:
        metrics: of one sample, of `mistag_metrics`.
        labels: how to call each method, in the order of the columns.
    """
    found = {(m.name, m.method, m.at.get("content")): m for m in metrics}
    names = [name for name in labels if any(key[1] == name for key in found)]
    columns = ["light jets with"]
    columns += [f"{labels[name]}: {what}" for name in names for what in ("share", "rate")]
    rows = []
    for content in CONTENTS:
        cells = [found.get((f"mistag_{what}", name, content)) for name in names for what in ("share", "rate")]
        rows.append([content, *(shown_metric(m) if m else "–" for m in cells)])
    return columns, rows
