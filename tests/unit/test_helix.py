"""The helix against closed-form cases and against numerical integration of the equation of motion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from femtobarn.physics.helix import CURVATURE, azimuth_at_radius, curvature, perigee, propagate

FIELD = 2.0


def one(*values):
    return tuple(np.array([value], dtype=float) for value in values)


def test_straight_track_is_a_line():
    track = perigee(one(3.0, 4.0, 10.0), one(1.0, 0.0, 2.0), np.zeros(1), FIELD)
    # The line y = 4 along +x passes the beam line at (0, 4); from there dx = 3 and dz = 6.
    assert track.d0[0] == pytest.approx(4.0)
    assert track.z0[0] == pytest.approx(10.0 - 6.0)
    assert track.phi[0] == pytest.approx(0.0)
    assert track.theta[0] == pytest.approx(np.arctan2(1, 2))
    assert track.q_over_p[0] == 0.0


def test_half_circle_through_a_known_centre():
    # pT such that R = 100 mm; a positive charge at the top (0, 150) moving along +x circles round (0, 50).
    pt = 100 * CURVATURE * FIELD
    track = perigee(one(0.0, 150.0, 0.0), one(pt, 0.0, pt), np.ones(1), FIELD)
    # The nearest point to the origin is (0, -50), half a turn away: there the charge moves along -x.
    assert abs(track.d0[0]) == pytest.approx(50.0)
    assert np.cos(track.phi[0]) == pytest.approx(-1.0)
    assert abs(track.z0[0]) == pytest.approx(np.pi * 100)


def test_prompt_particles_have_no_impact_parameter():
    track = perigee(one(1.0, 2.0, 3.0), one(3.0, -4.0, 1.0), -np.ones(1), FIELD, (1.0, 2.0, 3.0))
    assert track.d0[0] == pytest.approx(0.0, abs=1e-12)
    assert track.z0[0] == pytest.approx(0.0, abs=1e-12)
    assert track.phi[0] == pytest.approx(np.arctan2(-4, 3))
    assert track.q_over_p[0] == pytest.approx(-1 / np.sqrt(26))


@pytest.mark.parametrize("charge", [-1.0, 1.0])
def test_sign_of_d0_follows_the_convention(charge):
    # The perigee is at d0 (-sin phi, cos phi): stiff, along +x at y > 0, so d0 > 0 for any charge.
    track = perigee(one(0.0, 0.3, 0.0), one(1e4, 0.0, 0.0), np.array([charge]), FIELD)
    assert track.d0[0] == pytest.approx(0.3, rel=1e-4)


def integrate(position, momentum, charge, path):
    """x, y, z and px, py after a path length: dp/ds = q k B (p x z) / |p|, integrated numerically."""
    p = np.linalg.norm(momentum)

    def motion(_, state):
        px, py, pz = state[3:]
        force = charge * CURVATURE * FIELD / p
        return np.array([px, py, pz, 0, 0, 0]) / p + np.array([0, 0, 0, force * py, -force * px, 0])

    return solve_ivp(motion, (0, path), [*position, *momentum], rtol=1e-11, atol=1e-11, method="DOP853").y[
        :, -1
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-60, 60), st.floats(-60, 60), st.floats(-100, 100), st.floats(0.4, 50), st.floats(-3.14, 3.14),
    st.floats(-2.5, 2.5), st.sampled_from([-1.0, 1.0, 2.0]),
)  # fmt: skip
def test_perigee_agrees_with_numerical_propagation(x, y, z, pt, phi, eta, charge):
    momentum = (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta))
    track = perigee(one(x, y, z), one(*momentum), np.array([charge]), FIELD)
    kappa = curvature(np.array([charge]), np.array([pt]), FIELD)[0]
    turn = (track.phi[0] - phi + np.pi) % (2 * np.pi) - np.pi
    # Going back from the production point by the turned angle must end at the perigee of the formulas.
    path = turn / kappa * np.cosh(eta)
    end = integrate((x, y, z), momentum, charge, -path)
    scale = 1e-6 * (1 + np.hypot(x, y) + abs(z))
    assert end[0] == pytest.approx(-track.d0[0] * np.sin(track.phi[0]), abs=scale)
    assert end[1] == pytest.approx(track.d0[0] * np.cos(track.phi[0]), abs=scale)
    assert end[2] == pytest.approx(track.z0[0], abs=scale)
    # Momentum and position are at right angles there: the definition of a closest approach.
    assert end[0] * end[3] + end[1] * end[4] == pytest.approx(0.0, abs=1e-5 * (1 + np.hypot(x, y)) * pt)


@settings(max_examples=40, deadline=None)
@given(st.floats(-3, 3), st.floats(-50, 50), st.floats(-3, 3), st.floats(0.5, 100), st.floats(-2, 2))
def test_propagation_undoes_the_perigee(d0, z0, phi, pt, eta):
    start = perigee(
        one(-d0 * np.sin(phi), d0 * np.cos(phi), z0),
        one(pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)),
        np.ones(1),
        FIELD,
    )
    assert start.d0[0] == pytest.approx(d0, abs=1e-9)
    path = np.array([200.0])
    x, y, z, direction = propagate(start, path, FIELD)
    momentum = one(*(pt * np.array([np.cos(direction[0]), np.sin(direction[0]), np.sinh(eta)])))
    again = perigee((x, y, z), momentum, np.ones(1), FIELD)
    for name in ("d0", "z0", "phi", "theta", "q_over_p"):
        assert getattr(again, name)[0] == pytest.approx(getattr(start, name)[0], abs=1e-7)


def test_crossing_of_a_layer_lies_on_it():
    rng = np.random.default_rng(1)
    pt, phi, eta = rng.uniform(0.5, 50, 200), rng.uniform(-np.pi, np.pi, 200), rng.uniform(-2, 2, 200)
    d0, charge = rng.uniform(-3, 3, 200), rng.choice([-1.0, 1.0], 200)
    position = (-d0 * np.sin(phi), d0 * np.cos(phi), np.zeros(200))
    track = perigee(position, (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)), charge, FIELD)
    azimuth, z = azimuth_at_radius(track, 371.0, FIELD)
    for k in range(200):
        p = np.array([pt[k] * np.cos(phi[k]), pt[k] * np.sin(phi[k]), pt[k] * np.sinh(eta[k])])
        path = (z[k] / np.sinh(eta[k])) * np.cosh(eta[k])
        end = integrate([c[k] for c in position], p, charge[k], path)
        assert np.hypot(end[0], end[1]) == pytest.approx(371.0, abs=1e-4)
        assert np.cos(np.arctan2(end[1], end[0]) - azimuth[k]) == pytest.approx(1.0, abs=1e-9)
