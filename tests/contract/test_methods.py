"""The contract: what every registered method satisfies, checked without a line that knows any of them.

A method that cannot satisfy an item declares the item and its reason in `contract_exempt`. Items about
networks are skipped for classical methods, which say so with `trains_network = False`.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from typing import Any

import awkward as ak
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from synthetic import synthetic

import femtobarn.learn
from femtobarn import registry
from femtobarn.data.packing import to_batch
from femtobarn.data.ragged import Batch, Ragged
from femtobarn.data.sample import Sample, from_memory
from femtobarn.errors import InputError
from femtobarn.learn.export import export, largest_difference
from femtobarn.learn.method import Classifier
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.nn.preprocess import Preprocess, Statistics

QUICK = Training(epochs=2, batch_size=100, progress="none", accelerator="cpu", learning_rate=1e-3)

pytestmark = pytest.mark.parametrize(
    "name",
    [
        name
        for name in registry.names("methods")
        if issubclass(registry.find("methods", name), Classifier | Scorer)
    ],
)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Bit-for-bit comparisons on one device, and two cores shared with others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def fitted() -> Any:
    """Each method fitted once, quickly."""
    made: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in made:
            method = make(name)
            train, valid = (synthetic(method.default_inputs(), 300, seed) for seed in (1, 2))
            made[name] = method.fit(train, valid, training=QUICK)
        return made[name]

    return get


def make(name: str, item: str = "", network: bool = False) -> Any:
    """A new method; skips what it is exempt from, and items on networks where there is none."""
    cls = registry.find("methods", name)
    if hasattr(cls, "needs"):
        pytest.importorskip(cls.needs)
    if network and not cls.trains_network:
        pytest.skip("a classical method")
    if item in cls.contract_exempt:
        pytest.skip(cls.contract_exempt[item])
    return cls(**cls.contract_parameters)


def batch_of(sample: Sample, method: Any) -> Batch:
    """Rows as a batch whose tokens count as read in the order they are packed in."""
    batch = to_batch(sample.read(), method.inputs or method.default_inputs(), sample.schema.classes)
    for ragged in batch.collections.values():
        ragged.source = None
    return batch


def answers(method: Any, batch: Batch) -> ak.Array:
    """What a fitted method makes of a batch, whatever its verb."""
    records: ak.Array = getattr(method, f"{method.verb}_batch")(batch)
    return records


def whole(method: Any, source: Any, **options: Any) -> ak.Array:
    """What a fitted method makes of a sample or an array of events."""
    records: ak.Array = getattr(method, method.verb)(source, **options)
    return records


def network_of(method: Any, seed: int = 0) -> torch.nn.Module:
    """An untrained network with the statistics of a synthetic sample."""
    torch.manual_seed(seed)
    inputs = method.default_inputs()
    method.inputs, method.module = inputs, method.network(inputs, statistics(method))
    return method.module


def statistics(method: Any) -> Statistics:
    from femtobarn.data.scaling import ScalingFit

    inputs = method.default_inputs()
    fit = ScalingFit(inputs)
    fit.add(batch_of(synthetic(inputs, 200, 5), method))
    counts = {task: [1.0] * len(label.classes) for task, label in inputs.labels.items()}
    for name, collection in inputs.collections.items():
        counts |= {f"{name}.{task}": [1.0] * len(label.classes) for task, label in collection.labels.items()}
    return Statistics(fit.result(), counts)


def total(method: Any, batch: Batch) -> torch.Tensor:
    torch.manual_seed(0)  # mirror images and dropout drawn in training are the same each time
    return torch.stack(list(method.loss(method.module(batch), batch).values())).sum()


def take(batch: Batch, events: NDArray[np.int64], shuffle: int | None = None) -> tuple[Batch, dict[str, Any]]:
    """Events of a batch, in any order and number, their tokens in order or shuffled; and which tokens."""
    chosen = torch.as_tensor(events)
    rng = np.random.default_rng(shuffle)
    collections, tokens = {}, {}
    for name, ragged in batch.collections.items():
        rows = []
        for event in events.tolist():
            own = np.arange(int(ragged.offsets[event]), int(ragged.offsets[event + 1]))
            rows.append(own if shuffle is None else rng.permutation(own))
        index = torch.from_numpy(np.concatenate([*rows, np.zeros(0, np.int64)]).astype(np.int64))
        offsets = torch.from_numpy(np.cumsum([0, *map(len, rows)]).astype(np.int64))
        fields = {field: value[index] for field, value in ragged.fields.items()}
        collections[name], tokens[name] = Ragged(ragged.values[index], offsets, fields), index.numpy()
    labels = {task: value[chosen] for task, value in batch.labels.items()}
    fields = {field: value[chosen] for field, value in batch.fields.items()}
    return Batch(batch.event[chosen], collections, labels, batch.weights[chosen], fields), tokens


def columns(records: ak.Array) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Predicted columns per event, and per token (flat) by collection."""
    events, tokens = {}, {}
    for field in records.fields:
        if records[field].ndim == 1:
            events[field] = ak.to_numpy(records[field])
        else:
            tokens[field] = {f: ak.to_numpy(ak.flatten(records[field][f])) for f in records[field].fields}
    return events, tokens


