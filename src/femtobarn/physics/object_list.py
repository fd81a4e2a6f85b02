"""An event as a list of objects of fixed length: the hardest of each type, padded with zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.groups import ramp

__all__ = ["QCD_SCHOOL", "TRIGGER", "ObjectList", "object_list", "padded_objects"]

QCD_SCHOOL = {"jets": 6, "electrons": 4, "muons": 4}
"""42 inputs without missing momentum: fat jets, electrons and muons of the QCD School exercise."""
TRIGGER = {"electrons": 4, "muons": 4, "jets": 10}
"""57 inputs with missing momentum [2108.03986]."""

Array = NDArray[np.float64]


class ObjectList(NamedTuple):
    """Values (N, K, 3) of pt, eta and phi, and which places (N, K) hold an object."""

    values: NDArray[np.float32]
    present: NDArray[np.bool_]

    @property
    def flat(self) -> NDArray[np.float32]:
        """(N, 3 K), object after object."""
        return self.values.reshape(len(self.values), 3 * self.values.shape[1])


def padded_objects(
    events: ak.Array, types: Mapping[str, int], fields: Sequence[str] = ("pt", "eta", "phi", "mass")
) -> Array:
    """The hardest objects of each type (N, K, fields), falling in the first field, zeros in empty places.

    Args:
        events: records with a collection per type; a collection without the field `mass` is massless.
        types: collections and how many places each has; K is their sum. An event without objects is all zero.
        fields: of the objects; the first says which are hardest.

    Raises:
        ValueError: when a collection or a field is not there.
    """
    room, start = sum(types.values()), 0
    values = np.zeros((len(events) * room, len(fields)))
    for name, size in types.items():
        if name not in events.fields:
            raise ValueError(f"events have no collection '{name}', only {', '.join(events.fields)}")
        collection = events[name]
        lacking = [field for field in fields if field not in (*collection.fields, "mass")]
        if lacking:
            raise ValueError(f"collection '{name}' has no field '{lacking[0]}'")
        counts = ak.to_numpy(ak.num(collection, axis=1)).astype(np.int64)
        event, rank = np.repeat(np.arange(len(counts)), counts), ramp(counts)
        objects = np.zeros((len(event), len(fields)))
        for number, field in enumerate(fields):
            if field in collection.fields:
                objects[:, number] = ak.to_numpy(ak.flatten(collection[field]))
        hardness = objects[:, 0]
        if np.any((hardness[1:] > hardness[:-1]) & (rank[1:] > 0)):
            objects = objects[np.lexsort((-hardness, event))]
        place = event * room + start + rank
        if counts.max(initial=0) > size:
            kept = rank < size
            place, objects = place[kept], objects[kept]
        values[place] = objects
        start += size
    return values.reshape(len(events), room, len(fields))


def object_list(
    events: ak.Array, types: Mapping[str, int] = QCD_SCHOOL, missing: tuple[str, str] | None = None
) -> ObjectList:
    """pt, eta, phi of the hardest objects of each type, behind the missing transverse momentum if wanted.

    `QCD_SCHOOL` gives 42 inputs, `TRIGGER` with missing=("met", "met_phi") gives 57.

    Args:
        events: records with a collection (`pt`, `eta`, `phi`) per type.
        types: collections and how many places each has.
        missing: fields of the missing transverse momentum and its azimuth; its eta is 0. None: left out.
    """
    values = padded_objects(events, types, ("pt", "eta", "phi"))
    present = values[:, :, 0] > 0
    if missing:
        first = np.zeros((len(values), 1, 3))
        first[:, 0, 0], first[:, 0, 2] = (ak.to_numpy(events[name]) for name in missing)
        values = np.concatenate([first, values], axis=1)
        present = np.concatenate([np.ones((len(values), 1), dtype=np.bool_), present], axis=1)
    return ObjectList(values.astype(np.float32), present)
