"""Four-vectors of a lepton, missing momentum and four jets."""

import numpy as np

from femtobarn.physics.semileptonic import Semileptonic, four_vectors, invariant_mass, neutrino, observables


def events(count: int = 200, seed: int = 1) -> Semileptonic:
    rng = np.random.default_rng(seed)
    jets = four_vectors(
        rng.uniform(20, 200, (count, 4)), rng.normal(size=(count, 4)), rng.uniform(-3, 3, (count, 4))
    )
    lepton = four_vectors(rng.uniform(20, 100, count), rng.normal(size=count), rng.uniform(-3, 3, count))
    return Semileptonic(
        lepton, rng.normal(0, 40, (count, 2)), jets, rng.integers(0, 3, (count, 4)).astype(float)
    )


def turned(vectors: np.ndarray, angle: float) -> np.ndarray:
    """Rotated about the beam and seen in a mirror across it."""
    turned = vectors.copy()
    x, y = vectors[..., 0], vectors[..., 1]
    turned[..., 0], turned[..., 1] = (
        np.cos(angle) * x - np.sin(angle) * y,
        np.sin(angle) * x + np.cos(angle) * y,
    )
    if vectors.shape[-1] == 4:
        turned[..., 2] *= -1
    return turned


def test_neutrino_makes_a_w() -> None:
    event = events()
    found, discriminant = neutrino(event.lepton, event.met)
    masses = invariant_mass(event.lepton[:, None] + found)
    real = discriminant > 1
    assert 20 < real.sum() < 180
    np.testing.assert_allclose(masses[real], 80.4, rtol=1e-6)
    assert (np.abs(found[:, 0, 2]) <= np.abs(found[:, 1, 2]) + 1e-9).all()
    # Where no neutrino does, the mass is the transverse mass, above 80.4.
    pt, met = np.hypot(*event.lepton[:, :2].T), np.hypot(*event.met.T)
    along = np.sum(event.lepton[:, :2] * event.met, axis=1)
    assert (np.sqrt(2 * (pt * met - along))[discriminant < 0] > 80.4).all()


def test_neutrino_of_a_w_at_rest_is_found() -> None:
    lepton = four_vectors(np.array([30.0]), np.array([0.8]), np.array([0.3]))
    lepton *= 40.2 / lepton[:, 3:]
    found, _ = neutrino(lepton, -lepton[:, :2])
    distance = np.abs(found[0, :, 2] + lepton[0, 2])
    assert distance.min() < 1e-4


def test_observables_do_not_depend_on_what_they_must_not() -> None:
    event = events()
    here = observables(event)
    there = observables(
        Semileptonic(
            turned(event.lepton, 1.1),
            turned(event.met, 1.1),
            turned(event.jets, 1.1)[:, ::-1],
            event.tags[:, ::-1],
        )
    )
    assert len(here) > 80
    for name in here:
        np.testing.assert_allclose(there[name], here[name], rtol=1e-5, atol=1e-5, err_msg=name)
        assert np.isfinite(here[name]).all() and np.ptp(here[name]) > 0, name


def test_masses_of_composites() -> None:
    event = events()
    order = np.argsort(-event.tags * 1e6 - np.hypot(event.jets[..., 0], event.jets[..., 1]), axis=1)
    jets = np.take_along_axis(event.jets, order[..., None], axis=1)
    found = observables(event)
    np.testing.assert_allclose(found["m_b1_b2"], invariant_mass(jets[:, 0] + jets[:, 1]), rtol=1e-6)
    np.testing.assert_allclose(found["m_q1_q2"], invariant_mass(jets[:, 2] + jets[:, 3]), rtol=1e-6)
    np.testing.assert_allclose(found["m_hw"], invariant_mass(jets.sum(axis=1)), rtol=1e-6)


def test_the_right_assignment_is_found() -> None:
    """Two tops at rest of exactly their masses leave chi^2 = 0 whatever the order of the jets."""
    top, w = 173.0, 80.4
    b = (top**2 - w**2) / (2 * top)
    momentum = np.array([0.0, 0.0, b])
    # The hadronic W flies along -b with energy sqrt(w^2 + b^2); its quarks across it in its own frame.
    energy = np.hypot(w, b)
    quark = np.array([w / 2, 0, -b / 2, energy / 2])
    other = np.array([-w / 2, 0, -b / 2, energy / 2])
    lepton, nu = quark[[1, 0, 2, 3]], other[[1, 0, 2, 3]]
    jets = np.stack([quark, np.r_[momentum, b], other, np.r_[momentum, b]])[None]
    event = Semileptonic(lepton[None], nu[None, :2], jets, np.array([[0, 2, 0, 2.0]]))
    found = observables(event)
    np.testing.assert_allclose(found["tops_chi2"], np.log(1e-3), atol=1e-3)
    np.testing.assert_allclose(found["tops_hadronic"], top, rtol=1e-4)
