"""Pythia 8 settings of the processes femtobarn simulates."""

from __future__ import annotations

from femtobarn.errors import InputError, closest

__all__ = ["K_FACTORS", "PROCESSES", "pythia_settings"]

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
_ZPRIME = (
    "NewGaugeBoson:ffbar2gmZZprime = on",
    "Zprime:gmZmode = 3",
    "32:m0 = 2000.",
    "32:mMin = 1000.",
    "32:onMode = off",
)
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
        *_flattened(30.0, 2.0),
    ),
    "z_jets": (
        "WeakBosonAndParton:qqbar2gmZg = on",
        "WeakBosonAndParton:qg2gmZq = on",
        "WeakZ0:gmZmode = 2",
        *_Z_TO_LEPTONS,
        *_flattened(30.0, 2.0),
    ),
    "z_ll": ("WeakSingleBoson:ffbar2gmZ = on", "23:mMin = 60.", "23:onMode = off", "23:onIfAny = 11 13"),
    # Taus polarised as at LEP [hep-ex/0509008] but not correlated in spin: eight times faster.
    "z_tautau": (
        "WeakSingleBoson:ffbar2gmZ = on",
        "23:mMin = 60.",
        "23:onMode = off",
        "23:onIfAny = 15",
        "TauDecays:mode = 3",
        "TauDecays:tauPolarization = -0.147",
    ),
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
        *_flattened(25.0, 2.0),
    ),
    # Signals of new physics; their masses are settings of Pythia: pythia=["32:m0 = 3000."].
    "graviton_ww": (
        "ExtraDimensionsG*:gg2G* = on",
        "ExtraDimensionsG*:ffbar2G* = on",
        "ExtraDimensionsG*:SMinBulk = on",
        "ExtraDimensionsG*:VLVL = on",
        "5100039:m0 = 2000.",
        "5100039:onMode = off",
        "5100039:onIfMatch = 24 24",
    ),
    "zprime_qq": (*_ZPRIME, "32:onIfAny = 1 2 3 4 5"),
    "zprime_tt": (*_ZPRIME, "32:onIfAny = 6"),
    "zprime_ll": (*_ZPRIME, "32:onIfAny = 11 13"),
    "wprime_wz": (
        "NewGaugeBoson:ffbar2Wprime = on",
        "Wprime:coup2WZ = 1.",
        "34:m0 = 2000.",
        "34:mMin = 1000.",
        "34:onMode = off",
        "34:onIfMatch = 23 24",
    ),
    # The masses of the LHC Olympics 2020 research data [arXiv:2101.08320]: two new particles, each to quarks.
    "wprime_xy": (
        "NewGaugeBoson:ffbar2Wprime = on",
        "34:m0 = 3500.",
        "34:doForceWidth = on",
        "34:mWidth = 35.",
        "34:mMin = 3000.",
        "34:oneChannel = 1 1. 100 9900001 9900002",
        "9900001:all = X0 void 1 0 0 500. 5. 450. 550.",
        "9900001:addChannel = 1 0.5 100 1 -1",
        "9900001:addChannel = 1 0.5 100 2 -2",
        "9900002:all = Y+ Y- 1 3 0 100. 1. 90. 110.",
        "9900002:addChannel = 1 1. 100 2 -1",
    ),
    "charged_higgs": (
        "Higgs:useBSM = on",
        "HiggsBSM:bg2H+-t = on",
        "37:m0 = 600.",
        "37:onMode = off",
        "37:onIfMatch = 6 5",
    ),
    "leptoquarks": ("LeptoQuark:gg2LQLQbar = on", "LeptoQuark:qqbar2LQLQbar = on", "42:m0 = 1000."),
    "excited_quark": (
        "ExcitedFermion:dg2dStar = on",
        "ExcitedFermion:ug2uStar = on",
        "ExcitedFermion:Lambda = 3000.",
        "4000001:m0 = 3000.",
        "4000002:m0 = 3000.",
    ),
    # Semi-visible jets: a Z' to dark quarks, whose hadrons go to b-quarks or, three in ten, are not seen.
    "hidden_valley": (
        "HiddenValley:ffbar2Zv = on",
        "4900023:m0 = 2000.",
        "4900023:mWidth = 20.",
        "4900023:mMin = 1500.",
        "4900023:onMode = off",
        "4900023:onIfAny = 4900101",
        "HiddenValley:Ngauge = 2",
        "HiddenValley:FSR = on",
        "HiddenValley:fragment = on",
        "HiddenValley:alphaOrder = 1",
        "HiddenValley:Lambda = 10.",
        "HiddenValley:pTminFSR = 11.",
        "4900101:m0 = 10.",
        "51:m0 = 5.",
        *(
            line
            for meson in (4900111, 4900113)
            for line in (
                f"{meson}:m0 = 20.",
                f"{meson}:oneChannel = 1 0.7 91 5 -5",
                f"{meson}:addChannel = 1 0.3 0 51 -51",
            )
        ),
    ),
}

K_FACTORS: dict[str, float] = {
    "ttbar": 831.8 / 510.3,
    "single_top": (136.0 + 81.0 + 10.3) / 155.1,
    "w_lnu": 61527 / 45709,
    "z_ll": 2 * 2008.4 / 3027.4,
    "z_tautau": 2008.4 / 1510.6,
    "ww": 118.7 / 64.5,
    "wh_bb": 1.373 * 0.3258 * 0.5824 / 0.2060,
    "zh_bb": 0.8839 * 0.3029 * 0.5824 / 0.1041,
    "higgs_gamgam": (48.58 + 3.782 + 1.373 + 0.8839) * 2.27e-3 / 0.07171,
    "higgs_tautau": (48.58 + 3.782 + 1.373 + 0.8839) * 0.06272 / 1.963,
}
"""Inclusive cross-sections at 13 TeV (pb) over those of Pythia, for `EventSettings.k_factor`.

Top quarks: NNLO+NNLL and NLO of the LHC Top Working Group; W -> l nu and Z -> l l above 50 GeV (one flavour
2008.4): NNLO of FEWZ; WW: NNLO [1408.5243]; Higgs bosons with their branching ratios: LHC Higgs Working Group
[1610.07922]. Where nothing is listed take 1, or that of the boson: none is a correction of shapes.
"""


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
