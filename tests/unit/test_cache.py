"""The cache holds what the sample holds; the loader delivers every row once, in an order one can resume."""

import os
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import torch

from femtobarn.data import (
    Batch,
    Loader,
    PackedCache,
    from_memory,
    open_sample,
    open_writer,
    reweight,
    to_batch,
)
from femtobarn.data.columns import join
from femtobarn.errors import InputError
from jets import CLASSES, INPUTS, make_jets


def same(first: Batch, second: Batch) -> bool:
    pairs = [(first.event, second.event), (first.weights, second.weights)]
    pairs += [(first.labels[name], second.labels[name]) for name in second.labels]
    pairs += [(first.fields[name], second.fields[name]) for name in second.fields]
    for name, other in second.collections.items():
        ragged = first.collections[name]
        pairs += [(ragged.values, other.values), (ragged.offsets, other.offsets)]
        pairs += [(ragged.fields[key], other.fields[key]) for key in other.fields]
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def jets() -> ak.Array:
    return make_jets(2000)


@pytest.fixture(scope="module")
def cache(jets: ak.Array, tmp_path_factory: pytest.TempPathFactory) -> PackedCache:
    return PackedCache.build(from_memory(jets, CLASSES), INPUTS, tmp_path_factory.mktemp("cache"))


def kept(jets: ak.Array) -> ak.Array:
    """The jets whose flavour INPUTS knows: all but taus."""
    return jets[jets.flavour_label != 3]


def test_holds_what_the_sample_holds(cache: PackedCache, jets: ak.Array) -> None:
    expected = to_batch(kept(jets), INPUTS, CLASSES)
    assert len(cache) == len(expected) and cache.dropped == 2000 - len(cache) > 0
    assert same(cache.batch(0, len(cache)), expected)
    assert same(cache.batch(700, 710), to_batch(kept(jets)[700:710], INPUTS, CLASSES))
    assert cache.classes == {"jet": ["b", "c", "u"], "tracks.origin": ["primary", "heavy"]}
    assert cache.inputs == INPUTS