def assert_same(
    ours: ak.Array, theirs: ak.Array, events: Any, tokens: dict[str, Any], exact: bool = False
) -> None:
    """`ours` is what `theirs` says of these events and tokens; integers per token are groups in an event."""
    (our_events, our_tokens), (their_events, their_tokens) = columns(ours), columns(theirs)
    tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-4, "atol": 2e-6}
    assert list(our_events) == list(their_events) and list(our_tokens) == list(their_tokens)
    for field, values in our_events.items():
        np.testing.assert_allclose(values, their_events[field][events], **tolerance, err_msg=field)
    for name, fields in our_tokens.items():
        for field, values in fields.items():
            expected = their_tokens[name][field][tokens[name]]
            if np.issubdtype(values.dtype, np.integer):
                event = np.repeat(np.arange(len(ours)), ak.to_numpy(ak.num(ours[name])))
                same = np.unique(np.stack([event, values, expected]), axis=1).shape[1]
                groups = {np.unique(np.stack([event, x]), axis=1).shape[1] for x in (values, expected)}
                assert groups == {same}, field
            else:
                np.testing.assert_allclose(values, expected, **tolerance, err_msg=field)


def test_step_lowers_the_loss(name: str) -> None:
    method = make(name, "loss_falls", network=True)
    module = network_of(method)
    batch = batch_of(synthetic(method.default_inputs(), 64, 1), method)
    batch.weights = batch.weights.abs()
    optimiser = torch.optim.SGD(module.parameters(), lr=1e-3)
    before = total(method, batch)
    before.backward()
    optimiser.step()
    assert total(method, batch).item() < before.item()


def test_gradients_reach_every_parameter(name: str) -> None:
    method = make(name, "gradients", network=True)
    module = network_of(method)
    total(method, batch_of(synthetic(method.default_inputs(), 64, 1), method)).backward()
    without = [key for key, value in module.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


def test_empty_events_train(name: str) -> None:
    """A batch in which no event has a token gives a loss and finite gradients."""
    method = make(name, "empty_events", network=True)
    module = network_of(method)
    inputs = method.default_inputs()
    total(method, batch_of(synthetic(inputs, 20, 1, np.zeros(20, np.int64)), method)).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in module.parameters())
    assert any(p.grad is not None and p.grad.any() for p in module.parameters())


def test_tokens_are_unordered(name: str, fitted: Any) -> None:
    make(name, "permutation")
    method = fitted(name)
    batch = batch_of(synthetic(method.inputs, 50, 3), method)
    shuffled, tokens = take(batch, np.arange(50), shuffle=1)
    assert_same(answers(method, shuffled), answers(method, batch), np.arange(50), tokens)


def test_events_are_independent(name: str, fitted: Any) -> None:
    """Of the other events in the batch, of their order, and of how much padding the longest would ask for."""
    make(name, "batch_composition")
    method = fitted(name)
    lengths = np.r_[np.arange(20), 40, 0, 0, 1]
    batch = batch_of(synthetic(method.inputs, len(lengths), 3, lengths), method)
    whole = answers(method, batch)
    for events in ([3], [0], [21, 0], [5, 20, 2], [23, 1], np.arange(len(lengths))[::-1].copy()):
        part, tokens = take(batch, np.asarray(events))
        assert_same(answers(method, part), whole, np.asarray(events), tokens)


def test_weights_scale_out(name: str) -> None:
    make(name, "weight_scale")
    compare_weights(name, lambda sample, field: scaled(sample, field, 16.0), lambda sample, field: sample)


def test_weight_two_is_the_event_twice(name: str) -> None:
    make(name, "weight_two")
    compare_weights(
        name,
        lambda sample, field: scaled(sample, field, np.where(np.arange(len(sample)) % 3 == 0, 2.0, 1.0)),
        lambda sample, field: sample.take(
            np.sort(np.r_[np.arange(len(sample)), np.arange(0, len(sample), 3)])
        ),
    )


