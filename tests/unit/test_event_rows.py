"""Whole events: closure of the detector's settings, masses of resonances, weights, shifts."""

import awkward as ak
import numpy as np
import pytest

import femtobarn
from femtobarn.errors import InputError
from femtobarn.physics.kinematics import cartesian
from femtobarn.simulation import EventSettings, Shifts, btag_weights, shifted, simulate, truth_tagged
from femtobarn.simulation.btagging import tag_efficiency
from femtobarn.simulation.collisions import Collisions
from femtobarn.simulation.events import BLOCK
from femtobarn.simulation.objects import isolated_objects

SETTINGS = EventSettings()


def sample(folder, process, n, settings=SETTINGS, suffix="h5"):
    path = folder / f"{process}.{suffix}"
    summary = simulate(process, n, path, settings=settings)
    return femtobarn.open(path).read(), summary


@pytest.fixture(scope="module")
def z(tmp_path_factory):
    return sample(tmp_path_factory.mktemp("z"), "z_ll", 3000)


@pytest.fixture(scope="module")
def wh(tmp_path_factory):
    return sample(tmp_path_factory.mktemp("wh"), "wh_bb", 2000)[0]


@pytest.fixture(scope="module")
def higgs(tmp_path_factory):
    return sample(tmp_path_factory.mktemp("h"), "higgs_gamgam", 1000)[0]


def flat(values):
    return ak.to_numpy(ak.flatten(values)).astype(np.float64)


def pair_mass(objects):
    """Of the two hardest massless objects of each event that has two or more."""
    two = objects[ak.num(objects) >= 2]
    a, b = two[:, 0], two[:, 1]
    squared = 2 * a.pt * b.pt * (np.cosh(a.eta - b.eta) - np.cos(a.phi - b.phi))
    return np.sqrt(ak.to_numpy(squared).astype(np.float64))


def within_errors(passed, expected, errors=4):
    return abs(passed.mean() - expected) < errors * np.sqrt(expected * (1 - expected) / len(passed))


@pytest.mark.parametrize("name", ["electrons", "muons"])
def test_leptons_make_a_z(z, name):
    mass = pair_mass(z[0][name])
    inside = mass[(mass > 80) & (mass < 100)]
    assert len(inside) > 200
    # Photons that leptons radiate are part of electrons, not of muons.
    assert {"electrons": 90.3, "muons": 89.5}[name] < np.median(inside) < 91.4
    charges = ak.sum(z[0][name].charge[ak.num(z[0][name]) == 2], axis=1)
    assert np.mean(ak.to_numpy(charges) == 0) > 0.99


def gun(code, pt, eta, beside=None):
    """One prompt particle an event, with a charged pion of some pT within 0.2 of it."""
    n = len(pt)
    kinds, momenta = [np.full(n, code)], [cartesian(pt, eta, np.zeros(n))]
    if beside is not None:
        kinds.append(np.full(n, 211))
        momenta.append(cartesian(beside, eta, np.full(n, 0.15)))
    px, py, pz = (np.concatenate([m[axis] for m in momenta]) for axis in range(3))
    zero = np.zeros(len(px))
    return Collisions(
        event=np.tile(np.arange(n), len(kinds)),
        pdg_id=np.concatenate(kinds),
        **dict(zip(("px", "py", "pz"), (px, py, pz), strict=True)),
        energy=np.sqrt(px**2 + py**2 + pz**2),
        **dict.fromkeys(("charge", "x", "y", "z", "decay_x", "decay_y", "decay_z"), zero),
        word=np.zeros(len(px), dtype=np.uint8),
        kind=np.zeros(len(px), dtype=np.int8),
        final=np.ones(len(px), dtype=bool),
    ).ordered("event")


GUN = [(11, "electrons"), (13, "muons"), (22, "photons")]


