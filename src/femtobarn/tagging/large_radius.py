"""Taggers of large-radius jets: what a b-tagger is given to tell Higgs bosons from tops and QCD.

As in GN2X [ATL-PHYS-PUB-2023-021] the network of a b-tagger reads all tracks of the jet, beside pT, eta and
mass, and answers H -> bb, H -> cc, top or QCD instead of flavours: `GN2(name="gn2x")` fitted with
`large_radius(GN2().default_inputs())`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from femtobarn.data.inputs import Inputs, Label

__all__ = ["CLASSES", "F_HCC", "F_TOP", "discriminant_hbb", "large_radius"]

CLASSES = ("hbb", "hcc", "top", "qcd")
F_HCC, F_TOP = 0.02, 0.25
"""Fractions of H -> cc and top in the discriminant of H -> bb."""


def large_radius(inputs: Inputs, longest: int = 80) -> Inputs:
    """The inputs of a b-tagger with the jet's mass too, more tracks, and large-radius classes.

    Without event weights in training: samples that are flat in pT carry some that span orders of magnitude,
    and are to be brought to one spectrum by choosing jets.
    """
    label = Label(field="resonance_label", classes={name: [name] for name in CLASSES})
    collections = {
        name: collection.model_copy(update={"max_length": longest})
        for name, collection in inputs.collections.items()
    }
    return Inputs(
        event=[*inputs.event, "mass"],
        collections=collections,
        labels={"jet": label},
        mirrors=inputs.mirrors,
    )


def discriminant_hbb(
    p: dict[str, NDArray[np.float64]], f_hcc: float = F_HCC, f_top: float = F_TOP
) -> NDArray[np.float64]:
    """D = log( p_hbb / (f_hcc p_hcc + f_top p_top + (1 - f_hcc - f_top) p_qcd) ) of probabilities (N,)."""
    background = f_hcc * p["hcc"] + f_top * p["top"] + (1 - f_hcc - f_top) * p["qcd"]
    return np.log(p["hbb"]) - np.log(background)
