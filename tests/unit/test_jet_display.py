"""The picture of one jet: the jet is well chosen, lines cross where they must, nothing warns."""

from dataclasses import replace

import awkward as ak
import numpy as np

from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.jet_display import _crossing, jet_display, telling_jet
from femtobarn.evaluate.style import Caption, to_svg

CLASSES = ["Pileup", "Fake", "Primary", "FromB", "FromBC", "FromC", "OtherSecondary"]


def track(origin: int, vertex: int, point: tuple[float, float], phi: float) -> dict[str, float]:
    d0 = point[1] * np.cos(phi) - point[0] * np.sin(phi)
    return {
        "d0": d0, "phi": phi, "pt": 3.0, "d0Uncertainty": 0.02, "ftagTruthOriginLabel": origin,
        "ftagTruthVertexIndex": vertex,
    }  # fmt: skip


def rows() -> ak.Array:
    b, c = (4.0, 0.1), (6.0, 0.3)
    chain = [track(3, 1, b, 0.1), track(3, 1, b, -0.2), track(4, 2, c, 0.2), track(4, 2, c, -0.1)]
    primary = [track(2, 0, (0, 0), 0.3), track(2, 0, (0, 0), -0.3)]
    kinds = [(0, primary), (5, primary * 4), (5, chain + primary), (4, primary * 3)]
    return ak.Array(
        [
            {"pt": 80.0, "phi": 0.0, "HadronConeExclTruthLabelID": code, "mcEventWeight": 1.0,
             "HadronConeExclTruthLabelLxy": 4.0, "tracks": tracks}
            for code, tracks in kinds
        ]
    )  # fmt: skip


def test_lines_cross_where_they_were_made_to() -> None:
    phi, point = np.array([0.1, -0.4, 0.9]), np.array([5.0, -0.7])
    d0 = point[1] * np.cos(phi) - point[0] * np.sin(phi)
    np.testing.assert_allclose(_crossing(d0, phi, np.array([0.01, 0.05, 0.02])), point)


def test_the_jet_with_a_decay_chain_is_drawn() -> None:
    jets = Jets(rows())
    row = telling_jet(jets)
    assert row == 2
    assert telling_jet(jets.take(np.array([True, True, False, True]))) is None
    truth = ak.flatten(jets.rows.tracks.ftagTruthOriginLabel)
    likely = {name: ak.values_astype(truth == k, np.float32) for k, name in enumerate(CLASSES)}
    origins = ak.unflatten(ak.zip(likely), ak.num(jets.rows.tracks))
    flat = np.full(4, 1 / 3)
    tagger = FlavourScores(
        "gn1", flat, flat, flat, origins=origins, vertex=jets.rows.tracks.ftagTruthVertexIndex
    )
    assert len(jet_display(jets, tagger, row, Caption(sample="toy")).axes) == 2
    share = ak.unflatten(np.linspace(0, 0.3, len(truth)), ak.num(jets.rows.tracks))
    figure = jet_display(jets, replace(tagger, attention=share), row, Caption(sample="toy"))
    assert "<svg" in to_svg(figure, "jet")
    bars = sorted(bar.get_width() for bar in figure.axes[2].patches)
    np.testing.assert_allclose(bars, np.sort(ak.to_numpy(share[row])))
    drawn = figure.axes[0].lines
    stars = next(line for line in drawn if line.get_marker() == "*")
    np.testing.assert_allclose(sorted(stars.get_xdata()), [4.0, 6.0], atol=1e-6)
    assert all(line.get_linestyle() in ("-", "None") for line in drawn)  # nothing is taken for another origin