@pytest.mark.parametrize(("code", "name"), GUN)
def test_efficiency_and_resolution_are_those_of_the_settings(code, name):
    n, part = 20_000, getattr(SETTINGS, name)
    rng = np.random.default_rng(3)
    pt, eta = rng.uniform(30, 300, n), rng.uniform(-2.3, 2.3, n)
    found, visible, _ = isolated_objects(gun(code, pt, eta), n, SETTINGS, rng)
    objects = found[code]
    assert all(len(table) == 0 for other, table in found.items() if other != code)
    assert len(objects) + len(visible) == n if code != 13 else len(visible) == 0
    for place, region in enumerate((np.abs(eta) < part.barrel, np.abs(eta) >= part.barrel)):
        seen = np.isin(np.flatnonzero(region), objects.event)
        assert within_errors(seen, part.efficiency[place])
        chosen = region[objects.event]
        truth = pt[objects.event][chosen]
        energy = truth * np.cosh(objects.eta[chosen])
        if name == "muons":
            width = np.hypot(part.constant[place], 1e-3 * part.per_tev[place] * truth)
        else:
            width = np.hypot(part.stochastic[place] / np.sqrt(energy), part.constant[place])
            width = np.hypot(width, part.noise / energy)
        pull = (objects.pt[chosen] / truth - 1) / width
        assert abs(pull.mean()) < 4 / np.sqrt(len(pull))
        assert abs(pull.std() - 1) < 4 / np.sqrt(2 * len(pull))


@pytest.mark.parametrize(("code", "name"), GUN)
def test_what_is_not_isolated_stays_in_jets(code, name):
    n, part = 2000, getattr(SETTINGS, name)
    pt = np.full(n, 50.0)
    beside = np.where(np.arange(n) % 2, 0.5, 1.5) * part.isolation_max * 50.0
    found, visible, muons = isolated_objects(
        gun(code, pt, np.zeros(n), beside), n, SETTINGS, np.random.default_rng(1)
    )
    assert np.mean(found[code].event % 2) > 0.97
    left = np.bincount(visible.event[np.abs(visible.pdg_id) == code], minlength=n)
    assert left[::2].mean() > 0.93 if code != 13 else left[::2].mean() == pytest.approx(0.94, abs=0.03)
    assert np.all(np.abs(visible.pdg_id[muons.source]) == 13)


def test_photons_make_a_higgs(higgs):
    mass = pair_mass(higgs.photons[higgs.photons.origin == 2])
    inside = mass[(mass > 118) & (mass < 132)]
    assert len(inside) > 400
    assert np.median(inside) == pytest.approx(125.0, abs=0.25)
    assert 1.2 < np.subtract(*np.percentile(inside, [84.13, 15.87])) / 2 < 1.8  # per cent or so of 125 GeV


def test_b_jets_make_a_higgs(wh):
    jets = wh.jets[wh.jets.flavour_label == 0]
    mass = pair_mass(jets[ak.num(jets) == 2])
    # Below 125 GeV: neutrinos, and gluons out of the cone.
    assert 95 < np.median(mass[(mass > 40) & (mass < 180)]) < 122


def test_missing_momentum_is_the_neutrino_and_balances_the_objects(wh):
    truth_x = ak.to_numpy(wh.truth_met * np.cos(wh.truth_met_phi))
    x = ak.to_numpy(wh.met * np.cos(wh.met_phi))
    assert abs(np.mean(x - truth_x)) < 4 * np.std(x - truth_x) / np.sqrt(len(x))
    assert 8 < np.std(x - truth_x) < 25
    assert np.corrcoef(x, truth_x)[0, 1] > 0.8
    total = wh.met * np.cos(wh.met_phi) + wh.met_soft * np.cos(wh.met_soft_phi)
    for name in ("electrons", "muons", "photons", "taus", "jets"):
        total = total + ak.sum(wh[name].pt * np.cos(wh[name].phi), axis=1)
    assert ak.to_numpy(total) == pytest.approx(np.zeros(len(wh)), abs=1e-2)


def test_tags_have_the_efficiency_of_the_settings(wh):
    jets = ak.flatten(wh.jets[abs(wh.jets.eta) < 2.5])
    pt, flavour = ak.to_numpy(jets.pt).astype(np.float64), ak.to_numpy(jets.flavour_label)
    for code, label in ((0, 5), (2, 0)):
        chosen = flavour == code
        expected = tag_efficiency(pt[chosen], np.full(chosen.sum(), label), SETTINGS.btag)
        for place, point in enumerate((85, 77, 70, 60)):
            passed = ak.to_numpy(jets[f"btag{point}"])[chosen]
            assert within_errors(passed, expected[:, place].mean()), (code, point)
    assert np.array_equal(
        ak.to_numpy(jets.btag), sum(ak.to_numpy(jets[f"btag{p}"]) for p in (85, 77, 70, 60))
    )
    forward = wh.jets[abs(wh.jets.eta) > 2.5]
    assert ak.sum(forward.btag) == 0 < ak.sum(ak.num(forward))


