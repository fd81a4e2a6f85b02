"""Pythia 8 settings of the processes femtobarn simulates."""

from __future__ import annotations

from femtobarn.errors import InputError, closest

__all__ = ["PROCESSES", "pythia_settings"]

_COMMON = (
    "Print:quiet = on",
    "Next:numberCount = 0",
    "Random:setSeed = on",
    # Long-lived particles decay in the tracker only as far as a track could still leave eight silicon hits.
    "ParticleDecays:limitCylinder = on",
    "ParticleDecays:xyMax = 320.",
    "ParticleDecays:zMax = 1500.",
)

_W_TO_LEPTONS = ("24:onMode = off", "24:onIfAny = 11 13 15")
_Z_TO_LEPTONS = ("23:onMode = off", "23:onIfAny = 11 12 13 14 15 16")
_HIGGS = (
    "HiggsSM:gg2H = on",
    "HiggsSM:ff2Hff(t:ZZ) = on",
    "HiggsSM:ff2Hff(t:WW) = on",
    "HiggsSM:ffbar2HZ = on",
    "HiggsSM:ffbar2HW = on",
)


def _flattened(pt_min: float, power: float) -> tuple[str, ...]:
    """Hard processes above a transverse momentum (GeV), more of them the harder they are, with weights."""
    return (
        f"PhaseSpace:pTHatMin = {pt_min}",
        "PhaseSpace:bias2Selection = on",
        f"PhaseSpace:bias2SelectionPow = {power}",
        f"PhaseSpace:bias2SelectionRef = {pt_min}",
    )


PROCESSES: dict[str, tuple[str, ...]] = {
    "ttbar": ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on"),
    # The hard process comes from `zprime.py`.
    "zprime": ("Beams:frameType = 5",),
    "dijet": (
        "HardQCD:all = on",
        "PhaseSpace:pTHatMin = 20.",
        "PhaseSpace:bias2Selection = on",
        "PhaseSpace:bias2SelectionPow = 5.",
        "PhaseSpace:bias2SelectionRef = 100.",
    ),
    "minbias": ("SoftQCD:inelastic = on",),
    # Electrons and positrons at the Z pole, without radiation from the beams.
    "zpole": (
        "Beams:idA = 11",
        "Beams:idB = -11",
        "PDF:lepton = off",
        "WeakSingleBoson:ffbar2gmZ = on",
        "23:onMode = off",
        "23:onIfAny = 1 2 3 4 5",
    ),
    # Higgs bosons of large momentum, to bb and cc in equal parts, beside a Z that is not seen.
    "higgs": (
        "HiggsSM:ffbar2HZ = on",
        "23:onMode = off",
        "23:onIfAny = 12 14 16",
        "25:oneChannel = 1 0.5 100 5 -5",
        "25:addChannel = 1 0.5 100 4 -4",
        "PhaseSpace:pTHatMin = 200.",
        "PhaseSpace:bias2Selection = on",
        "PhaseSpace:bias2SelectionPow = 4.",
        "PhaseSpace:bias2SelectionRef = 200.",
    ),
    # Higgs bosons beside a W or Z that decays to leptons or neutrinos.
    "wh_bb": ("HiggsSM:ffbar2HW = on", *_W_TO_LEPTONS, "25:onMode = off", "25:onIfAny = 5"),
    "zh_bb": ("HiggsSM:ffbar2HZ = on", *_Z_TO_LEPTONS, "25:onMode = off", "25:onIfAny = 5"),
    # W and Z bosons with a parton above 30 GeV, more of them the harder it is.
    "w_jets": (
        "WeakBosonAndParton:qqbar2Wg = on",
        "WeakBosonAndParton:qg2Wq = on",
        *_W_TO_LEPTONS,
        *_flattened(30.0, 3.0),
    ),
    "z_jets": (
        "WeakBosonAndParton:qqbar2gmZg = on",
        "WeakBosonAndParton:qg2gmZq = on",
        "WeakZ0:gmZmode = 2",
        *_Z_TO_LEPTONS,
        *_flattened(30.0, 3.0),
    ),
    "z_ll": ("WeakSingleBoson:ffbar2gmZ = on", "23:mMin = 60.", "23:onMode = off", "23:onIfAny = 11 13"),
    "z_tautau": ("WeakSingleBoson:ffbar2gmZ = on", "23:mMin = 60.", "23:onMode = off", "23:onIfAny = 15"),
    "w_lnu": ("WeakSingleBoson:ffbar2W = on", *_W_TO_LEPTONS),
    "single_top": ("Top:qq2tq(t:W) = on", "Top:ffbar2tqbar(s:W) = on"),
    "ww": ("WeakDoubleBoson:ffbar2WW = on",),
    "wz": ("WeakDoubleBoson:ffbar2ZW = on",),
    "zz": ("WeakDoubleBoson:ffbar2gmZgmZ = on",),
    # What of dibosons looks like a Higgs boson beside a W or Z.
    "wz_bb": ("WeakDoubleBoson:ffbar2ZW = on", *_W_TO_LEPTONS, "23:onMode = off", "23:onIfAny = 5"),
    "zz_bb": (
        "WeakDoubleBoson:ffbar2gmZgmZ = on",
        "WeakZ0:gmZmode = 2",
        "23:onMode = off",
        "23:onIfAny = 5 11 12 13 14 15 16",
    ),
    "higgs_gamgam": (*_HIGGS, "25:onMode = off", "25:onIfMatch = 22 22"),
    "higgs_tautau": (*_HIGGS, "25:onMode = off", "25:onIfAny = 15"),
    "diphoton": (
        "PromptPhoton:ffbar2gammagamma = on",
        "PromptPhoton:gg2gammagamma = on",
        "PhaseSpace:pTHatMin = 20.",
        "PhaseSpace:mHatMin = 80.",
    ),
    "gamma_jet": (
        "PromptPhoton:qg2qgamma = on",
        "PromptPhoton:qqbar2ggamma = on",
        "PromptPhoton:gg2ggamma = on",
        *_flattened(25.0, 3.0),
    ),
}


def pythia_settings(
    process: str, sqrt_s: float, multiparton: bool, further: tuple[str, ...] = ()
) -> list[str]:
    """Lines for `Pythia.readString`: the common ones, the process, and `further`, which come last and so win.

    Raises:
        InputError: for a process that is not in `PROCESSES`.
    """
    if process not in PROCESSES:
        raise InputError(f"there is no process '{process}'{closest(process, PROCESSES)}")
    lines = [*_COMMON, f"Beams:eCM = {1000 * sqrt_s}", *PROCESSES[process]]
    if not multiparton:
        lines.append("PartonLevel:MPI = off")
    return [*lines, *further]
