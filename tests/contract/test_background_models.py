"""The contract of the verb *estimate*: what every registered background model satisfies."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from femtobarn import registry
from femtobarn.errors import InputError
from femtobarn.learn.background_model import BackgroundModel

pytestmark = pytest.mark.parametrize(
    "name",
    [
        name
        for name in registry.names("methods")
        if issubclass(registry.find("methods", name), BackgroundModel)
    ],
)

EDGES = np.geomspace(1500.0, 6000.0, 26)
X = EDGES / 13_000.0
CUMULATIVE = np.array([np.trapezoid((1 - x) ** 8 * x**-5.0, x) for x in
                       (np.linspace(a, b, 50) for a, b in itertools.pairwise(X))])  # fmt: skip
TRUTH = 2e4 * CUMULATIVE / CUMULATIVE.sum()


def make(name: str) -> Any:
    return registry.find("methods", name)()


def data(seed: int = 1, size: int | None = None) -> Any:
    shape = TRUTH.shape if size is None else (size, len(TRUTH))
    return np.random.default_rng(seed).poisson(TRUTH, shape).astype(float)


def test_is_smooth_and_covers_the_truth(name: str) -> None:
    """Over pseudo-experiments the estimate is unbiased within its error, which is neither large nor small."""
    model, pseudo = make(name), data(2, 60)
    first = model.estimate(EDGES, pseudo[0])
    found = model.repeat(EDGES, pseudo[0], pseudo)
    pulls = (found - TRUTH) / first.error
    assert np.abs(pulls.mean()) < 0.4
    assert 0.6 < np.sqrt(np.mean(pulls**2)) < 1.4
    assert (first.error < np.sqrt(TRUTH)).mean() > 0.8, "no better than the counts themselves"


def test_repeats_what_it_estimated(name: str) -> None:
    model, counts = make(name), data()
    again = model.repeat(EDGES, counts, np.stack([data(5), counts, data(6)]))
    np.testing.assert_allclose(again[1], model.estimate(EDGES, counts).expected, rtol=1e-4)
    np.testing.assert_allclose(again[:1], model.repeat(EDGES, counts, data(5)[None]), rtol=1e-4)
    np.testing.assert_array_equal(
        make(name).estimate(EDGES, counts).shifts, model.estimate(EDGES, counts).shifts
    )


def test_blind_bins_are_not_looked_at(name: str) -> None:
    model, counts = make(name), data()
    blind = np.zeros(len(counts), dtype=bool)
    blind[10:14] = True
    with_signal = counts + 3000.0 * blind
    one, other = (model.estimate(EDGES, n, blind) for n in (counts, with_signal))
    np.testing.assert_allclose(one.expected, other.expected, rtol=1e-6)
    assert np.abs(one.expected - TRUTH)[blind].max() < 5 * one.error[blind].max()
    assert (one.error[blind] > model.estimate(EDGES, counts).error[blind]).all()


def test_empty_bins_are_data(name: str) -> None:
    counts = data()
    counts[[20, 23, 24]] = 0.0
    found = make(name).estimate(EDGES, counts)
    assert (
        np.isfinite(found.expected).all() and (found.expected > 0).all() and np.isfinite(found.shifts).all()
    )


def test_bad_spectra_are_refused(name: str) -> None:
    model, counts = make(name), data()
    for bin_count, message in ((-3.0, r"bin 7 .* holds -3"), (np.nan, r"bin 7 .* holds nan")):
        broken = counts.copy()
        broken[7] = bin_count
        with pytest.raises(InputError, match=message):
            model.estimate(EDGES, broken)
    with pytest.raises(InputError, match="all 25 bins are empty"):
        model.estimate(EDGES, np.zeros(25))
    with pytest.raises(InputError, match="must rise"):
        model.estimate(EDGES[::-1], counts)
    with pytest.raises(InputError, match=r"too (few|short)"):
        model.estimate(EDGES, counts, np.arange(25) >= 2)


def test_parameters_are_checked(name: str) -> None:
    cls = registry.find("methods", name)
    with pytest.raises(ValidationError):
        cls(no_such_parameter=1)
    for field in dataclasses.fields(cls):
        if field.name != "name":
            with pytest.raises(ValidationError):
                cls(**{field.name: "not a value"})
    assert cls.__doc__ and all(
        f"{f.name}:" in cls.__doc__ for f in dataclasses.fields(cls) if f.name != "name"
    )
    assert make(name).name == name