def test_at_the_mean_of_ttbar_the_points_are_the_published_ones():
    at = np.array([SETTINGS.btag.shape_pt])
    assert tag_efficiency(at, np.array([5]), SETTINGS.btag)[0] == pytest.approx([0.85, 0.77, 0.70, 0.60])
    assert 1 / tag_efficiency(at, np.array([4]), SETTINGS.btag)[0] == pytest.approx([2.95, 6.1, 13.4, 46.9])
    assert 1 / tag_efficiency(at, np.array([0]), SETTINGS.btag)[0] == pytest.approx([46.1, 235, 718, 3464])


def test_taus_are_found_and_fake(tmp_path):
    rows, _ = sample(tmp_path, "z_tautau", 600)
    real = ak.flatten(rows.taus[rows.taus.origin == 2])
    assert len(real) > 100
    assert set(np.unique(ak.to_numpy(real.numberOfTracks))) == {1, 3}
    medium = ak.to_numpy(real.quality) >= 2
    one = ak.to_numpy(real.numberOfTracks) == 1
    assert within_errors(medium[one], 0.75 / 0.85)
    assert within_errors(medium[~one], 0.60 / 0.75)
    assert ak.mean(rows.taus.origin == 2) > 0.9


def test_weights_add_up_to_the_cross_section(z, tmp_path):
    rows, summary = z
    assert ak.sum(rows.crossSectionWeight) == pytest.approx(summary.cross_section, rel=1e-5)
    # At 13.6 TeV above 60 GeV, two flavours of leptons: some 20 % below the 2 x 2.0 nb of NNLO.
    assert summary.cross_section == pytest.approx(3.1e6, rel=0.03)
    biased, twice = sample(tmp_path, "z_jets", 300, EventSettings(k_factor=2.0))
    assert np.ptp(ak.to_numpy(biased.mcEventWeight)) > 0
    assert ak.sum(biased.crossSectionWeight) == pytest.approx(twice.cross_section, rel=1e-5)


def test_the_first_events_are_the_same_whatever_their_number(tmp_path):
    """That neither workers nor order matter is tested with jets: the machinery is the same."""
    many, few = (sample(tmp_path, "wh_bb", n)[0] for n in (BLOCK + 10, 30))
    names = [name for name in few.fields if name != "crossSectionWeight"]
    assert few[names].to_list() == many[names][:30].to_list()
    assert ak.to_numpy(many.eventNumber[-1]) >= BLOCK


def test_layouts_hold_the_same(tmp_path):
    nested, _ = sample(tmp_path, "wh_bb", 60)
    parquet, _ = sample(tmp_path, "wh_bb", 60, suffix="parquet")
    assert nested.to_list() == parquet.to_list()
    schema = femtobarn.open(tmp_path / "wh_bb.h5").schema
    assert schema.classes["electrons.origin"] == ["fake", "nonprompt", "prompt"]


def test_no_shift_changes_nothing_and_shifts_move_the_missing_momentum(wh):
    same = shifted(wh, Shifts())
    assert ak.to_numpy(same.met) == pytest.approx(ak.to_numpy(wh.met), rel=1e-5, abs=1e-3)
    assert same.jets.to_list() == wh.jets.to_list()
    up = shifted(wh, Shifts(jet_energy_scale=0.1))
    assert flat(up.jets.pt) == pytest.approx(1.1 * flat(wh.jets.pt), rel=1e-5)
    x = ak.to_numpy(up.met * np.cos(up.met_phi) - wh.met * np.cos(wh.met_phi))
    jets = ak.to_numpy(ak.sum(wh.jets.pt * np.cos(wh.jets.phi), axis=1))
    assert x == pytest.approx(-0.1 * jets, abs=2e-2)
    wide = shifted(wh, Shifts(jet_energy_resolution=0.5))
    response = flat(wh.jets.pt) / flat(wh.jets.truthPt)
    again = shifted(wide, Shifts(jet_energy_resolution=-1 / 3))
    assert np.sort(flat(again.jets.pt)) == pytest.approx(np.sort(flat(wh.jets.pt)), rel=1e-4)
    chosen = flat(wide.jets.truthPt) > 30
    assert np.std((flat(wide.jets.pt) / flat(wide.jets.truthPt))[chosen]) == pytest.approx(
        1.5 * np.std(response[flat(wh.jets.truthPt) > 30]), rel=0.02
    )
    with pytest.raises(InputError, match="only whole events can be shifted"):
        shifted(wh[["eventNumber"]], Shifts())


