"""A fast, parametrised detector for whole events: efficiencies, resolutions and fake rates in one object."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from femtobarn.simulation.calorimeter import CalorimeterSettings
from femtobarn.simulation.settings import PileupSettings

__all__ = [
    "BTagSettings",
    "Electromagnetic",
    "ElectronSettings",
    "EventSettings",
    "FatJetSettings",
    "JetSettings",
    "METSettings",
    "MuonSettings",
    "PhotonSettings",
    "TauSettings",
]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Isolated(_Settings):
    """Acceptance, and isolation: the summed pT of what is seen within `isolation_radius` over the object's
    own pT. What is less isolated than `isolation_max` stays in the jets."""

    pt_min: float
    eta_max: float
    isolation_radius: float = 0.3
    isolation_max: float


class Electromagnetic(_Isolated):
    """What a calorimeter measures alone: energy resolution in barrel and endcap 10 (15) %/sqrt(E) (+) 1 (1.5)
    % (+) 0.3 GeV/E [ATL-PHYS-PUB-2013-004], and what a jet that passes as one keeps of its pT."""

    barrel: float = 1.45
    efficiency: tuple[float, float]
    stochastic: tuple[float, float] = (0.10, 0.15)
    constant: tuple[float, float] = (0.010, 0.015)
    noise: float = 0.3
    fake_fraction: float


class ElectronSettings(Electromagnetic):
    """Electrons, with the photons within 0.1 of them.

    Efficiency of tracking times identification in barrel and endcap as in the ATLAS card of Delphes
    [arXiv:1307.6346], 0.95 x 0.95 and 0.83 x 0.85; isolation as there, within a smaller cone.
    """

    pt_min: float = 7.0
    eta_max: float = 2.47
    isolation_max: float = 0.12
    efficiency: tuple[float, float] = (0.90, 0.71)
    jet_fake_rate: float = 5e-4
    """Probability that a jet passes as an electron, beyond the electrons that are in it; ATLAS expects 0.2 to
    3 per mille with those, for its tight electrons at the HL-LHC (UpgradePerformanceFunctions in Athena)."""
    fake_fraction: float = 0.8


class PhotonSettings(Electromagnetic):
    """Photons that come from no hadron; efficiency in barrel and endcap as in the ATLAS card of Delphes.

    A jet passes as a photon with the probability that ATLAS expects for tight photons at the HL-LHC
    [ATL-PHYS-PUB-2013-009]: 9.3e-3 exp(-pT/27.5 GeV), never below `jet_fake_rate_min`.
    """

    pt_min: float = 15.0
    eta_max: float = 2.37
    isolation_max: float = 0.12
    efficiency: tuple[float, float] = (0.95, 0.85)
    jet_fake_rate: tuple[float, float] = (9.3e-3, 27.5)
    jet_fake_rate_min: float = 1e-4
    fake_fraction: float = 0.75


class MuonSettings(_Isolated):
    """Muons; efficiency of tracking times identification in barrel and endcap as in Delphes' ATLAS card.

    Resolution of pT: 2 (3) % at the Z and 10 (20) % at 1 TeV, near what ATLAS measures [arXiv:1603.05598] and
    was built for. Identified muons that are not isolated are constituents of jets, at the momentum of their
    track.
    """

    pt_min: float = 5.0
    eta_max: float = 2.5
    isolation_max: float = 0.25
    barrel: float = 1.5
    efficiency: tuple[float, float] = (0.94, 0.83)
    constant: tuple[float, float] = (0.020, 0.030)
    per_tev: tuple[float, float] = (0.10, 0.20)


class JetSettings(_Settings):
    """Anti-kt jets of what the calorimeter's settings make of particles.

    Their pT is further smeared by 80 %/sqrt(pT) (+) 2.4 %, which at a pile-up of 20 brings the resolution to
    the 24 % at 20 GeV and 6 % at 300 GeV that ATLAS measures [arXiv:2007.02645].
    """

    radius: float = 0.4
    stochastic: float = 0.80
    constant: float = 0.024
    pt_min: float = 20.0
    eta_max: float = 4.5
    label_pt_min: float = 5.0
    label_radius: float = 0.3


class FatJetSettings(_Settings):
    """Large-radius jets of the same particles; `pt_min` of 0 makes none."""

    radius: float = 1.0
    pt_min: float = 200.0
    eta_max: float = 2.0


class BTagSettings(_Settings):
    """Parametrised b-tagging: working points, the loosest first, and rejections of c- and light jets at each.

    The defaults are DL1r's in ttbar [ATL-PHYS-PUB-2022-027]. Against pT, b-jets follow tanh(0.003 pT) 30/(1 +
    0.086 pT), c-jets tanh(0.02 pT)/(1 + 0.0034 pT), light jets 1 + 0.00365 pT (pT in GeV), the shapes of the
    ATLAS card of Delphes [from ATL-PHYS-PUB-2015-022], each scaled to give the working point's number at the
    mean `shape_pt` of jets in ttbar. Jets of hadronic taus count as c-jets.
    """

    eta_max: float = 2.5
    efficiency: tuple[float, ...] = (0.85, 0.77, 0.70, 0.60)
    c_rejection: tuple[float, ...] = (2.95, 6.1, 13.4, 46.9)
    light_rejection: tuple[float, ...] = (46.1, 235.0, 718.0, 3464.0)
    shape_pt: float = 70.0


class TauSettings(_Settings):
    """Hadronically decaying taus: jets with one or three tracks in the core whose charges add to +-1.

    Identification, loose, medium and tight: 0.85, 0.75, 0.60 of those with one track and 0.75, 0.60, 0.45 of
    those with three; one jet in 30, 50, 120 and 30, 110, 300 of those that look like it
    [ATL-PHYS-PUB-2015-045]. A jet that passes the loose point is a tau and no jet.
    """

    pt_min: float = 20.0
    eta_max: float = 2.5
    core: float = 0.2
    track_pt_min: float = 1.0
    track_efficiency: float = 0.95
    efficiency_1: tuple[float, float, float] = (0.85, 0.75, 0.60)
    efficiency_3: tuple[float, float, float] = (0.75, 0.60, 0.45)
    rejection_1: tuple[float, float, float] = (30.0, 50.0, 120.0)
    rejection_3: tuple[float, float, float] = (30.0, 110.0, 300.0)


class METSettings(_Settings):
    """Missing transverse momentum: what balances all objects and the soft term, which gets a noise of its own
    on each component, GeV (ATLAS measures some 8 GeV in Z -> mu mu without jets [arXiv:1802.08168])."""

    noise: float = 6.0


class EventSettings(_Settings):
    """Everything that shapes events of reconstructed objects but the process, their number and the seed."""

    sqrt_s: float = Field(13.6, gt=0)
    """TeV."""
    pythia: tuple[str, ...] = ()
    """Further Pythia settings; they win over femtobarn's own."""
    k_factor: float = Field(1.0, gt=0)
    """Multiplies Pythia's leading-order cross-section."""
    overlay: float = 2.2
    """Mean number of minimum-bias events that stand for an overlaid event's multi-parton interactions."""
    pileup: PileupSettings = Field(default_factory=PileupSettings)
    calorimeter: CalorimeterSettings = Field(default_factory=lambda: CalorimeterSettings(eta_max=4.9))
    electrons: ElectronSettings = Field(default_factory=ElectronSettings)
    muons: MuonSettings = Field(default_factory=MuonSettings)
    photons: PhotonSettings = Field(default_factory=PhotonSettings)
    jets: JetSettings = Field(default_factory=JetSettings)
    fat_jets: FatJetSettings = Field(default_factory=FatJetSettings)
    btag: BTagSettings = Field(default_factory=BTagSettings)
    taus: TauSettings = Field(default_factory=TauSettings)
    met: METSettings = Field(default_factory=METSettings)
