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
from typing import Any, Literal, NamedTuple, TypeVar

import awkward as ak
import numpy as np
from pydantic import BaseModel

from femtobarn.data.atomic import atomic
from femtobarn.data.formats import open_writer
from femtobarn.data.reader import Writer
from femtobarn.errors import InputError, require
from femtobarn.simulation.detector import EventSettings
from femtobarn.simulation.event_rows import OBJECT_CLASSES, event_block
from femtobarn.simulation.events import BLOCK, Block, simulate_block
from femtobarn.simulation.jets import JetSettings, block_lines, jet_codes, jets_block
from femtobarn.simulation.pileup import POOL_BLOCK, pool_block, pool_folder
from femtobarn.simulation.processes import pythia_settings
from femtobarn.simulation.pythia import CrossSection, cross_section
from femtobarn.simulation.pythia import check as check_lines
from femtobarn.simulation.rows import CLASSES
from femtobarn.simulation.settings import SimulationSettings
from femtobarn.simulation.zpole import EVENT_CLASSES, ZPoleSettings, zpole_block
from femtobarn.workers import follow_parent

__all__ = ["Summary", "simulate"]

GROUP = 50
"""Blocks written at once: Parquet in groups of 200 events takes thirty times longer to read."""
UnderlyingEvent = Literal["full", "overlay", "off"]
Task = TypeVar("Task")
Result = TypeVar("Result")


class Summary(BaseModel):
    """What a simulation made; `seconds` are CPU seconds by stage, spent in this run.

    `events` are those finished: Pythia gives up the odd one it cannot. `objects` and the `cross_section` (fb)
    are those of whole events.
    """

    events: int
    jets: int
    flavours: dict[str, int]
    objects: dict[str, int] = {}
    cross_section: float | None = None
    seconds: dict[str, float]

    def __str__(self) -> str:
        flavours = ", ".join(f"{count} {name}" for name, count in self.flavours.items())
        objects = "".join(f", {count} {name}" for name, count in self.objects.items())
        size = "" if self.cross_section is None else f" of {self.cross_section:.4g} fb"
        spent = sum(self.seconds.values())
        return (
            f"{self.jets} jets ({flavours}){objects} of {self.events} events{size}, {spent:.0f} CPU seconds"
        )


class Kind(NamedTuple):
    """What the rows are that a type of settings makes.

    Attributes:
        block: makes one block of them.
        classes: names of codes, with these settings.
        flavour: the field whose codes are counted in the summary.
        pileup: mean, unless another is asked for.
        choices: of the underlying event, the usual one first.
        layout: of HDF5.
        pools: whether pile-up is drawn from pools of minimum-bias collisions.
    """

    block: Callable[[Block], tuple[ak.Array, int, dict[str, float]]]
    classes: Callable[[Any], dict[str, list[str]]]
    flavour: str
    pileup: float
    choices: tuple[UnderlyingEvent, ...]
    layout: str
    pools: bool


KINDS: dict[type[BaseModel], Kind] = {
    SimulationSettings: Kind(
        simulate_block, lambda _: CLASSES, "flavour_label", 20.0, ("full", "overlay"), "atlas", True
    ),
    EventSettings: Kind(
        event_block, lambda _: OBJECT_CLASSES, "jets.flavour_label", 20.0, ("off", "full"), "nested", False
    ),
    ZPoleSettings: Kind(
        zpole_block, lambda _: EVENT_CLASSES, "flavour_label", 0.0, ("full",), "atlas", False
    ),
    JetSettings: Kind(jets_block, jet_codes, "jet_label", 0.0, ("full",), "nested", False),
}
OWN: dict[str, type[ZPoleSettings | JetSettings]] = {"zpole": ZPoleSettings, "jets": JetSettings}
"""Processes with a detector of their own."""
AnySettings = SimulationSettings | EventSettings | ZPoleSettings


