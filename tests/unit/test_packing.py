"""Arrays become batches: ordered, cut, labelled, checked."""

import awkward as ak
import numpy as np
import pytest
import torch

from femtobarn.data import Collection, Inputs, Label, from_memory, to_batch
from femtobarn.data.packing import Place, fields_of, labelled_batches
from femtobarn.errors import InputError
from jets import CLASSES, INPUTS, make_jets


def test_batch_holds_what_the_array_holds() -> None:
    jets = make_jets(200)
    batch = to_batch(jets, INPUTS, CLASSES)
    tracks = batch.collections["tracks"]
    np.testing.assert_array_equal(batch.event, np.stack([jets.pt, jets.eta], axis=1))
    np.testing.assert_array_equal(batch.weights, jets.mcEventWeight)
    np.testing.assert_array_equal(batch.fields["eventNumber"], jets.eventNumber)
    assert batch.labels["jet"].tolist() == [[0, 1, 2, -1][code] for code in jets.flavour_label]
    np.testing.assert_array_equal(tracks.lengths, ak.num(jets.tracks))
    # Raw values: the logarithm and the clip of INPUTS belong to the network.
    flat = ak.flatten(jets.tracks)
    np.testing.assert_array_equal(tracks.values, np.stack([flat.pt, flat.d0, flat.numberOfPixelHits], axis=1))
    origin = [{2: 0, 3: 1, 4: 1}.get(code, -1) for code in flat.ftagTruthOriginLabel]
    assert tracks.fields["origin"].tolist() == origin
    np.testing.assert_array_equal(tracks.fields["ftagTruthVertexIndex"], flat.ftagTruthVertexIndex)
    assert tracks.values.dtype == batch.event.dtype == torch.float32


def test_ordered_and_cut() -> None:
    jets = make_jets(300)
    inputs = Inputs(collections={"tracks": Collection(features=["d0"], order_by="d0", max_length=4)})
    tracks = to_batch(jets, inputs).collections["tracks"]
    expected = [sorted(row, key=abs, reverse=True)[:4] for row in jets.tracks.d0.to_list()]
    assert ak.unflatten(tracks.values[:, 0].numpy(), tracks.lengths.numpy()).to_list() == expected
    cut = Inputs(collections={"tracks": Collection(features=["d0"], max_length=4)})
    assert (
        to_batch(jets, cut).collections["tracks"].values[:, 0].tolist()
        == ak.flatten(jets.tracks.d0[:, :4]).to_list()
    )


def test_selected_before_they_are_cut() -> None:
    jets = make_jets(300)
    ranges = {"pt": (1.0, None), "d0": (None, 0.1)}
    inputs = Inputs(
        collections={"tracks": Collection(features=["d0"], select=ranges, order_by="d0", max_length=3)}
    )
    assert {"tracks.pt", "tracks.d0"} <= set(fields_of(inputs))
    tracks = to_batch(jets, inputs).collections["tracks"]
    kept = jets.tracks[(jets.tracks.pt >= 1.0) & (jets.tracks.d0 < 0.1)]
    expected = [sorted(row, key=abs, reverse=True)[:3] for row in kept.d0.to_list()]
    assert ak.unflatten(tracks.values[:, 0].numpy(), tracks.lengths.numpy()).to_list() == expected
    assert 0 < len(tracks.values) < len(ak.flatten(jets.tracks.d0))
    # Every track, in the order of the file, keeps its own or learns that it was left out.
    read, d0 = tracks.as_read(tracks.values[:, 0].numpy(), np.nan), ak.to_numpy(ak.flatten(jets.tracks.d0))
    assert np.isfinite(read).sum() == len(tracks.values)
    np.testing.assert_array_equal(read[np.isfinite(read)], d0[np.isfinite(read)])
    np.testing.assert_array_equal(tracks.counts_as_read, ak.num(jets.tracks))


def test_selection_needs_a_number_and_a_range() -> None:
    jets = make_jets(5)
    d0 = ak.to_numpy(ak.flatten(jets.tracks.d0)).copy()
    d0[2] = np.nan
    broken = ak.with_field(jets, ak.unflatten(d0, ak.num(jets.tracks)), ("tracks", "d0"))
    inputs = Inputs(collections={"tracks": Collection(features=["pt"], select={"d0": (-1.0, 1.0)})})
    row = int(np.repeat(np.arange(5), ak.num(jets.tracks))[2])
    with pytest.raises(InputError, match=f"row {row}: 'tracks.d0', by which the inputs select, is nan"):
        to_batch(broken, inputs)
    for limits in ((1.0, -1.0), (1.0, 1.0), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="d0: nothing lies from"):
            Collection(features=["pt"], select={"d0": limits})


def test_no_tracks_at_all() -> None:
    jets = make_jets(5)
    bare = ak.with_field(jets, jets.tracks[:, :0], "tracks")
    tracks = to_batch(bare, INPUTS, CLASSES).collections["tracks"]
    assert tracks.values.shape == (0, 3) and tracks.lengths.tolist() == [0] * 5
    assert len(to_batch(jets[:0], INPUTS, CLASSES)) == 0


