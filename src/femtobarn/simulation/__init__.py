"""Sources of events: Pythia 8 collisions in an ATLAS-like tracker."""

from femtobarn.simulation.processes import PROCESSES
from femtobarn.simulation.settings import SimulationSettings
from femtobarn.simulation.simulate import Summary, simulate

__all__ = ["PROCESSES", "SimulationSettings", "Summary", "simulate"]
