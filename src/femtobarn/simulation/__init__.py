"""Sources of events: Pythia 8 collisions in an ATLAS-like tracker; e+e- at the Z pole in one of 1991."""

from femtobarn.simulation.detector import EventSettings
from femtobarn.simulation.processes import PROCESSES
from femtobarn.simulation.settings import SimulationSettings
from femtobarn.simulation.simulate import Summary, simulate
from femtobarn.simulation.zpole import ZPoleSettings

__all__ = ["PROCESSES", "EventSettings", "SimulationSettings", "Summary", "ZPoleSettings", "simulate"]
