"""Events and jets as inputs of networks: matrices, lists, pictures and substructure."""

import itertools

import awkward as ak
import numpy as np
import pytest

from femtobarn.physics.jet_images import aligned, jet_images
from femtobarn.physics.object_list import QCD_SCHOOL, TRIGGER, object_list
from femtobarn.physics.rapidity_mass import (
    ATLAS_PAIRS,
    ATLAS_TYPES,
    aggregates,
    cells,
    pair_masses,
    rapidity_mass_inputs,
    rapidity_mass_matrix,
)
from femtobarn.physics.substructure import energy_correlators, jet_mass, n_subjettiness

S = 13_000.0


def events(number: int, types: dict[str, int], seed: int = 1) -> ak.Array:
    """Random objects, more or fewer than there is room for, not in order of pT."""
    rng = np.random.default_rng(seed)
    fields = {"met": rng.exponential(50, number), "met_phi": rng.uniform(-np.pi, np.pi, number)}
    for name, size in types.items():
        counts = rng.integers(0, size + 3, number)
        n = counts.sum()
        columns = {"pt": rng.exponential(60, n) + 20, "eta": rng.normal(0, 1.5, n),
                   "phi": rng.uniform(-np.pi, np.pi, n)}  # fmt: skip
        if "jets" in name:
            columns["mass"] = rng.exponential(10, n)
        fields[name] = ak.unflatten(ak.zip(columns), counts)
    return ak.zip(fields, depth_limit=1)


def by_hand(event: ak.Record, types: dict[str, int]) -> np.ndarray:
    """The table of REFERENCE section 3 cell by cell."""
    met, met_phi = event["met"], event["met_phi"]
    size = sum(types.values()) + 1
    matrix = np.zeros((size, size))
    matrix[0, 0] = met / S
    start, placed = 1, {}
    for name, room in types.items():
        found = sorted(event[name].to_list(), key=lambda o: -o["pt"])[:room]
        before = None
        for rank, o in enumerate(found):
            px, py, pz = o["pt"] * np.cos(o["phi"]), o["pt"] * np.sin(o["phi"]), o["pt"] * np.sinh(o["eta"])
            p = np.sqrt(px**2 + py**2 + pz**2)
            e = np.sqrt(p**2 + o.get("mass", 0.0) ** 2)
            y, et, k = 0.5 * np.log((e + pz) / (e - pz)), e * o["pt"] / p, start + rank
            mt2 = (et + met) ** 2 - (px + met * np.cos(met_phi)) ** 2 - (py + met * np.sin(met_phi)) ** 2
            matrix[0, k], matrix[k, 0] = np.sqrt(max(mt2, 0)) / S, np.cosh(y) - 1
            matrix[k, k] = et / S if before is None else (before - et) / (before + et)
            before, placed[k] = et, (np.array([e, px, py, pz]), y)
        start += room
    for i, j in itertools.combinations(placed, 2):
        e, px, py, pz = placed[i][0] + placed[j][0]
        matrix[i, j] = np.sqrt(max(e**2 - px**2 - py**2 - pz**2, 0)) / S
        matrix[j, i] = np.cosh((placed[i][1] - placed[j][1]) / 2) - 1
    return matrix


@pytest.mark.parametrize("types", [ATLAS_TYPES, {"electrons": 1, "jets": 3}])
def test_every_cell_of_the_matrix(types: dict[str, int]) -> None:
    sample = events(30, types)
    flat = rapidity_mass_inputs(sample, types, without=())
    expected = np.stack([by_hand(event, types).ravel() for event in sample])
    np.testing.assert_allclose(flat, expected, rtol=2e-5, atol=1e-7)


