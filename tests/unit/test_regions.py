"""Searches in a window of a mass, on a toy whose signal is known."""

from typing import Any

import awkward as ak
import numpy as np
import pytest
import torch

from femtobarn.anomaly.anode import ANODE
from femtobarn.anomaly.cathode import CATHODE
from femtobarn.anomaly.curtains import CURTAINs
from femtobarn.anomaly.cwola import CWoLa
from femtobarn.anomaly.regions import read_columns
from femtobarn.data.inputs import Inputs
from femtobarn.data.sample import Sample, from_memory
from femtobarn.errors import InputError
from femtobarn.evaluate.metrics import auc

WINDOW = (3.0, 3.5)
INPUTS = Inputs(event=["x", "y", "m"], weight="w")
METHODS = [
    CWoLa(mass="m", window=WINDOW, folds=3, members=2),
    ANODE(mass="m", window=WINDOW, transforms=2, hidden=(32,)),
    CATHODE(mass="m", window=WINDOW, transforms=2, hidden=(32,), samples=2, members=3),
    CURTAINs(mass="m", window=WINDOW, transforms=2, hidden=(32,), samples=2, members=3),
]


def events(seed: int, background: int, signal: int) -> tuple[Sample, np.ndarray]:
    """Falling background, in x and y two Gaussians of which one moves with the mass; a narrow signal."""
    rng = np.random.default_rng(seed)
    is_signal = np.arange(background + signal) >= background
    mass = np.where(is_signal, rng.normal(3.25, 0.06, len(is_signal)), 2 + rng.exponential(1, len(is_signal)))
    x = np.where(is_signal, rng.normal(1.5, 0.2, len(is_signal)), rng.normal(0, 1, len(is_signal)))
    y = np.where(is_signal, rng.normal(-1.5, 0.2, len(is_signal)), rng.normal(0, 1, len(is_signal)))
    fields = {"x": x, "y": y + 0.1 * (mass - 3), "m": mass, "w": np.ones(len(mass))}
    return from_memory(ak.zip(fields), {}), is_signal


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_signal_is_found_without_labels(method: Any) -> None:
    train, _ = events(1, 6000, 250)
    test, is_signal = events(2, 6000, 1000)
    options = {}
    if method.trains_network:
        options["training"] = method.default_training().with_(epochs=8, progress="none", accelerator="cpu")
    method.fit(train, inputs=INPUTS, **options)
    score = ak.to_numpy(method.score(test)[f"{method.name}_score"])
    mass = test.column("m")
    here = (mass >= WINDOW[0]) & (mass < WINDOW[1])
    assert auc(score[here], is_signal[here]).value > 0.85


@pytest.mark.parametrize("method", METHODS[:1] + METHODS[2:], ids=lambda method: method.name)
def test_a_window_without_events_is_refused(method: Any) -> None:
    far = type(method)(mass="m", window=(90.0, 91.0))
    with pytest.raises(InputError, match=r"0 events in the signal region of 90 <= 'm' < 91"):
        far.fit(events(1, 500, 0)[0], inputs=INPUTS)
    with pytest.raises(InputError, match=r"0 events in the sidebands"):
        type(method)(mass="m", window=(0.0, 91.0)).fit(events(1, 500, 0)[0], inputs=INPUTS)
    with pytest.raises(InputError, match="need the mass 'other'"):
        type(method)(mass="other").fit(events(1, 500, 0)[0], inputs=INPUTS)


def test_no_event_is_scored_by_trees_that_learnt_it() -> None:
    """On noise, trees know their own events; CWoLa's scores of the events it learnt do not."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(3000, 3))
    fields = {"x": values[:, 0], "y": values[:, 1], "m": values[:, 2], "w": np.ones(3000)}
    sample = from_memory(ak.zip(fields), {})
    method = CWoLa(mass="m", window=(-0.5, 0.5), folds=3, members=1).fit(sample, inputs=INPUTS)
    score = ak.to_numpy(method.score(sample)["cwola_score"])
    inside = np.abs(values[:, 2]) < 0.5
    found = auc(score, inside)
    assert abs(found.value - 0.5) < 4 * found.error


def test_curtains_carry_events_as_the_mass_asks() -> None:
    """Where a feature is proportional to the mass, sideband events come to lie as those of the window do."""
    rng = np.random.default_rng(4)
    mass = rng.uniform(2, 5, 9000)
    x = rng.normal(0, 1, 9000)
    fields = {"x": x, "y": 0.5 * x + mass + rng.normal(0, 0.3, 9000), "m": mass, "w": np.ones(9000)}
    method = CURTAINs(mass="m", window=WINDOW, transforms=2, hidden=(32,), samples=1, members=1, trees=2)
    training = method.default_training().with_(epochs=8, progress="none", accelerator="cpu")
    method.fit(from_memory(ak.zip(fields), {}), inputs=INPUTS, training=training)
    events = np.stack([fields["x"], fields["y"], mass], axis=1).astype(np.float32)
    inside = (mass >= WINDOW[0]) & (mass < WINDOW[1])
    real, there = read_columns(method.fitted_module, events[inside])
    beside, here = read_columns(method.fitted_module, events[~inside])
    targets = there[torch.from_numpy(rng.integers(len(there), size=len(here)))]
    with torch.inference_mode():
        carried, volume = method.fitted_module.carry(torch.from_numpy(beside), here, targets)
    assert volume.shape == (len(here),)
    assert abs(carried[:, 1].mean() - real[:, 1].mean()) < 0.1
    assert abs(beside[:, 1].mean() - real[:, 1].mean()) > 0.15, "as they were, they do not lie so"
    assert 0.8 < carried[:, 1].std() / real[:, 1].std() < 1.2
    assert beside[:, 1].std() / real[:, 1].std() > 1.3
    found, expected = (np.corrcoef(np.asarray(part), rowvar=False)[0, 1] for part in (carried, real))
    assert abs(found - expected) < 0.1
