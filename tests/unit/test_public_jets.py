"""Files in the layouts of the public jet data sets are inspected, converted and trained on as they are."""

import pickle
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
import yaml
from test_docs import PROJECT, blocks

from femtobarn import cli
from femtobarn.data import convert, inspect, open_sample
from femtobarn.errors import InputError
from femtobarn.tagging.candidates import CLASSES

JETS, ROOM = 400, 12
PIECES = (("isChargedHadron", 211), ("isNeutralHadron", 2112), ("isPhoton", 22), ("isMuon", -13))
MASSES = {211: 0.13957, 2112: 0.93957, 22: 0.0, -13: 0.10566}


class Toys:
    """Jets as padded arrays, (N, M) and (N, M, 4) of px, py, pz, energy, massless."""

    def __init__(self, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.label = rng.integers(0, 2, JETS)
        self.counts = rng.integers(1, ROOM + 1, JETS)
        self.counts[0] = ROOM
        self.real = np.arange(ROOM) < self.counts[:, None]
        pt = np.sort(rng.exponential(20, (JETS, ROOM)) + 1, axis=1)[:, ::-1]
        self.pt = np.where(self.real, pt, 0)
        self.eta, self.phi = (np.where(self.real, rng.normal(0, 0.4, (JETS, ROOM)), 0) for _ in range(2))
        self.momenta = np.stack(
            [
                self.pt * np.cos(self.phi),
                self.pt * np.sin(self.phi),
                self.pt * np.sinh(self.eta),
                self.pt * np.cosh(self.eta),
            ],
            -1,
        )
        self.codes = np.where(self.real, rng.choice([code for _, code in PIECES], (JETS, ROOM)), 0)

    def lists(self, values: np.ndarray) -> ak.Array:
        return ak.unflatten(values[self.real], self.counts)


@pytest.fixture(scope="module")
def toys() -> Toys:
    return Toys()


def jetclass(toys: Toys, **more: Any) -> dict[str, Any]:
    columns: dict[str, Any] = {
        f"part_{name}": toys.lists(toys.momenta[..., place].astype(np.float32))
        for place, name in enumerate(("px", "py", "pz", "energy"))
    }
    for place, name in enumerate(("d0val", "d0err", "dzval", "dzerr", "charge", "deta", "dphi")):
        columns[f"part_{name}"] = toys.lists(np.full((JETS, ROOM), place / 10, np.float32))
    for name, code in (*PIECES, ("isElectron", 11)):
        columns[f"part_{name}"] = toys.lists((toys.codes == code).astype(np.float32))
    kinds = np.arange(JETS) % len(CLASSES)
    columns |= {f"label_{name}": kinds == place for place, name in enumerate(CLASSES)}
    return columns | {"jet_pt": toys.pt.sum(1).astype(np.float32)} | more


def write_root(path: Path, columns: dict[str, Any]) -> Path:
    with uproot.recreate(path) as file:
        file["tree"] = columns
    return path


def write_parquet(path: Path, columns: dict[str, Any]) -> Path:
    stored = {
        name: ak.to_arrow(ak.Array(values), extensionarray=False, list_to32=True)
        for name, values in columns.items()
    }
    pq.write_table(pa.table(stored), path)
    return path


def write_top_tagging(path: Path, toys: Toys, momenta: np.ndarray, *, turned: bool = False) -> Path:
    names = [f"{name}_{place}" for place in range(200) for name in ("E", "PX", "PY", "PZ")]
    names += ["truthE", "truthPX", "truthPY", "truthPZ"]
    values = np.zeros((JETS, 804), np.float32)
    values[:, : 4 * ROOM] = momenta[..., [3, 0, 1, 2]].reshape(JETS, -1)
    if turned:
        names, values = names[::-1], values[:, ::-1]
    kind = [("index", "<i8"), ("values_block_0", "<f4", (804,)), ("values_block_1", "<i8", (2,))]
    rows = np.zeros(JETS, kind)
    rows["values_block_0"], rows["values_block_1"][:, 1] = values, toys.label
    with h5py.File(path, "w") as file:
        table = file.create_dataset("table/table", data=rows, chunks=(100,), compression="gzip")
        # What the text of numpy cuts off, the zeros at its end, a pickle of protocol 0 does not have.
        table.attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(names, 0))
        table.attrs["values_block_1_kind"] = np.bytes_(pickle.dumps(["ttv", "is_signal_new"], 0))
    return path


