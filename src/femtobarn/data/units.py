"""Which fields of ATLAS files carry a unit of energy, and the factor to GeV."""

from __future__ import annotations

import re

from femtobarn.errors import InputError, closest

__all__ = ["UNITS", "energy_power", "factor"]

UNITS = {"MeV": 1e-3, "GeV": 1.0, "TeV": 1e3}
"""Units a file may declare, in GeV."""

_ENERGY = re.compile(
    r"(^|_)(pt|energy|mass|px|py|pz|et|met)(_|$)|(Pt|Energy|Mass)$|^truthPt|^ptFromTruth|^SV1_masssvx$"
)
_INVERSE = re.compile(r"^qOverP(Uncertainty)?$")


def energy_power(name: str) -> int:
    """1 for a field in units of energy (pt, pt_btagJes, mass, HadronConeExclTruthLabelPt ...), -1 for one in
    inverse energy (qOverP and its uncertainty), 0 for all others. Lengths are in mm and angles in radians in
    every file."""
    if _INVERSE.search(name):
        return -1
    return 1 if _ENERGY.search(name) else 0


def factor(name: str, units: str, where: str) -> float:
    """Number that takes the field from the file's unit to GeV (or 1/GeV).

    Raises:
        InputError: for a unit that is not MeV, GeV or TeV.
    """
    if units not in UNITS:
        raise InputError(f"{where}: units '{units}' are not known{closest(units, UNITS)}")
    return float(UNITS[units] ** energy_power(name))
