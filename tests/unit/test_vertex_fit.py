"""The vertex fit against truth: helices from known points, smeared with the covariance it is given."""

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from decays import FIELD, measured
from femtobarn.physics.helix import perigee, propagate
from femtobarn.physics.kinematics import cartesian
from femtobarn.physics.vertexing import compatible_tracks, fit_vertices, residuals


def decays(rng, flight, tracks, pt, eta=(-1.5, 1.5), opening=0.25):
    """True perigees of `tracks[v]` tracks from points a distance `flight[v]` away; and those points."""
    count = len(flight)
    axis_eta, axis_phi = rng.uniform(*eta, count), rng.uniform(-np.pi, np.pi, count)
    point = np.stack(cartesian(flight / np.cosh(axis_eta), axis_eta, axis_phi), axis=1)
    vertex = np.repeat(np.arange(count), tracks)
    n = len(vertex)
    momentum = cartesian(
        rng.uniform(*pt, n),
        axis_eta[vertex] + rng.normal(0, opening, n),
        axis_phi[vertex] + rng.normal(0, opening, n),
    )
    charge = rng.choice([-1.0, 1.0], n)
    return point, vertex, perigee(tuple(point[vertex].T), momentum, charge, FIELD)


def test_impact_parameters_are_those_of_the_perigee():
    rng = np.random.default_rng(1)
    _, _, true = decays(rng, rng.uniform(0, 100, 500), np.ones(500, int), (0.7, 20))
    tracks = measured(rng, true, scale=0.0)
    points = rng.uniform(-40, 40, (500, 3))
    start = propagate(true, np.zeros(500), FIELD)
    pt, eta = np.sin(true.theta) / np.abs(true.q_over_p), np.arcsinh(1 / np.tan(true.theta))
    momentum = cartesian(pt, eta, true.phi)
    expected = perigee(start[:3], momentum, np.sign(true.q_over_p), FIELD, tuple(points.T))
    r = residuals(tracks, points)
    np.testing.assert_allclose(r.d, expected.d0, atol=1e-9)
    np.testing.assert_allclose(r.l, expected.z0 * np.sin(true.theta), atol=1e-4)
    np.testing.assert_allclose(r.sin_phi, np.sin(expected.phi), atol=1e-12)
    np.testing.assert_allclose(r.cos_phi, np.cos(expected.phi), atol=1e-12)


def test_variances_are_those_of_smeared_tracks():
    rng = np.random.default_rng(2)
    point, vertex, true = decays(rng, np.full(1, 20.0), np.array([20000]), (2, 2.01), (0.8, 0.81), 1e-3)
    tracks = measured(rng, true)
    r = residuals(tracks, point[vertex])
    assert r.d.var() / r.var_d.mean() == pytest.approx(1, abs=0.03)
    assert r.l.var() / r.var_l.mean() == pytest.approx(1, abs=0.03)
    # The correlations matter here: without them the variances would be others by far more than that.
    none = np.zeros(20000)
    plain = residuals(tracks._replace(cov_d0_phi=none, cov_l0_theta=none), point[vertex])
    assert abs(plain.var_d.mean() / r.var_d.mean() - 1) > 0.2


@pytest.mark.parametrize("low, high", [(0.2, 2.0), (2.0, 20.0)])
def test_pulls_and_probability(low, high):
    rng = np.random.default_rng(3)
    count = 10000
    flight, tracks = rng.uniform(low, high, count), rng.integers(2, 7, count)
    point, vertex, true = decays(rng, flight, tracks, (1, 20))
    fit = fit_vertices(measured(rng, true), vertex, count)
    sigma = np.sqrt(np.diagonal(fit.covariance, axis1=1, axis2=2))
    pull = (fit.position - point) / sigma
    usable = sigma.max(axis=1) < 5  # two tracks that are all but parallel say little, and not linearly
    assert usable.mean() > 0.95
    for axis in range(3):
        assert pull[usable, axis].std() == pytest.approx(1, abs=0.05)
        assert abs(pull[usable, axis].mean()) < 0.05
    assert (fit.ndof == 2 * tracks - 3).all()
    probability = chi2.sf(fit.chi2, fit.ndof)
    assert kstest(probability[usable], "uniform").statistic < 0.02
    np.testing.assert_allclose(np.bincount(vertex, fit.track_chi2), fit.chi2)


def test_full_covariance_is_right():
    """The distance in the metric of the covariance is a chi2 with three degrees of freedom."""
    rng = np.random.default_rng(4)
    point, vertex, true = decays(rng, rng.uniform(1, 10, 10000), np.full(10000, 4), (1, 20))
    fit = fit_vertices(measured(rng, true), vertex, 10000)
    off = fit.position - point
    distance = np.einsum("vi,vij,vj->v", off, np.linalg.inv(fit.covariance), off)
    assert kstest(distance, "chi2", args=(3,)).statistic < 0.02


def test_exact_tracks_meet_exactly():
    rng = np.random.default_rng(5)
    point, vertex, true = decays(rng, rng.uniform(0, 60, 1000), np.full(1000, 3), (0.7, 5))
    fit = fit_vertices(measured(rng, true, scale=0.0), vertex, 1000)
    np.testing.assert_allclose(fit.position, point, atol=2e-3)
    assert fit.chi2.max() < 1e-3


def test_a_constraint_counts():
    rng = np.random.default_rng(6)
    count, beam = 10000, np.array([0.01, 0.01, 0.03])
    point, vertex, true = decays(rng, np.zeros(count), np.full(count, 2), (1, 20))
    centre = point + rng.standard_normal((count, 3)) * beam
    fit = fit_vertices(measured(rng, true), vertex, count, (centre, beam))
    pull = (fit.position - point) / np.sqrt(np.diagonal(fit.covariance, axis1=1, axis2=2))
    np.testing.assert_allclose(pull.std(axis=0), 1, atol=0.03)
    assert (fit.ndof == 4).all() and kstest(fit.chi2, "chi2", args=(4,)).statistic < 0.02


def test_empty_and_single_vertices_are_finite():
    rng = np.random.default_rng(7)
    _, _, true = decays(rng, np.ones(1), np.ones(1, int), (1, 20))
    fit = fit_vertices(measured(rng, true), np.array([1]), 3)
    assert all(np.isfinite(part).all() for part in fit) and fit.ndof.tolist() == [0, 0, 0]
    none = fit_vertices(measured(rng, true).take(np.zeros(0, int)), np.zeros(0, int), 0)
    assert none.position.shape == (0, 3) and none.covariance.shape == (0, 3, 3)


def test_the_stranger_is_removed():
    rng = np.random.default_rng(8)
    count = 2000
    flight = rng.uniform(2, 10, count)
    _, vertex, true = decays(rng, flight, np.full(count, 5), (2, 20))
    tracks = measured(rng, true)
    stranger = np.arange(len(vertex)) % 5 == 0
    tracks = tracks._replace(d0=tracks.d0 + np.where(stranger, 1.5, 0.0))
    kept = compatible_tracks(tracks, vertex, count, 12.0)
    # A precise stranger sometimes wins over the rest: the greedy way is not the best, but it is local.
    assert kept[stranger].mean() < 0.10
    assert kept[~stranger].mean() > 0.85
    assert kept.sum() == np.count_nonzero(np.bincount(vertex[kept], minlength=count)[vertex] * kept >= 2)
    # Each vertex by itself: the company of others changes nothing.
    alone = compatible_tracks(tracks.take(vertex == 7), np.zeros(5, int), 1, 12.0)
    assert (alone == kept[vertex == 7]).all()