def write_quark_gluon(path: Path, toys: Toys, **more: Any) -> Path:
    stored = np.stack([toys.pt, toys.eta, toys.phi, toys.codes], -1)
    np.savez_compressed(path, **{"X": stored, "y": toys.label.astype(np.float64), **more})
    return path


def write_jetnet(path: Path, toys: Toys, mask: np.ndarray | None = None) -> Path:
    jet = np.stack([np.full(JETS, 1000.0), np.linspace(-1, 1, JETS), np.full(JETS, 80.0), toys.counts], -1)
    stored = np.zeros((JETS, 30, 4), np.float32)
    stored[:, :ROOM] = np.stack([toys.eta, toys.phi, toys.pt / 1000, toys.real if mask is None else mask], -1)
    with h5py.File(path, "w") as file:
        file["particle_features"], file["jet_features"] = stored, jet.astype(np.float32)
    return path


def agree(rows: ak.Array, toys: Toys, momenta: np.ndarray) -> None:
    assert ak.to_list(ak.num(rows.candidates)) == toys.counts.tolist()
    for place, name in enumerate(("px", "py", "pz", "energy")):
        expected = momenta[..., place][toys.real]
        np.testing.assert_allclose(ak.to_numpy(ak.flatten(rows.candidates[name])), expected, 3e-7, 1e-5)


@pytest.mark.parametrize("suffix", ["root", "parquet"])
def test_jetclass(tmp_path: Path, toys: Toys, suffix: str) -> None:
    write = {"root": write_root, "parquet": write_parquet}[suffix]
    weight = np.linspace(-1, 2, JETS)
    sample = open_sample(write(tmp_path / f"x.{suffix}", jetclass(toys, weight=weight)))
    rows = sample.read()
    agree(rows, toys, toys.momenta)
    assert sample.schema.classes == {"jet_label": list(CLASSES)}
    assert ak.to_list(rows.jet_label) == [k % 10 for k in range(JETS)]
    np.testing.assert_allclose(rows.mcEventWeight, weight, 1e-6)
    assert set(np.round(ak.flatten(rows.candidates.dzUncertainty), 5)) == {np.float32(0.3)}
    some = sample.read(30, 60, ["candidates.d0", "jet_pt", "fold"])
    assert some.fields == ["jet_pt", "fold", "candidates"] and some.candidates.fields == ["d0"]
    assert ak.to_list(ak.num(some.candidates)) == toys.counts[30:60].tolist()
    assert 0.5 < np.mean(rows.fold < 6) < 0.7 and ak.all(sample.read(30, 60).fold == rows.fold[30:60])


def test_other_files_of_weaver(tmp_path: Path, toys: Toys) -> None:
    columns = {name: values for name, values in jetclass(toys).items() if not name.startswith("label_")}
    sample = open_sample(write_parquet(tmp_path / "x.parquet", columns | {"label": toys.label.astype(float)}))
    assert sample.schema.classes == {"jet_label": ["0", "1"]}
    assert ak.to_list(sample.read().jet_label) == toys.label.tolist()