def simulate(
    process: str,
    n: int,
    out: str | Path,
    *,
    seed: int = 1,
    pileup: float | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    settings: AnySettings | None = None,
    underlying_event: UnderlyingEvent | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Simulate `n` collisions and write them to `out` (`.h5` or `.parquet`): jets with tracks in the ATLAS
    layout, or whole events.

    The settings say what the rows are: with `SimulationSettings` jets with tracks; with `EventSettings`
    events of electrons, muons, taus, photons, jets and missing transverse momentum, whose
    `crossSectionWeight` (fb) add up to the cross-section; with `ZPoleSettings` hadronic Z decays.

    The same process, seed and settings give the same events whatever the number of workers, and the first
    events of a larger sample are those of a smaller one. Finished blocks wait in `OUT.parts/`: a run that was
    stopped goes on from there, and the folder goes when the file is complete. The pool of minimum-bias
    collisions is made once and kept in the user's cache folder; Dask workers must see both folders.

    Args:
        process: a key of `PROCESSES`.
        n: number of collisions.
        out: the file.
        seed: below 2^31; becomes `runNumber`.
        pileup: mean number of further collisions per crossing; None: 20, and 0 at the Z pole. In events it is
            noise on jets.
        workers: local processes.
        scheduler: address of a Dask scheduler to use instead of local processes.
        settings: beams, detector, selection; None: jets with tracks, or the Z pole's for zpole.
        underlying_event: "full" multi-parton interactions, "overlay" of minimum-bias events instead (jets),
            or "off" (events), which is several times faster; None: off for events, else full.
        progress: called with (events done, events).

    Raises:
        InputError: for arguments out of range.
    """
    settings = settings or OWN.get(process, SimulationSettings)()
    kind = KINDS[type(settings)]
    pileup = kind.pileup if pileup is None else pileup
    underlying_event = underlying_event or kind.choices[0]
    out = Path(out)
    _check(n, out, seed, pileup, workers)
    _check_process(process, settings, pileup, underlying_event)
    pools = Path() if isinstance(settings, ZPoleSettings) else pool_folder(settings)
    blocks = [
        Block(process, index, seed, pileup, underlying_event, settings, pools)
        for index in range(-(-n // BLOCK))
    ]
    provenance = {
        "process": process,
        "seed": seed,
        "pileup": pileup,
        "underlying_event": underlying_event,
        "settings": settings.model_dump(mode="json"),
        "versions": {name: version(name) for name in ("femtobarn", "pythia8mc", "fastjet", "numpy")},
    }
    attributes = provenance | {"events": n}
    parts, classes = Parts(out, provenance), kind.classes(settings)
    total = Totals(classes[kind.flavour])
    if isinstance(settings, EventSettings):
        total.cross_section = _scaled(cross_section(process, settings.sqrt_s, settings.pythia), settings)
        attributes["cross_section"] = total.cross_section._asdict()
    with (
        open_writer(out, classes, attributes, max_length=_longest(settings), layout=kind.layout) as writer,
        _executor(workers, scheduler) as executor,
    ):
        if not isinstance(settings, ZPoleSettings) and (
            (kind.pools and pileup > 0) or underlying_event == "overlay"
        ):
            total.seconds["pool"] = _make_pools(settings, pools, executor)
        for block in _finished(blocks, parts, executor, workers, total.seconds):
            if progress:
                progress(min(n, (block.index + 1) * BLOCK), n)
        _write(writer, blocks, parts, n, total, kind.flavour)
    parts.remove()
    return total.summary()


def _write(writer: Writer, blocks: list[Block], parts: Parts, n: int, total: Totals, flavour: str) -> None:
    """The rows of the first `n` events of finished blocks into the file and into `total`."""
    start = time.process_time()
    weight = total.cross_section and total.cross_section.value / parts.sum_of_weights(blocks, n)
    for first in range(0, len(blocks), GROUP):
        group = [parts.read(block) for block in blocks[first : first + GROUP]]
        rows = ak.concatenate([rows for rows, _ in group])
        rows = rows[rows.eventNumber < n]
        if weight:
            rows["crossSectionWeight"] = ak.values_astype(weight * rows.mcEventWeight, np.float32)
        writer.append(rows)
        wanted = [min(BLOCK, n - block.index * BLOCK) for block in blocks[first : first + GROUP]]
        finished = sum(min(events, most) for (_, events), most in zip(group, wanted, strict=True))
        total.add(rows, finished, flavour)
    total.seconds["write"] = total.seconds.get("write", 0.0) + time.process_time() - start


def _check_process(
    process: str, settings: AnySettings, pileup: float, underlying_event: UnderlyingEvent
) -> None:
    """Refuse settings that are not for this process, or that Pythia does not know."""
    own = OWN.get(process)
    fits = type(settings) is own if own else type(settings) not in OWN.values()
    if not fits or (own and (pileup or underlying_event != "full")):
        raise InputError(
            f"{process}: beams and pile-up do not fit: zpole needs ZPoleSettings, jets JetSettings, and both "
            "no pile-up"
        )
    kind = KINDS[type(settings)]
    if underlying_event not in kind.choices:
        choices = " or ".join(map(repr, kind.choices))
        raise InputError(f"underlying_event is '{underlying_event}'; give {choices}")
    for name, further in _collisions(process, settings):
        check_lines(pythia_settings(name, settings.sqrt_s, underlying_event == "full", further))
    for line in settings.pythia:
        if line.partition("=")[0].strip().lower() in ("beams:ecm", "beams:ea", "beams:eb"):
            raise InputError(f"'{line}' would not reach the pile-up: set sqrt_s (TeV) instead")


def _collisions(process: str, settings: AnySettings) -> list[tuple[str, tuple[str, ...]]]:
    """The processes and further settings of Pythia that the blocks are made of."""
    if isinstance(settings, JetSettings):
        return [block_lines(settings, index) for index in range(2 * len(settings.classes))]
    return [(process, settings.pythia)]


def _longest(settings: AnySettings) -> int:
    """Most members of a collection in a row of the ATLAS layout."""
    if isinstance(settings, SimulationSettings):
        return max(settings.selection.tracks_max, settings.selection.flows_max)
    return settings.tracks_max if isinstance(settings, ZPoleSettings) else 0


class Totals:
    """Running sums over the blocks."""

    def __init__(self, flavours: Sequence[str]) -> None:
        self.events = 0
        self.jets = 0
        self.flavours = dict.fromkeys(flavours, 0)
        self.objects: dict[str, int] = {}
        self.cross_section: CrossSection | None = None
        self.seconds: dict[str, float] = {}

    def add(self, rows: ak.Array, events: int, flavour: str) -> None:
        """Count the events, jets and other objects of one block."""
        self.events += events
        collection, _, field = flavour.rpartition(".")
        jets = ak.flatten(rows[collection]) if collection else rows
        counts = np.bincount(ak.to_numpy(jets[field]), minlength=len(self.flavours))
        self.jets += len(jets)
        for name, count in zip(self.flavours, counts.tolist(), strict=True):
            self.flavours[name] += count
        for name in {"electrons", "muons", "taus", "photons", "fat_jets"} & set(rows.fields):
            self.objects[name] = self.objects.get(name, 0) + int(ak.sum(ak.num(rows[name])))

    def summary(self) -> Summary:
        """All of it."""
        size = None if self.cross_section is None else self.cross_section.value
        return Summary(
            events=self.events,
            jets=self.jets,
            flavours=self.flavours,
            objects=dict(sorted(self.objects.items())),
            cross_section=size,
            seconds=self.seconds,
        )


def _check(n: int, out: Path, seed: int, pileup: float, workers: int) -> None:
    if n < 1:
        raise InputError(f"the number of events is {n}; give at least 1")
    if not 0 <= seed < 2**31:
        raise InputError(f"the seed is {seed}; give a number from 0 to {2**31 - 1}")
    if not 0 <= pileup <= 1000:
        raise InputError(f"pileup is {pileup}; give a mean number of collisions from 0 to 1000")
    if workers < 1:
        raise InputError(f"workers is {workers}; give at least 1")
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

    def sum_of_weights(self, blocks: list[Block], n: int) -> float:
        """Over the first `n` events of finished blocks."""
        total = 0.0
        for block in blocks:
            rows = ak.from_parquet(self.path(block), columns=["eventNumber", "mcEventWeight"])
            total += float(ak.sum(rows.mcEventWeight[rows.eventNumber < n], mask_identity=False))
        return total

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


def _finished(
    blocks: list[Block], parts: Parts, executor: Executor | None, workers: int, seconds: dict[str, float]
) -> Iterator[Block]:
    """All blocks in order as they are finished, those of an earlier run at once."""
    finished = {block.index for block in blocks if parts.has(block)}
    missing = [block for block in blocks if block.index not in finished]
    fresh = _ordered(_kept_block, [(block, parts) for block in missing], executor, 2 * workers + 1)
    for block in blocks:
        if block.index not in finished:
            for stage, cpu in next(fresh).items():
                seconds[stage] = seconds.get(stage, 0.0) + cpu
        yield block


def _kept_block(task: tuple[Block, Parts]) -> dict[str, float]:
    """Simulate a block and keep its rows at once, in the worker that made it; CPU seconds by stage."""
    block, parts = task
    rows, events, seconds = KINDS[type(block.settings)].block(block)
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


def _pool_task(task: tuple[str, int, SimulationSettings | EventSettings]) -> tuple[dict[str, Any], float]:
    return pool_block(*task)


def _make_pools(
    settings: SimulationSettings | EventSettings, folder: Path, executor: Executor | None
) -> float:
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


def _scaled(size: CrossSection, settings: EventSettings) -> CrossSection:
    return CrossSection(size.value * settings.k_factor, size.error * settings.k_factor)


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
