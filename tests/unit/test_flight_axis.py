"""The decay-chain fit against truth: vertices of one or more tracks on an axis through a smeared vertex."""

import numpy as np
import pytest
from scipy.stats import kstest

from decays import FIELD, measured
from femtobarn.physics.flight_axis import fit_axis
from femtobarn.physics.helix import perigee
from femtobarn.physics.kinematics import cartesian

PRIMARY, TILT = np.array([0.010, 0.010, 0.030]), 0.05


def chains(rng, distance, tracks):
    """Jets (J,) with vertices at `distance` (J, N) mm of `tracks` (N,) each, along axes that tilt against
    those known: these and the true ones, the jet of each vertex, the vertex of each track, the tracks."""
    jets, number = distance.shape
    eta = rng.uniform(-1.5, 1.5, jets)
    axis = np.stack([1 / np.cosh(eta), np.zeros(jets), np.tanh(eta)], axis=1)
    across = np.tile([0.0, 1.0, 0.0], (jets, 1))
    tilts = rng.standard_normal((jets, 2)) * TILT
    flight = axis + tilts[:, :1] * across + tilts[:, 1:] * np.cross(axis, across)
    flight /= np.linalg.norm(flight, axis=1, keepdims=True)
    jet = np.repeat(np.arange(jets), number)
    point = (rng.standard_normal((jets, 3)) * PRIMARY)[jet] + distance.reshape(-1, 1) * flight[jet]
    vertex = np.repeat(np.arange(number * jets), np.tile(tracks, jets))
    n = len(vertex)
    momentum = cartesian(
        rng.uniform(2, 10, n), eta[jet[vertex]] + rng.normal(0, 0.3, n), rng.normal(0, 0.3, n)
    )
    true = perigee(tuple(point[vertex].T), momentum, rng.choice([-1.0, 1.0], n), FIELD)
    return axis, flight, jet, vertex, measured(rng, true)


def fitted(axis, jet, vertex, tracks):
    """The fit from vertices at the origin."""
    nowhere = np.zeros(len(jet))
    return fit_axis(tracks, vertex, jet, axis, PRIMARY, TILT, nowhere > 0, nowhere, 6)


def test_pulls_of_distances():
    rng = np.random.default_rng(1)
    distance = np.stack([rng.uniform(1, 5, 3000), rng.uniform(5, 15, 3000)], axis=1)
    axis, flight, jet, vertex, tracks = chains(rng, distance, (2, 1))
    fit = fitted(axis, jet, vertex, tracks)
    sigma = np.sqrt(fit.variance(jet, np.arange(len(jet))))
    usable = sigma < 3
    assert usable.mean() > 0.95
    pull = (fit.distance - distance.ravel())[usable] / sigma[usable]
    # Tracks that cross the axis at a small angle have tails no linear fit knows of: the core is judged.
    assert np.diff(np.quantile(pull, [0.16, 0.84]))[0] / 2 == pytest.approx(1, abs=0.1)
    assert abs(np.median(pull)) < 0.1
    # Three tracks give six residuals, and the axis comes nearer to the truth.
    assert np.median(np.linalg.norm(fit.direction - flight, axis=1)) < 0.35 * TILT
    assert np.median(np.linalg.norm(axis - flight, axis=1)) > TILT


def test_vertices_at_one_place_are_compatible():
    """The squared distance of two tracks of one vertex over its variance has one degree of freedom."""
    rng = np.random.default_rng(2)
    axis, _, jet, vertex, tracks = chains(rng, np.repeat(rng.uniform(1, 5, (3000, 1)), 2, axis=1), (1, 1))
    fit = fitted(axis, jet, vertex, tracks)
    first = np.arange(0, len(jet), 2)
    off = fit.distance[first] - fit.distance[first + 1]
    chi2 = off**2 / fit.variance(jet[first], first, first + 1)
    assert kstest(chi2, "chi2", args=(1,)).statistic < 0.04


def test_primary_vertices_stay():
    rng = np.random.default_rng(3)
    axis, _, jet, vertex, tracks = chains(rng, rng.uniform(1, 5, (50, 2)), (2, 1))
    at_primary = np.arange(len(jet)) % 2 == 0
    fit = fit_axis(tracks, vertex, jet, axis, PRIMARY, TILT, at_primary, np.ones(len(jet)))
    assert (fit.distance[at_primary] == 0).all()
    assert (fit.variance(jet, np.arange(len(jet)))[at_primary] == 0).all()
    assert all(np.isfinite(part).all() for part in fit)


def test_without_tracks():
    axis, nothing = np.array([[1.0, 0.0, 0.0]]), np.zeros(0, dtype=np.int64)
    rng = np.random.default_rng(4)
    _, _, _, _, tracks = chains(rng, np.ones((1, 1)), (1,))
    fit = fitted(axis, np.zeros(1, dtype=np.int64), nothing, tracks.take(nothing))
    assert fit.distance.tolist() == [0.0] and np.isfinite(fit.shared).all()
