"""Whole events: closure of the detector's settings, masses of resonances, weights, reproducibility."""

import awkward as ak
import numpy as np
import pytest

import femtobarn
from femtobarn.simulation import EventSettings, simulate


def events(folder, process, n, **arguments):
    path = folder / f"{process}.h5"
    summary = simulate(process, n, path, settings=arguments.pop("settings", EventSettings()), **arguments)
    return femtobarn.open(path).read(), summary


@pytest.fixture(scope="module")
def z(tmp_path_factory):
    return events(tmp_path_factory.mktemp("z"), "z_ll", 3000)


def pair_mass(objects):
    """Of the two hardest of each event that has two or more."""
    two = objects[ak.num(objects) >= 2]
    a, b = two[:, 0], two[:, 1]
    squared = 2 * a.pt * b.pt * (np.cosh(a.eta - b.eta) - np.cos(a.phi - b.phi))
    return np.sqrt(ak.to_numpy(squared).astype(np.float64))


@pytest.mark.parametrize("name", ["electrons", "muons"])
def test_leptons_make_a_z(z, name):
    mass = pair_mass(z[0][name])
    inside = mass[(mass > 80) & (mass < 100)]
    assert len(inside) > 200
    # Photons that leptons radiate are part of electrons, not of muons.
    assert {"electrons": 90.3, "muons": 89.5}[name] < np.median(inside) < 91.4
    charges = ak.sum(z[0][name].charge[ak.num(z[0][name]) == 2], axis=1)
    assert np.mean(ak.to_numpy(charges) == 0) > 0.99


def test_weights_add_up_to_the_cross_section(z):
    rows, summary = z
    assert ak.sum(rows.crossSectionWeight) == pytest.approx(summary.cross_section, rel=1e-5)
    # LHC at 13.6 TeV, two flavours above 60 GeV: 2 x 2.0 nb at NNLO; leading order is some 20 % less.
    assert summary.cross_section == pytest.approx(3.1e6, rel=0.03)


def test_same_file_whatever_the_number_of_workers(tmp_path):
    for workers in (1, 2):
        simulate("wh_bb", 250, tmp_path / f"{workers}.h5", settings=EventSettings(), workers=workers)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()
