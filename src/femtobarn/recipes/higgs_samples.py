"""Simulated events of Higgs bosons and their backgrounds, and the selected rows of each channel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import awkward as ak
import numpy as np

from femtobarn.data import open_sample
from femtobarn.data.atomic import atomic
from femtobarn.physics.objects import event_objects
from femtobarn.progress import progress_bar
from femtobarn.recipes.higgs_channels import CHANNELS
from femtobarn.recipes.run import Run
from femtobarn.simulation import EventSettings, simulate
from femtobarn.simulation.detector import TauSettings
from femtobarn.simulation.processes import K_FACTORS
from femtobarn.simulation.shifts import Shifts, shifted

__all__ = ["SHIFTS", "SOURCES", "Source", "selected", "simulated"]

SHIFTS = {
    "jet energy": Shifts(jet_energy_scale=0.02),
    "tau energy": Shifts(tau_energy_scale=0.02),
    "photon energy": Shifts(photon_scale=0.003),
}
"""One standard deviation each."""
HIGGS = 125.0
"""Mass of the Higgs boson, GeV."""
UNBIASED = ("PhaseSpace:bias2Selection = off",)
BOSONS = {"w_jets": "w_lnu", "z_jets": "z_ll"}
"""Whose higher orders they are given."""


class Source(NamedTuple):
    """How a process is simulated.

    Attributes:
        process: of the simulation.
        lines: further settings of Pythia.
        fakes: factor by which jets pass as taus more often than they would; selected events count
            less for it.
        stands_for: how many charge combinations alike it stands for.
    """

    process: str
    lines: tuple[str, ...] = ()
    fakes: float = 1.0
    stands_for: float = 1.0

    @property
    def k_factor(self) -> float:
        """The best known cross-section over Pythia's, 1 where `simulation.processes` knows none, and what
        else multiplies it."""
        return self.stands_for * K_FACTORS.get(BOSONS.get(self.process, self.process), 1.0)

    def settings(self) -> EventSettings:
        """Beams and detector."""
        taus = TauSettings()
        less = {n: tuple(r / self.fakes for r in getattr(taus, n)) for n in ("rejection_1", "rejection_3")}
        return EventSettings(pythia=self.lines, taus=taus.model_copy(update=less))


def _hard(pt: int) -> tuple[str, ...]:
    return (f"PhaseSpace:pTHatMin = {pt}.", f"PhaseSpace:bias2SelectionRef = {pt}.")


_FAST_TOPS = (*_hard(40), "PhaseSpace:bias2Selection = on", "PhaseSpace:bias2SelectionPow = 2.")
_ONE_LEPTON = ("24:onMode = off", "24:onPosIfAny = 11 13 15", "24:onNegIfAny = 1 2 3 4 5")
SOURCES: dict[str, Source] = {
    "wh_bb": Source("wh_bb"),
    "zh_bb": Source("zh_bb"),
    "w_jets": Source("w_jets", _hard(100)),
    "z_jets": Source("z_jets", _hard(50)),
    "ttbar": Source("ttbar"),
    "ttbar_1l": Source("ttbar", (*_FAST_TOPS, *_ONE_LEPTON), stands_for=2.0),
    "ttbar_2l": Source("ttbar", (*_FAST_TOPS, "24:onMode = off", "24:onIfAny = 11 13 15")),
    "single_top": Source("single_top"),
    "wz_bb": Source("wz_bb"),
    "zz_bb": Source("zz_bb"),
    "higgs_gamgam": Source("higgs_gamgam"),
    "diphoton": Source("diphoton"),
    "higgs_tautau": Source("higgs_tautau"),
    "z_tautau": Source("z_tautau"),
    "w_fakes": Source("w_jets", UNBIASED, 10.0),
    "z_fakes": Source("z_ll", fakes=10.0),
}
"""W and Z bosons in V(H -> bb) are faster than what they are simulated from; in H -> tau tau all are."""


def simulated(run: Run, name: str, events: int) -> Path:
    """The file of one source."""
    source = SOURCES[name]
    settings = source.settings()

    def build(path: Path) -> None:
        with progress_bar(f"simulate {name}", "events") as progress:
            simulate(source.process, events, path, seed=run.seed, workers=run.workers, settings=settings,
                     progress=progress)  # fmt: skip

    key = {"process": source.process, "events": events, "seed": run.seed,
           "settings": settings.model_dump(mode="json")}  # fmt: skip
    return run.cached(f"simulate {name}", key, build, code=["simulation"], suffix=".parquet")


def selected(run: Run, channel: str, files: Mapping[str, Path], luminosity: float) -> Path:
    """Selected events of all sources of a channel: a folder of `nominal.parquet` and one per shift and side.

    Rows have the features and the distance of the mass from the Higgs boson's, `m_off`; `objects`, `label`
    (0 signal, 1 background), `source` (its place in the channel's list), `fold` (0-9) and `expected`, events
    at the luminosity (per fb).
    """

    def build(path: Path) -> None:
        with atomic(path) as folder:
            folder.mkdir()
            for variation in [None, *variations(channel)]:
                parts = [
                    _rows(channel, name, file, luminosity, run.seed, variation)
                    for name, file in files.items()
                ]
                name = "nominal" if variation is None else f"{variation[0]} {variation[1]:+d}"
                ak.to_parquet(ak.concatenate(parts), folder / f"{name}.parquet", list_to32=True)

    key = {"channel": channel, "files": [file.name for file in files.values()], "luminosity": luminosity,
           "seed": run.seed}  # fmt: skip
    return run.cached(
        f"select {channel}", key, build, code=["simulation", "physics", "recipes.higgs_samples"]
    )


def variations(channel: str) -> list[tuple[str, int]]:
    """Shifts that matter to a channel, up and down."""
    others = {"gamgam": "tau energy", "tautau": "photon energy"}
    names = ["jet energy"] if channel.startswith("vh") else [n for n in SHIFTS if n != others[channel]]
    return [(name, side) for name in names for side in (1, -1)]


def _rows(
    channel: str, name: str, file: Path, luminosity: float, seed: int, variation: tuple[str, int] | None
) -> ak.Array:
    """Selected rows of one source."""
    events = open_sample(file).read()
    lottery = np.random.default_rng([seed, *name.encode()]).random((len(events), 2))
    weight = ak.to_numpy(events.crossSectionWeight).astype(np.float64)
    events = ak.with_field(events, weight * SOURCES[name].k_factor * luminosity, "expected")
    events = ak.with_field(events, lottery, "lottery")  # the same in all variations
    if variation is not None:
        shift, side = SHIFTS[variation[0]], variation[1]
        changes = {field: side * value for field, value in shift.model_dump().items()}
        events = shifted(events, Shifts(**changes))
    found = CHANNELS[channel].select(events)
    expected = ak.to_numpy(found.events.expected) * found.factor
    expected /= SOURCES[name].fakes ** found.fakes
    sources = [*CHANNELS[channel].signal, *CHANNELS[channel].backgrounds]
    count = len(expected)
    columns = {feature: values.astype(np.float32) for feature, values in found.features.items()}
    columns["m_off"] = np.abs(columns[CHANNELS[channel].mass[0]] - HIGGS)  # a peak, for what is linear
    columns |= {
        "label": np.full(count, name not in CHANNELS[channel].signal, dtype=np.int8),
        "source": np.full(count, sources.index(name), dtype=np.int8),
        "fold": ak.to_numpy(found.events.fold),
        "expected": expected,
    }
    return ak.zip(columns | {"objects": event_objects(found.events)}, depth_limit=1)
