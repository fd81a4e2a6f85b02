"""Large-radius jets named after the resonance inside: on a record written by hand, and on collisions."""

import awkward as ak
import numpy as np

import femtobarn
from femtobarn.physics.kinematics import cartesian
from femtobarn.simulation import simulate
from femtobarn.simulation.calorimeter import JetTable
from femtobarn.simulation.pythia import Record
from femtobarn.simulation.resonances import RESONANCES, resonance_labels
from femtobarn.simulation.settings import LARGE_RADIUS


def record() -> Record:
    """Event 0: a top to quarks that radiates, as its W does, and one to a lepton. Event 1: H to bb and cc."""
    rows = [
        (0, 6, -1, 0.0), (0, 6, 0, 0.0), (0, 24, 1, 0.0), (0, 24, 2, 0.0), (0, 1, 3, 0.0), (0, -2, 3, 0.0),
        (0, 5, 1, 0.0), (0, 21, 0, 0.0), (0, -6, -1, 2.0), (0, -24, 8, 2.0), (0, 11, 9, 2.0), (0, -5, 8, 2.0),
        (1, 25, -1, 1.0), (1, 25, 12, 1.0), (1, 5, 13, 1.0), (1, -5, 13, 1.0), (1, 25, -1, -2.0),
        (1, 4, 16, -2.0), (1, -4, 16, -2.0), (1, 24, -1, 1.0), (1, 3, 19, 1.0), (1, -4, 19, 1.0),
    ]  # fmt: skip
    event, ids, mother, phi = (np.array(column) for column in zip(*rows, strict=True))
    pt = np.where(mother < 0, 500.0, 400.0)  # before radiation
    px, py, pz = cartesian(pt, np.zeros(len(ids)), phi)
    nothing = np.zeros(len(ids))
    return Record(
        counts=np.bincount(event), pdg_id=ids.astype(np.int32), final=nothing > 0, mother=mother, px=px,
        py=py, pz=pz, energy=np.full(len(ids), 430.0), x=nothing, y=nothing, z=nothing, weight=np.ones(2),
    )  # fmt: skip


def test_labels() -> None:
    event, phi = np.array([0, 0, 0, 1, 1, 1]), np.array([0.1, 2.3, -2.0, 1.2, -2.1, 3.0])
    pt = np.full(6, 400.0)
    jets = JetTable(event=event, pt=pt, eta=np.zeros(6), phi=phi, energy=pt, mass=pt, truth_pt=pt)
    names = [RESONANCES[code] for code in resonance_labels(record(), jets, 0.75)]
    assert names == ["top", "other", "qcd", "hbb", "hcc", "qcd"]
    assert [RESONANCES[code] for code in resonance_labels(record(), jets, 0.15)][:3] == ["top", "qcd", "qcd"]


def test_higgs_jets_weigh_what_they_should(tmp_path) -> None:
    settings = LARGE_RADIUS.model_copy(update={"sqrt_s": 13.0})
    simulate("higgs", 60, tmp_path / "higgs.h5", settings=settings, pileup=0.0)
    jets = femtobarn.open(tmp_path / "higgs.h5").read()
    label = ak.to_numpy(jets.resonance_label)
    higgs = np.isin(label, (2, 3))
    assert higgs.sum() > 30 and set(label) >= {2, 3}
    assert 100 < np.median(ak.to_numpy(jets.mass)[higgs]) < 140
    # Tracks all over the jet, not only in a small cone.
    assert ak.max(jets.tracks.dr) > 0.85
    assert (ak.to_numpy(jets.flavour_label)[label == 2] == 0).mean() > 0.8
