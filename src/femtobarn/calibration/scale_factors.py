"""Scale factors: efficiency in data over that in simulation, with uncertainties, as others can apply them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError, require

__all__ = [
    "ScaleFactors",
    "binned_efficiency",
    "event_weights",
    "known_weights",
    "tag_weights",
    "variation",
    "write_correctionlib",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ScaleFactors:
    """Scale factors of one flavour at one working point in bins of jet pT.

    Attributes:
        flavour: `b`, `c` or `light`.
        edges: (B+1,) GeV.
        value: (B,).
        statistical: (B, B) covariance.
        systematic: shift (B,) by one standard deviation of each source.
        efficiency: (B,) of the simulation they belong to.
    """

    flavour: str
    edges: Array
    value: Array
    statistical: Array
    efficiency: Array
    systematic: Mapping[str, Array] = field(default_factory=dict)

    @property
    def covariance(self) -> Array:
        """(B, B), statistical and systematic: each source is correlated among all bins."""
        return self.statistical + sum(np.outer(shift, shift) for shift in self.systematic.values())

    @property
    def independent(self) -> dict[str, Array]:
        """The statistical covariance as shifts (B,) of one standard deviation that are independent."""
        values, vectors = np.linalg.eigh(self.statistical)
        shifts = vectors * np.sqrt(np.maximum(values, 0.0))
        return {f"statistical {self.flavour} {k + 1}": shifts[:, k] for k in range(len(values))}

    def at(self, pt: Array) -> Array:
        """(N,) scale factors of jets of such pT, GeV; beyond the edges those of the outer bins."""
        place = np.clip(np.digitize(pt, self.edges) - 1, 0, len(self.value) - 1)
        return np.asarray(self.value[place], dtype=np.float64)

    @property
    def statistical_error(self) -> Array:
        """(B,)."""
        return np.sqrt(np.diag(self.statistical))

    @property
    def error(self) -> Array:
        """(B,), statistical and systematic."""
        return np.sqrt(np.diag(self.covariance))


def write_correctionlib(factors: list[ScaleFactors], tagger: str, working_point: str, path: Path) -> None:
    """Write scale factors and efficiencies as a correctionlib JSON, whole or not at all.

    Two corrections, `<tagger>_<working point>_sf` of (systematic, flavour, pt) and `..._efficiency` of
    (flavour, pt). A systematic is `central`, `up_<source>` or `down_<source>`; the sources are those of the
    factors and independent statistical ones of each flavour, `statistical_b_1` and so on. Beyond the last
    edges those of the outer bins are used.

    Raises:
        InputError: when a number is not finite.
    """
    for one in factors:
        if not all(np.isfinite(x).all() for x in (one.value, one.covariance, one.efficiency)):
            raise InputError(
                f"{path}: the scale factors of {one.flavour}-jets are not all finite, nothing written"
            )
    schema = require("correctionlib.schemav2", "calibration")
    name = f"{tagger}_{working_point}"

    def binned(edges: Array, content: Array) -> Any:
        return schema.Binning(
            nodetype="binning", input="pt", edges=edges.tolist(), content=content.tolist(), flow="clamp"
        )

    def by_flavour(contents: dict[str, Any]) -> Any:
        items = [schema.CategoryItem(key=key, value=value) for key, value in contents.items()]
        return schema.Category(nodetype="category", input="flavour", content=items)

    shifts = {one.flavour: {**one.independent, **one.systematic} for one in factors}
    sources = list(dict.fromkeys(source for every in shifts.values() for source in every))
    varied = {"central": by_flavour({one.flavour: binned(one.edges, one.value) for one in factors})}
    for source in sources:
        for sign, way in ((1.0, "up"), (-1.0, "down")):
            contents = {}
            for one in factors:
                shift = shifts[one.flavour].get(source, np.zeros(len(one.value)))
                contents[one.flavour] = binned(one.edges, one.value + sign * shift)
            varied[variation(way, source)] = by_flavour(contents)
    items = [schema.CategoryItem(key=key, value=value) for key, value in varied.items()]
    inputs = {
        "systematic": schema.Variable(name="systematic", type="string", description="central, up_ or down_"),
        "flavour": schema.Variable(name="flavour", type="string", description="b, c or light"),
        "pt": schema.Variable(name="pt", type="real", description="of the jet, GeV"),
    }
    corrections = [
        schema.Correction(
            name=f"{name}_sf", version=1, inputs=list(inputs.values()),
            output=schema.Variable(name="sf", type="real", description="efficiency in data over simulation"),
            data=schema.Category(nodetype="category", input="systematic", content=items),
        ),
        schema.Correction(
            name=f"{name}_efficiency", version=1, inputs=[inputs["flavour"], inputs["pt"]],
            output=schema.Variable(name="efficiency", type="real", description="in simulation"),
            data=by_flavour({one.flavour: binned(one.edges, one.efficiency) for one in factors}),
        ),
    ]  # fmt: skip
    written = schema.CorrectionSet(schema_version=2, corrections=corrections).model_dump(exclude_unset=True)
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(written, indent=1, allow_nan=False))


def variation(way: str, source: str) -> str:
    """What a source of uncertainty is called in the file, `up` or `down`."""
    return f"{way}_{source.replace(' ', '_')}"


def event_weights(
    path: Path, name: str, flavour: NDArray[np.str_], pt: Array, tagged: NDArray[np.bool_],
    systematic: str = "central", efficiency: Array | None = None,
) -> Array:  # fmt: skip
    """Weights (N,) by which simulated jets become like data: SF where tagged, else (1 - SF e) / (1 - e).

    The weight of an event is the product over its jets. With e the efficiency in the sample at hand it does
    not change the number of jets.

    Args:
        path: what `write_correctionlib` wrote.
        name: `<tagger>_<working point>`.
        flavour: (N,) `b`, `c` or `light`.
        pt: (N,) GeV.
        tagged: (N,).
        systematic: which variation.
        efficiency: (N,) of jets like each in the sample at hand; None: that of the sample of the measurement.
    """
    corrections = require("correctionlib", "calibration").CorrectionSet.from_file(str(path))
    weights = np.ones(len(pt))
    for one in ("b", "c", "light"):
        own = np.flatnonzero(flavour == one)
        factor = corrections[f"{name}_sf"].evaluate(systematic, one, pt[own])
        kept = (
            corrections[f"{name}_efficiency"].evaluate(one, pt[own])
            if efficiency is None
            else efficiency[own]
        )
        weights[own] = tag_weights(tagged[own], factor, kept)
    return weights


def tag_weights(tagged: NDArray[np.bool_], factor: Array, efficiency: Array) -> Array:
    """Weights of jets that make SF times as many of them tagged: SF if tagged, else (1 - SF e) / (1 - e).

    With SF e above 1 none is left without a tag.
    """
    untagged = np.maximum(1 - factor * efficiency, 0) / np.maximum(1 - efficiency, 1e-9)
    return np.asarray(np.where(tagged, factor, untagged), dtype=np.float64)


def known_weights(
    known: Mapping[str, ScaleFactors], flavours: Mapping[str, NDArray[np.bool_]], pt: Array,
    tagged: NDArray[np.bool_], efficiency: Array,
) -> Array:  # fmt: skip
    """`tag_weights` of jets whose scale factors are known, 1 for others; all arrays of one shape.

    Args:
        known: scale factors by flavour.
        flavours: which jets are of each.
        pt: GeV.
        tagged: in the simulation.
        efficiency: of jets like each in the simulation.
    """
    weights = np.ones(pt.shape)
    for name, factors in known.items():
        weights = np.where(flavours[name], tag_weights(tagged, factors.at(pt), efficiency), weights)
    return weights


def binned_efficiency(
    flavour: NDArray[np.str_], pt: Array, tagged: NDArray[np.bool_], edges: Mapping[str, ArrayLike]
) -> Array:
    """(N,) fraction of the jets of the same flavour and pT that are tagged; `edges` by flavour, GeV."""
    found = np.zeros(len(pt))
    for name, own_edges in edges.items():
        own = np.flatnonzero(flavour == name)
        place = np.digitize(pt[own], np.asarray(own_edges))
        every = np.bincount(place, minlength=np.size(own_edges) + 1)
        found[own] = (np.bincount(place, tagged[own], len(every)) / np.maximum(every, 1))[place]
    return found