def test_atlas_has_1287_inputs_and_nine_masses() -> None:
    sample = events(20, ATLAS_TYPES)
    assert rapidity_mass_inputs(sample).shape == (20, 1287)
    assert cells(ATLAS_TYPES, ATLAS_PAIRS).sum() == 1287
    full = rapidity_mass_inputs(sample, without=()).reshape(20, 36, 36)
    masses = pair_masses(full, ATLAS_TYPES)
    expected = np.stack([by_hand(event, ATLAS_TYPES) for event in sample])
    np.testing.assert_allclose(masses[:, 0], expected[:, 1, 2] * S, rtol=1e-4)  # j1 j2
    np.testing.assert_allclose(masses[:, 8], expected[:, 11, 31] * S, rtol=1e-4)  # b1 gamma1
    with pytest.raises(ValueError, match="no object 7 of type 'muons'"):
        cells(ATLAS_TYPES, [("jets", 0, "muons", 7)])


def test_aggregates_have_46_numbers() -> None:
    types = ATLAS_TYPES
    matrix = rapidity_mass_inputs(events(10, types), types, without=()).reshape(10, 36, 36)
    brief = aggregates(matrix, types)
    assert brief.shape == (10, 46)
    # Jets: places 1-10, b-jets 11-20.
    jets, bjets = slice(1, 11), slice(11, 21)
    expected = {
        1: np.einsum("nkk->nk", matrix)[:, jets],
        2: np.einsum("nkk->nk", matrix)[:, bjets],
        6: matrix[:, 0, jets],
        11: 0.15 * matrix[:, jets, 0],
        17: matrix[:, bjets, jets].reshape(10, -1),
        31: np.triu(matrix[:, jets, jets], 1).reshape(10, -1),
        32: matrix[:, jets, bjets].reshape(10, -1),
    }
    for column, entries in expected.items():
        np.testing.assert_allclose(brief[:, column], np.linalg.norm(entries, axis=1), rtol=1e-5)


def test_an_event_without_objects() -> None:
    empty = events(3, ATLAS_TYPES)[:1]
    for name in ATLAS_TYPES:
        empty = ak.with_field(empty, empty[name][:, :0], name)
    inputs = rapidity_mass_inputs(empty, without=())
    assert np.count_nonzero(inputs) == 1 and inputs[0, 0] == pytest.approx(empty["met"][0] / S)
    assert not object_list(empty, QCD_SCHOOL).present.any()
    with pytest.raises(ValueError, match="no collection 'taus'"):
        rapidity_mass_inputs(empty, {"taus": 2}, without=())
    with pytest.raises(ValueError, match="the types ask for"):
        rapidity_mass_matrix(np.ones(1), np.ones(1), np.ones((1, 3, 4)), {"jets": 4})


def test_object_lists() -> None:
    sample = events(50, {**TRIGGER, "jets": 10})
    assert object_list(sample, QCD_SCHOOL).flat.shape == (50, 42)
    found = object_list(sample, TRIGGER, missing=("met", "met_phi"))
    assert found.flat.shape == (50, 57)
    np.testing.assert_allclose(found.values[:, 0, 0], sample["met"], rtol=1e-6)
    hardest = ak.fill_none(ak.max(sample["jets"].pt, axis=1), 0)
    np.testing.assert_allclose(found.values[:, 9, 0], hardest, rtol=1e-6)
    assert (np.diff(found.values[:, 9:, 0], axis=1) <= 0).all()
    np.testing.assert_array_equal(found.present[:, 1:5].sum(1), np.minimum(ak.num(sample["electrons"]), 4))


def jets(number: int = 40, seed: int = 3) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 30, number)
    n = counts.sum()
    centre = np.repeat(np.pi, n) + rng.normal(0, 0.3, n)  # across the seam of the circle
    return counts, rng.exponential(10, n) + 0.5, rng.normal(0, 0.3, n), (centre + np.pi) % (2 * np.pi) - np.pi


