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
