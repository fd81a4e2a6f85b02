"""The HIGGS table: read as CSV or NPZ in bounded memory, refused in a sentence where it is no such table."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from femtobarn.data import open_sample
from femtobarn.errors import InputError
from femtobarn.recipes import higgs_uci_data
from femtobarn.recipes.higgs_uci_data import COLUMNS, DERIVED, find_table, to_parquet
from femtobarn.recipes.higgs_uci_fits import outer_folds


def table(rows: int, seed: int = 1) -> np.ndarray:
    """Rows like UCI's: a label and 28 numbers."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.3, 1.5, (rows, len(COLUMNS)))
    values[:, 0] = rng.integers(0, 2, rows)
    for k, name in enumerate(COLUMNS):
        if name.endswith("_tag"):
            values[:, k] = rng.integers(0, 3, rows) * higgs_uci_data.TAG_SCALES[name[:4]]
    return values


def write(path: Path, rows: np.ndarray) -> Path:
    np.savetxt(path, rows, fmt="%.9e", delimiter=",")
    return path


def test_csv_in_blocks_is_the_npz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table(3000)
    np.savez(tmp_path / "h.npz", X=rows[:, 1:].astype(np.float32), y=rows[:, 0].astype(np.int8))
    plain = write(tmp_path / "h.csv", rows)
    (tmp_path / "h.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    monkeypatch.setattr(higgs_uci_data, "BLOCK", 100_000)
    calls = []
    records = higgs_uci_data._records
    monkeypatch.setattr(higgs_uci_data, "_records", lambda block: calls.append(len(block)) or records(block))
    samples = []
    for name in ("h.npz", "h.csv", "h.csv.gz"):
        to_parquet(tmp_path / name, tmp_path / f"{name}.parquet")
        samples.append(open_sample(tmp_path / f"{name}.parquet"))
    assert max(calls[1:]) < 400, "the CSV is read block by block"
    for sample in samples[1:]:
        assert len(sample) == 3000
        for name in (*COLUMNS, DERIVED[0], DERIVED[-1]):
            np.testing.assert_allclose(sample.column(name), samples[0].column(name), rtol=1e-4, atol=1e-5)
    to_parquet(plain, tmp_path / "first.parquet", rows=500)
    assert len(open_sample(tmp_path / "first.parquet")) == 500


def test_folds_share_nothing_and_the_last_rows_can_judge(tmp_path: Path) -> None:
    to_parquet(write(tmp_path / "h.csv", table(300)), tmp_path / "h.parquet")
    sample = open_sample(tmp_path / "h.parquet")
    splits = outer_folds(sample, 5, 0, 1)
    assert np.array_equal(np.sort(np.concatenate([test for _, test in splits])), np.arange(300))
    assert all(not np.intersect1d(*split).size for split in splits)
    (last,) = outer_folds(sample, 5, 50, 1)
    assert len(last[0]) == 250 and last[1][0] == 250
    with pytest.raises(InputError, match="the table has 300 rows, which leaves none to train on"):
        outer_folds(sample, 5, 300, 1)


def spoil(rows: np.ndarray, column: int, value: float) -> np.ndarray:
    rows[7, column] = value
    return rows


BAD = {
    "missing column": (lambda r: r[:, :-1], "not rows of 29 numbers.*Expected 29 columns, got 28"),
    "one class": (lambda r: np.c_[np.ones(len(r)), r[:, 1:]], "all 60 rows are signal: two classes"),
    "constant": (
        lambda r: np.c_[r[:, :2], np.ones(len(r)), r[:, 3:]],
        "'lepton_eta' is the same in all rows",
    ),
    "label": (lambda r: spoil(r, 0, 2), "row 7: the label is 2, neither 0 nor 1"),
    "infinite": (lambda r: spoil(r, 4, np.inf), "row 7: 'met' is inf; it must be finite"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused(name: str, tmp_path: Path) -> None:
    change, message = BAD[name]
    path = write(tmp_path / "h.csv", change(table(60)))
    with pytest.raises(InputError, match=message):
        to_parquet(path, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("text", ["abc", ""])
def test_text_and_gaps_are_refused(text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "h.csv", table(60))
    lines = path.read_text().splitlines()
    lines[5] = ",".join([*lines[5].split(",")[:-1], text])
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match="29 numbers"):
        to_parquet(path, tmp_path / "out.parquet")


def test_absent_table_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEMTOBARN_TEST_DATA", str(tmp_path))
    with pytest.raises(InputError, match="set FEMTOBARN_TEST_DATA"):
        find_table("")
    np.savez(tmp_path / "x.npz", X=np.zeros((5, 3)), y=np.zeros(5))
    with pytest.raises(InputError, match=r"expected 'X' \(N, 28\)"):
        to_parquet(tmp_path / "x.npz", tmp_path / "out.parquet")


def test_csv_of_the_shared_rows_is_their_npz(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "higgs-uci" / "higgs_7000.npz"
    with np.load(source) as stored:
        rows = np.column_stack([stored["y"], stored["X"]])
    with gzip.open(tmp_path / "HIGGS.csv.gz", "wt") as file:
        np.savetxt(file, rows, fmt="%.18e", delimiter=",")
    found = []
    for path in (source, tmp_path / "HIGGS.csv.gz"):
        to_parquet(path, tmp_path / f"{path.name}.parquet")
        found.append(open_sample(tmp_path / f"{path.name}.parquet"))
    for name in ("label", *COLUMNS[1:], *DERIVED):
        np.testing.assert_array_equal(found[1].column(name), found[0].column(name))
