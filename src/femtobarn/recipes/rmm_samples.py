"""Events with a lepton for the search with rapidity-mass matrices: backgrounds with weights, and signals.

What is kept of an event: light jets, b-jets, muons, electrons and photons above 30 GeV within |eta| < 2.4,
missing transverse momentum, the nine pair masses, and its weight in pb. The leading electron or muon has more
than 60 GeV, and there is a jet or b-jet [PRL 132 (2024) 081801].
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.data import open_sample
from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError
from femtobarn.physics.object_list import padded_objects
from femtobarn.physics.rapidity_mass import (
    ATLAS_PAIRS,
    ATLAS_TYPES,
    pair_masses,
    rapidity_mass_inputs,
    rapidity_mass_matrix,
)
from femtobarn.progress import progress_bar
from femtobarn.recipes.run import Run
from femtobarn.simulation import EventSettings, simulate
from femtobarn.simulation.detector import ElectronSettings, FatJetSettings
from femtobarn.simulation.objects import FAKE
from femtobarn.simulation.processes import K_FACTORS

__all__ = ["BACKGROUNDS", "MASSES", "SIGNALS", "SQRT_S", "Events", "Signal", "Source", "load", "selected"]

Array = NDArray[np.float64]
SQRT_S = 13_000.0
"""GeV."""
OBJECT_PT, LEPTON_PT, ETA = 30.0, 60.0, 2.4
B_TAG = 2
"""Working points a b-jet passes: 77 % efficiency."""
FAKE_RATE = 1e-4
"""Probability that a jet passes as an electron, for tight and isolated ones: a fifth of our detector's."""
MORE_FAKES = 1000.0
"""Jets pass as electrons so much more often in simulated dijets, whose weights are smaller for it."""
CHUNK = 20_000
SHORT = {"jets": "j", "bjets": "b", "muons": "mu", "electrons": "e", "photons": "gamma"}
MASSES = tuple(SHORT[one] + SHORT[other] for one, _, other, _ in ATLAS_PAIRS)
"""Names of the pair masses: jj, jb, jmu, ..."""


class Source(NamedTuple):
    """How a background is simulated.

    Attributes:
        label: what the reader sees.
        process: of the simulation.
        lines: further settings of Pythia.
        fakes: factor by which jets pass as electrons more often; above one only events count whose leading
            lepton is such a jet.
        stands_for: how many charge combinations alike it stands for.
        like: the process whose higher orders it is given.
    """

    label: str
    process: str
    lines: tuple[str, ...] = ()
    fakes: float = 1.0
    stands_for: float = 1.0
    like: str = ""

    def settings(self) -> EventSettings:
        """Beams and detector: no underlying event, no fat jets."""
        electrons = ElectronSettings(jet_fake_rate=FAKE_RATE * self.fakes)
        fat = FatJetSettings(pt_min=0.0)
        return EventSettings(sqrt_s=SQRT_S / 1000, pythia=self.lines, overlay=0.0, electrons=electrons,
                             fat_jets=fat)  # fmt: skip

    @property
    def factor(self) -> float:
        """What multiplies Pythia's cross-section."""
        return self.stands_for * K_FACTORS.get(self.like or self.process, 1.0)


class Signal(NamedTuple):
    """A benchmark: the mass it is looked for in, its source, and what the reader sees of its parameters."""

    mass: str
    source: Source
    text: str


def _hard(pt: int, power: float) -> tuple[str, ...]:
    """More events the harder they are, so that all anomaly regions have many."""
    return (f"PhaseSpace:pTHatMin = {pt}.", "PhaseSpace:bias2Selection = on",
            f"PhaseSpace:bias2SelectionPow = {power}", f"PhaseSpace:bias2SelectionRef = {pt}.")  # fmt: skip


