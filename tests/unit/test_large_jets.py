"""Large-radius jets of ten classes: what each must look like, and what their truth is."""

import awkward as ak
import numpy as np
import pytest

import femtobarn
from femtobarn.errors import InputError
from femtobarn.simulation import LargeJetSettings, SimulationSettings, simulate
from femtobarn.simulation.calorimeter import JetTable
from femtobarn.simulation.jet_classes import JET_CLASSES, jet_classes
from femtobarn.simulation.pythia import Record
from femtobarn.tagging.candidates import CLASSES, candidate_inputs


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    out = tmp_path_factory.mktemp("jets") / "jets.parquet"
    settings = LargeJetSettings(classes=("QCD", "Hbb", "Tbl", "Wqq"))
    summary = simulate("jets", 800, out, settings=settings)
    sample = femtobarn.open(out)
    assert summary.events == 800 and summary.jets == len(sample) == sum(summary.flavours.values())
    assert {name for name, count in summary.flavours.items() if count} == set(settings.classes)
    return sample


def test_taggers_read_what_is_simulated(sample):
    assert JET_CLASSES == CLASSES
    read = sample.read(fields=[f"candidates.{f.name}" for f in
                               candidate_inputs().collection_features("candidates")])  # fmt: skip
    pt = np.hypot(read.candidates.px, read.candidates.py)
    assert ak.all(pt[:, 1:] <= pt[:, :-1])
    kinds = sum(
        read.candidates[f"is{k}"] for k in ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")
    )
    assert ak.all(kinds == 1)
    neutral = read.candidates.charge == 0
    assert ak.all(read.candidates.d0[neutral] == 0) and ak.all(read.candidates.d0Uncertainty[~neutral] > 0)


def test_jets_weigh_what_they_hold(sample):
    """Median mass of the candidates near that of the particle, for quarks and gluons far below."""
    rows = sample.read()
    label, c = ak.to_numpy(rows.jet_label), rows.candidates
    mass = np.sqrt(sum(s * ak.sum(c[n], axis=1) ** 2 for n, s in
                       (("energy", 1), ("px", -1), ("py", -1), ("pz", -1))))  # fmt: skip
    median = {name: np.median(mass[label == JET_CLASSES.index(name)]) for name in ("QCD", "Hbb", "Wqq")}
    assert abs(median["Hbb"] - 117) < 10 and abs(median["Wqq"] - 83) < 8  # neutrinos of b are lost
    assert np.quantile(mass[label == 0], 0.25) < 60
    assert ak.all((rows.pt > 500) & (rows.pt < 1000) & (abs(rows.eta) < 2))


def test_b_quarks_are_displaced_and_leptons_there(sample):
    rows = sample.read()
    label, c = ak.to_numpy(rows.jet_label), rows.candidates
    far = ak.to_numpy(ak.sum(abs(c.d0) > 4 * np.hypot(c.d0Uncertainty, 0.01), axis=1))
    assert far[label == JET_CLASSES.index("Hbb")].mean() > 2 * far[label == 0].mean()
    lepton = ak.to_numpy(ak.any((c.isMuon + c.isElectron == 1) & (np.hypot(c.px, c.py) > 30), axis=1))
    assert lepton[label == JET_CLASSES.index("Tbl")].mean() > 0.6
    assert lepton[label == 0].mean() < 0.3


def test_a_decay_that_is_not_inside_leaves_the_jet_out():
    """A W to two quarks, one of them 0.7 or 0.9 from the axis of the only jet; a top to b mu nu."""

    def record(ids, mothers, eta):
        n, pt = len(ids), 100.0
        zero = np.zeros(n)
        return Record(
            counts=np.array([n]), pdg_id=np.array(ids, dtype=np.int32), final=np.ones(n, dtype=bool),
            mother=np.array(mothers), px=np.full(n, pt), py=zero, pz=pt * np.sinh(eta),
            energy=pt * np.cosh(eta), x=zero, y=zero, z=zero, weight=np.ones(1),
        )  # fmt: skip

    one = {"event": np.array([0]), "pt": np.array([600.0]), "eta": np.zeros(1), "phi": np.zeros(1)}
    jets = JetTable(**one, energy=np.ones(1), mass=np.ones(1), truth_pt=np.ones(1))
    for eta, expected in ((0.7, "Wqq"), (0.9, None)):
        code = jet_classes(record([24, 24, 2, -1], [-1, 0, 1, 1], np.array([0, 0, 0.1, eta])), jets, 0.8)[0]
        assert code == (JET_CLASSES.index(expected) if expected else -1)
    top = record([6, 6, 24, 5, 24, -13, 14], [-1, 0, 1, 1, 2, 4, 4], np.array([0, 0, 0, 0.1, 0, 0.2, 3.0]))
    assert jet_classes(top, jets, 0.8)[0] == JET_CLASSES.index("Tbl")
    assert jet_classes(record([21, 21], [-1, -1], np.zeros(2)), jets, 0.8)[0] == 0


def test_same_jets_whatever_the_number_of_workers(tmp_path):
    settings = LargeJetSettings(classes=("Zqq", "QCD"))
    for workers in (1, 2):
        simulate("jets", 450, tmp_path / f"{workers}.parquet", seed=3, workers=workers, settings=settings)
    first, second = (femtobarn.open(tmp_path / f"{w}.parquet").read() for w in (1, 2))
    assert ak.array_equal(first, second)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SimulationSettings(), "jets: beams and pile-up do not fit"),
        (LargeJetSettings(classes=("Hbbb",)), "there is no class of jets 'Hbbb'; did you mean 'Hbb'"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message, tmp_path):
    with pytest.raises(InputError, match=message):
        simulate("jets", 5, tmp_path / "x.parquet", settings=settings)
