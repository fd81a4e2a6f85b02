"""A scan over hyper-parameters: candidates fitted at once, in processes that share the cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from typing import Any

import awkward as ak
import torch
from threadpoolctl import threadpool_limits

from femtobarn.data.inputs import Inputs
from femtobarn.data.sample import Sample
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier
from femtobarn.learn.training import Training
from femtobarn.workers import follow_parent

__all__ = ["scan"]

Figure = Callable[[ak.Array, Sample], float]
_SHARED: dict[str, Any] = {}
"""What all fits of a worker process have in common: it travels to the process once."""


def scan(
    candidates: Sequence[Classifier],
    train: Sample,
    valid: Sample,
    figure: Figure,
    *,
    inputs: Inputs | None = None,
    training: Training | None = None,
    workers: int | None = None,
) -> list[float]:
    """Fit each candidate on `train`, stopped by `valid`, and judge what it says of `valid`.

    Small fits gain little from threads, and several at once gain a core each: every worker has its share of
    the cores for threads, one if there are as many workers.

    Args:
        candidates: methods not fitted yet; they stay so.
        train, valid: as for `fit`.
        figure: (predicted records, valid) to a number; a function of a module, since it goes to other
            processes.
        inputs, training: as for `fit`.
        workers: processes; None: one per core; 1: none, all happens here.

    Returns:
        the figure of each candidate, in their order.

    Raises:
        InputError: when there are no candidates; and whatever a fit raises.
    """
    if not candidates:
        raise InputError("a scan needs at least one candidate")
    cores = os.cpu_count() or 1
    workers = min(workers or cores, len(candidates))
    shared: dict[str, Any] = {
        "train": train,
        "valid": valid,
        "figure": figure,
        "inputs": inputs,
        "training": training,
    }
    if workers == 1:
        return [_fitted(one, **shared) for one in candidates]
    threads = max(1, cores // workers)
    with ProcessPoolExecutor(workers, _context(candidates), _start, (threads, shared)) as pool:
        return list(pool.map(_one, candidates))


def _context(candidates: Sequence[Classifier]) -> BaseContext:
    """Processes that come from one which has imported all that a fit needs, so that only the first scan waits
    for the imports; where there are none (Windows), new ones."""
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, *sorted({type(one).__module__ for one in candidates})])
    return context


def _start(threads: int, shared: dict[str, Any]) -> None:
    follow_parent()
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    _SHARED.update(shared)


def _one(candidate: Classifier) -> float:
    return _fitted(candidate, **_SHARED)


def _fitted(
    candidate: Classifier,
    train: Sample,
    valid: Sample,
    figure: Figure,
    inputs: Inputs | None,
    training: Training | None,
) -> float:
    method = type(candidate)(**candidate.parameters)
    method.fit(train, valid, inputs=inputs, training=training)
    return float(figure(method.predict(valid), valid))
