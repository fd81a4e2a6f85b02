"""Which fields carry a unit of energy, and reading files whose energies are not in GeV."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.data.reader import Reader
from femtobarn.data.schema import DType, Schema
from femtobarn.errors import InputError, closest

__all__ = ["UNITS", "ScaledReader", "energy_power", "factor", "times"]

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
    return 1 if _ENERGY.search(name) and not name.endswith(("_eta", "_phi")) else 0


def factor(name: str, units: str) -> float:
    """Number that takes a field ("pt", "tracks.qOverP") from the unit to GeV, or from its inverse to
    1/GeV."""
    return float(UNITS[units] ** energy_power(name.rpartition(".")[2]))


def times(values: NDArray[Any], scale: float) -> NDArray[Any]:
    """The product, rounded once, so that 60000 MeV are 60 GeV to the last bit; integers become float64."""
    scaled: NDArray[Any] = np.multiply(values, scale, dtype=np.float64).astype(
        _kind(values.dtype), copy=False
    )
    return scaled


def _kind(dtype: DType) -> DType:
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


class ScaledReader:
    """Another reader's rows in GeV.

    Raises:
        InputError: for a unit that is not MeV, GeV or TeV.
    """

    def __init__(self, reader: Reader, units: str) -> None:
        if units not in UNITS:
            raise InputError(f"{reader.name}: units '{units}' are not known{closest(units, UNITS)}")
        self._reader, self._units = reader, units
        self.name, self.path, self.attributes = reader.name, reader.path, reader.attributes
        schema = reader.schema
        self.schema = Schema(
            {name: self._dtype(name, dtype) for name, dtype in schema.scalars.items()},
            {
                name: {inner: self._dtype(inner or name, dtype) for inner, dtype in fields.items()}
                for name, fields in schema.collections.items()
            },
            schema.classes,
            schema.other,
        )

    def _dtype(self, name: str, dtype: DType) -> DType:
        return _kind(dtype) if energy_power(name) else dtype

    def __len__(self) -> int:
        return len(self._reader)

    def key(self) -> str:
        """Text that changes when the file or the way it is read does."""
        return f"{self._reader.key()}|{self._units}"

    def read(self, start: int, stop: int, fields: Sequence[str] | None = None) -> ak.Array:
        """Rows `start:stop` with the given fields, in GeV."""
        rows = self._reader.read(start, stop, fields)
        return ak.transform(self._scale, rows, numpy_to_regular=False)

    def _scale(self, layout: Any, **_: Any) -> Any:
        """Scale the energies among the fields of a record, at any depth."""
        if not layout.is_record:
            return None
        contents = []
        for name, content in zip(layout.fields, layout.contents, strict=True):
            scale = factor(name, self._units)
            if scale != 1.0:
                content = ak.to_layout(ak.transform(_times(scale), content, numpy_to_regular=False))
            contents.append(ak.to_layout(ak.transform(self._scale, content, numpy_to_regular=False)))
        return ak.contents.RecordArray(contents, layout.fields, length=layout.length)


def _times(scale: float) -> Any:
    def scaled(layout: Any, **_: Any) -> Any:
        return ak.contents.NumpyArray(times(layout.data, scale)) if layout.is_numpy else None

    return scaled