def test_without_labels_needs_no_truth() -> None:
    jets = make_jets(20)
    measured = ak.with_field(
        jets[["pt", "eta", "eventNumber"]], jets.tracks[["pt", "d0", "numberOfPixelHits"]], "tracks"
    )
    batch = to_batch(measured, INPUTS.without_labels())
    assert batch.labels == {} and torch.equal(batch.event, to_batch(jets, INPUTS, CLASSES).event)
    with pytest.raises(InputError, match="'flavour_label'"):
        to_batch(measured, INPUTS, CLASSES)


def test_codes_without_names() -> None:
    label = Label(field="hadronFlavour", classes={"b": ["5"], "c": ["4"], "u": ["0", "21"]})
    array = ak.Array({"pt": [1.0] * 5, "hadronFlavour": [5, 0, 21, 4, -7]})
    assert to_batch(array, Inputs(event=["pt"], labels={"jet": label})).labels["jet"].tolist() == [
        0,
        2,
        2,
        1,
        -1,
    ]
    with pytest.raises(InputError, match=r"by number.*'bjets'|go by number"):
        to_batch(array, Inputs(labels={"jet": Label(field="hadronFlavour", classes={"b": ["bjets"]})}))


def spoil(jets: ak.Array, row: int, value: float) -> ak.Array:
    """The same jets with one track's d0, in a jet that has several, replaced."""
    d0 = ak.to_numpy(ak.flatten(jets.tracks.d0)).copy()
    d0[int(np.sum(ak.num(jets.tracks)[:row])) + 1] = value
    tracks = ak.with_field(jets.tracks, ak.unflatten(d0, ak.num(jets.tracks)), "d0")
    return ak.with_field(jets, tracks, "tracks")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value: float) -> None:
    jets = make_jets(100)
    row = int(np.flatnonzero(ak.to_numpy(ak.num(jets.tracks)) > 2)[30])
    with pytest.raises(InputError, match=rf"x\.h5, row {row}: feature 'tracks\.d0' is -?(nan|inf)"):
        to_batch(spoil(jets, row, value), INPUTS, CLASSES, Place("x.h5"))
    sample = from_memory(spoil(jets, row, value), CLASSES, "toy").take(np.arange(row - 3, 100))
    inputs = INPUTS.model_copy(update={"labels": {}})
    with pytest.raises(InputError, match=rf"toy, row {row}: feature"):
        list(labelled_batches(sample, inputs, 7))


def test_values_outside_a_transform() -> None:
    jets = ak.with_field(make_jets(5), np.array([1, 2, -3, 4, 5], np.float32), "mcEventWeight")
    inputs = Inputs.model_validate({"event": [{"name": "mcEventWeight", "transform": "log"}]})
    with pytest.raises(InputError, match=r"row 2: feature 'mcEventWeight' is -3, which has no log"):
        to_batch(jets, inputs)


def test_weight_and_target_must_be_finite() -> None:
    jets = ak.with_field(make_jets(5), np.array([1, 2, np.nan, 4, 5], np.float32), "w")
    for inputs in (Inputs(weight="w"), Inputs(targets=["w"])):
        with pytest.raises(InputError, match="row 2: 'w' is nan"):
            to_batch(jets, inputs)


def test_label_outside_its_classes() -> None:
    jets = make_jets(5)
    odd = ak.with_field(jets, np.array([0, 1, 2, 4, 0], np.int8), "flavour_label")
    with pytest.raises(InputError, match=r"row 3: label 'flavour_label' is 4, outside its 4 classes bjets"):
        to_batch(odd, INPUTS, CLASSES)
    few = {**CLASSES, "flavour_label": ["bjets", "ujets"]}
    with pytest.raises(InputError, match=r"'flavour_label' has no class cjets for 'c'.*'ujets'|'bjets'"):
        to_batch(ak.with_field(jets, np.zeros(5, np.int8), "flavour_label"), INPUTS, few)


def test_absent_fields() -> None:
    with pytest.raises(InputError, match=r"'tracks\.d1'.*'tracks\.d0'"):
        to_batch(make_jets(5), Inputs(collections={"tracks": Collection(features=["d1"])}))
    assert fields_of(INPUTS) == [
        "pt", "eta", "flavour_label", "eventNumber", "mcEventWeight", "tracks.pt", "tracks.d0",
        "tracks.numberOfPixelHits", "tracks.ftagTruthOriginLabel", "tracks.ftagTruthVertexIndex",
    ]  # fmt: skip


def test_what_is_no_number() -> None:
    array = ak.Array([{"x": 1.0, "name": "a"}, {"x": None, "name": "b"}])
    for field in ("x", "name"):
        with pytest.raises(InputError, match=rf"'{field}' is of type"):
            to_batch(array, Inputs(event=[field]))