def compare_weights(name: str, one: Any, other: Any) -> None:
    """Two variants of a sample give the same loss, or for a classical method the same fit."""
    method = make(name)
    inputs = method.default_inputs()
    sample = synthetic(inputs, 240, 4)
    samples = [variant(sample, inputs.weight) for variant in (one, other)]
    if method.trains_network:
        network_of(method).eval()
        with torch.no_grad():
            losses = [method.loss(method.module(b), b) for b in (batch_of(s, method) for s in samples)]
        for task in losses[0]:
            assert float(losses[0][task]) == pytest.approx(float(losses[1][task]), rel=2e-5, abs=1e-7), task
    else:
        first, second = (whole(make(name).fit(s), sample) for s in samples)
        order = {key: np.arange(ak.count(sample.read()[key][sample.read()[key].fields[0]]))
                 for key in inputs.collections}  # fmt: skip
        assert_same(first, second, np.arange(240), order)


def scaled(sample: Sample, field: str | None, factor: Any) -> Sample:
    """The sample with other weights."""
    assert field is not None, "a method reads the event weight"
    array = sample.read()
    return from_memory(ak.with_field(array, ak.values_astype(array[field] * factor, np.float32), field),
                       sample.schema.classes)  # fmt: skip


def test_saved_is_loaded(name: str, fitted: Any, tmp_path: Any) -> None:
    make(name, "save_load")
    method = fitted(name)
    method.save(tmp_path / "model")
    loaded = femtobarn.learn.load(tmp_path / "model")
    assert type(loaded) is type(method) and loaded.parameters == method.parameters
    assert loaded.inputs == method.inputs and loaded.history == method.history
    batch = batch_of(synthetic(method.inputs, 40, 6), method)
    tokens = {key: np.arange(len(ragged.values)) for key, ragged in batch.collections.items()}
    assert_same(answers(loaded, batch), answers(method, batch), np.arange(40), tokens, exact=True)


def test_seed_repeats(name: str, fitted: Any) -> None:
    make(name, "seed")
    method, again = fitted(name), make(name)
    train, valid = (synthetic(method.inputs, 300, seed) for seed in (1, 2))
    again.fit(train, valid, training=QUICK)
    assert checksum(again) == checksum(method)
    if method.trains_network:
        other = make(name).fit(train, valid, training=QUICK.with_(seed=2))
        assert checksum(other) != checksum(method)


def checksum(method: Any) -> dict[str, int]:
    return {key: zlib.crc32(np.ascontiguousarray(value).tobytes()) for key, value in method.state().items()}


def test_overfits(name: str) -> None:
    method = make(name, "overfit", network=True)
    inputs = method.default_inputs()
    lengths = np.random.default_rng(0).integers(3, 12, 64)
    sample = synthetic(inputs.model_copy(update={"weight": None}), 64, 9, lengths)
    sample = from_memory(
        ak.with_field(sample.read(), np.ones(64, np.float32), inputs.weight), sample.schema.classes
    )
    # What small networks bear is too much for large ones, whose paper says so.
    paper = method.default_training().learning_rate
    rate = 3e-3 if paper >= 1e-3 else paper
    training = Training(epochs=160, batch_size=64, learning_rate=rate, schedule="cosine", progress="none",
                        accelerator="cpu")  # fmt: skip
    method.fit(sample, training=training)
    if method.verb == "predict":
        batch = batch_of(sample, method)
        predicted = probabilities(method, answers(method, batch))
        assert (predicted.argmax(0) == batch.labels[method.label].numpy()).mean() > 0.95
        assert method.history[-1]["train_total"] < 0.5 * method.history[0]["train_total"]
    else:  # what it knows by heart is less unusual than what it does not
        others = synthetic(inputs, 64, 10, lengths)
        score = f"{method.name}_score"
        assert ak.mean(whole(method, sample)[score]) < ak.mean(whole(method, others)[score])
        assert method.history[-1]["train_total"] < method.history[0]["train_total"]


def probabilities(method: Any, records: ak.Array) -> NDArray[Any]:
    """(classes, events)."""
    return np.stack([ak.to_numpy(records[f"{method.name}_p{c}"]) for c in method.classes])


