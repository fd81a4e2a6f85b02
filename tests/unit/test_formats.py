"""What is written is read back, in every format, with units, class names and provenance."""

from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest

from femtobarn.data import append_columns, convert, from_memory, inspect, open_sample, open_writer
from femtobarn.data.nested import NestedWriter
from femtobarn.data.units import energy_power
from femtobarn.errors import InputError
from jets import CLASSES, make_jets

PROVENANCE = {"seed": 3, "settings": {"pileup": 20.0, "names": ["a", "b"]}, "version": "0.1.0"}


def write(path: Path, jets: ak.Array, layout: str = "atlas") -> Path:
    with open_writer(path, CLASSES, PROVENANCE, layout=layout) as writer:
        for start in range(0, len(jets), 700):
            writer.append(jets[start : start + 700])
    return path


def same(first: ak.Array, second: ak.Array) -> bool:
    """Equal to the last bit of single precision, whatever the width of integers."""
    if set(first.fields) != set(second.fields):
        return False
    return all(
        same(first[name], second[name])
        if first[name].fields
        else ak.array_equal(first[name], second[name], dtype_exact=False)
        or bool(ak.all(ak.isclose(first[name], second[name], rtol=3e-7)))
        for name in first.fields
    )


@pytest.mark.parametrize("name", ["x.h5", "nested.h5", "x.parquet", "x.root"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    jets = make_jets(2500)
    assert ak.any(ak.num(jets.tracks) == 0)
    sample = open_sample(write(tmp_path / name, jets, "nested" if name == "nested.h5" else "atlas"))
    assert len(sample) == len(jets)
    # A TTree holds the length of a list as a branch of its own.
    assert set(sample.schema.names) - {"ntracks"} == set(from_memory(jets).schema.names)
    assert same(sample.read()[jets.fields], jets)
    assert same(sample.read(690, 1410, jets.fields), jets[690:1410])
    assert len(sample.read(10, 10)) == 0
    some = sample.read(3, 900, ["tracks.d0", "eta"])
    assert some.fields == ["eta", "tracks"] and some.tracks.fields == ["d0"]
    assert ak.array_equal(some.tracks.d0, jets.tracks.d0[3:900])
    assert sample.schema.classes == CLASSES
    assert sample.attributes == PROVENANCE


def test_atlas_layout_as_others_read_it(tmp_path: Path) -> None:
    jets = make_jets(1200)
    with h5py.File(write(tmp_path / "x.h5", jets)) as file:
        assert file.attrs["units"] == "MeV" and file.attrs["unique_jets"] == 1200
        rows, tracks = file["jets"][:], file["tracks"][:]
        assert list(file["jets"].attrs["flavour_label"]) == CLASSES["flavour_label"]
        assert list(file["tracks"].attrs["ftagTruthOriginLabel"])[3] == "FromB"
        assert file["tracks"].chunks == (1000, 40) and file["tracks"].compression == "gzip"
    assert tracks.shape == (1200, 40)
    np.testing.assert_allclose(rows["pt_btagJes"], 1000 * ak.to_numpy(jets.pt), rtol=1e-6)
    np.testing.assert_array_equal(rows["eta_btagJes"], ak.to_numpy(jets.eta))
    np.testing.assert_array_equal(tracks["valid"].sum(axis=1), ak.num(jets.tracks))
    flat = tracks[tracks["valid"]]
    np.testing.assert_allclose(flat["qOverP"], ak.to_numpy(ak.flatten(jets.tracks.qOverP)) / 1000, rtol=1e-6)
    np.testing.assert_array_equal(flat["d0"], ak.to_numpy(ak.flatten(jets.tracks.d0)))


def foreign(path: Path, **attributes: str) -> Path:
    """A file as ATLAS dumps it: half precision, byte strings, gaps in `valid`, more than we know."""
    rng = np.random.default_rng(0)
    jets = np.zeros(
        5,
        [("pt_btagJes", "f4"), ("pt", "f4"), ("eta_btagJes", "f2"), ("name", "S4"), ("flavour_label", "i4")],
    )
    jets["pt_btagJes"], jets["pt"], jets["eta_btagJes"] = 50e3, 60e3, 1.5
    tracks = np.zeros((5, 4), [("pt", ">f4"), ("d0", "f2"), ("valid", "?")])
    tracks["pt"], tracks["d0"] = rng.uniform(1e3, 9e3, (5, 4)), 0.25
    tracks["valid"][:, [0, 2]] = True
    with h5py.File(path, "w") as file:
        file["jets"], file["tracks"] = jets, tracks
        file["jets"].attrs["flavour_label"] = np.array([b"bjets", b"cjets"])
        file.attrs.update(attributes)
    return path


def test_foreign_file(tmp_path: Path) -> None:
    path = foreign(tmp_path / "x.h5", units="MeV", config="{jets: 5, cuts: [a, b]}")
    sample = open_sample(path)
    rows = sample.read()
    # The file has `pt` of its own, so that `pt_btagJes` keeps its name; `eta` it has not.
    assert set(rows.fields) == {"pt", "pt_btagJes", "eta", "flavour_label", "tracks"}
    assert rows.pt.tolist() == [60.0] * 5 and rows.pt_btagJes.tolist() == [50.0] * 5
    assert ak.num(rows.tracks).tolist() == [2] * 5 and ak.max(rows.tracks.pt) < 9
    assert sample.schema.scalars["eta"] == np.float32 and sample.schema.classes == {
        "flavour_label": ["bjets", "cjets"]
    }
    assert sample.attributes == {"jets": 5, "cuts": ["a", "b"]}


def test_units_must_be_known(tmp_path: Path) -> None:
    path = foreign(tmp_path / "x.h5")
    with pytest.raises(InputError, match=r"x\.h5.*unit.*units='MeV'"):
        open_sample(path)
    assert open_sample(path, units="MeV").read().pt[0] == 60
    assert open_sample(path, units="GeV").read().pt[0] == 60e3
    with pytest.raises(InputError, match=r"'mev'.*MeV"):
        open_sample(path, units="mev")
    assert inspect(path).rows == 5


@pytest.mark.parametrize(
    ("name", "power"),
    [("pt", 1), ("pt_btagJes", 1), ("energy", 1), ("mass", 1), ("HadronConeExclTruthLabelPt", 1),
     ("truthPt", 1), ("qOverP", -1), ("qOverPUncertainty", -1), ("eta", 0), ("d0", 0), ("ptfrac", 0),
     ("z0SinTheta", 0), ("phi", 0), ("HadronConeExclTruthLabelLxy", 0), ("averageInteractionsPerCrossing", 0),
     ("numberOfPixelHits", 0), ("jetIndex", 0), ("flavour_label", 0), ("IP3D_signed_d0", 0)],
)  # fmt: skip
def test_which_fields_are_energies(name: str, power: int) -> None:
    assert energy_power(name) == power


def test_longer_than_the_layout_has_room_for(tmp_path: Path) -> None:
    """A writer that has to drop tracks refuses; converting makes room for the longest row."""
    long = ak.Array([{"pt": 1.0, "tracks": [{"d0": float(i)} for i in range(50)]}])
    with pytest.raises(InputError, match="row 0 has 50 tracks, the file has room for 30"):
        with open_writer(tmp_path / "x.h5", max_length=30) as writer:
            writer.append(long)
    assert list(tmp_path.iterdir()) == []
    with open_writer(tmp_path / "x.parquet") as writer:
        writer.append(long)
    convert(tmp_path / "x.parquet", tmp_path / "y.h5")
    assert open_sample(tmp_path / "y.h5").read().tracks.d0[0].tolist() == list(range(50))


NESTED = [
    {"run": 1, "name": "a", "hits": [[1.0, 2.0], []], "w": [0.5], "Jet": [{"pt": 1.0, "ids": [3, 4]}]},
    {"run": 2, "name": "", "hits": [], "w": [], "Jet": []},
    {"run": 3, "name": "long name", "hits": [[3.0]], "w": [1.0, 2.0],
     "Jet": [{"pt": 2.0, "ids": []}, {"pt": 3.0, "ids": [1]}]},
]  # fmt: skip


@pytest.mark.parametrize("suffix", [".h5", ".parquet", ".root"])
def test_strings_and_lists_of_lists(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / "source.parquet"
    ak.to_parquet(ak.Array(NESTED), source)
    sample = open_sample(convert(source, tmp_path / f"x{suffix}"))
    assert sample.read().to_list() == NESTED
    assert sample.read(1, 3, ["hits", "Jet.pt"]).to_list() == [
        {"hits": row["hits"], "Jet": [{"pt": jet["pt"]} for jet in row["Jet"]]} for row in NESTED[1:]
    ]
    assert set(sample.schema.other) == {"name", "hits", "Jet.ids"}


def test_nested_hdf5_is_as_documented(tmp_path: Path) -> None:
    with NestedWriter(tmp_path / "x.h5") as writer:
        writer.append(ak.Array(NESTED[:1]))
        writer.append(ak.Array(NESTED[1:]))
    with h5py.File(tmp_path / "x.h5") as file:
        events = file["events"]
        assert events["run"][:].tolist() == [1, 2, 3]
        assert events["hits/offsets"][:].tolist() == [0, 2, 2, 3]
        assert events["hits/content/offsets"][:].tolist() == [0, 2, 2, 3]
        assert events["hits/content/content"][:].tolist() == [1.0, 2.0, 3.0]
        assert events["Jet/content/pt"][:].tolist() == [1.0, 2.0, 3.0]
        assert bytes(events["name/content"][:]) == b"along name"


def test_tree_in_the_manner_of_nanoaod(tmp_path: Path) -> None:
    uproot = pytest.importorskip("uproot")
    jets = make_jets(50)
    with uproot.open(write(tmp_path / "x.root", jets)) as file:
        tree = file["Events"]
        assert {"pt", "ntracks", "tracks_d0"} <= set(tree.keys())
        assert ak.array_equal(tree["tracks_d0"].array(), jets.tracks.d0)
        assert tree["ntracks"].array().to_list() == ak.num(jets.tracks).to_list()


def test_vectors_with_a_common_prefix_are_rows(tmp_path: Path) -> None:
    uproot = pytest.importorskip("uproot")
    jets = make_jets(60)
    with uproot.recreate(tmp_path / "x.root") as file:
        tree = file.mktree("nominal", {"jet_pt": "var * float32", "jet_d0": "var * float32", "mu": "float32"},
                           counter_name=lambda name: f"count_{name}")  # fmt: skip
        tree.extend({"jet_pt": jets.tracks.pt, "jet_d0": jets.tracks.d0, "mu": ak.to_numpy(jets.pt)})
    sample = open_sample(tmp_path / "x.root", collection="jet")
    rows = sample.read()
    assert ak.array_equal(rows.d0, ak.flatten(jets.tracks.d0))
    np.testing.assert_array_equal(rows.mu, np.repeat(ak.to_numpy(jets.pt), ak.to_numpy(ak.num(jets.tracks))))
    assert ak.array_equal(sample.read(7, 31, ["mu", "pt"]).pt, ak.flatten(jets.tracks.pt)[7:31])
    with pytest.raises(InputError, match=r"'jets'.*'jet_pt'"):
        open_sample(tmp_path / "x.root", collection="jets")
    with pytest.raises(InputError, match=r"tree 'nomina'.*'nominal'"):
        open_sample(tmp_path / "x.root", tree="nomina")


def test_large_groups_of_parquet_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    jets = make_jets(2000)
    ak.to_parquet(jets, tmp_path / "x.parquet")
    calls: list[object] = []
    original = parquet.ParquetFile.read_row_groups
    monkeypatch.setattr(
        parquet.ParquetFile,
        "read_row_groups",
        lambda self, *a, **k: calls.append(a) or original(self, *a, **k),
    )
    parts = list(open_sample(tmp_path / "x.parquet").batches(300, ["pt", "tracks.d0"]))
    assert len(parts) == 7 and len(calls) == 1
    assert ak.array_equal(ak.concatenate(parts).tracks.d0, jets.tracks.d0)


@pytest.mark.parametrize("suffix", ["parquet", "h5", "root"])
def test_columns_of_a_table_are_written(suffix: str, tmp_path: Path) -> None:
    """Scores of a tagger are slices of one table, which lie apart in memory."""
    table = np.arange(30, dtype=np.float32).reshape(10, 3)
    with open_writer(tmp_path / f"x.{suffix}") as writer:
        writer.append(ak.zip({"pfn_pb": table[:, 0], "pfn_pc": table[:, 1]}, depth_limit=1))
    np.testing.assert_array_equal(open_sample(tmp_path / f"x.{suffix}").column("pfn_pc"), table[:, 1])


def test_columns_are_appended(tmp_path: Path) -> None:
    jets = make_jets(500)
    sample = open_sample(write(tmp_path / "x.h5", jets))

    def score(rows: ak.Array) -> ak.Array:
        return ak.zip(
            {"s_pb": rows.pt / 1000, "tracks": ak.zip({"s_heavy": rows.tracks.d0 * 2})}, depth_limit=1
        )

    scored = open_sample(append_columns(sample, score, tmp_path / "y.h5"))
    rows = scored.read()
    np.testing.assert_allclose(rows.s_pb, jets.pt / 1000, rtol=1e-6)
    assert ak.array_equal(rows.tracks.s_heavy, jets.tracks.d0 * 2)
    assert scored.schema.classes == CLASSES and ak.array_equal(rows.tracks.d0, jets.tracks.d0)
    with pytest.raises(InputError, match="rows were computed"):
        append_columns(sample, lambda rows: score(rows)[1:], tmp_path / "z.h5")
    with pytest.raises(InputError, match=r"y\.h5 has a field 's_pb' already"):
        append_columns(scored, score, tmp_path / "z.h5")
    with pytest.raises(InputError, match=r"y\.h5 has a field 'tracks\.s_heavy' already"):
        append_columns(scored, lambda rows: score(rows)[["tracks"]], tmp_path / "z.h5")
    assert not (tmp_path / "z.h5").exists()


def test_convert_keeps_chosen_fields(tmp_path: Path) -> None:
    source = write(tmp_path / "x.h5", make_jets(300))
    sample = open_sample(convert(source, tmp_path / "y.parquet", fields=["pt", "tracks.d0"]))
    assert sample.schema.names == ["pt", "tracks.d0"]
    assert sample.attributes["converted_from"] == ["x.h5"]
    with pytest.raises(InputError, match="one of the sources"):
        convert(source, source)
    with pytest.raises(InputError, match=r"'trakcs'.*'tracks"):
        convert(source, tmp_path / "z.parquet", fields=["trakcs"])
    with pytest.raises(InputError, match=r"\.docx"):
        convert(source, tmp_path / "z.docx")


@pytest.mark.parametrize("suffix", [".h5", ".parquet", ".root", ".npz"])
@pytest.mark.parametrize("keep", [0.0, 0.2, 0.6, 0.97])
def test_truncated(tmp_path: Path, suffix: str, keep: float) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".npz":
        np.savez(whole, X=np.zeros((1000, 3)), y=np.ones(1000))
    else:
        write(whole, make_jets(3000))
    content = whole.read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(InputError, match=rf"cut\{suffix}"):
        open_sample(path).read()


def test_tables(tmp_path: Path) -> None:
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6)
    np.savez(tmp_path / "x.npz", X=x, y=y)
    (tmp_path / "x.csv").write_text("a, b\n1,2.5\n3,4.5\n")
    rows = open_sample(tmp_path / "x.npz").read()
    assert rows.fields == ["X_0", "X_1", "y"] and rows.X_1.tolist() == [1, 3, 5, 7, 9, 11]
    assert open_sample(tmp_path / "x.csv").read().to_list() == [{"a": 1, "b": 2.5}, {"a": 3, "b": 4.5}]
    np.savez(tmp_path / "odd.npz", X=x, y=y[:3])
    with pytest.raises(InputError, match=r"odd\.npz.*one length"):
        open_sample(tmp_path / "odd.npz")
    assert inspect(tmp_path / "odd.npz").datasets == {"X": "float64 (6, 2)", "y": "int64 (3,)"}


def test_files_that_are_not_there(tmp_path: Path) -> None:
    write(tmp_path / "ttbar.h5", make_jets(10))
    with pytest.raises(InputError, match=r"ttbra\.h5.*'ttbar\.h5'"):
        open_sample(tmp_path / "ttbra.h5")
    with pytest.raises(InputError, match="no file matches"):
        open_sample(str(tmp_path / "zprime*.h5"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no"):
        open_sample(tmp_path / "empty")
    (tmp_path / "x.txt").write_text("hello")
    with pytest.raises(InputError, match=r"\.txt"):
        open_sample(tmp_path / "x.txt")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["INPUTS/pt"] = np.zeros((3, 2))
    with pytest.raises(InputError, match="inspect"):
        open_sample(tmp_path / "other.h5")
    assert inspect(tmp_path / "other.h5").datasets == {"INPUTS/pt": "float64 (3, 2)"}
