"""Systematic variations of whole events: the same events with their energies shifted."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from femtobarn.errors import InputError
from femtobarn.simulation.rows import FLAVOURS

__all__ = ["Shifts", "shifted"]

Array = NDArray[np.float64]
COLLECTIONS = ("electrons", "muons", "photons", "taus", "jets")


class Shifts(BaseModel):
    """Relative changes of energies and momenta: 0.02 makes them 2 % larger.

    `jet_energy_resolution` of 0.1 moves every jet 10 % further from its true pT. Thresholds of the sample
    stay: an analysis must cut above them by more than it shifts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    jet_energy_scale: float = 0.0
    b_jet_energy_scale: float = 0.0
    """Of b-jets, on top of that of all."""
    jet_energy_resolution: float = 0.0
    electron_scale: float = 0.0
    muon_scale: float = 0.0
    photon_scale: float = 0.0
    tau_energy_scale: float = 0.0
    met_soft_scale: float = 0.0


def shifted(rows: ak.Array, shifts: Shifts) -> ak.Array:
    """Events with objects shifted and ordered by pT again, and the missing momentum that follows from them.

    Raises:
        InputError: for rows that are no whole events.
    """
    missing = {*COLLECTIONS, "met", "met_phi", "met_soft", "met_soft_phi", "sum_et"} - set(rows.fields)
    if missing:
        raise InputError(f"only whole events can be shifted: these rows have no '{min(missing)}'")
    events = dict(zip(ak.fields(rows), ak.unzip(rows), strict=True))
    x, y = _xy(rows.met, rows.met_phi)
    scalar = ak.to_numpy(rows.sum_et).astype(np.float64)
    for name in COLLECTIONS:
        table = rows[name]
        scale = _scale(name, table, shifts)
        if scale is None:
            continue
        change = table.pt * (scale - 1)
        x -= _sum(change * np.cos(table.phi))
        y -= _sum(change * np.sin(table.phi))
        scalar += _sum(change)
        columns = dict(zip(ak.fields(table), ak.unzip(table), strict=True))
        for field in ("pt", "mass"):
            columns[field] = ak.values_astype(columns[field] * scale, np.float32)
        table = ak.zip(columns)
        events[name] = table[ak.argsort(table.pt, axis=1, ascending=False, stable=True)]
    if shifts.met_soft_scale:
        soft = ak.to_numpy(rows.met_soft).astype(np.float64)
        soft_x, soft_y = _xy(rows.met_soft, rows.met_soft_phi)
        x -= shifts.met_soft_scale * soft_x
        y -= shifts.met_soft_scale * soft_y
        scalar += shifts.met_soft_scale * soft
        events["met_soft"] = ((1 + shifts.met_soft_scale) * soft).astype(np.float32)
    events |= {
        "met": np.hypot(x, y).astype(np.float32),
        "met_phi": np.arctan2(y, x).astype(np.float32),
        "sum_et": scalar.astype(np.float32),
    }
    return ak.zip(events, depth_limit=1)


def _scale(name: str, table: ak.Array, shifts: Shifts) -> Any:
    """Factor of pT and mass of every object; None where nothing changes."""
    if name != "jets":
        field = "tau_energy_scale" if name == "taus" else f"{name[:-1]}_scale"
        change = getattr(shifts, field)
        return ak.ones_like(table.pt) * (1 + change) if change else None
    if not (shifts.jet_energy_scale or shifts.b_jet_energy_scale or shifts.jet_energy_resolution):
        return None
    bottom = table.flavour_label == FLAVOURS.index("bjets")
    further = shifts.jet_energy_resolution * (table.pt - table.truthPt) / table.pt
    scale = (1 + shifts.jet_energy_scale) * (1 + shifts.b_jet_energy_scale * bottom) * (1 + further)
    return ak.where(scale > 0.05, scale, 0.05)


def _sum(values: ak.Array) -> Array:
    return np.asarray(ak.to_numpy(ak.sum(values, axis=1)), dtype=np.float64)


def _xy(size: ak.Array, phi: ak.Array) -> tuple[Array, Array]:
    length, angle = ak.to_numpy(size).astype(np.float64), ak.to_numpy(phi).astype(np.float64)
    return length * np.cos(angle), length * np.sin(angle)
