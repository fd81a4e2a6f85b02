"""Sources of events: Pythia 8 collisions in an ATLAS-like tracker; e+e- at the Z pole in one of 1991."""

from femtobarn.simulation.btagging import btag_weights, truth_tagged
from femtobarn.simulation.detector import EventSettings
from femtobarn.simulation.jets import JetSettings
from femtobarn.simulation.processes import K_FACTORS, PROCESSES
from femtobarn.simulation.settings import SimulationSettings
from femtobarn.simulation.shifts import Shifts, shifted
from femtobarn.simulation.simulate import Summary, simulate
from femtobarn.simulation.zpole import ZPoleSettings

__all__ = [
    "K_FACTORS",
    "PROCESSES",
    "EventSettings",
    "JetSettings",
    "Shifts",
    "SimulationSettings",
    "Summary",
    "ZPoleSettings",
    "btag_weights",
    "shifted",
    "simulate",
    "truth_tagged",
]
