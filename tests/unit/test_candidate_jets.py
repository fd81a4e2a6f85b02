"""Jets as candidates, of ten classes and of quarks and gluons: how each must look, and what its truth is."""

import awkward as ak
import numpy as np
import pytest

import femtobarn
from femtobarn.data.inputs import Label
from femtobarn.errors import InputError
from femtobarn.physics.kinematics import wrap
from femtobarn.simulation import JetSettings, SimulationSettings, simulate
from femtobarn.simulation.calorimeter import JetTable
from femtobarn.simulation.jet_classes import JET_CLASSES, jet_classes
from femtobarn.simulation.partons import QUARK_GLUON, parton_labels
from femtobarn.simulation.pythia import Record
from femtobarn.tagging.candidates import CLASSES, candidate_inputs
from femtobarn.tagging.pfn import PFN

FAST = "PartonLevel:MPI = off"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    out = tmp_path_factory.mktemp("jets") / "jets.parquet"
    settings = JetSettings(classes=("QCD", "Hbb", "Tbl", "Wqq"))
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


def record(ids, mothers, eta, pt=100.0):
    """One event of particles at phi = 0."""
    n, eta = len(ids), np.asarray(eta, dtype=np.float64)
    pt, zero = np.broadcast_to(pt, n).astype(np.float64), np.zeros(n)
    return Record(
        counts=np.array([n]), pdg_id=np.array(ids, dtype=np.int32), final=np.ones(n, dtype=bool),
        mother=np.array(mothers), px=pt, py=zero, pz=pt * np.sinh(eta), energy=pt * np.cosh(eta),
        x=zero, y=zero, z=zero, weight=np.ones(1),
    )  # fmt: skip


def axes(eta):
    """Jets of one event at phi = 0."""
    n = len(eta)
    return JetTable(np.zeros(n, dtype=np.int64), np.full(n, 600.0), np.array(eta), *np.zeros((4, n)))


def test_a_decay_that_is_not_inside_leaves_the_jet_out():
    """A W to two quarks, one of them 0.7 or 0.9 from the axis of the only jet; a top to b mu nu."""

    jets = axes([0.0])
    for eta, expected in ((0.7, "Wqq"), (0.9, None)):
        (code,) = jet_classes(record([24, 24, 2, -1], [-1, 0, 1, 1], [0, 0, 0.1, eta]), jets, 0.8)[
            "jet_label"
        ]
        assert code == (JET_CLASSES.index(expected) if expected else -1)
    top = record([6, 6, 24, 5, 24, -13, 14], [-1, 0, 1, 1, 2, 4, 4], [0, 0, 0, 0.1, 0, 0.2, 3.0])
    assert jet_classes(top, jets, 0.8)["jet_label"] == JET_CLASSES.index("Tbl")
    assert jet_classes(record([21, 21], [-1, -1], [0, 0]), jets, 0.8)["jet_label"] == 0


def test_same_jets_whatever_the_number_of_workers(tmp_path):
    settings = JetSettings(classes=("Zqq", "QCD"))
    for workers in (1, 2):
        simulate("jets", 450, tmp_path / f"{workers}.parquet", seed=3, workers=workers, settings=settings)
    first, second = (femtobarn.open(tmp_path / f"{w}.parquet").read() for w in (1, 2))
    assert ak.array_equal(first, second)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SimulationSettings(), "jets: beams and pile-up do not fit"),
        (JetSettings(classes=("Hbbb",)), "there is no class of jets 'Hbbb'; did you mean 'Hbb'"),
        (JetSettings(classes=("quark", "Hbb")), "classes of jets are quark, Hbb: gluon and quark go with no"),
        (JetSettings(jet_pt_max=500), "from calorimeter.jet_pt_min = 500 to jet_pt_max = 500 GeV is empty"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message, tmp_path):
    with pytest.raises(InputError, match=message):
        simulate("jets", 5, tmp_path / "x.parquet", settings=settings)


def test_a_jet_is_named_after_its_hardest_parton():
    """A quark of 800 GeV between two jets belongs to the nearer; the other is that of the gluon it radiates.
    Soft and far partons and what is no parton do not count."""
    ids = [2, 2, 21, 21, -5, 111, 6, 3]
    pt = [800.0, 500.0, 300.0, 700.0, 0.5, 900.0, 900.0, 40.0]
    eta = [0.2, 0.0, 0.5, 1.1, -1.0, 0.5, 0.5, -1.45]
    found = parton_labels(record(ids, np.full(8, -1), eta, pt), axes([0.0, 0.6, -1.0]), 0.4)
    assert found["PartonTruthLabelID"].tolist() == [2, 21, 0]
    assert [QUARK_GLUON[code] if code >= 0 else "none" for code in found["jet_label"]] == [
        "quark", "gluon", "none",
    ]  # fmt: skip
    wider = parton_labels(record(ids, np.full(8, -1), eta, pt), axes([0.0, 0.6, -1.0]), 0.5)
    assert wider["PartonTruthLabelID"].tolist() == [2, 21, 3]


