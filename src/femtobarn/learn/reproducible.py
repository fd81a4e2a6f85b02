"""What makes a training repeatable: seeds from the step, deterministic kernels, files read safely."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import torch.utils.deterministic as filling

from femtobarn.errors import InputError

__all__ = ["read_tensors", "reproducible", "seed_of"]


def seed_of(*numbers: int) -> int:
    """A seed of torch's generator that is a function of these numbers."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seed torch and choose deterministic kernels; afterwards everything is as it was."""
    enabled = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    fills = filling.fill_uninitialized_memory  # type: ignore[attr-defined]
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        filling.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(enabled, warn_only=warns)
            filling.fill_uninitialized_memory = fills  # type: ignore[attr-defined]


def read_tensors(file: Path) -> dict[str, Any]:
    """A dictionary of tensors and plain values that torch.save wrote; nothing in it is executed.

    Raises:
        InputError: when the file is damaged or holds anything else.
    """
    try:
        state: dict[str, Any] = torch.load(file, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError) as error:
        raise InputError(f"{file}: not a readable checkpoint; remove it to start anew") from error
    return state