def test_scale_factors_as_weights(wh):
    weights = btag_weights(wh, 70, {"bjets": 0.9})
    assert weights.mean() == pytest.approx(1.0, abs=4 * weights.std() / np.sqrt(len(weights)))
    jets = wh.jets[(wh.jets.flavour_label == 0) & (abs(wh.jets.eta) < 2.5)]
    tags = ak.to_numpy(ak.sum(jets.btag70, axis=1))
    assert (weights * tags).sum() / tags.sum() == pytest.approx(0.9, abs=0.02)
    with pytest.raises(InputError, match="no working point 75"):
        btag_weights(wh, 75, {})
    with pytest.raises(InputError, match="no flavour 'b'"):
        btag_weights(wh, 70, {"b": 1.0})


@pytest.mark.parametrize("tags", [1, 2])
def test_truth_tagging_agrees_with_tagging(wh, tags):
    made = truth_tagged(wh, 70, tags)
    assert np.all(ak.to_numpy(ak.sum(made.jets.btag70, axis=1)) == tags)
    direct = wh[ak.sum(wh.jets.btag70, axis=1) == tags]
    counted = ak.to_numpy(direct.crossSectionWeight).astype(np.float64)
    error = np.sqrt((counted**2).sum())
    weight = ak.to_numpy(made.crossSectionWeight).astype(np.float64)
    assert weight.sum() == pytest.approx(counted.sum(), abs=4 * error)
    true_tags = ak.to_numpy(ak.sum(made.jets.btag70[made.jets.flavour_label == 0], axis=1))
    assert (weight * (true_tags == tags)).sum() / weight.sum() == pytest.approx(
        np.mean(ak.to_numpy(ak.sum(direct.jets.btag70[direct.jets.flavour_label == 0], axis=1)) == tags),
        abs=0.03,
    )
    tighter = ak.to_numpy(ak.flatten(made.jets.btag60[made.jets.btag70 == 1]))
    assert np.average(tighter, weights=np.repeat(weight, tags)) == pytest.approx(0.60 / 0.70, abs=0.04)


def test_unseen_particles_are_missing_momentum(tmp_path):
    rows, _ = sample(tmp_path, "hidden_valley", 200)
    assert ak.mean(rows.truth_met) > 80
    assert np.corrcoef(ak.to_numpy(rows.met), ak.to_numpy(rows.truth_met))[0, 1] > 0.7


@pytest.mark.parametrize(
    ("process", "code", "mass", "width"),
    [("wprime_xy", "fat_jets", 3500, 400), ("graviton_ww", "fat_jets", 2000, 300)],
)
def test_two_fat_jets_make_the_resonance(process, code, mass, width, tmp_path):
    rows, _ = sample(tmp_path, process, 200)
    jets = rows[code][ak.num(rows[code]) >= 2]
    a, b = jets[:, 0], jets[:, 1]
    energy = [np.sqrt((x.pt * np.cosh(x.eta)) ** 2 + x.mass**2) for x in (a, b)]
    momentum = [a.pt * f(a.phi) + b.pt * f(b.phi) for f in (np.cos, np.sin)]
    along = a.pt * np.sinh(a.eta) + b.pt * np.sinh(b.eta)
    squared = (energy[0] + energy[1]) ** 2 - momentum[0] ** 2 - momentum[1] ** 2 - along**2
    assert np.median(np.sqrt(ak.to_numpy(squared))) == pytest.approx(mass, abs=width)


@pytest.mark.parametrize(
    ("process", "arguments", "says"),
    [
        ("wh_bb", {"underlying_event": "overlay"}, "give 'off' or 'full'"),
        ("zprime", {}, "'zprime' has no cross-section"),
        ("wh_b", {}, "no process 'wh_b'"),
    ],
)
def test_what_cannot_be_is_refused(process, arguments, says, tmp_path):
    with pytest.raises(InputError, match=says):
        simulate(process, 5, tmp_path / "x.h5", settings=SETTINGS, **arguments)
    assert not list(tmp_path.iterdir())
