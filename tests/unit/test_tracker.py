"""The detector's response where the right answer is known: pulls, geometry, conservation, efficiency."""

import numpy as np
import pytest

from femtobarn.physics.kinematics import wrap
from femtobarn.physics.truth import FAKE, OTHER_SECONDARY, PILEUP, PRIMARY
from femtobarn.simulation.calorimeter import CalorimeterSettings, Visible, jets_of
from femtobarn.simulation.material import MaterialSettings, conversions, interactions
from femtobarn.simulation.particles import Particles
from femtobarn.simulation.tracker import Candidates, TrackerSettings, add_fakes, reconstruct
from femtobarn.simulation.zprime import PT_MIN, SLOPE, hard_events

SETTINGS = TrackerSettings()


def candidates(n, rng, per_jet=1, pt=5.0, spread=1.0, birth=0.0, pdg_id=211):
    jets = n // per_jet
    jet = np.repeat(np.arange(jets), per_jet)
    theta = 2 * np.arctan(np.exp(-rng.uniform(-1, 1, jets)[jet] - spread * rng.uniform(-0.2, 0.2, n)))
    return Candidates(
        jet=jet,
        pdg_id=np.full(n, pdg_id, dtype=np.int32),
        origin=np.full(n, PRIMARY, dtype=np.int8),
        d0=np.zeros(n),
        z0=np.zeros(n),
        phi=rng.uniform(-3, 3, jets)[jet] + spread * rng.uniform(-0.2, 0.2, n),
        theta=theta,
        q_over_p=rng.choice([-1.0, 1.0], n) * np.sin(theta) / pt,
        position=np.zeros((n, 3)),
        birth=np.full(n, birth),
        end=np.full(n, np.inf),
    )


def core(values):
    low, high = np.percentile(values, [15.87, 84.13])
    return (high - low) / 2


def test_pulls_are_normal_in_the_core_and_wide_in_the_tails():
    true = candidates(20000, np.random.default_rng(1))
    found = reconstruct(true, 20000, SETTINGS, np.random.default_rng(2))
    truth, got, sigma = true.take(found.index), found.perigee, found.uncertainty
    pulls = {
        "d0": (got.d0 - truth.d0) / sigma.d0,
        "z0": (got.z0 - truth.z0) * np.sin(truth.theta) / sigma.z0,
        "phi": wrap(got.phi - truth.phi) / sigma.phi,
        "theta": (got.theta - truth.theta) / sigma.theta,
        "q_over_p": (got.q_over_p - truth.q_over_p) / sigma.q_over_p,
    }
    for name, pull in pulls.items():
        assert core(pull) == pytest.approx(1.0, abs=0.06), name
        # Three standard deviations hold all but 0.27 % of a normal distribution.
        assert 0.006 < np.mean(np.abs(pull) > 3) < 0.03, name
    assert np.corrcoef(pulls["d0"], pulls["phi"])[0, 1] == pytest.approx(SETTINGS.d0_phi_correlation, abs=0.1)
    assert np.corrcoef(pulls["z0"], pulls["theta"])[0, 1] == pytest.approx(
        SETTINGS.z0_theta_correlation, abs=0.1
    )


def test_resolution_has_the_documented_size():
    rng = np.random.default_rng(1)
    for pt, expected in ((100.0, 10.0), (1.0, 80.6)):
        true = candidates(5000, rng, pt=pt)
        true = true.with_columns(theta=np.full(5000, np.pi / 2), q_over_p=np.full(5000, 1 / pt))
        found = reconstruct(true, 5000, SETTINGS, rng)
        clean = (found.hits.innermost > 0) & (found.hits.innermost_split + found.hits.innermost_shared == 0)
        assert 1000 * np.median(found.uncertainty.d0[clean]) == pytest.approx(expected, rel=0.05)


def test_misaligned_sensors_shift_their_tracks_alike():
    true = candidates(20000, np.random.default_rng(1))
    crooked = SETTINGS.model_copy(update={"misalignment": (0.004, 0.015)})
    good, bad = (reconstruct(true, 20000, s, np.random.default_rng(2)) for s in (SETTINGS, crooked))
    truth = true.take(bad.index)
    shift = np.stack(
        [
            bad.perigee.d0 - good.perigee.d0,
            (bad.perigee.z0 - good.perigee.z0) * np.sin(truth.theta),
        ]
    )
    assert np.array_equal(bad.uncertainty.phi, good.uncertainty.phi)
    through = bad.hits.innermost > 0
    assert not through.all() and not shift[:, ~through].any()  # others do not notice
    values, members = np.unique(np.round(shift[0][through], 9), return_counts=True)
    assert len(values) == 14 * 4 and members.min() > 50  # the sensors within 1.2 in pseudorapidity
    assert np.std(values) == pytest.approx(0.004, rel=0.2)
    assert np.std(np.unique(np.round(shift[1][through], 9))) == pytest.approx(0.015, rel=0.2)
    # Tracks side by side in azimuth and along the beam go through one sensor.
    together = (np.abs(wrap(truth.phi - 0.2)) < 0.1) & (np.abs(truth.theta - 1.4) < 0.1) & through
    assert together.sum() > 10 and np.ptp(shift[:, together], axis=1).max() < 1e-9