@pytest.mark.parametrize("turned", [False, True])
def test_top_tagging(tmp_path: Path, toys: Toys, turned: bool) -> None:
    sample = open_sample(write_top_tagging(tmp_path / "train.h5", toys, toys.momenta, turned=turned))
    rows = sample.read()
    agree(rows, toys, toys.momenta)
    assert sample.schema.classes == {"jet_label": ["QCD", "top"]}
    assert ak.to_list(rows.jet_label) == toys.label.tolist()
    assert ak.array_equal(sample.read(100, 130, ["candidates.pz"]).candidates.pz, rows.candidates.pz[100:130])
    assert len(sample.read(10, 10)) == 0
    assert inspect(tmp_path / "train.h5").collections["candidates"].longest == ROOM


def test_order_is_by_transverse_momentum(tmp_path: Path, toys: Toys) -> None:
    mixed = toys.momenta[:, ::-1]  # the padding first, the softest next
    rows = open_sample(write_top_tagging(tmp_path / "train.h5", toys, mixed)).read()
    agree(rows, toys, toys.momenta)


def test_quark_gluon(tmp_path: Path, toys: Toys) -> None:
    weights = np.linspace(0.5, 2, JETS)
    sample = open_sample(write_quark_gluon(tmp_path / "QG_jets.npz", toys, weights=weights))
    rows = sample.read()
    mass = np.vectorize(lambda code: MASSES.get(code, 0.0))(toys.codes)
    transverse = np.hypot(toys.pt, mass)
    expected = np.stack(
        [
            toys.momenta[..., 0],
            toys.momenta[..., 1],
            transverse * np.sinh(toys.eta),
            transverse * np.cosh(toys.eta),
        ],
        -1,
    )
    assert ak.to_list(rows.jet_label) == toys.label.tolist()
    for place, name in enumerate(("px", "py", "pz", "energy")):
        np.testing.assert_allclose(
            ak.to_numpy(ak.flatten(rows.candidates[name])), expected[..., place][toys.real], 1e-5, 1e-5
        )
    for name, code in PIECES:
        flags = ak.to_numpy(ak.flatten(rows.candidates[name]))
        assert np.array_equal(flags, (toys.codes == code)[toys.real])
    charges = {211: 1, 2112: 0, 22: 0, -13: 1}
    assert ak.to_list(ak.flatten(rows.candidates.charge)) == [charges[code] for code in toys.codes[toys.real]]
    np.testing.assert_allclose(rows.mcEventWeight, weights, 1e-6)
    assert inspect(tmp_path / "QG_jets.npz").classes == {"jet_label": ["gluon", "quark"]}


def test_jetnet(tmp_path: Path, toys: Toys) -> None:
    sample = open_sample([write_jetnet(tmp_path / "g.hdf5", toys), write_jetnet(tmp_path / "t30.hdf5", toys)])
    rows = sample.read()
    eta = toys.eta + np.linspace(-1, 1, JETS)[:, None]
    pt = toys.pt
    expected = np.stack(
        [pt * np.cos(toys.phi), pt * np.sin(toys.phi), pt * np.sinh(eta), pt * np.cosh(eta)], -1
    )
    agree(rows[:JETS], toys, expected)
    assert ak.to_list(rows.jet_label) == [0] * JETS + [2] * JETS
    assert ak.to_list(rows.jet_nparticles[:JETS]) == toys.counts.tolist()
    assert "jet_label" not in open_sample(write_jetnet(tmp_path / "mine.h5", toys)).schema.names


