"""`Loader`: shuffled batches from a packed cache; the order is a pure function of (seed, epoch, step)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from femtobarn.data.cache import PackedCache
from femtobarn.data.columns import Columns, join
from femtobarn.data.ragged import Batch
from femtobarn.errors import InputError

__all__ = ["Loader"]

_Pools = tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]


class Loader:
    """Batches of a packed cache.

    Shuffled: the cache is cut into blocks of consecutive rows, the blocks are permuted, every `buffer` rows
    of them are read into memory and permuted, and batches are cut from that stream; what is left at the end
    of an epoch and does not fill a batch is not seen in that epoch. Not shuffled: rows in order, a last
    batch that may be smaller.

    Args:
        cache: where the rows are.
        batch_size: rows per batch (and rank).
        seed: of the order.
        shuffle: True to train, False to validate.
        block: rows read in one go.
        buffer: rows in memory at a time (twice that: the next buffer is read ahead).
        rank: of this process.
        world: number of processes. Shuffled, each takes every `world`-th block of the permutation and all
            take the same number of steps; not shuffled, each takes a contiguous share.
    """

    def __init__(
        self,
        cache: PackedCache,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        block: int = 1024,
        buffer: int = 32_768,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world:
            raise InputError(f"batch size {batch_size}, rank {rank} of {world}: not possible")
        if len(cache) < world:
            raise InputError(f"{cache.folder}: {len(cache)} rows cannot be shared by {world} processes")
        self.cache, self.batch_size, self.seed, self.shuffle = cache, batch_size, seed, shuffle
        self.rank, self.world = rank, world
        self._pools: _Pools | None = None
        # Small samples get small blocks, so that every process has several.
        self._block = max(1, min(block, len(cache) // (32 * world)))
        self._blocks_per_buffer = max(1, buffer // self._block)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, the same for all ranks when shuffled."""
        if not self.shuffle:
            low, high = self._share()
            return -(-(high - low) // self.batch_size)
        blocks = -(-len(self.cache) // self._block)
        missing = blocks * self._block - len(self.cache)  # by which the last block is short, whoever gets it
        return max(1, ((blocks // self.world) * self._block - missing) // self.batch_size)

    def _share(self) -> tuple[int, int]:
        n = len(self.cache)
        return n * self.rank // self.world, n * (self.rank + 1) // self.world

    def iterate(self, epoch: int = 0, first_step: int = 0) -> Iterator[Batch]:
        """Batches of an epoch from `first_step` on: the same as those of a run that started at step 0."""
        if not self.shuffle:
            low, high = self._share()
            for start in range(low + first_step * self.batch_size, high, self.batch_size):
                yield self.cache.batch(start, min(start + self.batch_size, high))
            return
        buffers = self._buffers(epoch)
        ends = np.cumsum([sum(stop - start for start, stop in buffer) for buffer in buffers])
        first, last = first_step * self.batch_size, min(self.steps_per_epoch * self.batch_size, int(ends[-1]))
        if first >= last:
            return
        skipped = int(np.searchsorted(ends, first, side="right"))
        position = first - (int(ends[skipped - 1]) if skipped else 0)
        pieces: list[Batch] = []
        missing = min(self.batch_size, last - first)
        for number, columns in self._read_ahead(buffers, skipped):
            rows = np.random.default_rng((self.seed, epoch, self.rank, number)).permutation(len(columns))
            shuffled = columns.shuffled(rows)
            while missing and position < len(rows):
                stop = min(len(rows), position + missing)
                pieces.append(shuffled.batch(position, stop))
                missing -= stop - position
                first, position = first + stop - position, stop
                if missing == 0:
                    yield join(pieces)
                    pieces, missing = [], min(self.batch_size, last - first)
            position = 0
            if not missing:
                return

    def _buffers(self, epoch: int) -> list[list[tuple[int, int]]]:
        """Row ranges of each buffer of this rank's epoch."""
        n, size = len(self.cache), self._block
        order = np.random.default_rng((self.seed, epoch)).permutation(-(-n // size))[self.rank :: self.world]
        ranges = [(int(block) * size, min((int(block) + 1) * size, n)) for block in order]
        step = self._blocks_per_buffer
        return [ranges[first : first + step] for first in range(0, len(ranges), step)]

    def _read_ahead(self, buffers: list[list[tuple[int, int]]], first: int) -> Iterator[tuple[int, Columns]]:
        """Buffers in turn, the next one being read by a thread while this one is used."""
        # Memory touched for the first time costs more than reading into it, so the next epoch gets the same;
        # an iteration that begins while another one runs makes its own.
        pools = self._pools or ({}, {})
        self._pools = None
        try:
            with ThreadPoolExecutor(1) as thread:
                coming = thread.submit(self.cache.read, buffers[first], pools[first % 2])
                for number in range(first, len(buffers)):
                    columns = coming.result()
                    if number + 1 < len(buffers):
                        coming = thread.submit(self.cache.read, buffers[number + 1], pools[(number + 1) % 2])
                    yield number, columns
        finally:
            self._pools = pools
