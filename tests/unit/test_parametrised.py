"""The parametrised network: background gets the signal's masses, and masses between are right too."""

import awkward as ak
import numpy as np
import pytest
import torch

from femtobarn.classification.parametrised import Parametrised, drawn_parameters
from femtobarn.data.inputs import Inputs
from femtobarn.data.packing import to_batch
from femtobarn.data.sample import Sample, from_memory
from femtobarn.errors import InputError

INPUTS = Inputs(event=["x", "mass"], labels=Parametrised().default_inputs().labels)


def peaks(events: int, seed: int, masses: tuple[float, ...] = (-2, -1, 1, 2)) -> Sample:
    """Signal of width 0.3 at its mass on a flat background, 1601.07913's first example."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, events).astype(np.int8)
    mass = rng.choice(masses, events)
    x = np.where(label == 0, rng.normal(mass, 0.3), rng.uniform(-4, 4, events))
    fields = {"x": x.astype(np.float32), "label": label, "mass": np.where(label == 0, mass, 99.0)}
    return from_memory(ak.zip(fields), {"label": ["signal", "background"]})


def test_background_is_shown_with_masses_of_the_signal() -> None:
    batch = to_batch(peaks(500, 1).read(), INPUTS, {"label": ["signal", "background"]})
    method = Parametrised()
    network = method.network(INPUTS)
    torch.manual_seed(1)
    one, other = network.drawn(batch), network.drawn(batch)
    background = batch.labels["class"] == 1
    assert set(one.event[background, 1].tolist()) == {-2.0, -1.0, 1.0, 2.0}
    assert not torch.equal(one.event, other.event), "drawn anew each time"
    assert torch.equal(one.event[~background], batch.event[~background])
    assert torch.equal(one.event[:, 0], batch.event[:, 0])
    drawn = drawn_parameters(batch.event[:, 1].numpy(), ~background.numpy())
    assert np.isin(drawn, (-2, -1, 1, 2)).all()
    with pytest.raises(InputError, match="no signal"):
        drawn_parameters(np.ones(3), np.zeros(3, bool))


def test_a_mass_not_trained_on_is_found() -> None:
    """At m = 0, between those trained on, the most signal-like x is 0, and 1 is not."""
    train = peaks(6000, 1)
    array = train.read()
    mass = drawn_parameters(ak.to_numpy(array.mass), ak.to_numpy(array.label) == 0)
    train = from_memory(ak.with_field(array, mass, "mass"), train.schema.classes)
    method = Parametrised()
    training = method.default_training().with_(epochs=12, progress="none", accelerator="cpu")
    method.fit(train, inputs=INPUTS, training=training)
    x = np.linspace(-3, 3, 121).astype(np.float32)
    for asked in (0.0, 1.0):
        said = ak.to_numpy(method.predict_at(ak.zip({"x": x}), asked)["parametrised_ps"])
        assert x[np.argmax(said)] == pytest.approx(asked, abs=0.35)
        assert said[np.abs(x - asked) > 1.5].max() < 0.25 < 0.6 < said.max()


def test_misnamed_parameter_is_refused() -> None:
    with pytest.raises(InputError, match="its parameter 'mas' among the features"):
        Parametrised(parameter="mas").network(INPUTS)
    with pytest.raises(InputError, match="'signal' is no class"):
        Parametrised(signal="signal").network(INPUTS)