_ONE_LEPTON = ("24:onMode = off", "24:onPosIfAny = 11 13 15", "24:onNegIfAny = 1 2 3 4 5")
_LEPTONS = ("24:onMode = off", "24:onIfAny = 11 13 15")
BACKGROUNDS = {
    "w_jets": Source("W + jets", "w_jets", _hard(40, 2), like="w_lnu"),
    "z_jets": Source("Z + jets", "z_jets", (*_hard(40, 2), "23:onMode = off", "23:onIfAny = 11 13 15"),
                     like="z_ll"),
    "ttbar_1l": Source("top pairs", "ttbar", (*_hard(20, 2), *_ONE_LEPTON), stands_for=2.0),
    "ttbar_2l": Source("top pairs", "ttbar", (*_hard(20, 2), *_LEPTONS)),
    "single_top": Source("single top", "single_top", _hard(20, 2)),
    "ww": Source("dibosons", "ww", (*_hard(20, 2), *_ONE_LEPTON), stands_for=2.0),
    "dijet": Source("dijets", "dijet", _hard(70, 4), fakes=MORE_FAKES),
}  # fmt: skip
"""The cocktail; by label where several are one thing."""


def _heavy_w(quarks: str) -> Source:
    """W' -> W Z' with a light Z' to quarks and a W to electrons or muons."""
    lines = (
        "34:m0 = 2000.", "34:mMin = 1500.", "34:doForceWidth = on", "34:mWidth = 20.",
        "34:oneChannel = 1 1. 100 32 24", "32:m0 = 500.", "32:mMin = 300.", "32:doForceWidth = on",
        "32:mWidth = 10.", "32:onMode = off", f"32:onIfAny = {quarks}", "24:onMode = off",
        "24:onIfAny = 11 13",
    )  # fmt: skip
    return Source("W' → WZ'", "wprime_wz", lines)


SIGNALS = {
    "wprime_jj": Signal("jj", _heavy_w("1 2 3 4"), "W'(2 TeV) → W Z', Z'(500 GeV) → qq"),
    "wprime_bb": Signal("bb", _heavy_w("5"), "W'(2 TeV) → W Z', Z'(500 GeV) → bb"),
    "leptoquarks": Signal("je", Source("leptoquarks", "leptoquarks"), "pairs of leptoquarks (1 TeV) → eu"),
    "leptoquarks_mu": Signal(
        "jmu",
        Source("leptoquarks", "leptoquarks", ("42:0:products = 4 13",)),
        "pairs of leptoquarks (1 TeV) → μc",
    ),
    "charged_higgs": Signal(
        "jb", Source("charged Higgs", "charged_higgs", ("37:m0 = 1000.",)), "t H⁺, H⁺(1 TeV) → tb"
    ),
    "zprime_tt": Signal("jb", Source("Z' → tt", "zprime_tt"), "Z'(2 TeV) → tt"),
    "graviton_ww": Signal("je", Source("G → WW", "graviton_ww"), "G(2 TeV) → WW"),
}
"""What is looked for, each in the mass that shows it best."""


class Events(NamedTuple):
    """Selected events of one source.

    Attributes:
        rows: awkward records of objects and missing momentum.
        weight: (N,) pb.
        fold: (N,).
        masses: (N, 9) GeV, as in `MASSES`; 0 where one of the two is absent.
    """

    rows: ak.Array
    weight: Array
    fold: NDArray[np.int64]
    masses: NDArray[np.float32]

    def take(self, which: NDArray[np.bool_]) -> Events:
        """Some of the events."""
        return Events(self.rows[which], self.weight[which], self.fold[which], self.masses[which])

    def inputs(self) -> NDArray[np.float32]:
        """The cells (N, 1287) that an autoencoder reads."""
        return rapidity_mass_inputs(self.rows, sqrt_s=SQRT_S)