def test_exported_is_the_same(name: str, fitted: Any, tmp_path: Any) -> None:
    make(name, "onnx", network=True)
    method = fitted(name)
    file = export(method, tmp_path / "model.onnx")
    scatters = [node for node in onnx.load(file).graph.node if node.op_type == "ScatterND"]
    # Threads of onnxruntime that add to one row lose terms, now and then.
    assert not [
        node.name
        for node in scatters
        if any(a.name == "reduction" and a.s != b"none" for a in node.attribute)
    ]
    layer = next(layer for layer in method.module.modules() if isinstance(layer, Preprocess))
    generator = torch.Generator().manual_seed(7)
    for lengths in (torch.randint(0, 41, (1000,), generator=generator), torch.zeros(3, dtype=torch.int64),
                    torch.tensor([1]), torch.tensor([0, 2])):  # fmt: skip
        assert largest_difference(method, file, layer.typical(lengths, generator)) < 1e-5
    about = json.loads(next(p.value for p in onnx.load(file).metadata_props if p.key == "femtobarn"))
    for key, collection in method.inputs.collections.items():
        assert about["features"][key] == [feature.name for feature in method.inputs.collection_features(key)]
        said = {name: value for name, value in about["tokens"][key].items() if name != "select"}
        assert said == {"order_by": collection.order_by, "max_length": collection.max_length}
        assert {k: tuple(v) for k, v in about["tokens"][key]["select"].items()} == collection.select


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_a_number_is_refused(name: str, fitted: Any, value: float) -> None:
    method = fitted(name)
    sample = synthetic(method.inputs, 30, 8, lengths=np.full(30, 3))
    array = sample.read()
    places = [(None, feature.name) for feature in method.inputs.event_features[:1]]
    places += [(key, method.inputs.collection_features(key)[0].name) for key in method.inputs.collections]
    assert places
    for collection, field in places:
        if collection is None:
            broken = ak.with_field(array, np.where(np.arange(30) == 17, value, array[field]), field)
        else:
            flat = ak.to_numpy(ak.flatten(array[collection, field])).copy()
            flat[17 * 3] = value
            broken = ak.with_field(array, ak.unflatten(flat, 3), (collection, field))
        for use in (
            lambda data: whole(method, data),
            lambda data: make(name).fit(from_memory(data, sample.schema.classes), training=QUICK),
        ):
            with pytest.raises(InputError, match=rf"row 17.*{field}"):
                use(broken)


def test_missing_field_is_named(name: str, fitted: Any) -> None:
    method = fitted(name)
    array = synthetic(method.inputs, 5, 8).read()
    key = next(iter(method.inputs.collections), None)
    field = method.inputs.collection_features(key)[0].name if key else method.inputs.event_features[0].name
    kept = [f for f in (array[key] if key else array).fields if f != field]
    with pytest.raises(InputError, match=field):
        whole(method, ak.with_field(array, array[key][kept], key) if key else array[kept])


def test_answers_are_sound_and_empty_events_have_one(name: str, fitted: Any) -> None:
    method = fitted(name)
    for events, lengths in ((20, None), (4, np.zeros(4, np.int64)), (0, np.zeros(0, np.int64))):
        records = whole(method, synthetic(method.inputs, events, 8, lengths))
        assert len(records) == events
        if method.verb == "predict":
            values = probabilities(method, records)
            np.testing.assert_allclose(values.sum(0), 1.0, rtol=1e-5)
            assert (values >= 0).all()
        else:
            assert method.scores[0] == "score"
            assert records.fields == [f"{method.name}_{score}" for score in method.scores]
            assert all(np.isfinite(ak.to_numpy(records[field])).all() for field in records.fields)


def test_batches_do_not_matter(name: str, fitted: Any) -> None:
    method = fitted(name)
    sample = synthetic(method.inputs, 60, 8)
    one, pieces = whole(method, sample), whole(method, sample, batch_size=7)
    tokens = {key: np.arange(len(next(iter(fields.values())))) for key, fields in columns(one)[1].items()}
    assert_same(pieces, one, np.arange(60), tokens)


def test_parameters_are_checked(name: str) -> None:
    cls = registry.find("methods", name)
    with pytest.raises(ValidationError):
        cls(no_such_parameter=1)
    for field in dataclasses.fields(cls):
        if field.name != "name":
            with pytest.raises(ValidationError):
                cls(**{field.name: "not a value"})
    assert cls.__doc__ and all(
        f"{field.name}:" in cls.__doc__ for field in dataclasses.fields(cls) if field.name != "name"
    )


def test_unfitted_says_so(name: str) -> None:
    with pytest.raises(InputError, match="not fitted"):
        whole(make(name), synthetic(make(name).default_inputs(), 3))
