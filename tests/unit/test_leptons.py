"""Prompt leptons counted, and their masses with jets."""

import numpy as np

from femtobarn.physics.truth import HADRON
from femtobarn.simulation.calorimeter import JetTable
from femtobarn.simulation.collisions import Collisions
from femtobarn.simulation.leptons import lepton_columns
from femtobarn.simulation.settings import SelectionSettings


def collisions(rows: list[tuple[int, int, float, float, int]]) -> Collisions:
    """Massless final particles: event, id, pT, phi at eta 0, and whether they come from a hadron."""
    event, ids, pt, phi, word = (np.array(column) for column in zip(*rows, strict=True))
    nothing = np.zeros(len(event))
    return Collisions(
        event=event, pdg_id=ids.astype(np.int32), charge=-np.sign(ids).astype(float), px=pt * np.cos(phi),
        py=pt * np.sin(phi), pz=nothing, energy=pt, **{name: nothing for name in ("x", "y", "z")},
        **{f"decay_{axis}": nothing for axis in "xyz"}, word=(word * HADRON).astype(np.uint8),
        kind=nothing.astype(np.int8), final=np.ones(len(event), dtype=bool),
    )  # fmt: skip


def test_counts_and_masses() -> None:
    particles = collisions([
        (0, 11, 30.0, 0.0, 0), (0, -13, 60.0, np.pi / 2, 0), (0, 13, 90.0, 0.0, 1), (0, 211, 80.0, 0.0, 0),
        (1, -11, 20.0, 0.0, 0), (2, 13, 40.0, np.pi, 0),
    ])  # fmt: skip
    pt, event = np.array([50.0, 40.0, 30.0, 50.0]), np.array([0, 0, 1, 2])
    phi = np.array([np.pi, np.pi / 2, 0.0, 0.0])
    jets = JetTable(event=event, pt=pt, eta=np.zeros(4), phi=phi, energy=pt, mass=np.zeros(4), truth_pt=pt)
    columns = lepton_columns(particles, jets, 3, SelectionSettings())
    # The muon from a hadron and the electron of 20 GeV do not count.
    assert columns["numberOfElectrons"].tolist() == [1, 1, 0, 0]
    assert columns["numberOfMuons"].tolist() == [1, 1, 0, 1]
    # m^2 = 2 pT pT (1 - cos dphi); the hardest lepton of event 0 is the muon.
    leading = [np.sqrt(2 * 50 * 60), 0, 0, np.sqrt(4 * 50 * 40)]
    np.testing.assert_allclose(columns["leadingLeptonMass"], leading, atol=1e-3)
    second = [np.sqrt(4 * 50 * 30), np.sqrt(2 * 40 * 30), 0, 0]
    np.testing.assert_allclose(columns["subleadingLeptonMass"], second, atol=1e-3)
