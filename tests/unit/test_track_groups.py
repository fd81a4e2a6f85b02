"""Vertices fitted to groups of tracks: against the true decays, in the frame of the jet."""

import awkward as ak
import numpy as np
import pytest

from decays import CORRELATION, JET_ETA, jets_of
from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.vertex_positions import DECAY, lxy_residuals, position_metrics, resolution_in_bins
from femtobarn.physics.kinematics import cartesian
from femtobarn.physics.track_groups import fit_groups

JETS, TRACKS = 2000, 5


def made(distance: float) -> ak.Array:
    """Jets of three tracks of a decay so many mm from the beam along the axis, one prompt and one alone."""
    rng = np.random.default_rng(3)
    total = JETS * TRACKS
    index = np.tile([0, 1, 1, 1, 2], JETS)
    point = np.outer(index == 1, cartesian(np.array(distance), np.array(JET_ETA), np.array(0.0)))
    spread = rng.normal(0, 0.15, (2, total))
    momentum = np.stack(cartesian(rng.uniform(2, 20, total), JET_ETA + spread[0], spread[1]), axis=1)
    label = np.append(np.zeros(JETS - 2), [1, 2])
    jets = jets_of(rng, np.full(JETS, TRACKS), momentum, point, rng.choice([-1.0, 1.0], total), label)
    tracks = {
        "group": index,
        "ftagTruthOriginLabel": np.where(index == 1, 3, 2),
        "ftagTruthVertexIndex": index,
    }
    for name, values in tracks.items():
        jets = ak.with_field(jets, ak.unflatten(values, TRACKS), ("tracks", name))
    jets["pt"], jets[DECAY] = np.full(JETS, 50.0), np.full(JETS, distance)
    jets["mcEventWeight"] = np.where(np.arange(JETS) % 10 == 0, -1.0, 1.0)
    return jets


@pytest.fixture(scope="module")
def jets() -> ak.Array:
    return made(6.0)


def fitted(jets: ak.Array) -> ak.Array:
    return fit_groups(jets, jets.tracks.group, correlation=CORRELATION, primary=(1e-6, 1e-6, 1e-6))


def test_groups_of_two_or_more_lie_where_they_come_from(jets: ak.Array) -> None:
    found = fitted(jets)
    assert ak.all(ak.num(found) == 1) and ak.all(found.index == 1) and ak.all(found.n_tracks == 3)
    vertex = found[:, 0]
    sigma = vertex.L3d / vertex.significance3d
    pull = (vertex.L3d - 6.0 * np.cosh(JET_ETA)) / sigma
    assert abs(np.mean(pull)) < 5 / np.sqrt(JETS) and abs(np.std(pull) - 1) < 0.1
    assert abs(float(np.median(vertex.y))) < 0.02 and abs(float(np.median(vertex.x)) - 6) < 0.05
    assert ak.all(vertex.ndof == 3) and abs(float(np.mean(vertex.chi2)) - 3) < 0.3
    assert ak.all(vertex.mass > 3 * 0.1395)


def test_behind_the_jet_lengths_are_negative() -> None:
    vertex = fitted(made(-6.0))[:, 0]
    assert np.median(ak.to_numpy(vertex.Lxy)) == pytest.approx(-6, abs=0.05)
    assert ak.all((vertex.L3d < 0) == (vertex.significance3d < 0))


def test_jets_without_groups_have_no_vertex(jets: ak.Array) -> None:
    assert ak.all(ak.num(fit_groups(jets, ak.full_like(jets.tracks.group, -2))) == 0)
    none = jets[:0]
    assert len(fit_groups(none, none.tracks.group)) == 0


def test_what_is_missing_is_named(jets: ak.Array) -> None:
    with pytest.raises(ValueError, match=r"need 'tracks\.d0Uncertainty'"):
        fit_groups(ak.without_field(jets, ("tracks", "d0Uncertainty")), jets.tracks.group)
    with pytest.raises(ValueError, match="other numbers of tracks"):
        fit_groups(jets, jets.tracks.group[:, 1:])


def test_the_tagger_is_judged_by_where_its_vertices_are(jets: ak.Array) -> None:
    n = len(jets)
    tagger = FlavourScores("toy", *np.full((3, n), 1 / 3), vertex=ak.where(jets.tracks.group == 1, 0, -2))
    truth = Jets(jets, "flavour_label", classes=["bjets", "cjets", "ujets"])
    residual, pt, weights = lxy_residuals(truth, tagger)
    assert len(residual) == len(pt) == len(weights) == int((truth.flavour == "b").sum())
    metrics = {(m.name, m.at.get("pt_min")): m for m in position_metrics(truth, tagger, "toys")}
    bias, width = metrics["vertex_lxy_bias", None], metrics["vertex_lxy_resolution", None]
    assert abs(bias.value) < 4 * bias.error < 0.1
    spread = np.diff(np.quantile(residual, [0.1585, 0.8415]))[0] / 2
    assert abs(width.value - spread) < 3 * width.error < 0.2 * spread


def test_errors_of_the_median_and_width_are_those_of_many_samples() -> None:
    rng = np.random.default_rng(5)
    edges, many = [0.0, 1.0], []
    for _ in range(300):
        weights = rng.uniform(0.5, 1.5, 400)
        many.append(resolution_in_bins(rng.normal(0, 1, 400), np.full(400, 0.5), weights, edges))
    for part in (0, 1):
        values = np.array([estimates[part].value[0] for estimates in many])
        errors = np.array([estimates[part].error[0] for estimates in many])
        assert values.mean() == pytest.approx(part, abs=0.02)
        assert errors.mean() == pytest.approx(values.std(), rel=0.15)
