"""Distributions of what a flavour tagger reads, by flavour."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import awkward as ak
import numpy as np
from matplotlib.figure import Figure

from femtobarn.evaluate.figures import distribution_figure
from femtobarn.evaluate.flavour_scores import Jets
from femtobarn.evaluate.style import Caption

__all__ = ["INPUTS", "input_figures"]


class Variable(NamedTuple):
    """A field, how its axis is labelled, and whether the vertical axis is logarithmic."""

    field: str
    label: str
    logarithmic: bool


JETS = [
    Variable("pt", "Jet $p_T$ [GeV]", True),
    Variable("eta", r"Jet $\eta$", False),
    Variable("n_tracks", "Tracks per jet", False),
]
TRACKS = [
    Variable("IP3D_signed_d0_significance", "Signed $d_0$ significance", True),
    Variable("IP3D_signed_z0_significance", r"Signed $z_0\,\sin\theta$ significance", True),
    Variable("pt", "Track $p_T$ [GeV]", True),
    Variable("dr", r"Track $\Delta R$ to the jet", True),
    Variable("numberOfInnermostPixelLayerHits", "Hits in the innermost layer", True),
    Variable("numberOfPixelHits", "Pixel hits", True),
]
INPUTS = [variable.field for variable in JETS] + [f"tracks.{variable.field}" for variable in TRACKS]
"""The fields shown, where a sample has them."""


def input_figures(jets: Jets, caption: Caption) -> Iterator[Figure]:
    """A small figure per variable the jets have; tracks carry the flavour and weight of their jet."""
    rows = jets.rows
    for field, label, logarithmic in JETS:
        if field in rows.fields:
            yield distribution_figure(
                ak.to_numpy(rows[field]), jets.flavour, caption, label=label, weights=jets.weights,
                logarithmic=logarithmic,
            )  # fmt: skip
    if "tracks" not in rows.fields:
        return
    counts = ak.to_numpy(ak.num(rows.tracks))
    if not counts.any():
        return
    flavour, weights = np.repeat(jets.flavour, counts), np.repeat(jets.weights, counts)
    for field, label, logarithmic in TRACKS:
        if field in rows.tracks.fields:
            yield distribution_figure(
                ak.to_numpy(ak.flatten(rows.tracks[field])), flavour, caption, label=label, weights=weights,
                logarithmic=logarithmic,
            )  # fmt: skip
