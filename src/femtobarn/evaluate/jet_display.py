"""One jet as a picture: its tracks, true and found vertices, what each track is taken for and counts for."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from femtobarn.evaluate.flavour_scores import ORIGINS, FlavourScores, Jets
from femtobarn.evaluate.style import Caption, canvas, figure_style, headline

__all__ = ["NEEDED", "jet_display", "telling_jet"]

NEEDED = ("d0", "phi", "pt", "d0Uncertainty", "ftagTruthOriginLabel", "ftagTruthVertexIndex")
"""Fields of tracks that a display needs; `phi` of the jet too."""
COLOURS = {
    "Pileup": "#c7c7c7",
    "Fake": "#bd1f01",
    "Primary": "#7f7f7f",
    "FromB": "#0072b2",
    "FromBC": "#56b4e9",
    "FromC": "#d55e00",
    "FromTau": "#aa4499",
    "OtherSecondary": "#009e73",
}
HEAVY = [ORIGINS.index(name) for name in ("FromB", "FromBC")]
Floats = NDArray[np.float64]


def telling_jet(jets: Jets, lengths: tuple[float, float] = (2.0, 8.0)) -> int | None:
    """The row of a b-jet worth looking at: above 50 GeV, both decays of its chain seen, in a range of mm.

    Of these the one whose numbers of tracks from b and c are nearest to three each; None where there is none.
    """
    tracks = jets.rows.tracks
    origin, n = tracks.ftagTruthOriginLabel, ak.to_numpy(ak.num(tracks))
    seen = [ak.to_numpy(ak.sum(origin == code, axis=1)) for code in HEAVY]
    use = (
        (jets.flavour == "b")
        & (ak.to_numpy(jets.rows.pt) > 50)
        & (n >= 6)
        & (n <= 14)
        & (seen[0] >= 2)
        & (seen[1] >= 2)
    )
    if "HadronConeExclTruthLabelLxy" in jets.rows.fields:
        length = ak.to_numpy(jets.rows.HadronConeExclTruthLabelLxy)
        use &= (length > lengths[0]) & (length < lengths[1])
    if not use.any():
        return None
    distance = np.abs(seen[0] - 3) + np.abs(seen[1] - 3) + np.where(use, 0, 1000)
    return int(np.argmin(distance))


def jet_display(jets: Jets, tagger: FlavourScores, row: int, caption: Caption) -> Figure:
    """Tracks of one jet in the transverse plane, the jet's axis to the right, and their origins in a table.

    Tracks are coloured by the origin `tagger` finds most probable, dashed where it is wrong. Open stars are
    where the tracks of a true vertex cross, dots where those of a found one do. Bars are the shares of the
    tracks in the jet's vector, if the tagger has them.

    Args:
        jets: with the `NEEDED` fields of tracks.
        tagger: one with origins; its vertices are drawn if it has them.
        row: which jet.
        caption: above the figure.
    """
    tracks = {name: ak.to_numpy(jets.rows.tracks[name][row]) for name in NEEDED}
    phi = tracks["phi"].astype(np.float64) - float(jets.rows.phi[row])
    d0, sigma = tracks["d0"].astype(np.float64), tracks["d0Uncertainty"].astype(np.float64)
    truth, truth_vertex = tracks["ftagTruthOriginLabel"].astype(int), tracks["ftagTruthVertexIndex"]
    assert tagger.origins is not None
    classes = tagger.origin_classes
    probability = np.stack([ak.to_numpy(tagger.origins[name][row]) for name in classes], axis=1)
    guess = [classes[k] for k in np.nan_to_num(probability).argmax(axis=1)]
    rest = "OtherSecondary" if "FromTau" not in classes else "FromTau"
    names = [ORIGINS[code] if ORIGINS[code] in classes else rest for code in truth]
    order = np.lexsort((-tracks["pt"], truth))
    true_points = _crossings(d0, phi, sigma, truth_vertex, np.isin(truth, HEAVY))
    found_points = np.zeros((0, 2))
    if tagger.vertex is not None:
        heavy = np.isin(guess, ["FromB", "FromBC", "FromC"])
        found_points = _crossings(d0, phi, sigma, ak.to_numpy(tagger.vertex[row]), heavy)
    points = np.concatenate([true_points, found_points, [[3.0, 0.5]]])
    reach, side = 1.35 * np.clip(points[:, 0].max(), 3, 40), 1.8 * np.abs(points[:, 1]).max()
    with figure_style():
        figure, (axes,) = canvas((max(3.4, 0.3 * len(d0) + 0.6),), width=11.5, bottom=1.1)
        box = axes.get_position()
        axes.set_position((box.x0, box.y0, 0.42, box.height))
        for k in range(len(d0)):
            path = np.array([-reach, 2 * reach])
            x = -d0[k] * np.sin(phi[k]) + path * np.cos(phi[k])
            y = d0[k] * np.cos(phi[k]) + path * np.sin(phi[k])
            dash = "-" if guess[k] == names[k] else "--"
            axes.plot(x, y, color=COLOURS[guess[k]], linestyle=dash, linewidth=1.4)
        marks: list[dict[str, Any]] = [
            {"marker": "+", "markersize": 12, "markeredgewidth": 2, "label": "beam line"},
            {"marker": "*", "markersize": 16, "markerfacecolor": "none", "label": "true vertex"},
            {"marker": "o", "markersize": 6, "label": "found vertex"},
        ]
        for where, mark in zip((np.zeros((1, 2)), true_points, found_points), marks, strict=True):
            axes.plot(*where.T, color="black", linestyle="", zorder=5, **mark)
        axes.set_xlim(-0.15 * reach, reach)
        axes.set_ylim(-side, side)
        axes.set_xlabel("Along the jet axis [mm]")
        axes.set_ylabel("Across [mm]")
        axes.yaxis.set_label_coords(-0.13, 1)
        axes.legend(loc="lower left", fontsize=10)
        headline(axes, caption)
        table = figure.add_axes((0.61, box.y0, 0.3, box.height))
        _origin_table(table, probability[order], classes, [names[k] for k in order], tracks["pt"][order])
        if tagger.attention is not None:
            box = table.get_position()
            bars = figure.add_axes((box.x1 + 0.006, box.y0, 0.07, box.height), sharey=table)
            _attention_bars(bars, ak.to_numpy(tagger.attention[row])[order])
    return figure


def _crossings(
    d0: Floats, phi: Floats, sigma: Floats, vertex: NDArray[np.integer], chosen: NDArray[np.bool_]
) -> Floats:
    """Where the tracks of each vertex of two or more cross, (V, 2), for the vertices with a chosen track."""
    vertices = [vertex == index for index in np.unique(vertex[chosen & (vertex >= 0)])]
    points = [_crossing(d0[own], phi[own], sigma[own]) for own in vertices if own.sum() > 1]
    return np.array(points).reshape(-1, 2)


def _crossing(d0: Floats, phi: Floats, sigma: Floats) -> Floats:
    """The point (2,) nearest to straight tracks, weighted by their uncertainties: d0 + x sin - y cos = 0."""
    normal = np.stack([-np.sin(phi), np.cos(phi)], axis=1) / sigma[:, None]
    return np.asarray(np.linalg.lstsq(normal, d0 / sigma, rcond=None)[0], dtype=np.float64)


def _origin_table(
    axes: Axes, probability: Floats, classes: list[str], truth: list[str], pt: NDArray[np.floating]
) -> None:
    """Probability of each origin for each track, the true one framed."""
    axes.imshow(probability, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, name in enumerate(truth):
        column = classes.index(name)
        axes.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.6)
        )
        for place in range(len(classes)):
            value = probability[row, place]
            if value >= 0.005:
                colour = "white" if value > 0.6 else "black"
                axes.text(place, row, f"{value:.2f}", ha="center", va="center", fontsize=8.5, color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=35, ha="right", fontsize=10)
    for label, name in zip(axes.get_xticklabels(), classes, strict=True):
        label.set_color(COLOURS[name])
        label.set_fontweight("bold")
    axes.set_yticks(range(len(truth)), [f"{p:.1f} GeV" for p in pt], fontsize=9.5)
    axes.tick_params(which="both", length=0)
    axes.set_title("Probability of each origin; the true one is framed", fontsize=11)


def _attention_bars(axes: Axes, share: NDArray[np.floating]) -> None:
    """Share of each track in the jet's vector."""
    axes.barh(range(len(share)), np.nan_to_num(share), height=0.8, color="#555555")
    axes.set_xlim(0, max(0.5, 1.05 * float(np.nanmax(share))))
    axes.set_xticks([0, 0.5], ["0", "0.5"], fontsize=9.5)
    axes.tick_params(axis="y", which="both", left=False, right=False, labelleft=False)
    axes.tick_params(axis="x", which="both", top=False)
    axes.set_title("Attention", fontsize=11)
