"""Folds are frozen, even, and independent of how many events were asked for."""

import numpy as np
import pytest
from scipy.stats import chisquare

from femtobarn.data.splits import SPLITS, fold_of, split_folds, split_of
from femtobarn.errors import InputError

MASK = (1 << 64) - 1


def slow_fold(process: str, *numbers: int) -> int:
    """The documented hash, one event at a time, in Python's integers."""
    state = 0xCBF29CE484222325
    for byte in process.encode():
        state = ((state ^ byte) * 0x100000001B3) & MASK
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
        state ^= state >> 31
    return ((state >> 32) * 10) >> 32


def test_frozen() -> None:
    # Changing these numbers puts test events of old samples into training.
    assert fold_of("ttbar", 1, 1, 0, np.arange(12)).tolist() == FROZEN
    assert fold_of("", 0, 362104, 5, np.array([123456789012, 7])).tolist() == [8, 2]


FROZEN = [7, 6, 7, 2, 0, 3, 0, 5, 9, 4, 1, 6]


def test_agrees_with_scalar_arithmetic() -> None:
    events = np.array([0, 1, 2**40, 2**62])
    expected = [slow_fold("zprime", 3, 11, 2, int(event)) for event in events]
    assert fold_of("zprime", 3, 11, 2, events).tolist() == expected


def test_even_and_unlike_for_unlike_samples() -> None:
    events = np.arange(100_000)
    first, second = (fold_of("ttbar", seed, 1, 0, events) for seed in (1, 2))
    for folds in (first, second):
        assert chisquare(np.bincount(folds, minlength=10)).pvalue > 1e-4
    joint = np.bincount(first.astype(int) * 10 + second, minlength=100)
    assert chisquare(joint).pvalue > 1e-4


def test_depends_on_every_number() -> None:
    events = np.arange(1000)
    base = fold_of("ttbar", 1, 1, 1, events)
    for other in (("dijet", 1, 1, 1), ("ttbar", 2, 1, 1), ("ttbar", 1, 2, 1), ("ttbar", 1, 1, 2)):
        assert (fold_of(*other, events) != base).mean() > 0.8


def test_names() -> None:
    assert sorted(fold for folds in SPLITS.values() for fold in folds) == list(range(10))
    assert split_of([0, 5, 6, 7, 9]).tolist() == ["train", "train", "valid", "test", "test"]
    with pytest.raises(InputError, match=r"'tests'.*'test'"):
        split_folds("tests")
