"""Scorers: closed forms and independent numbers."""

import awkward as ak
import numpy as np
import pytest
import torch
from sklearn.ensemble import IsolationForest as Peer

from femtobarn.anomaly.flow_density import FlowDensity
from femtobarn.anomaly.isolation_forest import IsolationForest, mean_depth
from femtobarn.anomaly.object_autoencoder import ObjectAutoencoder
from femtobarn.anomaly.slots import Slots
from femtobarn.anomaly.vae import VAE
from femtobarn.data.inputs import Inputs
from femtobarn.data.packing import to_batch
from femtobarn.data.sample import Sample, from_memory
from femtobarn.errors import InputError
from femtobarn.evaluate.metrics import auc
from femtobarn.learn.training import Training
from femtobarn.nn.losses import distance_correlation

BOTH = Inputs(event=["x", "y"], weight="w")


def sample(values: np.ndarray, weights: np.ndarray | None = None) -> Sample:
    weight = np.ones(len(values)) if weights is None else weights
    return from_memory(ak.zip({"x": values[:, 0], "y": values[:, 1], "w": weight}), {})


def test_mean_depth_is_that_of_random_cuts() -> None:
    # A cut leaves k of n events on one side, every k from 1 to n - 1 equally likely.
    depth = np.zeros(257)
    for n in range(2, 257):
        k = np.arange(1, n)
        depth[n] = 1 + np.mean(k * depth[k] + (n - k) * depth[n - k]) / n
    np.testing.assert_allclose(mean_depth(np.arange(1, 257)), depth[1:], rtol=1e-12, atol=1e-12)


def test_isolation_forest_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    usual, odd = rng.normal(size=(3000, 2)), rng.normal(size=(500, 2)) * 3
    test = np.concatenate([rng.normal(size=(3000, 2)), odd])
    ours = ak.to_numpy(
        IsolationForest(trees=300)
        .fit(sample(usual), inputs=BOTH)
        .score(sample(test))["isolation_forest_score"]
    )
    theirs = -Peer(n_estimators=300, random_state=1).fit(usual).score_samples(test)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.01)


def test_what_weighs_nothing_is_unusual() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(size=(2000, 2)), rng.normal(4, 1, size=(2000, 2))])
    second = np.arange(4000) >= 2000
    for weight in (0.0, -0.3):
        forest = IsolationForest().fit(sample(values, np.where(second, weight, 1.0)), inputs=BOTH)
        score = ak.to_numpy(forest.score(sample(values))["isolation_forest_score"])
        assert auc(score, second).value > 0.95


def test_constant_features_and_no_weight_are_refused() -> None:
    with pytest.raises(InputError, match="all features are constant"):
        IsolationForest().fit(sample(np.ones((50, 2))), inputs=BOTH)
    with pytest.raises(InputError, match="no event of positive weight"):
        IsolationForest().fit(sample(np.ones((50, 2)), -np.ones(50)), inputs=BOTH)


def events(seed: int, count: int = 300) -> ak.Array:
    """Events of fat jets, electrons and muons with a mass that grows with their number."""
    rng = np.random.default_rng(seed)
    fields = {"mcEventWeight": np.ones(count, np.float32)}
    for name, most in (("fat_jets", 4), ("electrons", 2), ("muons", 3)):
        counts = rng.integers(name == "fat_jets", most + 1, count)
        total = counts.sum()
        columns = {
            "pt": -np.sort(-rng.exponential(100, total) - 20),
            "eta": rng.normal(0, 1, total),
            "phi": rng.uniform(-np.pi, np.pi, total),
        }
        fields[name] = ak.unflatten(ak.zip(columns), counts)
        fields[name] = fields[name][ak.argsort(fields[name].pt, ascending=False)]
    objects = sum(ak.to_numpy(ak.num(fields[name])) for name in ("fat_jets", "electrons", "muons"))
    fields["mass"] = 100 * (objects + rng.normal(0, 0.5, count))
    return ak.zip(fields, depth_limit=1)


def turned(array: ak.Array, angle: float) -> ak.Array:
    """All azimuths turned by an angle, written between -pi and pi again."""
    for name in ("fat_jets", "electrons", "muons"):
        phi = (array[name].phi + angle + np.pi) % (2 * np.pi) - np.pi
        array = ak.with_field(array, phi, (name, "phi"))
    return array


def test_objects_do_not_know_the_origin_of_azimuths() -> None:
    method = ObjectAutoencoder()
    array = events(1)
    training = Training(epochs=1, batch_size=100, progress="none", accelerator="cpu")
    method.fit(from_memory(array, {}), training=training)
    score = ak.to_numpy(method.score(array)["object_autoencoder_score"])
    again = ak.to_numpy(method.score(turned(array, 2.5))["object_autoencoder_score"])
    np.testing.assert_allclose(again, score, rtol=1e-3, atol=1e-4)


def test_empty_places_are_not_compared() -> None:
    method = ObjectAutoencoder()
    inputs = method.default_inputs()
    slots = Slots(inputs, None, "test")
    read = slots(to_batch(events(2), inputs))
    assert slots.places == 14 and slots.width == 14 * 4
    flags = torch.where(read.flags, 100.0, -100.0)
    right = torch.where(read.compared, read.columns, torch.full_like(read.columns, 7.0))
    np.testing.assert_allclose(slots.misfit(torch.cat([right, flags], 1), read), 0, atol=1e-6)
    wrong = slots.misfit(torch.cat([read.columns + 2.0, flags], 1), read)
    np.testing.assert_allclose(wrong, 2.0 * read.compared.sum(1), rtol=1e-5)


def test_vae_forgets_the_mass_it_is_told_to() -> None:
    train, test = events(3, 2000), events(4, 1000)
    correlation = {}
    for field in ("", "mass"):
        method = VAE(decorrelate=field, strength=30.0)
        training = Training(epochs=12, batch_size=200, progress="none", accelerator="cpu", learning_rate=3e-3)
        method.fit(from_memory(train, {}), training=training)
        score = torch.tensor(ak.to_numpy(method.score(test)["vae_score"]))
        mass = torch.tensor(ak.to_numpy(test["mass"]))
        correlation[field] = float(distance_correlation(score, mass, torch.ones(len(score))))
    assert correlation["mass"] < 0.2 * correlation[""]


def test_flow_density_is_that_of_a_gaussian() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal([1.0, -2.0], [3.0, 0.5], size=(4000, 2))
    flow = FlowDensity(transforms=2, hidden=(32,)).fit(
        sample(values),
        inputs=BOTH,
        training=FlowDensity().default_training().with_(epochs=8, progress="none", accelerator="cpu"),
    )
    test = rng.normal([1.0, -2.0], [3.0, 0.5], size=(2000, 2))
    standard = (test - [1.0, -2.0]) / [3.0, 0.5]
    expected = 0.5 * (standard**2).sum(1) + np.log(2 * np.pi)
    score = ak.to_numpy(flow.score(sample(test))["flow_density_score"])
    near = expected < 5
    assert np.abs(score - expected)[near].mean() < 0.15
    assert np.mean(score) == pytest.approx(expected.mean(), abs=0.05)