def test_prompt_tracks_leave_four_pixel_and_eight_strip_hits():
    found = reconstruct(
        candidates(5000, np.random.default_rng(1)), 5000, SETTINGS, np.random.default_rng(2)
    ).hits
    assert found.pixel.mean() == pytest.approx(4.1, abs=0.15)
    assert found.strip.mean() == pytest.approx(8.3, abs=0.3)
    assert found.innermost.mean() == pytest.approx(1.03, abs=0.06)
    assert np.all(found.innermost <= found.pixel)
    assert np.all(found.pixel_shared + found.pixel_split <= found.pixel)
    assert np.all(found.innermost_shared * found.innermost_split == 0)


def test_tracks_born_outside_a_layer_have_few_hits_there_and_are_found_less():
    near, far = (
        reconstruct(
            candidates(5000, np.random.default_rng(1), birth=r), 5000, SETTINGS, np.random.default_rng(2)
        )
        for r in (0.0, 60.0)
    )
    assert far.hits.innermost.mean() < 0.15
    assert far.hits.next_to_innermost.mean() < 0.15
    assert far.hits.pixel.mean() < near.hits.pixel.mean() - 1.5
    assert len(far.index) < 0.85 * len(near.index)
    assert np.median(far.uncertainty.d0) > 1.5 * np.median(near.uncertainty.d0)


def test_density_merges_hits_and_loses_tracks():
    alone = reconstruct(
        candidates(4000, np.random.default_rng(1), 10), 400, SETTINGS, np.random.default_rng(2)
    )
    true = candidates(4000, np.random.default_rng(1), 10, pt=100.0, spread=0.01)
    core_of_jet = reconstruct(true, 400, SETTINGS, np.random.default_rng(2))
    assert core_of_jet.hits.pixel_split.mean() > 10 * alone.hits.pixel_split.mean()
    assert core_of_jet.hits.pixel_shared.mean() > 3 * alone.hits.pixel_shared.mean()
    assert len(core_of_jet.index) < 0.95 * len(alone.index)


def test_no_tracks_at_all():
    empty = candidates(0, np.random.default_rng(1))
    assert len(add_fakes(empty, 3, SETTINGS, np.random.default_rng(1))) == 0
    assert len(reconstruct(empty, 3, SETTINGS, np.random.default_rng(1)).index) == 0


def test_fakes_come_at_their_rate_and_stay_with_their_jet():
    true = candidates(20000, np.random.default_rng(1), 10)
    both = add_fakes(true, 2000, SETTINGS, np.random.default_rng(2))
    fakes = both.take(both.origin == FAKE)
    expected = 20000 * (SETTINGS.fake_rate + 10 * SETTINGS.fake_rate_density)
    assert len(fakes) == pytest.approx(expected, abs=5 * np.sqrt(expected))
    assert np.all(np.diff(both.jet) >= 0)
    assert np.median(np.abs(fakes.d0)) > 0.03


def test_leptons_are_identified_at_their_rate():
    for pdg_id, code, rate in ((13, 13, SETTINGS.muon_identification), (211, 13, SETTINGS.hadron_as_muon),
                               (-11, 11, SETTINGS.electron_identification)):  # fmt: skip
        true = candidates(20000, np.random.default_rng(1), pt=10.0, pdg_id=pdg_id)
        lepton = reconstruct(true, 20000, SETTINGS, np.random.default_rng(2)).lepton
        assert np.mean(lepton == code) == pytest.approx(rate, abs=0.01)


def particles(n, pdg_id, rng, origin=PRIMARY):
    pt, eta, phi = rng.uniform(1, 50, n), rng.uniform(-2, 2, n), rng.uniform(-np.pi, np.pi, n)
    return Particles(
        event=np.arange(n),
        pdg_id=np.full(n, pdg_id, dtype=np.int32),
        charge=np.full(n, 0.0 if pdg_id == 22 else 1.0),
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        pz=pt * np.sinh(eta),
        x=rng.normal(0, 10.0, n),
        y=np.zeros(n),
        z=rng.normal(0, 45.0, n),
        origin=np.full(n, origin, dtype=np.int8),
    )