def test_scaling_is_the_weighted_one(cache: PackedCache, jets: ak.Array) -> None:
    rows = kept(jets)
    weights = np.abs(ak.to_numpy(rows.mcEventWeight).astype(np.float64))
    flat, tokens = ak.flatten(rows.tracks), np.repeat(weights, ak.to_numpy(ak.num(rows.tracks)))

    def moments(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
        mean = np.average(values, weights=weights)
        return mean, np.sqrt(np.average((values - mean) ** 2, weights=weights))

    event = [moments(ak.to_numpy(rows[name]).astype(np.float64), weights) for name in ("pt", "eta")]
    tracks = [
        moments(np.log(ak.to_numpy(flat.pt).astype(np.float64)), tokens),
        moments(ak.to_numpy(flat.d0).astype(np.float64), tokens),
        moments(np.clip(ak.to_numpy(flat.numberOfPixelHits), 0, 3).astype(np.float64), tokens),
    ]
    for fitted, expected in ((cache.scaling.event, event), (cache.scaling.collections["tracks"], tracks)):
        np.testing.assert_allclose(fitted.mean, [mean for mean, _ in expected], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(fitted.std, [std for _, std in expected], rtol=1e-6)


def test_scaling_of_constant_and_unscaled_features(tmp_path: Path) -> None:
    array = ak.Array({"x": np.full(50, 7e4, np.float32), "y": np.arange(50, dtype=np.float32)})
    inputs = type(INPUTS).model_validate({"event": ["x", {"name": "y", "standardise": False}]})
    moments = PackedCache.build(from_memory(array), inputs, tmp_path).scaling.event
    assert moments.mean == [7e4, 0.0] and moments.std == [1.0, 1.0]


def test_class_counts(cache: PackedCache, jets: ak.Array) -> None:
    rows = kept(jets)
    weights = np.abs(ak.to_numpy(rows.mcEventWeight))
    flavour = ak.to_numpy(rows.flavour_label)
    np.testing.assert_allclose(
        cache.class_counts("jet"), [weights[flavour == code].sum() for code in range(3)], rtol=1e-5
    )
    tokens = np.repeat(weights, ak.to_numpy(ak.num(rows.tracks)))
    origin = ak.to_numpy(ak.flatten(rows.tracks.ftagTruthOriginLabel))
    expected = [tokens[origin == 2].sum(), tokens[(origin == 3) | (origin == 4)].sum()]
    np.testing.assert_allclose(cache.class_counts("tracks.origin"), expected, rtol=1e-5)
    with pytest.raises(InputError, match="no task 'orign'"):
        cache.class_counts("orign")


def test_built_once_per_content(tmp_path: Path, jets: ak.Array) -> None:
    path = tmp_path / "x.h5"
    with open_writer(path, CLASSES) as writer:
        writer.append(jets)
    calls: list[tuple[int, int]] = []

    def build(sample: object = None, inputs: object = INPUTS) -> PackedCache:
        chosen = sample or open_sample(path)
        return PackedCache.build(
            chosen, inputs, tmp_path / "cache", lambda done, total: calls.append((done, total))
        )

    first = build()
    assert calls == [(2000, 2000)]
    assert build().folder == first.folder and len(calls) == 1
    others = [
        build(open_sample(path).split("train")),
        build(inputs=INPUTS.model_copy(update={"event": ["pt"]})),
    ]
    others.append(
        build(reweight(open_sample(path), "flavour_label", {"pt": [20, 100, 250]}, weight="mcEventWeight"))
    )
    os.utime(path, ns=(1, 1))
    others.append(build())
    assert len({first.folder, *(cache.folder for cache in others)}) == 5
    ratio = others[2].batch(0, 500).weights / to_batch(kept(jets), INPUTS, CLASSES).weights[:500]
    assert ratio.std() > 0.01
    assert {entry.parent for entry in (tmp_path / "cache").rglob("meta.json")} == {
        first.folder,
        *(c.folder for c in others),
    }


def test_nothing_to_train_on(tmp_path: Path, jets: ak.Array) -> None:
    with pytest.raises(InputError, match="no rows to train on"):
        PackedCache.build(from_memory(jets[:0], CLASSES), INPUTS, tmp_path)
    with pytest.raises(InputError, match="no row belongs to a class"):
        PackedCache.build(from_memory(jets[jets.flavour_label == 3], CLASSES), INPUTS, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"], "nothing half-written"


def test_damaged_cache_says_so(tmp_path: Path, jets: ak.Array) -> None:
    cache = PackedCache.build(from_memory(jets, CLASSES), INPUTS, tmp_path)
    values = cache.folder / "tracks.values.bin"
    values.write_bytes(values.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"tracks\.values\.bin ends too early"):
        cache.batch(0, len(cache))
    with pytest.raises(InputError, match="not a packed cache"):
        PackedCache(tmp_path / "nowhere")


def numbers(batches: list[Batch]) -> list[int]:
    return torch.cat([batch.fields["eventNumber"] for batch in batches]).tolist()


@pytest.mark.parametrize(("block", "buffer"), [(64, 256), (10, 10), (1024, 32768), (7, 100)])
def test_every_row_once_and_intact(cache: PackedCache, jets: ak.Array, block: int, buffer: int) -> None:
    loader = Loader(cache, 100, seed=3, block=block, buffer=buffer)
    batches = list(loader.iterate(epoch=2))
    assert len(batches) == loader.steps_per_epoch == len(cache) // 100
    assert {len(batch) for batch in batches} == {100}
    order = numbers(batches)
    assert len(set(order)) == len(order)
    assert same(join(batches), to_batch(jets[np.array(order)], INPUTS, CLASSES))


def test_shuffled_far_and_anew(cache: PackedCache) -> None:
    loader = Loader(cache, 100, block=16, buffer=512)
    first, second = (np.array(numbers(list(loader.iterate(epoch)))) for epoch in (0, 1))
    assert abs(np.corrcoef(np.arange(len(first)), first)[0, 1]) < 0.15
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15
    assert (np.abs(np.diff(first)) == 1).mean() < 0.05
    assert numbers(list(loader.iterate(1))) == second.tolist()
    assert numbers(list(Loader(cache, 100, seed=1, block=16, buffer=512).iterate(1))) != second.tolist()


def test_resumes_at_any_step(cache: PackedCache) -> None:
    loader = Loader(cache, 64, seed=9, block=50, buffer=200)
    whole = list(loader.iterate(4))
    for step in range(len(whole) + 1):
        rest = list(loader.iterate(4, first_step=step))
        assert len(rest) == len(whole) - step
        assert all(same(one, other) for one, other in zip(rest, whole[step:], strict=True))


def test_two_at_once(cache: PackedCache, jets: ak.Array) -> None:
    loader = Loader(cache, 64, seed=9, block=50, buffer=200)
    list(loader.iterate(0))  # leaves memory behind that only one of the two may take
    one, other = [], []
    for first, second in zip(loader.iterate(1), loader.iterate(2), strict=True):
        one.append(first)
        other.append(second)
    for batches, epoch in ((one, 1), (other, 2)):
        assert same(join(batches), to_batch(jets[np.array(numbers(batches))], INPUTS, CLASSES))
        assert numbers(batches) == numbers(list(Loader(cache, 64, 9, block=50, buffer=200).iterate(epoch)))


def test_resumes_at_the_end(tmp_path: Path, jets: ak.Array) -> None:
    cache = PackedCache.build(from_memory(kept(jets)[:1200], CLASSES), INPUTS, tmp_path)
    loader = Loader(cache, 100, block=30, buffer=300)
    assert loader.steps_per_epoch == 12
    assert [len(list(loader.iterate(0, step))) for step in (0, 11, 12, 13)] == [12, 1, 0, 0]


@pytest.mark.parametrize("world", [2, 3, 7])
def test_ranks_share_the_blocks(cache: PackedCache, world: int) -> None:
    loaders = [Loader(cache, 20, block=11, buffer=100, rank=rank, world=world) for rank in range(world)]
    for epoch in range(4):
        parts = [list(loader.iterate(epoch)) for loader in loaders]
        assert {len(part) for part in parts} == {loaders[0].steps_per_epoch}
        seen = [numbers(part) for part in parts]
        assert len(set().union(*seen)) == sum(len(part) for part in seen)
        assert sum(len(part) for part in seen) > 0.8 * len(cache)
    in_order = [Loader(cache, 20, shuffle=False, rank=rank, world=world) for rank in range(world)]
    batches = [batch for loader in in_order for batch in loader.iterate()]
    assert same(join(batches), cache.batch(0, len(cache)))
    assert sum(loader.steps_per_epoch for loader in in_order) == len(batches)


def test_in_order(cache: PackedCache) -> None:
    loader = Loader(cache, 300, shuffle=False)
    batches = list(loader.iterate())
    assert len(batches) == loader.steps_per_epoch == -(-len(cache) // 300)
    assert same(join(batches), cache.batch(0, len(cache)))
    assert same(join(list(loader.iterate(first_step=2))), cache.batch(600, len(cache)))


def test_fewer_rows_than_a_batch(tmp_path: Path, jets: ak.Array) -> None:
    cache = PackedCache.build(from_memory(kept(jets)[:17], CLASSES), INPUTS, tmp_path)
    loader = Loader(cache, 1000)
    assert loader.steps_per_epoch == 1
    assert sorted(numbers(list(loader.iterate(5)))) == kept(jets).eventNumber[:17].to_list()
    with pytest.raises(InputError, match="cannot be shared by 18"):
        Loader(cache, 1, world=18)
    with pytest.raises(InputError, match="batch size 0"):
        Loader(cache, 0)
