"""Scale factors: efficiency in data over that in simulation, with uncertainties, as others can apply them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from femtobarn.data.atomic import atomic
from femtobarn.errors import InputError, closest, require

__all__ = [
    "FLAVOURS",
    "ScaleFactors",
    "binned_efficiency",
    "event_weights",
    "known_responses",
    "known_weights",
    "tag_response",
    "tag_weights",
    "variation",
    "write_correctionlib",
]

Array = NDArray[np.float64]
FLAVOURS = {"b": 5, "c": 4, "light": 0}
"""Codes of the flavours in files, as of `HadronConeExclTruthLabelID`."""
MOST = 0.95
"""Efficiencies above it count as it: hardly a jet there is not tagged, and would weigh without bounds."""


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


def write_correctionlib(
    factors: list[ScaleFactors], tagger: str, working_point: str, path: Path, description: str = ""
) -> None:
    """Write scale factors and efficiencies as a correctionlib JSON, whole or not at all.

    Two corrections, `<tagger>_<working point>_sf` of (systematic, flavour, pt) and `..._efficiency` of
    (flavour, pt); a flavour is 5, 4 or 0. A systematic is `central`, `up_<source>` or `down_<source>`; the
    sources are those of the factors and independent statistical ones of each flavour, `statistical_b_1` and
    so on. `up` and `down` are by the whole uncertainty of each bin. Beyond the last edges those of the outer
    bins are used. `description` says what the working point is.

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
        items = [schema.CategoryItem(key=FLAVOURS[key], value=value) for key, value in contents.items()]
        return schema.Category(nodetype="category", input="flavour", content=items)

    shifts = {one.flavour: {**one.independent, **one.systematic} for one in factors}
    sources = list(dict.fromkeys(source for every in shifts.values() for source in every))
    varied = {
        way: by_flavour({one.flavour: binned(one.edges, one.value + sign * one.error) for one in factors})
        for way, sign in (("central", 0.0), ("up", 1.0), ("down", -1.0))
    }
    for source in sources:
        for sign, way in ((1.0, "up"), (-1.0, "down")):
            contents = {}
            for one in factors:
                shift = shifts[one.flavour].get(source, np.zeros(len(one.value)))
                contents[one.flavour] = binned(one.edges, one.value + sign * shift)
            varied[variation(way, source)] = by_flavour(contents)
    items = [schema.CategoryItem(key=key, value=value) for key, value in varied.items()]
    inputs = {
        "systematic": schema.Variable(
            name="systematic", type="string", description="central, up, down, up_... or down_..."
        ),
        "flavour": schema.Variable(name="flavour", type="int", description="5 (b), 4 (c) or 0 (light)"),
        "pt": schema.Variable(name="pt", type="real", description="of the jet, GeV"),
    }
    corrections = [
        schema.Correction(
            name=f"{name}_sf", description=description, version=1, inputs=list(inputs.values()),
            output=schema.Variable(name="sf", type="real", description="efficiency in data over simulation"),
            data=schema.Category(nodetype="category", input="systematic", content=items),
        ),
        schema.Correction(
            name=f"{name}_efficiency", description=description, version=1,
            inputs=[inputs["flavour"], inputs["pt"]],
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
    path: Path, name: str, flavour: NDArray[np.int_], pt: Array, tagged: NDArray[np.bool_],
    systematic: str = "central", efficiency: Array | None = None,
) -> Array:  # fmt: skip
    """Weights (N,) by which simulated jets are tagged as often as in data: SF if tagged, else
    (1 - SF e) / (1 - e).

    The weight of an event is the product over its jets. With e the efficiency in the sample at hand, by its
    weights if it has some, they do not change the number of jets. How many jets are of which flavour and pT
    stays as it was simulated.

    Args:
        path: what `write_correctionlib` wrote.
        name: `<tagger>_<working point>`.
        flavour: (N,) 5, 4 or 0 for light.
        pt: (N,) GeV.
        tagged: (N,).
        systematic: which variation.
        efficiency: (N,) of jets like each in the sample at hand, see `binned_efficiency`; None: that of the
            sample of the measurement.

    Raises:
        InputError: for flavours, names and variations that the file does not know, a pT that is not finite,
            or an efficiency that says all jets are tagged where one is not.
    """
    corrections = require("correctionlib", "calibration").CorrectionSet.from_file(str(path))
    known = [key.removesuffix("_sf") for key in corrections if key.endswith("_sf")]
    if name not in known:
        raise InputError(f"{path}: no scale factors '{name}'{closest(name, known)}")
    strange = np.setdiff1d(flavour, list(FLAVOURS.values()))
    if len(strange):
        raise InputError(f"a jet of flavour {strange[0]}: expected 5 (b), 4 (c) or 0 (light)")
    if not np.isfinite(pt).all():
        raise InputError(f"the pT of jet {int(np.argmin(np.isfinite(pt)))} is not finite")
    try:
        factor = np.asarray(corrections[f"{name}_sf"].evaluate(systematic, flavour, pt))
        believed = np.asarray(corrections[f"{name}_efficiency"].evaluate(flavour, pt))
    except IndexError as error:
        has = ", ".join(one for one, code in FLAVOURS.items() if _holds(corrections[f"{name}_sf"], code))
        raise InputError(
            f"{path}: '{name}' has no variation '{systematic}' of flavours "
            f"{sorted(set(flavour.tolist()))}; it has those of {has}"
        ) from error
    kept = believed if efficiency is None else np.asarray(efficiency, dtype=np.float64)
    wrong = np.flatnonzero(~tagged & ~(kept < 1))
    if len(wrong):
        raise InputError(
            f"jet {wrong[0]} is not tagged although the efficiency of jets like it is {kept[wrong[0]]:g}"
        )
    return tag_weights(tagged, factor, kept)


def _holds(correction: Any, flavour: int) -> bool:
    """Whether a correction has a flavour."""
    try:
        correction.evaluate("central", flavour, 50.0)
    except IndexError:
        return False
    return True


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


def tag_response(relative: ArrayLike, tagged: NDArray[np.bool_], efficiency: Array) -> Array:
    """Response of jets to tags that are more frequent by the part `relative`: that if tagged, else
    -relative e / (1 - e), so that as many jets as before there are in all. All arrays of one shape."""
    e = np.minimum(efficiency, MOST)
    return np.asarray(relative * np.where(tagged, 1.0, -e / (1 - e)), dtype=np.float64)


def known_responses(
    known: Mapping[str, ScaleFactors], flavours: Mapping[str, NDArray[np.bool_]], pt: Array,
    tagged: NDArray[np.bool_], efficiency: Array,
) -> dict[str, Array]:  # fmt: skip
    """Response of jets to one standard deviation of each source of scale factors that are known; all arrays
    of one shape.

    Args:
        known: scale factors by flavour.
        flavours: which jets are of each.
        pt: GeV.
        tagged: whether they pass.
        efficiency: of jets like each.
    """
    responses: dict[str, Array] = {}
    for name, factors in known.items():
        for source, shift in {**factors.independent, **factors.systematic}.items():
            relative = np.where(flavours[name], replace(factors, value=shift / factors.value).at(pt), 0.0)
            one = tag_response(relative, tagged, efficiency)
            responses[source] = responses.get(source, 0.0) + one
    return responses


def binned_efficiency(
    flavour: NDArray[Any], pt: Array, tagged: NDArray[np.bool_], edges: Mapping[Any, ArrayLike],
    weights: Array | None = None,
) -> Array:  # fmt: skip
    """(N,) fraction of the jets of the same flavour and pT that are tagged; `edges` by flavour, GeV.

    Where the weights of jets add up to nothing it is 0.
    """
    found, weights = np.zeros(len(pt)), np.ones(len(pt)) if weights is None else weights
    for name, own_edges in edges.items():
        own = np.flatnonzero(flavour == name)
        place = np.digitize(pt[own], np.asarray(own_edges))
        every = np.bincount(place, weights[own], np.size(own_edges) + 1)
        passed = np.bincount(place, weights[own] * tagged[own], len(every))
        found[own] = np.divide(passed, every, out=np.zeros_like(every), where=every > 0)[place]
    return found
