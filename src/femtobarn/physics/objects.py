"""An event's leptons, photons, jets and missing momentum as one list."""

from __future__ import annotations

from collections.abc import Sequence

import awkward as ak
import numpy as np

__all__ = ["KINDS", "event_objects"]

KINDS = {
    "electrons": "is_electron",
    "muons": "is_muon",
    "taus": "is_tau",
    "photons": "is_photon",
    "jets": "is_jet",
}
"""Collections, and the flag of their members."""


def event_objects(
    events: ak.Array, btag: str | None = "btag", kinds: Sequence[str] = tuple(KINDS)
) -> ak.Array:
    """All objects of events (N,) as one ragged collection, missing momentum first, kind by kind.

    Fields are `pt`, `mass` (GeV), `eta`, `phi`, measured from the missing momentum, `charge`, `btag`, and
    0 or 1 in `is_electron`, `is_muon`, `is_tau`, `is_photon`, `is_jet`, `is_met`. What a collection lacks
    (the charge of jets) is 0.

    Args:
        events: with `met`, `met_phi` and the collections of `kinds` that they have: `pt`, `eta`, `phi`, and
            perhaps `mass` and `charge`.
        btag: the field of jets that says how much they look like b-jets.
        kinds: the collections to take.
    """
    flags = [*KINDS.values(), "is_met"]
    direction = events.met_phi

    def listed(columns: dict[str, ak.Array], flag: str) -> ak.Array:
        like = columns["pt"]
        known = {"mass": 0.0, "charge": 0.0, "btag": 0.0, **dict.fromkeys(flags, 0.0), flag: 1.0}
        filled = {name: ak.full_like(like, value, dtype=np.float32) for name, value in known.items()}
        return ak.zip({n: ak.values_astype(c, np.float32) for n, c in {**filled, **columns}.items()})

    met = ak.singletons(ak.values_astype(events.met, np.float32))
    lists = [listed({"pt": met, "eta": ak.zeros_like(met), "phi": ak.zeros_like(met)}, "is_met")]
    for kind in kinds:
        if kind not in events.fields:
            continue
        found = events[kind]
        columns = {name: found[name] for name in ("pt", "eta", "mass", "charge") if name in found.fields}
        columns["phi"] = (found.phi - direction + np.pi) % (2 * np.pi) - np.pi
        if kind == "jets" and btag is not None:
            columns["btag"] = found[btag]
        lists.append(listed(columns, KINDS[kind]))
    order = sorted(lists[0].fields)
    return ak.to_packed(ak.concatenate([ak.zip({n: one[n] for n in order}) for one in lists], axis=1))
