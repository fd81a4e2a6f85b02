"""All settings of a simulation in one object, kept as provenance in the files it writes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from femtobarn.simulation.calorimeter import CalorimeterSettings
from femtobarn.simulation.tracker import TrackerSettings

__all__ = ["LARGE_RADIUS", "BeamSettings", "PileupSettings", "SelectionSettings", "SimulationSettings"]


class BeamSettings(BaseModel):
    """Luminous region (Gaussian, mm) and how well the primary vertex is reconstructed (mm)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sigma_xy: float = 0.010
    sigma_z: float = 45.0
    vertex_resolution_xy: float = 0.010
    vertex_resolution_z: float = 0.030


class PileupSettings(BaseModel):
    """Pools of minimum-bias collisions for pile-up: one per split, so that tests share none with training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: int = Field(6000, gt=0)
    valid: int = Field(2000, gt=0)
    test: int = Field(4000, gt=0)
    seed: int = 20221117
    pt_min: float = 0.4
    eta_max: float = 2.7
    window: float = 36.0
    """mm; collisions farther from the primary vertex along the beam leave no track that passes |z0
    sin(theta)| < 5 mm."""


class SelectionSettings(BaseModel):
    """Track selection of GN1 [ATL-PHYS-PUB-2022-027], the shrinking `cone` of association (see
    `physics.tracks.cone`; None: the radius of the jets), labels, prompt leptons, and the neutral
    constituents that are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pt_min: float = 0.5
    eta_max: float = 2.5
    d0_max: float = 3.5
    z0_sin_theta_max: float = 5.0
    silicon_hits_min: int = 8
    shared_below: float = 2.0
    silicon_holes_below: int = 3
    pixel_holes_below: int = 2
    tracks_max: int = Field(40, gt=0)
    flows_max: int = Field(25, gt=0)
    cone: tuple[float, float, float] | None = (0.239, -1.22, -0.0164)
    label_pt_min: float = 5.0
    label_radius: float = 0.3
    lepton_pt_min: float = 25.0
    lepton_eta_max: float = 2.5


class SimulationSettings(BaseModel):
    """Everything that shapes the events but the process, their number and the seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sqrt_s: float = Field(13.6, gt=0)
    """TeV."""
    pythia: tuple[str, ...] = ()
    """Further Pythia settings such as "PartonLevel:FSR = off"; they win over femtobarn's own."""
    overlay: float = 2.2
    """Mean number of minimum-bias events that stand for an overlaid event's multi-parton interactions."""
    beam: BeamSettings = Field(default_factory=BeamSettings)
    pileup: PileupSettings = Field(default_factory=PileupSettings)
    calorimeter: CalorimeterSettings = Field(default_factory=CalorimeterSettings)
    tracker: TrackerSettings = Field(default_factory=TrackerSettings)
    selection: SelectionSettings = Field(default_factory=SelectionSettings)


LARGE_RADIUS = SimulationSettings(
    calorimeter=CalorimeterSettings(jet_radius=1.0, jet_pt_min=250.0, jet_eta_max=2.0),
    selection=SelectionSettings(cone=None, tracks_max=100, flows_max=50),
)
"""Anti-kt jets of R = 1.0 above 250 GeV, with all tracks within 1.0 of the axis."""
