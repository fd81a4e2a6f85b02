"""From a process and a number of events to a file: blocks through an executor, resumed where they stopped."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

import awkward as ak
import numpy as np
from pydantic import BaseModel

from femtobarn.data.atomic import atomic
from femtobarn.data.formats import open_writer
from femtobarn.errors import InputError, require
from femtobarn.simulation.events import BLOCK, Block, simulate_block
from femtobarn.simulation.pileup import POOL_BLOCK, pool_block, pool_folder
from femtobarn.simulation.processes import pythia_settings
from femtobarn.simulation.pythia import check as check_lines
from femtobarn.simulation.rows import CLASSES
from femtobarn.simulation.settings import SimulationSettings
from femtobarn.simulation.zpole import EVENT_CLASSES, ZPoleSettings, zpole_block
from femtobarn.workers import follow_parent

__all__ = ["Summary", "simulate"]

Task = TypeVar("Task")
Result = TypeVar("Result")


class Summary(BaseModel):
    """What a simulation made; `seconds` are CPU seconds by stage, spent in this run.

    `events` are those finished: Pythia gives up the odd one it cannot.
    """

    events: int
    jets: int
    flavours: dict[str, int]
    seconds: dict[str, float]

    def __str__(self) -> str:
        flavours = ", ".join(f"{count} {name}" for name, count in self.flavours.items())
        spent = sum(self.seconds.values())
        return f"{self.jets} jets ({flavours}) of {self.events} events, {spent:.0f} CPU seconds"


def simulate(
    process: str,
    n: int,
    out: str | Path,
    *,
    seed: int = 1,
    pileup: float | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    settings: SimulationSettings | ZPoleSettings | None = None,
    underlying_event: Literal["full", "overlay"] = "full",
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Simulate `n` collisions and write their jets with tracks to `out` (`.h5` in the ATLAS layout, or
    `.parquet`).

    The same process, seed and settings give the same events whatever the number of workers, and the first
    events of a larger sample are those of a smaller one. Finished blocks wait in `OUT.parts/`: a run that was
    stopped goes on from there, and the folder goes when the file is complete. The pool of minimum-bias
    collisions is made once and kept in the user's cache folder; Dask workers must see both folders.

    Args:
        process: a key of `PROCESSES`: ttbar, zprime, dijet, minbias; or zpole, e+e- -> Z -> hadrons, whose
            rows are events.
        n: number of collisions.
        out: the file.
        seed: below 2^31; becomes `runNumber`.
        pileup: mean number of further collisions per crossing; None: 20, and 0 at the Z pole.
        workers: local processes.
        scheduler: address of a Dask scheduler to use instead of local processes.
        settings: beams, detector, selection.
        underlying_event: "full" multi-parton interactions, or minimum-bias events laid over instead.
        progress: called with (events done, events).

    Raises:
        InputError: for arguments out of range.
    """
    at_z = process == "zpole"
    settings = settings or (ZPoleSettings() if at_z else SimulationSettings())
    pileup = (0.0 if at_z else 20.0) if pileup is None else pileup
    out = Path(out)
    _check(n, out, seed, pileup, workers, underlying_event)
    if isinstance(settings, ZPoleSettings) != at_z or (at_z and (pileup or underlying_event == "overlay")):
        raise InputError(f"{process}: beams and pile-up do not fit: e+e- needs ZPoleSettings and no pile-up")
    check_lines(pythia_settings(process, settings.sqrt_s, underlying_event == "full", settings.pythia))
    _check_energy(settings)
    pools = pool_folder(settings) if isinstance(settings, SimulationSettings) else Path()
    overlay = underlying_event == "overlay"
    blocks = [
        Block(process, index, seed, pileup, overlay, settings, pools) for index in range(-(-n // BLOCK))
    ]
    provenance = {
        "process": process,
        "seed": seed,
        "pileup": pileup,
        "underlying_event": underlying_event,
        "settings": settings.model_dump(mode="json"),
        "versions": {name: version(name) for name in ("femtobarn", "pythia8mc", "fastjet", "numpy")},
    }
    classes = EVENT_CLASSES if at_z else CLASSES
    if isinstance(settings, ZPoleSettings):
        longest = settings.tracks_max
    else:
        longest = max(settings.selection.tracks_max, settings.selection.flows_max)
    total = Totals(classes["flavour_label"])
    with (
        _executor(workers, scheduler) as executor,
        open_writer(out, classes, provenance | {"events": n}, max_length=longest) as writer,
    ):
        parts = Parts(out, provenance)
        if isinstance(settings, SimulationSettings) and (pileup > 0 or overlay):
            total.seconds["pool"] = _make_pools(settings, pools, executor)
        for index, (rows, events) in enumerate(_rows(blocks, parts, executor, workers, total.seconds)):
            start = time.process_time()
            rows = rows[rows.eventNumber < n]
            total.events += min(events, n - index * BLOCK)
            writer.append(rows)
            total.add(rows)
            total.seconds["write"] = total.seconds.get("write", 0.0) + time.process_time() - start
            if progress:
                progress(min(n, (index + 1) * BLOCK), n)
    parts.remove()
    return Summary(events=total.events, jets=total.jets, flavours=total.flavours, seconds=total.seconds)


def _check_energy(settings: SimulationSettings | ZPoleSettings) -> None:
    for line in settings.pythia:
        if line.partition("=")[0].strip().lower() in ("beams:ecm", "beams:ea", "beams:eb"):
            raise InputError(f"'{line}' would not reach the pile-up: set sqrt_s (TeV) instead")


class Totals:
    """Running sums over the blocks."""

    def __init__(self, flavours: Sequence[str]) -> None:
        self.events = 0
        self.jets = 0
        self.flavours = dict.fromkeys(flavours, 0)
        self.seconds: dict[str, float] = {}

    def add(self, rows: ak.Array) -> None:
        """Count the jets of one block."""
        counts = np.bincount(ak.to_numpy(rows.flavour_label), minlength=len(self.flavours))
        self.jets += len(rows)
        for name, count in zip(self.flavours, counts.tolist(), strict=True):
            self.flavours[name] += count


def _check(n: int, out: Path, seed: int, pileup: float, workers: int, underlying_event: str) -> None:
    if n < 1:
        raise InputError(f"the number of events is {n}; give at least 1")
    if not 0 <= seed < 2**31:
        raise InputError(f"the seed is {seed}; give a number from 0 to {2**31 - 1}")
    if not 0 <= pileup <= 1000:
        raise InputError(f"pileup is {pileup}; give a mean number of collisions from 0 to 1000")
    if workers < 1:
        raise InputError(f"workers is {workers}; give at least 1")
    if underlying_event not in ("full", "overlay"):
        raise InputError(f"underlying_event is '{underlying_event}'; give 'full' or 'overlay'")
    if out.is_dir():
        raise InputError(f"{out}: is a folder; give the name of a file ending in .h5 or .parquet")
    for module in ("pythia8mc", "fastjet", "particle"):
        require(module, "simulation")


class Parts:
    """The folder of finished blocks; those of other settings go when it is opened, and it appears with the
    first block."""

    def __init__(self, out: Path, provenance: dict[str, Any]) -> None:
        self.folder = out.with_name(f"{out.name}.parts")
        self._manifest = self.folder / "manifest.json"
        self._text = json.dumps(provenance, sort_keys=True)
        if not self._manifest.is_file() or self._manifest.read_text() != self._text:
            self.remove()

    def path(self, block: Block) -> Path:
        """Where the rows of a block are."""
        return self.folder / f"{block.index:07d}.parquet"

    def has(self, block: Block) -> bool:
        """Whether a block is finished."""
        return self.path(block).is_file() and self.path(block).with_suffix(".txt").is_file()

    def read(self, block: Block) -> tuple[ak.Array, int]:
        """The rows of a finished block, and the number of its events, those without jets too."""
        path = self.path(block)
        return ak.from_parquet(path), int(path.with_suffix(".txt").read_text())

    def keep(self, block: Block, rows: ak.Array, events: int) -> None:
        """Write the rows of a finished block of that many events."""
        if not self._manifest.is_file():
            with atomic(self._manifest) as temporary:
                temporary.write_text(self._text)
        with atomic(self.path(block).with_suffix(".txt")) as temporary:
            temporary.write_text(str(events))
        with atomic(self.path(block)) as temporary:
            ak.to_parquet(rows, temporary, extensionarray=False, list_to32=True)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _rows(
    blocks: list[Block], parts: Parts, executor: Executor | None, workers: int, seconds: dict[str, float]
) -> Iterator[tuple[ak.Array, int]]:
    """Rows and numbers of events of all blocks in order, those of finished ones read back."""
    finished = {block.index for block in blocks if parts.has(block)}
    missing = [block for block in blocks if block.index not in finished]
    fresh = _ordered(_kept_block, [(block, parts) for block in missing], executor, 2 * workers + 1)
    for block in blocks:
        if block.index not in finished:
            for stage, cpu in next(fresh).items():
                seconds[stage] = seconds.get(stage, 0.0) + cpu
        yield parts.read(block)


def _kept_block(task: tuple[Block, Parts]) -> dict[str, float]:
    """Simulate a block and keep its rows at once, in the worker that made it; CPU seconds by stage."""
    block, parts = task
    rows, events, seconds = (zpole_block if block.process == "zpole" else simulate_block)(block)
    start = time.process_time()
    parts.keep(block, rows, events)
    return {**seconds, "write": time.process_time() - start}


def _ordered(
    function: Callable[[Task], Result], tasks: Iterable[Task], executor: Executor | None, ahead: int
) -> Iterator[Result]:
    """Results in the order of the tasks, never more than `ahead` of them in flight or waiting."""
    if executor is None:
        yield from map(function, tasks)
        return
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        waiting.append(executor.submit(function, task))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _pool_task(task: tuple[str, int, SimulationSettings]) -> tuple[dict[str, Any], float]:
    return pool_block(*task)


def _make_pools(settings: SimulationSettings, folder: Path, executor: Executor | None) -> float:
    """Make the pools that are not in the cache yet; CPU seconds spent."""
    spent = 0.0
    for split in ("train", "valid", "test"):
        path = folder / f"{split}.npz"
        if path.is_file():
            continue
        size = -(-getattr(settings.pileup, split) // POOL_BLOCK)
        results = list(
            _ordered(_pool_task, [(split, index, settings) for index in range(size)], executor, size)
        )
        spent += sum(cpu for _, cpu in results)
        with atomic(path) as temporary, temporary.open("wb") as file:
            names = list(results[0][0])
            joined: dict[str, Any] = {
                n: np.concatenate([columns[n] for columns, _ in results]) for n in names
            }
            np.savez(file, **joined)
    return spent


@contextmanager
def _executor(workers: int, scheduler: str | None) -> Iterator[Executor | None]:
    """Processes, a Dask cluster, or nothing for one worker: then the blocks run here."""
    if scheduler is not None:
        distributed = require("distributed", "cluster")
        try:
            client = distributed.Client(scheduler, timeout="5s", set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{scheduler}: no Dask scheduler answers ({error}); start `dask scheduler` first"
            ) from None
        with client:
            yield client.get_executor()
        return
    if workers == 1:
        yield None
        return
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=follow_parent)
    try:
        yield executor
    except BaseException:
        # Ctrl-C and errors do not wait for the blocks under way: what they would give is not kept.
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