def test_correlators_by_brute_force() -> None:
    counts, pt, eta, phi = jets(12)
    found = energy_correlators(counts, pt, eta, phi, beta=1.7)
    for jet, (a, b) in enumerate(itertools.pairwise(np.cumsum([0, *counts]))):
        p, y, f = pt[a:b], eta[a:b], phi[a:b]
        r = np.hypot(y[:, None] - y, (f[:, None] - f + np.pi) % (2 * np.pi) - np.pi) ** 1.7
        e2 = sum(p[i] * p[j] * r[i, j] for i, j in itertools.combinations(range(len(p)), 2))
        e3 = sum(p[i] * p[j] * p[k] * r[i, j] * r[i, k] * r[j, k]
                 for i, j, k in itertools.combinations(range(len(p)), 3))  # fmt: skip
        if len(p) > 2:
            assert found.c2[jet] == pytest.approx(e3 * p.sum() / e2**2)
            assert found.d2[jet] == pytest.approx(e3 * p.sum() ** 3 / e2**3)


def test_subjettiness_against_fastjet() -> None:
    fastjet = pytest.importorskip("fastjet")
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    counts, pt, eta, phi = jets(25)
    tau = n_subjettiness(counts, pt, eta, phi, radius=0.8)
    definition = fastjet.JetDefinition(fastjet.kt_algorithm, 10.0, fastjet.WTA_pt_scheme)
    for jet, (a, b) in enumerate(itertools.pairwise(np.cumsum([0, *counts]))):
        parts = [fastjet.PseudoJet(*v) for v in zip(pt[a:b] * np.cos(phi[a:b]), pt[a:b] * np.sin(phi[a:b]),
                                                    pt[a:b] * np.sinh(eta[a:b]), pt[a:b] * np.cosh(eta[a:b]),
                                                    strict=True)]  # fmt: skip
        for axes in (1, 2, 3):
            if b - a <= axes:
                assert tau[jet, axes - 1] == 0
                continue
            sequence = fastjet.ClusterSequence(parts, definition)
            found = [(j.rap(), j.phi()) for j in sequence.exclusive_jets(axes)]
            nearest = np.min([np.hypot(eta[a:b] - y, (phi[a:b] - f + np.pi) % (2 * np.pi) - np.pi)
                              for y, f in found], axis=0)  # fmt: skip
            expected = (pt[a:b] * nearest).sum() / (pt[a:b].sum() * 0.8)
            assert tau[jet, axes - 1] == pytest.approx(expected, rel=1e-6), (jet, axes)


def test_two_prongs_have_their_mass_and_no_tau2() -> None:
    counts, pt = np.array([4]), np.array([50.0, 49.0, 51.0, 50.0])
    eta, phi = np.array([0.0, 0.0, 0.0, 0.0]), np.array([0.2, 0.2001, -0.2, -0.2001])
    tau = n_subjettiness(counts, pt, eta, phi, radius=0.8)[0]
    assert tau[1] / tau[0] < 1e-3
    assert jet_mass(counts, pt, eta, phi)[0] == pytest.approx(2 * 100 * np.sin(0.2), rel=2e-3)


def test_pictures_do_not_depend_on_position_and_turn() -> None:
    counts, pt, eta, phi = jets()
    x, y = aligned(counts, pt, eta, phi)
    shifted = aligned(counts, pt, eta + 0.7, (phi + 2.0 + np.pi) % (2 * np.pi) - np.pi)
    turned = aligned(counts, pt, np.cos(1.0) * x - np.sin(1.0) * y, np.sin(1.0) * x + np.cos(1.0) * y)
    mirrored = aligned(counts, pt, -eta, phi)
    for u, v in (shifted, turned, mirrored):
        np.testing.assert_allclose(u, x, atol=1e-9)
        np.testing.assert_allclose(v, y, atol=1e-9)
    jet = np.repeat(np.arange(40), counts)
    across, along = (np.bincount(jet, pt * w**2, 40) for w in (x, y))
    assert (along >= across - 1e-9).all()
    images = jet_images(counts, pt, eta, phi, pixels=20, half_width=1.0)
    assert images.shape == (40, 20, 20)
    np.testing.assert_allclose(images.sum((1, 2)), counts > 0, atol=1e-6)
