"""Event shapes of events whose shape is known."""

import numpy as np

from femtobarn.physics.event_shapes import boosted_sphericity, sphericity, thrust

RNG = np.random.default_rng(5)


def rotation() -> np.ndarray:
    q, _ = np.linalg.qr(RNG.normal(size=(3, 3)))
    return q


def test_lines_planes_and_balls() -> None:
    line = np.outer([3.0, -2.0, -1.0], [0.6, 0.0, 0.8])
    cross = np.concatenate([np.eye(3), -np.eye(3)]) @ rotation()
    counts = np.array([3, 0, 6])
    shape, axis = sphericity(counts, np.concatenate([line, cross]))
    np.testing.assert_allclose(shape, [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(np.abs(axis[0]), [0.6, 0, 0.8], atol=1e-12)
    value, axis = thrust(counts, np.concatenate([line, cross]))
    assert value[0] == 1 and np.isclose(value[2], 1 / np.sqrt(3))
    np.testing.assert_allclose(np.abs(axis[0]), [0.6, 0, 0.8], atol=1e-12)


def test_thrust_is_the_largest_over_all_ways_to_split() -> None:
    """Against trying every assignment of particles to hemispheres, which is exact."""
    counts = np.full(60, 7)
    momentum = RNG.normal(size=(counts.sum(), 3)) * RNG.exponential(size=(counts.sum(), 1))
    value, axis = thrust(counts, momentum, starts=8)
    signs = np.array(np.meshgrid(*[[1, -1]] * 7)).reshape(7, -1).T
    events = momentum.reshape(60, 7, 3)
    exact = np.linalg.norm(np.einsum("sk,nkc->nsc", signs, events), axis=2).max(axis=1)
    exact /= np.linalg.norm(events, axis=2).sum(axis=1)
    assert (value <= exact + 1e-12).all()
    assert np.mean(value > exact - 1e-9) > 0.95
    np.testing.assert_allclose(np.linalg.norm(axis, axis=1), 1)


def test_a_ball_that_moves_is_round_in_its_frame() -> None:
    beta, mass = 0.96, 0.13957
    direction = RNG.normal(size=(4000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    p = direction.copy()
    energy = np.sqrt(1 + mass**2)
    gamma = 1 / np.sqrt(1 - beta**2)
    p[:, 2] = gamma * (p[:, 2] + beta * energy)
    p = p[p[:, 2] > 0]
    other = np.outer(RNG.exponential(size=len(p)), [0, 0, -1.0])
    one, two = boosted_sphericity(
        np.array([2 * len(p)]), np.concatenate([p, other]), np.array([[0.0, 0.0, 1.0]]), beta, mass
    )
    assert one[0] > 0.93 and two[0] < 1e-9
