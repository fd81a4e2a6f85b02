"""Clustering, association and signs against brute force."""

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from femtobarn.physics.clustering import anti_kt
from femtobarn.physics.groups import cross_pairs, offsets_of, pairs, ramp
from femtobarn.physics.kinematics import cartesian, delta_r, eta_of_theta, pt_eta_phi, theta_of_eta, wrap
from femtobarn.physics.tracks import associate, cone, lifetime_sign_d0, lifetime_sign_z0

counts = st.lists(st.integers(0, 5), min_size=1, max_size=6)


@given(counts, counts)
def test_pairs_are_those_of_a_double_loop(a, b):
    b = (b * 6)[: len(a)]
    first, second = offsets_of(np.array(a)), offsets_of(np.array(b))
    within = [
        (i, j) for e in range(len(a)) for j in range(first[e], first[e + 1]) for i in range(first[e], j)
    ]
    across = [
        (i, j)
        for e in range(len(a))
        for i in range(first[e], first[e + 1])
        for j in range(second[e], second[e + 1])
    ]
    assert list(zip(*(k.tolist() for k in pairs(np.array(a))), strict=True)) == within
    assert list(zip(*(k.tolist() for k in cross_pairs(np.array(a), np.array(b))), strict=True)) == across
    assert ramp(np.array(a)).tolist() == [k for count in a for k in range(count)]


@given(st.floats(-20, 20), st.floats(-20, 20))
def test_azimuth_goes_round(a, b):
    difference = wrap(np.array([a - b]))[0]
    assert -np.pi <= difference < np.pi
    assert np.cos(difference) == pytest.approx(np.cos(a - b), abs=1e-9)


@given(st.floats(0.01, 1e4), st.floats(-5, 5), st.floats(-3.1, 3.1))
def test_momenta_and_angles_are_inverse(pt, eta, phi):
    back = pt_eta_phi(*(np.array([c]) for c in cartesian(np.float64(pt), np.float64(eta), np.float64(phi))))
    assert [c[0] for c in back] == pytest.approx([pt, eta, phi], rel=1e-6, abs=1e-6)
    assert eta_of_theta(theta_of_eta(np.array([eta])))[0] == pytest.approx(eta, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31))
def test_association_is_with_the_nearest_jet_whose_cone_holds_the_track(seed):
    rng = np.random.default_rng(seed)
    tracks, jets = rng.integers(0, 8, 4), rng.integers(0, 4, 4)
    t_eta, t_phi = rng.uniform(-1, 1, tracks.sum()), rng.uniform(-np.pi, np.pi, tracks.sum())
    j_eta, j_phi = rng.uniform(-1, 1, jets.sum()), rng.uniform(-np.pi, np.pi, jets.sum())
    radius = rng.uniform(0.2, 2.0, jets.sum())
    found = associate(tracks, t_eta, t_phi, jets, j_eta, j_phi, radius)
    t_event, j_event = np.repeat(np.arange(4), tracks), np.repeat(np.arange(4), jets)
    for k in range(len(t_eta)):
        distance = delta_r(t_eta[k], t_phi[k], j_eta, j_phi)
        allowed = np.flatnonzero((j_event == t_event[k]) & (distance < radius))
        assert found[k] == (allowed[np.argmin(distance[allowed])] if len(allowed) else -1)


def test_cone_shrinks_from_half_a_radian_to_a_quarter():
    radius = cone(np.array([20.0, 200.0, 5000.0]))
    assert radius == pytest.approx([0.4517, 0.2501, 0.239], abs=1e-3)


def test_lifetime_signs_of_decays_in_front_and_behind():
    # A decay 2 mm along the jet (+x); its daughter flies at 0.1 rad: d0 is the foot of the normal.
    phi = np.array([0.1, -0.1])
    x = 2.0
    d0 = -x * np.sin(phi)
    assert np.all(lifetime_sign_d0(d0, phi, np.zeros(2)) == pytest.approx(x * np.sin(0.1)))
    assert np.all(lifetime_sign_d0(-d0, phi, np.zeros(2)) < 0)
    # In the plane of the beam: the track of larger eta than the jet, born ahead, points back to negative z.
    eta = np.array([1.1, 0.9])
    z0 = 2.0 * (np.sinh(1.0) - np.sinh(eta))
    assert np.all(lifetime_sign_z0(z0, eta, np.ones(2)) > 0)
    assert np.all(lifetime_sign_z0(-z0, eta, np.ones(2)) < 0)


def test_anti_kt_of_a_few_particles():
    pt, eta, phi = (
        np.array([50.0, 10.0, 30.0, 5.0]),
        np.array([0.0, 0.1, 1.5, -1.0]),
        np.array([0.0, 0.2, 3.0, 1.0]),
    )
    momentum = cartesian(pt, eta, phi)
    jets = anti_kt(np.array([0, 3, 1]), (*momentum, pt * np.cosh(eta)), 0.4, 8.0)
    assert jets.event.tolist() == [1, 1], (
        "an event without particles, one with two jets, one whose jet is too soft"
    )
    assert [sorted(c) for c in ak.to_list(jets.constituents)] == [[0, 1], [2]]
    assert jets.px.tolist() == pytest.approx([momentum[0][:2].sum(), momentum[0][2]])
    assert jets.energy.tolist() == pytest.approx([50 + 10 * np.cosh(0.1), 30 * np.cosh(1.5)])


def test_anti_kt_of_nothing():
    jets = anti_kt(np.array([0, 0]), (np.zeros(0),) * 4, 0.4, 8.0)
    assert len(jets.event) == len(jets.px) == 0
