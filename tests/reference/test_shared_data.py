"""Other people's files: inspected, opened, converted there and back."""

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from femtobarn.data import Sample, convert, inspect, open_sample

ROOT_FILES = {
    "cms-nanoaod/nano_tt_v15.root": 200,
    "cms-nanoaod/NanoAODv5_sample.root": 1000,
    "cms-nanoaod/nano_dy.root": 40,
    "cms-nanoaod/nano_dimuon.root": 40,
    "scikit-hep/uproot-HZZ.root": 2421,
    "scikit-hep/uproot-Zmumu.root": 2304,
    "pybumphunter/data.root": 100_147,
}
TABLES = {
    "higgs-uci/higgs_7000.npz": 7000,
    "fair-higgsml/FAIR_Universe_HiggsML_1000.parquet": 1000,
    "lhco-rnd/innerdata_val.npy": 60_000,
    "spectra/cms_dijet_137fb.csv": 42,
    "cms-open-data/Zmumu_Run2011A.csv": 10_583,
    "trackml-mini/event000000001-hits.csv.gz": 5527,
}
OTHERS = ["spanet/full_hadronic_ttbar_8000.h5", "lhco-rnd/events_anomalydetection_tiny.h5"]
WANTED = [
    "run", "event", "Jet.pt", "Jet.eta", "Jet.nConstituents", "Muon.charge", "GenPart.pdgId", "HLT_IsoMu24",
    "nJet",
]  # fmt: skip


@pytest.mark.parametrize(("name", "rows"), [*ROOT_FILES.items(), *TABLES.items()])
def test_inspect(shared_data: Path, name: str, rows: int) -> None:
    contents = inspect(shared_data / name)
    assert contents.rows == rows
    assert len(str(contents).splitlines()) >= len(contents.scalars) + len(contents.collections)
    assert json.loads(contents.model_dump_json())["rows"] == rows


@pytest.mark.parametrize("name", OTHERS)
def test_inspect_files_without_rows(shared_data: Path, name: str) -> None:
    contents = inspect(shared_data / name)
    assert contents.rows is None and len(contents.datasets) >= 4


def test_nanoaod_collections(shared_data: Path) -> None:
    contents = inspect(shared_data / "cms-nanoaod/nano_tt_v15.root")
    assert contents.tree == "Events"
    assert contents.collections["Jet"].fields["btagUParTAK4B"] == "float32"
    assert contents.collections["LHEPdfWeight"].fields == {"": "float32"}
    assert {"Electron", "Muon", "GenPart", "PFCand", "SV"} <= set(contents.collections)


def test_against_uproot(shared_data: Path) -> None:
    uproot = pytest.importorskip("uproot")
    path = shared_data / "cms-nanoaod/nano_tt_v15.root"
    sample = open_sample(path)
    with uproot.open(path) as file:
        tree = file["Events"]
        rows = sample.read(30, 90, ["Jet.pt", "Jet.hadronFlavour", "event"])
        assert ak.array_equal(rows.Jet.pt, tree["Jet_pt"].array(entry_start=30, entry_stop=90))
        assert ak.array_equal(rows.event, tree["event"].array(entry_start=30, entry_stop=90))


@pytest.mark.parametrize(
    ("name", "jets", "b", "c"),
    [
        ("cms-nanoaod/nano_tt_v15.root", 1636, 348, 194),
        ("cms-nanoaod/NanoAODv5_sample.root", 9020, 1862, 850),
    ],
)
def test_one_row_per_jet(shared_data: Path, name: str, jets: int, b: int, c: int) -> None:
    sample = open_sample(shared_data / name, collection="Jet")
    assert len(sample) == jets
    flavour = np.abs(sample.column("hadronFlavour").astype(int))
    assert ((flavour == 5).sum(), (flavour == 4).sum()) == (b, c)
    # Jets of one event stay in one split.
    parts = [sample.split(split) for split in ("train", "valid", "test")]
    events = [set(zip(part.column("run"), part.column("event"), strict=True)) for part in parts]
    assert not (events[0] & events[1] or events[0] & events[2] or events[1] & events[2])
    whole = open_sample(shared_data / name).read(fields=["Jet.pt"])
    assert ak.array_equal(sample.read(500, 777, ["pt", "event"]).pt, ak.flatten(whole.Jet.pt)[500:777])


def assert_same(first: Sample, second: Sample, fields: list[str]) -> None:
    one, other = first.read(fields=fields), second.read(fields=fields)
    for name in one.fields:
        inner = one[name].fields
        for field in inner or [""]:
            pair = (one[name][field], other[name][field]) if inner else (one[name], other[name])
            assert ak.array_equal(*pair, dtype_exact=False, equal_nan=True), f"{name}.{field}"


@pytest.mark.parametrize("name", list(ROOT_FILES))
def test_converted_there_and_back(shared_data: Path, tmp_path: Path, name: str) -> None:
    original = open_sample(shared_data / name)
    names = set(original.schema.names)
    fields = [field for field in WANTED if field in names] if "cms" in name else original.schema.names
    path = convert(shared_data / name, tmp_path / "a.h5", fields=fields)
    for suffix in (".parquet", ".root", ".h5"):
        path = convert(path, path.with_name(f"{path.stem}{suffix[1]}{suffix}"))
    assert_same(original, open_sample(path), fields)


@pytest.mark.parametrize(("name", "suffix"), [("nano_tt_v15", ".parquet"), ("nano_dy", ".h5")])
def test_whole_nanoaod_event(shared_data: Path, tmp_path: Path, name: str, suffix: str) -> None:
    path = shared_data / "cms-nanoaod" / f"{name}.root"
    original = open_sample(path)
    assert_same(original, open_sample(convert(path, tmp_path / f"x{suffix}")), original.schema.names)


@pytest.mark.parametrize("name", ["cms-nanoaod/nano_dy.root", "scikit-hep/uproot-HZZ.root"])
def test_truncated(shared_data: Path, tmp_path: Path, name: str) -> None:
    from femtobarn.errors import InputError

    content = (shared_data / name).read_bytes()
    for keep in (0.001, 0.5, 0.99):
        path = tmp_path / "cut.root"
        path.write_bytes(content[: int(keep * len(content))])
        with pytest.raises(InputError, match=r"cut\.root"):
            convert(path, tmp_path / "out.parquet")
        assert not (tmp_path / "out.parquet").exists()