SMALL = {"classes": ["gluon", "quark"], "calorimeter": {"jet_radius": 0.4}}
"""What the command line takes: settings of the detector that are not named keep their values."""


@pytest.fixture(scope="module")
def dijets(tmp_path_factory):
    """Jets of R = 0.4, by the hard processes they are from."""
    folder = tmp_path_factory.mktemp("dijets")
    ways = {"all": (FAST,)} | {
        way: (FAST, "HardQCD:all = off", f"HardQCD:{way} = on") for way in ("qqbar2gg", "qg2qg")
    }
    for way, lines in ways.items():
        settings = JetSettings.model_validate({**SMALL, "pythia": lines})
        simulate("jets", 600 if way == "all" else 200, folder / f"{way}.parquet", settings=settings)
    return {way: femtobarn.open(folder / f"{way}.parquet") for way in ways}


def test_quarks_and_gluons_are_those_of_the_hard_process(dijets):
    def share(way, code):
        return np.mean(dijets[way].column("jet_label") == code)

    assert dijets["all"].schema.classes["jet_label"] == list(QUARK_GLUON)
    assert share("qqbar2gg", 0) > 0.9
    assert 0.4 < share("qg2qg", 0) < 0.6
    for way in dijets:
        label, parton = dijets[way].column("jet_label"), dijets[way].column("PartonTruthLabelID")
        assert np.array_equal(label == 0, parton == 21) and np.all(parton > 0)
        assert set(dijets[way].column("fold")) <= set(range(10))


def test_radius_and_range_are_settings(dijets, sample, tmp_path):
    def reach(rows):
        c = rows.candidates
        dphi = wrap(ak.to_numpy(ak.flatten(np.arctan2(c.py, c.px) - rows.phi)))
        deta = ak.to_numpy(ak.flatten(np.arcsinh(c.pz / np.hypot(c.px, c.py)) - rows.eta))
        return np.hypot(deta, dphi)[ak.to_numpy(ak.flatten(c.charge)) != 0].max()

    rows = dijets["all"].read()
    assert ak.all((rows.pt > 500) & (rows.pt < 1000) & (abs(rows.eta) < 2))
    assert 0.35 < reach(rows) < 0.42 and 0.7 < reach(sample.read()) < 0.82  # resolution
    soft = SMALL | {"calorimeter": {"jet_pt_min": 100}, "jet_pt_max": 300, "pythia": [FAST]}
    settings = JetSettings.model_validate(soft)
    simulate("jets", 200, tmp_path / "soft.parquet", settings=settings)
    pt = femtobarn.open(tmp_path / "soft.parquet").column("pt")
    assert len(pt) > 150 and pt.min() > 100 and pt.max() < 300 and 100 < np.median(pt) < 250


def test_same_quarks_and_gluons_in_two_workers(dijets, tmp_path):
    settings = JetSettings.model_validate({**SMALL, "pythia": (FAST,)})
    simulate("jets", 250, tmp_path / "two.parquet", settings=settings, workers=2)
    rows = dijets["all"].read()
    assert ak.array_equal(femtobarn.open(tmp_path / "two.parquet").read(), rows[rows.eventNumber < 250])


def test_gluons_have_more_particles(dijets):
    """1.3 to 1.8 times as many as quarks of 500 to 1000 GeV: 9/4 are the colour factors' limit."""
    rows = dijets["all"].read()
    number, label = ak.to_numpy(ak.num(rows.candidates)), ak.to_numpy(rows.jet_label)
    assert 1.3 < number[label == 0].mean() / number[label == 1].mean() < 1.8


def test_weights_give_the_spectrum_of_collisions(dijets, tmp_path):
    """The share of jets above 650 GeV, against collisions that nothing enriches."""
    plain = JetSettings.model_validate({**SMALL, "pythia": (FAST, "PhaseSpace:bias2Selection = off")})
    simulate("jets", 1000, tmp_path / "plain.parquet", settings=plain)
    pt = femtobarn.open(tmp_path / "plain.parquet").column("pt")
    expected, error = np.mean(pt > 650), np.sqrt(0.2 / len(pt))
    weight, hard = dijets["all"].column("mcEventWeight"), dijets["all"].column("pt") > 650
    share = weight[hard].sum() / weight.sum()
    spread = np.sqrt(np.sum(weight**2 * (hard - share) ** 2)) / weight.sum()
    assert abs(share - expected) < 3 * np.hypot(error, spread)
    assert hard.mean() > share + 5 * spread


def test_a_tagger_takes_quarks_and_gluons_unchanged(dijets):
    classes = {"gluon": ["gluon"], "quark": ["quark"]}
    inputs = candidate_inputs().model_copy(
        update={"labels": {"jet": Label(field="jet_label", classes=classes)}}
    )
    sample = dijets["all"]
    training = PFN().default_training().model_copy(update={"epochs": 8, "batch_size": 64, "seed": 1})
    tagger = PFN().fit(sample, sample, inputs, training)
    scores = tagger.predict(sample)
    quark = ak.to_numpy(scores.pfn_pquark)
    label = sample.column("jet_label")
    assert quark[label == 1].mean() > quark[label == 0].mean() + 0.1
