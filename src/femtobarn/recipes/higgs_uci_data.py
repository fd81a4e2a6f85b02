"""The HIGGS table of UCI: its columns, reading them in bounded memory, and what is derived from them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from femtobarn.data.parquet import ParquetWriter
from femtobarn.data.tables import arrays_of
from femtobarn.errors import InputError
from femtobarn.physics.semileptonic import Semileptonic, four_vectors, observables

__all__ = ["DERIVED", "HIGH", "LOW", "find_table", "to_parquet"]

OBJECTS = ("jet1", "jet2", "jet3", "jet4")
JETS = [f"{jet}_{field}" for jet in OBJECTS for field in ("pt", "eta", "phi", "tag")]
LOW = ("lepton_pt", "lepton_eta", "lepton_phi", "met", "met_phi", *JETS)
HIGH = ("m_jj", "m_jjj", "m_lv", "m_jlv", "m_bb", "m_wbb", "m_wwbb")
COLUMNS = ("label", *LOW, *HIGH)
"""Of `HIGGS.csv`, which has no header."""

PT_SCALES = {"lepton": 54.5, "met": 58.5, "jet1": 142.5, "jet2": 105.5, "jet3": 75.7, "jet4": 54.74}
"""Mean momenta (GeV), by which the table's columns are divided. The table does not say them; they follow from
it without the labels: jets begin at 20 GeV, which gives those of jet 3 and 4; the sharp edge of the table's
m_bb over the mass of the two tagged jets gives the ratios of all four; the transverse mass, which m_lv equals
above that of the W, and its peak at 80.4 GeV give the product of lepton and met, and m_jlv their ratio."""
ETA_SCALES = {"lepton": 1.0288, "jet1": 0.8418, "jet2": 0.8593, "jet3": 0.9165, "jet4": 1.0018}
"""Deviations of pseudorapidity: all end at 2.5."""
PHI_SCALE = np.pi / 1.7427
TAG_SCALES = {"jet1": 1.08654, "jet2": 1.10744, "jet3": 1.27411, "jet4": 1.55098}
"""The lower of two values that the tags of jets have besides zero."""

BLOCK = 1 << 24
"""Bytes of CSV read at once."""


def find_table(given: str) -> Path:
    """The table: the one given, else `higgs-uci/higgs_7000.npz` below $FEMTOBARN_TEST_DATA or ../shared/data.

    Raises:
        InputError: when there is none.
    """
    folder = Path(os.environ.get("FEMTOBARN_TEST_DATA", "../shared/data"))
    path = Path(given) if given else folder / "higgs-uci" / "higgs_7000.npz"
    if not path.is_file():
        raise InputError(
            f"{path}: there is no such file; set FEMTOBARN_TEST_DATA to the folder of independent samples, "
            "or give HIGGS.csv of UCI with --set file=HIGGS.csv"
        )
    return path


def to_parquet(source: Path, target: Path, rows: int | None = None) -> None:
    """The table with what is derived from it as Parquet, block by block, whole or not at all.

    Args:
        source: `HIGGS.csv`, `HIGGS.csv.gz`, or an NPZ file with `X` (N, 28) and `y` (N,).
        target: the file written; `label` has the classes background and signal.
        rows: the first so many; None: all.

    Raises:
        InputError: for a table with other columns, with text or gaps, with labels besides 0 and 1, of one
            class only, or with a column that is the same in all rows.
    """
    seen = [0, 0]
    low, high = np.full(len(COLUMNS), np.inf), np.full(len(COLUMNS), -np.inf)
    with ParquetWriter(target, classes={"label": ["background", "signal"]}) as writer:
        for block in _blocks(source):
            block = block if rows is None else block[: max(rows - sum(seen), 0)]
            if not len(block):
                break
            _check(block, source, sum(seen))
            low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
            for label in (0, 1):
                seen[label] += int((block[:, 0] == label).sum())
            writer.append(_records(block))
        if not all(seen):
            raise InputError(
                f"{source}: all {sum(seen):,} rows are {'signal' if seen[1] else 'background'}: two classes "
                "are needed"
            )
        if (low == high).any():
            name = COLUMNS[int(np.argmax(low == high))]
            raise InputError(f"{source}: column '{name}' is the same in all rows: it tells nothing apart")


def derived(columns: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """`physics.semileptonic.observables` of the low-level columns."""
    vectors = {
        name: four_vectors(
            columns[f"{name}_pt"] * PT_SCALES[name],
            columns[f"{name}_eta"] * ETA_SCALES[name],
            columns[f"{name}_phi"] * PHI_SCALE,
        )
        for name in ("lepton", *OBJECTS)
    }
    met, phi = columns["met"] * PT_SCALES["met"], columns["met_phi"] * PHI_SCALE
    event = Semileptonic(
        lepton=vectors["lepton"],
        met=np.stack([met * np.cos(phi), met * np.sin(phi)], axis=1),
        jets=np.stack([vectors[name] for name in OBJECTS], axis=1),
        tags=np.stack([np.rint(columns[f"{name}_tag"] / TAG_SCALES[name]) for name in OBJECTS], axis=1),
    )
    return {f"derived_{name}": values for name, values in observables(event).items()}


def _names() -> tuple[str, ...]:
    rng = np.random.default_rng(0)
    return tuple(derived({name: rng.uniform(0.5, 1.5, 2) for name in LOW}))


DERIVED = _names()


def _records(block: NDArray[np.float64]) -> ak.Array:
    columns = {name: block[:, k] for k, name in enumerate(COLUMNS)}
    labels = columns.pop("label").astype(np.int8)
    numbers = {name: values.astype(np.float32) for name, values in {**columns, **derived(columns)}.items()}
    return ak.zip({"label": labels, **numbers})


def _blocks(source: Path) -> Iterator[NDArray[np.float64]]:
    """Rows (n, 29) of the table, some at a time."""
    if source.suffix != ".npz":
        yield from _csv_blocks(source)
        return
    arrays = arrays_of(source)
    if not {"X", "y"} <= arrays.keys() or arrays["X"].shape != (len(arrays["y"]), len(COLUMNS) - 1):
        shapes = {name: array.shape for name, array in arrays.items()}
        raise InputError(f"{source}: expected 'X' (N, 28) and 'y' (N,), found {shapes}")
    if arrays["X"].dtype.kind not in "fiu" or arrays["y"].dtype.kind not in "fiub":
        raise InputError(
            f"{source}: 'X' and 'y' must be numbers, not {arrays['X'].dtype}, {arrays['y'].dtype}"
        )
    yield np.concatenate([arrays["y"][:, None], arrays["X"]], axis=1).astype(np.float64)


def _csv_blocks(source: Path) -> Iterator[NDArray[np.float64]]:
    options: dict[str, Any] = {
        "read_options": pa.csv.ReadOptions(column_names=COLUMNS, block_size=BLOCK, use_threads=False),
        "convert_options": pa.csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.float64())),
    }
    try:
        with pa.csv.open_csv(source, **options) as reader:
            for batch in reader:
                for name, column in zip(COLUMNS, batch.columns, strict=True):
                    if column.null_count:
                        raise InputError(f"{source}: column '{name}' has gaps; every row needs 29 numbers")
                yield np.stack([column.to_numpy() for column in batch.columns], axis=1)
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{source}: not rows of 29 numbers without a header, the label and 28 features ({reason})"
        ) from error


def _check(block: NDArray[np.float64], source: Path, before: int) -> None:
    if not np.isfinite(block).all():
        row, column = (int(entry[0]) for entry in np.nonzero(~np.isfinite(block)))
        raise InputError(
            f"{source}, row {before + row}: '{COLUMNS[column]}' is {block[row, column]}; it must be finite"
        )
    strange = ~np.isin(block[:, 0], (0, 1))
    if strange.any():
        row = int(np.argmax(strange))
        raise InputError(f"{source}, row {before + row}: the label is {block[row, 0]:g}, neither 0 nor 1")