def truncated(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def bad_files(folder: Path, toys: Toys) -> dict[str, tuple[Path, str]]:
    two = jetclass(toys)
    two["label_Hbb"] = np.ones(JETS, bool)
    ragged = jetclass(toys)
    ragged["part_energy"] = ragged["part_energy"][:, 1:]
    codes = Toys()
    codes.codes = np.where(codes.real, 5_555_555, 0)
    label = Toys()
    label.label = label.label + 1
    short = folder / "short.hdf5"
    with h5py.File(write_jetnet(short, toys), "a") as file:
        del file["jet_features"]
        file["jet_features"] = np.zeros((JETS - 1, 4))
    flat = folder / "flat.npz"
    np.savez(flat, X=np.zeros((JETS, 5, 3)), y=toys.label)
    return {
        "two classes": (write_parquet(folder / "two.parquet", two), "exactly one of label_"),
        "ragged": (write_parquet(folder / "ragged.parquet", ragged), "different lengths"),
        "half a table": (
            truncated(write_top_tagging(folder / "half.h5", toys, toys.momenta)),
            "truncated or corrupt",
        ),
        "label": (write_top_tagging(folder / "label.h5", label, toys.momenta), "must be 0 or 1"),
        "codes": (write_quark_gluon(folder / "codes.npz", codes), "PDG code"),
        "labels": (write_quark_gluon(folder / "labels.npz", toys, y=toys.label[1:]), "'y' needs 400 numbers"),
        "half an archive": (truncated(write_quark_gluon(folder / "half.npz", toys)), "truncated or corrupt"),
        "three numbers": (flat, "pt, rapidity, azimuth and PDG code"),
        "short": (short, "399 jets"),
        "mask": (write_jetnet(folder / "mask.hdf5", toys, toys.real - 0.5), "mask"),
    }


def test_what_is_wrong_is_said_in_a_sentence(
    tmp_path: Path, toys: Toys, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for what, (path, message) in bad_files(tmp_path, toys).items():
        monkeypatch.setattr("sys.argv", ["femtobarn", "convert", str(path), str(tmp_path / "out.parquet")])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 2, what
        said = capsys.readouterr().err.strip()
        assert message in said and str(path) in said and "\n" not in said, said
        assert not (tmp_path / "out.parquet").exists()


def test_missing_column_is_named(tmp_path: Path, toys: Toys) -> None:
    with pytest.raises(InputError, match=r"no field 'candidates\.charge'"):
        open_sample(write_jetnet(tmp_path / "g.hdf5", toys)).read(fields=["candidates.charge"])


@pytest.mark.parametrize("name", ["x.parquet", "x.root", "x.h5"])
def test_converted_files_have_the_same_rows(tmp_path: Path, toys: Toys, name: str) -> None:
    source = write_top_tagging(tmp_path / "train.h5", toys, toys.momenta)
    rows, copied = open_sample(source).read(), open_sample(convert(source, tmp_path / name))
    assert copied.schema.classes == {"jet_label": ["QCD", "top"]}
    assert ak.array_equal(copied.read().candidates.energy, rows.candidates.energy)
    assert ak.array_equal(copied.read().fold, rows.fold, dtype_exact=False)


@pytest.mark.parametrize("method", ["part", "particlenet", "pfn"])
def test_configurations_of_the_page_train(
    tmp_path: Path, toys: Toys, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The YAML in the documentation, on files of this test, one epoch of a small network."""
    pages = (yaml.safe_load(block) for block in blocks(PROJECT / "docs" / "own-file.md", "yaml"))
    config = next(page for page in pages if page["method"]["name"] == method)
    small = {"width": 16, "heads": 2, "blocks": 1, "embedding": [16], "pair": [8]} if method == "part" else {}
    file = {
        "part": lambda: write_root(tmp_path / "x.root", jetclass(toys)),
        "particlenet": lambda: write_top_tagging(tmp_path / "x.h5", toys, toys.momenta),
        "pfn": lambda: write_quark_gluon(tmp_path / "x.npz", toys),
    }[method]()
    config["data"] = {"train": str(file)}
    config["method"] |= small
    config["training"] = {"epochs": 1, "batch_size": 64, "progress": "none"}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["femtobarn", "train", str(path)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0


def test_all_missing_fields_are_named(tmp_path: Path, toys: Toys) -> None:
    sample = open_sample(write_top_tagging(tmp_path / "train.h5", toys, toys.momenta))
    with pytest.raises(InputError, match=r"no fields 'candidates\.charge', 'candidates\.d0'; leave them out"):
        sample.read(fields=["candidates.px", "candidates.charge", "candidates.d0"])