def selected(run: Run, name: str, source: Source, events: int) -> Path:
    """Simulate `events` collisions of a source and keep what passes: a Parquet file."""
    settings = source.settings()

    def build(path: Path) -> None:
        raw = path.with_name(f"{path.name}.raw.parquet")
        with progress_bar(f"simulate {name}", "collisions") as progress:
            simulate(source.process, events, raw, seed=run.seed, workers=run.workers, settings=settings,
                     progress=progress)  # fmt: skip
        rows = prepared(open_sample(raw).read(), source, name)
        with atomic(path) as temporary:
            ak.to_parquet(rows, temporary, list_to32=True)
        raw.unlink()

    key = {"source": source._asdict(), "events": events, "seed": run.seed,
           "settings": settings.model_dump(mode="json")}  # fmt: skip
    code = ["simulation", "physics.rapidity_mass", __name__]
    return run.cached(f"simulate {name}", key, build, code=code, suffix=".parquet")


def prepared(events: ak.Array, source: Source, name: str) -> ak.Array:
    """The selected events as `Events` wants them, with weights in pb.

    Raises:
        InputError: when none is left.
    """
    jets = events.jets
    light = ak.concatenate([_momenta(jets[jets.btag < B_TAG]), _momenta(events.taus)], axis=1)
    objects = {"jets": light, "bjets": _momenta(jets[jets.btag >= B_TAG])}
    objects |= {kind: _momenta(events[kind]) for kind in ("muons", "electrons", "photons")}
    objects = {kind: _kept(table) for kind, table in objects.items()}
    muon, electron = (_leading(objects[kind].pt) for kind in ("muons", "electrons"))
    passed = np.maximum(muon, electron) > LEPTON_PT
    passed &= ak.to_numpy(ak.num(objects["jets"]) + ak.num(objects["bjets"])) > 0
    fakes = events.electrons.origin == FAKE
    if source.fakes > 1:
        passed &= (_leading(events.electrons.pt[fakes]) == _leading(events.electrons.pt)) & (electron > muon)
    if not passed.any():
        raise InputError(
            f"no event of '{name}' has a lepton above {LEPTON_PT:g} GeV and a jet: simulate more"
        )
    weight = ak.to_numpy(events.crossSectionWeight).astype(np.float64) / 1000 * source.factor
    weight /= source.fakes ** ak.to_numpy(ak.sum(fakes, axis=1))
    others = ak.to_numpy(ak.sum(np.abs(jets.eta) < ElectronSettings().eta_max, axis=1))
    weight *= ((1 - FAKE_RATE) / (1 - FAKE_RATE * source.fakes)) ** others
    fields = {kind: table[passed] for kind, table in objects.items()}
    fields |= {"met": events.met[passed], "met_phi": events.met_phi[passed], "fold": events.fold[passed],
               "weight": weight[passed]}  # fmt: skip
    rows = ak.zip(fields, depth_limit=1)
    masses = np.concatenate([_masses(rows[k : k + CHUNK]) for k in range(0, len(rows), CHUNK)])
    for number, mass in enumerate(MASSES):
        rows = ak.with_field(rows, masses[:, number], f"m_{mass}")
    return rows


def load(path: Path) -> Events:
    """What `selected` wrote."""
    rows = ak.from_parquet(path)
    masses = np.stack([ak.to_numpy(rows[f"m_{mass}"]) for mass in MASSES], axis=1)
    fold = ak.to_numpy(rows.fold).astype(np.int64)
    return Events(rows, ak.to_numpy(rows.weight).astype(np.float64), fold, masses)


def _momenta(table: ak.Array) -> ak.Array:
    return table[["pt", "eta", "phi", "mass"]]


def _kept(table: ak.Array) -> ak.Array:
    return table[(table.pt > OBJECT_PT) & (np.abs(table.eta) < ETA)]


def _leading(pt: ak.Array) -> Array:
    return np.asarray(ak.to_numpy(ak.fill_none(ak.max(pt, axis=1), 0.0)), dtype=np.float64)


def _masses(rows: ak.Array) -> NDArray[np.float32]:
    met, phi = (ak.to_numpy(rows[field]).astype(np.float64) for field in ("met", "met_phi"))
    matrix = rapidity_mass_matrix(met, phi, padded_objects(rows, ATLAS_TYPES), ATLAS_TYPES, SQRT_S)
    return pair_masses(matrix, ATLAS_TYPES, sqrt_s=SQRT_S)
