"""The autoencoder of rapidity-mass matrices begins as the best linear one, exactly, and gets better."""

import awkward as ak
import numpy as np
import torch

from femtobarn.anomaly.rmm_autoencoder import RMMAutoencoder, cell_inputs, principal_axes
from femtobarn.data import Sample, from_memory
from femtobarn.data.packing import labelled_batches
from femtobarn.data.scaling import Moments, Scaling
from femtobarn.nn.preprocess import Statistics

CELLS = 12


def sample(count: int = 2000, seed: int = 1) -> tuple[Sample, np.ndarray, np.ndarray]:
    """Events of four numbers seen through twelve cells, a curved one among them, and their weights."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(count, 4)) * [3, 2, 1, 0.5]
    cells = hidden @ np.random.default_rng(0).normal(size=(4, CELLS)) * 0.01
    cells[:, 0] = np.abs(cells[:, 0])
    weight = rng.uniform(0.5, 2, count)
    fields = {f"x{k + 1}": cells[:, k].astype(np.float32) for k in range(CELLS)}
    return from_memory(ak.zip(fields | {"weight": weight}, depth_limit=1)), cells, weight


def test_principal_axes_are_those_of_weighted_second_moments() -> None:
    events, cells, weight = sample()
    axes = principal_axes(events, cell_inputs(CELLS), 3).numpy()
    u = np.linalg.svd(np.sqrt(weight)[:, None] * cells)[2][:3]
    np.testing.assert_allclose(np.abs(u @ axes), np.eye(3)[::-1], atol=1e-4)


def test_a_network_begins_with_what_the_axes_carry() -> None:
    events, cells, _ = sample()
    inputs = cell_inputs(CELLS)
    method = RMMAutoencoder(hidden=(10, 9, 8), latent=5)
    method.axes = principal_axes(events, inputs, 4)
    scaling = Scaling(event=Moments(mean=[0.0] * CELLS, std=[1.0] * CELLS), collections={})
    network = method.network(inputs, Statistics(scaling))
    with torch.no_grad():
        difference = network(next(labelled_batches(events, inputs)))["difference"].numpy()
    along = method.axes.numpy()
    np.testing.assert_allclose(difference, np.abs(cells - cells @ along @ along.T).mean(1), atol=1e-6)


def test_training_gets_below_the_best_linear_autoencoder() -> None:
    events, cells, weight = sample()
    inputs = cell_inputs(CELLS)
    method = RMMAutoencoder(hidden=(32, 16), latent=3)
    training = method.default_training().with_(epochs=20, batch_size=50, learning_rate=1e-3)
    method.fit(events, None, inputs=inputs, training=training)
    assert method.axes is not None
    axes = method.axes.numpy()
    linear = np.average(np.abs(cells - cells @ axes @ axes.T).mean(1), weights=weight)
    learnt = np.average(np.exp(ak.to_numpy(method.score(events).rmm_autoencoder_score)), weights=weight)
    assert learnt < 0.8 * linear
