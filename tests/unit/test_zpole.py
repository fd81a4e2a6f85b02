"""Z decays at LEP: what the standard model and the tracker's settings say they must be."""

import awkward as ak
import numpy as np
import pytest

import femtobarn
from femtobarn.errors import InputError
from femtobarn.simulation import SimulationSettings, ZPoleSettings, simulate

EVENTS = 3000


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    out = tmp_path_factory.mktemp("zpole") / "z.h5"
    summary = simulate("zpole", EVENTS, out)
    rows = femtobarn.open(out).read()
    assert summary.events == EVENTS and summary.jets == len(rows) == sum(summary.flavours.values())
    return rows


def test_flavours_come_as_the_standard_model_says(rows):
    """R_b = 0.216 and R_c = 0.172 of hadronic decays [LEP and SLD, hep-ex/0509008], within four errors."""
    for label, expected in ((0, 0.216), (1, 0.172)):
        fraction = np.mean(ak.to_numpy(rows.flavour_label) == label)
        assert abs(fraction - expected) < 4 * np.sqrt(expected * (1 - expected) / len(rows))


def test_b_events_are_displaced_and_round(rows):
    label = ak.to_numpy(rows.flavour_label)
    for name in ("significance3", "nDisplaced2", "boostedSphericityProduct", "leptonPtRel"):
        values = ak.to_numpy(rows[name])
        b, light = values[label == 0], values[label == 2]
        assert b.mean() - light.mean() > 5 * np.hypot(
            b.std() / len(b) ** 0.5, light.std() / len(light) ** 0.5
        )


def test_tracks_from_the_vertex_have_significances_of_width_one(rows):
    """Those signed negative, in light events: half a Gaussian, if the uncertainties are right."""
    tracks = ak.flatten(rows.tracks[rows.flavour_label == 2])
    eta = np.abs(ak.to_numpy(tracks.eta))
    for name in ("IP3D_signed_d0_significance", "IP3D_signed_z0_significance"):
        values = ak.to_numpy(tracks[name])
        for low, high in ((0.0, 0.6), (0.6, 1.2), (1.2, 1.75)):
            negative = values[(values < 0) & (eta >= low) & (eta < high)]
            assert 0.9 < -np.quantile(negative, 1 - 0.6827) < 1.2, (name, low)


def test_same_events_whatever_the_number_of_workers(tmp_path):
    for workers in (1, 2):
        simulate("zpole", 250, tmp_path / f"{workers}.h5", seed=3, workers=workers)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


@pytest.mark.parametrize(
    "arguments", [{"pileup": 20.0}, {"underlying_event": "overlay"}, {"settings": SimulationSettings()}]
)
def test_what_is_not_at_lep_is_refused(arguments, tmp_path):
    with pytest.raises(InputError, match="zpole: beams and pile-up do not fit"):
        simulate("zpole", 5, tmp_path / "x.h5", **arguments)


def test_protons_need_their_own_settings(tmp_path):
    with pytest.raises(InputError, match="ttbar: beams and pile-up do not fit"):
        simulate("ttbar", 5, tmp_path / "x.h5", settings=ZPoleSettings())
