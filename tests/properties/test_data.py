"""Properties of packing, gathering and nested files that hold for any lengths."""

import tempfile
from pathlib import Path

import awkward as ak
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from femtobarn.data import Collection, Inputs, from_memory, to_batch
from femtobarn.data.columns import Columns, join
from femtobarn.data.nested import NestedReader, NestedWriter

LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=30)
INPUTS = Inputs(event=["x"], collections={"hits": Collection(features=["a", "b"], fields=["id"])})


def events(lengths: list[int]) -> ak.Array:
    total = sum(lengths)
    hits = ak.zip({name: np.arange(total) + shift for name, shift in (("a", 0.0), ("b", 0.5), ("id", 0))})
    return ak.Array({"x": np.arange(len(lengths), dtype=np.float32), "hits": ak.unflatten(hits, lengths)})


@given(LENGTHS, st.data())
def test_gathering_is_indexing(lengths: list[int], data: st.DataObject) -> None:
    array = events(lengths)
    rows = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=40)))
    cut = data.draw(st.integers(0, len(rows)))
    shuffled = Columns.of(to_batch(array, INPUTS), INPUTS).shuffled(rows)
    parts = [shuffled.batch(0, cut), shuffled.batch(cut, len(rows))]
    batch, expected = join([part for part in parts if len(part)]), to_batch(array[rows], INPUTS)
    np.testing.assert_array_equal(batch.event, expected.event)
    for name in ("values", "offsets"):
        found, wanted = (getattr(each.collections["hits"], name) for each in (batch, expected))
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(
        batch.collections["hits"].fields["id"], expected.collections["hits"].fields["id"]
    )


@given(LENGTHS, st.data())
def test_reading_rows_is_indexing(lengths: list[int], data: st.DataObject) -> None:
    array = events(lengths)
    rows = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=40)), dtype=np.int64)
    assert from_memory(array).take(rows).read().to_list() == array[rows].to_list()


VALUES = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.integers(-(2**40), 2**40),
            "text": st.text(max_size=4),
            "deep": st.lists(st.lists(st.floats(-10, 10, width=32), max_size=3), max_size=3),
            "jets": st.lists(
                st.fixed_dictionaries(
                    {"pt": st.floats(0, 9, width=32), "ids": st.lists(st.integers(0, 9), max_size=2)}
                ),
                max_size=3,
            ),
        }
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=30, deadline=None)
@given(VALUES, st.integers(0, 8), st.integers(0, 8))
def test_nested_file_returns_what_it_was_given(rows: list[dict[str, object]], cut: int, start: int) -> None:
    # A row with members everywhere fixes the type, which empty lists do not have.
    full = {"n": 1, "text": "x", "deep": [[1.0]], "jets": [{"pt": 1.0, "ids": [1]}]}
    array = ak.Array([full, *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.h5"
        with NestedWriter(path) as writer:
            writer.append(array[:cut])
            writer.append(array[cut:])
        reader = NestedReader(path)
        assert reader.read(0, len(array)).to_list() == array.to_list()
        assert reader.read(start, start + 3, ["jets.ids", "text"]).to_list() == [
            {"text": row["text"], "jets": [{"ids": jet["ids"]} for jet in row["jets"]]}
            for row in array[start : start + 3].to_list()
        ]
