"""Splits follow the event, not the row: a frozen hash of an event's identity gives its fold, 0-9."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from femtobarn.errors import InputError, closest

__all__ = ["SPLITS", "fold_of", "split_folds", "split_of"]

SPLITS: dict[str, tuple[int, ...]] = {"train": (0, 1, 2, 3, 4, 5), "valid": (6,), "test": (7, 8, 9)}
"""Folds of each split."""


def fold_of(process: str, seed: int, run: ArrayLike, lumi: ArrayLike, event: ArrayLike) -> NDArray[np.uint8]:
    """Fold (0-9) of events: ten times the top bits of a 64-bit hash of (process, seed, run, lumi, event).

    The process name enters as FNV-1a of its UTF-8 bytes, then every number is added and mixed by the
    finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014). The arithmetic is frozen: a sample made years
    apart keeps its folds.

    Args:
        process: name of the process, "" for data.
        seed: seed of the simulation, 0 for data.
        run: run number, (N,) or a scalar.
        lumi: luminosity block, (N,) or a scalar.
        event: event number, (N,).

    Returns:
        (N,) uint8.
    """
    state = np.uint64(0xCBF29CE484222325)
    with np.errstate(over="ignore"):
        for byte in process.encode():
            state = (state ^ np.uint64(byte)) * np.uint64(0x100000001B3)
        mixed: Any = np.atleast_1d(state)
        for number in (seed, run, lumi, event):
            mixed = _mix(mixed + np.asarray(number).astype(np.int64).astype(np.uint64))
    fold: NDArray[np.uint8] = (((mixed >> np.uint64(32)) * np.uint64(10)) >> np.uint64(32)).astype(np.uint8)
    return fold


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def split_folds(split: str) -> tuple[int, ...]:
    """Folds of a split.

    Raises:
        InputError: for a name that is no split.
    """
    if split not in SPLITS:
        raise InputError(f"there is no split called '{split}'{closest(split, SPLITS)}")
    return SPLITS[split]


def split_of(fold: ArrayLike) -> NDArray[np.str_]:
    """Name of the split each fold belongs to, (N,) strings."""
    names = np.empty(10, dtype="U5")
    for name, folds in SPLITS.items():
        names[list(folds)] = name
    split: NDArray[np.str_] = names[np.asarray(fold)]
    return split