def test_conversions_conserve_momentum_and_happen_in_the_material():
    settings = MaterialSettings()
    photons = particles(20000, 22, np.random.default_rng(1))
    pairs = conversions(photons, settings, np.random.default_rng(2))
    half = len(pairs) // 2
    assert np.array_equal(pairs.event[:half], pairs.event[half:])
    parent = photons.take(pairs.event[:half])
    for name in ("px", "py", "pz"):
        total = getattr(pairs, name)
        assert total[:half] + total[half:] == pytest.approx(getattr(parent, name))
    radius = np.hypot(pairs.x, pairs.y)
    assert np.all(np.min(np.abs(radius[:, None] - settings.radii), axis=1) < 1e-6)
    assert np.all(radius[:half] > np.hypot(parent.x, parent.y))
    assert np.all(pairs.origin == OTHER_SECONDARY)
    assert np.all(pairs.charge == -np.sign(pairs.pdg_id))
    # They lie ahead: the way from the photon's start is along its momentum.
    ahead = (pairs.x[:half] - parent.x) * parent.px + (pairs.y[:half] - parent.y) * parent.py
    assert np.all(ahead > 0)
    depth = (
        7
        / 9
        * np.sum(settings.radiation_lengths)
        * np.cosh(np.arcsinh(photons.pz / np.hypot(photons.px, photons.py)))
    )
    # Photons that start outside the beam pipe see less than all of it.
    assert 0.9 < half / np.sum(1 - np.exp(-depth)) <= 1.02


def test_interactions_end_hadrons_only_and_keep_energy():
    settings = MaterialSettings()
    for pdg_id, some in ((211, True), (13, False)):
        tracks = particles(5000, pdg_id, np.random.default_rng(1), PILEUP)
        products, end = interactions(tracks, settings, np.random.default_rng(2))
        assert bool(len(products)) == some == bool(np.isfinite(end).any())
        if some:
            total = np.bincount(
                products.event, np.sqrt(products.px**2 + products.py**2 + products.pz**2), 5000
            )
            assert np.all(total <= np.sqrt(tracks.px**2 + tracks.py**2 + tracks.pz**2) * (1 + 1e-9))
            assert np.all(products.origin == PILEUP), "what pile-up makes is pile-up"
            assert np.hypot(products.x, products.y) == pytest.approx(end[products.event])


def test_calorimeter_is_unbiased_and_as_sharp_as_it_says():
    n = 4000
    settings = CalorimeterSettings()
    for pdg_id, expected in ((22, np.hypot(0.10 / 10, 0.007)), (211, np.hypot(0.50 / 10, 0.05))):
        particle = Visible(
            np.arange(n), np.full(n, pdg_id, dtype=np.int32), np.full(n, False),
            np.full(n, 100.0), np.zeros(n), np.zeros(n), np.full(n, 100.0),
        )  # fmt: skip
        jets, flows = jets_of(particle, n, 0.0, settings, np.random.default_rng(1))
        assert np.array_equal(flows.jet, np.arange(n)) and np.all(flows.photon == (pdg_id == 22))
        assert flows.pt == pytest.approx(jets.pt)
        response = jets.pt / jets.truth_pt
        assert np.mean(response) == pytest.approx(1.0, abs=5 * expected / np.sqrt(n))
        assert np.std(response) == pytest.approx(expected, rel=0.1)


def test_zprime_conserves_momentum_and_has_equal_flavours():
    n = 30000
    e = hard_events(n, 13.6, np.random.default_rng(1))
    assert e["energy1"] + e["energy2"] == pytest.approx(e["e1"] + e["e2"])
    assert e["pz1"] + e["pz2"] == pytest.approx(e["e1"] - e["e2"], abs=1e-6)
    for k in ("1", "2"):
        mass2 = e[f"energy{k}"] ** 2 - e["px"] ** 2 - e["py"] ** 2 - e[f"pz{k}"] ** 2
        assert mass2 == pytest.approx(e["quark_mass"] ** 2, abs=1e-3)
    assert np.all((e["e1"] < 6800) & (e["e2"] < 6800))
    share = np.array([np.mean(e["flavour"] == 5), np.mean(e["flavour"] == 4), np.mean(e["flavour"] < 4)])
    assert share == pytest.approx(1 / 3, abs=0.012)
    # The quarks' pT follows 1 + SLOPE t: its mean over the unit interval is (1/2 + SLOPE/3) / (1 + SLOPE/2).
    t = (np.hypot(e["px"], e["py"]) - PT_MIN) / (5200 - PT_MIN)
    assert t.mean() == pytest.approx((1 / 2 + SLOPE / 3) / (1 + SLOPE / 2), abs=0.01)
