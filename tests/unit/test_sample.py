"""A sample is a lazy view of files; what it reads is what plain numpy indexing of all rows gives."""

import pickle
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from femtobarn.data import Sample, convert, from_memory, mix, open_sample, open_writer
from femtobarn.data.splits import fold_of
from femtobarn.errors import InputError
from jets import CLASSES, make_jets

FIELDS = ["eventNumber", "pt", "tracks.d0"]


@pytest.fixture(scope="module")
def jets() -> ak.Array:
    return make_jets(3000)


@pytest.fixture(scope="module")
def files(jets: ak.Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same jets in three files of different length."""
    folder = tmp_path_factory.mktemp("files")
    for number, (start, stop) in enumerate([(0, 1100), (1100, 1900), (1900, 3000)]):
        with open_writer(folder / f"part{number}.h5", CLASSES) as writer:
            writer.append(jets[start:stop])
    return folder


def assert_rows(sample: Sample, jets: ak.Array, rows: np.ndarray) -> None:
    assert len(sample) == len(rows)
    for start, stop in ((0, len(rows)), (len(rows) // 3, len(rows) // 2), (0, 1), (5, 5)):
        array = sample.read(start, stop, FIELDS)
        assert array.eventNumber.tolist() == rows[start:stop].tolist()
        assert ak.array_equal(array.tracks.d0, jets.tracks.d0[rows[start:stop]])


def test_files_in_order(files: Path, jets: ak.Array) -> None:
    for source in (files, f"{files}/part*.h5", sorted(files.iterdir())):
        sample = open_sample(source)
        assert len(sample.files) == 3
        assert_rows(sample, jets, np.arange(3000))
    parts = list(open_sample(files).batches(700, FIELDS))
    assert [len(part) for part in parts] == [700] * 4 + [200]
    assert ak.array_equal(ak.concatenate(parts).tracks.d0, jets.tracks.d0)


def test_views_of_views(files: Path, jets: ak.Array) -> None:
    sample = open_sample(files)
    fold, pt, eta = (ak.to_numpy(jets[name]) for name in ("fold", "pt", "eta"))
    rows = np.arange(3000)
    assert_rows(sample.split("train"), jets, rows[fold < 6])
    assert_rows(sample.folds(3, 8), jets, rows[(fold == 3) | (fold == 8)])
    central = (pt >= 50) & (pt < 100) & (np.abs(eta) < 1)
    assert_rows(sample.select(pt=(50, 100), abs_eta=(0, 1)), jets, rows[central])
    few = sample.select(pt=(50, 100), abs_eta=(0, 1)).split("test").head(20)
    assert_rows(few, jets, rows[central & (fold > 6)][:20])
    shuffled = np.random.default_rng(0).permutation(3000)[:500]
    assert_rows(sample.take(shuffled), jets, shuffled)
    repeated = np.repeat(rows[100:300], 3)
    assert_rows(sample.take(repeated), jets, repeated)
    assert sample.take(np.array([5, 1899, 1100])).locate(1) == f"{files}/part1.h5, row 799"


def test_splits_cover_everything_once(files: Path) -> None:
    sample = open_sample(files)
    seen = np.concatenate([sample.split(name).column("eventNumber") for name in ("train", "valid", "test")])
    assert sorted(seen.tolist()) == list(range(3000))


def test_split_reads_only_folds(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = open_sample(files)
    asked = []
    for reader in sample.readers:
        original = reader.read
        monkeypatch.setattr(
            reader, "read", lambda a, b, f=None, o=original: asked.append(tuple(f)) or o(a, b, f)
        )
    sample.split("valid")
    assert set(asked) == {("fold",)}


def test_split_without_folds(jets: ak.Array) -> None:
    numbered = from_memory(jets[["pt", "eventNumber", "runNumber"]])
    expected = fold_of("", 0, ak.to_numpy(jets.runNumber), 0, ak.to_numpy(jets.eventNumber))
    assert numbered.split("valid").column("eventNumber").tolist() == np.flatnonzero(expected == 6).tolist()
    bare = from_memory(jets[["pt"]])
    with pytest.raises(InputError, match=r"neither 'fold' nor 'eventNumber'.*split: row.*by='row'"):
        bare.split("valid")
    assert sum(len(bare.split(name, by="row")) for name in ("train", "valid", "test")) == 3000
    with pytest.raises(InputError, match="the train split is empty"):
        from_memory(jets[ak.to_numpy(jets.fold) > 6]).split("train")
    with pytest.raises(InputError, match=r"'trian'.*'train'"):
        numbered.split("trian")


def test_absent_field_names_file_and_closest(files: Path) -> None:
    sample = open_sample(files)
    with pytest.raises(InputError, match=r"part0\.h5.*'tracks\.d1'.*'tracks\.d0'"):
        sample.read(0, 10, ["tracks.d1"])
    with pytest.raises(InputError, match=r"part0\.h5.*'ptt'.*'pt'"):
        sample.select(ptt=(0, 1))
    with pytest.raises(InputError, match="not one number per row"):
        sample.column("tracks")


def test_files_of_different_content(tmp_path: Path, files: Path, jets: ak.Array) -> None:
    less = convert(
        files / "part0.h5", tmp_path / "less.parquet", fields=["eventNumber", "tracks.d0", "tracks.pt"]
    )
    both = open_sample([less, files / "part1.h5"])
    assert set(both.schema.names) == {"eventNumber", "tracks.d0", "tracks.pt"}
    assert both.read().eventNumber.tolist() == list(range(1900))
    other = {**CLASSES, "flavour_label": ["ujets", "cjets", "bjets", "taujets"]}
    with open_writer(tmp_path / "other.h5", other) as writer:
        writer.append(jets[:10])
    with pytest.raises(InputError, match=r"other\.h5.*classes"):
        _ = open_sample([files / "part0.h5", tmp_path / "other.h5"]).schema
    with pytest.raises(InputError, match="classes"):
        first, second = (open_sample(file) for file in (files / "part0.h5", tmp_path / "other.h5"))
        mix({"a": first, "b": second}, {"a": 0.5, "b": 0.5})


def test_samples_travel_to_other_processes(files: Path, jets: ak.Array, tmp_path: Path) -> None:
    tree = open_sample(convert(files, tmp_path / "x.root"))
    for sample in (open_sample(files), tree):
        sample.read(0, 10)
        assert_rows(pickle.loads(pickle.dumps(sample.take(np.arange(50, 1500)))), jets, np.arange(50, 1500))


def test_files_side_by_side(files: Path, jets: ak.Array, tmp_path: Path) -> None:
    """Scores kept in a file of their own, per jet and per track, read as if they were in the first."""
    path, n = files / "part1.h5", 800
    scores = ak.zip(
        {
            "score": np.arange(n, dtype=np.float32),
            "pt": np.zeros(n, np.float32),
            "tracks": ak.zip({"origin": ak.values_astype(jets.tracks.d0[1100:1900] > 0, np.int8)}),
        },
        depth_limit=1,
    )
    with open_writer(tmp_path / "scores.parquet") as writer:
        writer.append(scores)
    sample = open_sample(path).beside(open_sample(tmp_path / "scores.parquet"))
    rows = sample.take(np.array([700, 3])).read(fields=["score", "pt", "tracks.origin", "tracks.d0"])
    assert rows.score.tolist() == [700, 3]
    assert ak.array_equal(rows.pt, jets.pt[[1800, 1103]])  # the first file's, where both have one
    assert ak.array_equal(rows.tracks.origin, ak.values_astype(rows.tracks.d0 > 0, np.int8))
    with pytest.raises(InputError, match=r"800 rows and .* 1100"):
        open_sample(files / "part0.h5").beside(open_sample(path))
    with pytest.raises(InputError, match="only whole files"):
        sample.head(5).beside(sample)
    fewer = from_memory(ak.zip({"tracks": ak.zip({"a": jets.tracks.d0[1100:1900][:, :1]})}, depth_limit=1))
    with pytest.raises(InputError, match="differ in number"):
        open_sample(path).beside(fewer).read(fields=["tracks.a", "tracks.d0"])
