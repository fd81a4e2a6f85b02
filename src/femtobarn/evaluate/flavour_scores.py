"""What a flavour tagger is judged with: the truth of the jets, and the scores of a tagger."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.errors import InputError, closest
from femtobarn.evaluate.discriminants import discriminant_b, discriminant_c
from femtobarn.evaluate.metrics import Estimate, Floats, Survival
from femtobarn.evaluate.result import At, Metric

__all__ = ["LONG", "ORIGINS", "FlavourScores", "Jets"]

ORIGINS = ("Pileup", "Fake", "Primary", "FromB", "FromBC", "FromC", "FromTau", "OtherSecondary")
"""Classes of `ftagTruthOriginLabel`, in the order of their codes."""

CODES = {5: "b", 4: "c", 0: "u", 15: "tau"}
NAMES = {"bjets": "b", "cjets": "c", "ujets": "u", "taujets": "tau"}
NAMES |= {f"ghost{name}": flavour for name, flavour in NAMES.items()}
LONG = {"b": "b-jets", "c": "c-jets", "u": "light-jets", "tau": "tau-jets"}


class Jets:
    """The truth a tagger is judged by.

    Args:
        rows: one record per jet: the flavour label, `pt` (GeV), the weight if there is one and, to judge
            tracks, `tracks.ftagTruthOriginLabel` and `tracks.ftagTruthVertexIndex`.
        label: field with the flavour.
        weight: field of the event weights; None: all one.
        classes: names of the label's codes 0, 1, ..., such as `bjets`; None: the codes are 5, 4, 0 and 15 for
            b, c, light and tau.

    Attributes:
        flavour: (N,) `b`, `c`, `u`, `tau`, or empty where the code is another.
        weights: (N,) float.

    Raises:
        InputError: when a field is not there, or no jet is a b-, c- or light-jet.
    """

    def __init__(
        self,
        rows: ak.Array,
        label: str = "HadronConeExclTruthLabelID",
        weight: str | None = "mcEventWeight",
        classes: Sequence[str] | None = None,
    ) -> None:
        for field in (label, *([weight] if weight else [])):
            if field not in rows.fields:
                raise InputError(f"the jets have no field '{field}'{closest(field, rows.fields)}")
        code = ak.to_numpy(rows[label]).astype(np.int64)
        if classes is None:  # of particles and antiparticles
            code, names = np.abs(code), CODES
        else:
            names = {n: NAMES.get(name, "") for n, name in enumerate(classes)}
        self.rows = rows
        self.flavour: NDArray[np.str_] = np.full(len(code), "", dtype="U3")
        for number, name in names.items():
            self.flavour[code == number] = name
        self.weights: Floats = np.ones(len(code))
        if weight is not None:
            self.weights = ak.to_numpy(rows[weight]).astype(np.float64)
        for name in ("b", "c", "u"):
            if not (self.flavour == name).any():
                raise InputError(f"no {LONG[name]} among {len(code)} jets by '{label}': check the label")

    def __len__(self) -> int:
        return len(self.flavour)

    def take(self, chosen: NDArray[np.bool_]) -> Jets:
        """The jets where `chosen` (N,) is True."""
        part = copy(self)
        part.rows, part.flavour, part.weights = self.rows[chosen], self.flavour[chosen], self.weights[chosen]
        return part

    def survival(self, score: Floats, flavour: str) -> Survival:
        """The efficiency of cuts on `score` (N,) for the jets of one flavour."""
        which = self.flavour == flavour
        return Survival(score[which], self.weights[which], LONG[flavour])


@dataclass(frozen=True)
class FlavourScores:
    """What one tagger says of every jet and, if it can, of every track.

    Attributes:
        name: the method.
        pb, pc, pu: (N,) probabilities.
        ptau: (N,) or None; enters with the fraction `f_tau`.
        origins: ragged records, a probability per track and origin class, named as in `ORIGINS`, or None.
        vertex: ragged, index of each track's reconstructed vertex, below zero: none; or None.
        attention: ragged, each track's share of the jet's vector; or None.
        label: how figures and tables call it.
        seeds: of its training.
    """

    name: str
    pb: Floats
    pc: Floats
    pu: Floats
    ptau: Floats | None = None
    f_tau: float = 0.0
    origins: ak.Array | None = None
    vertex: ak.Array | None = None
    attention: ak.Array | None = None
    label: str = ""
    seeds: tuple[int, ...] = ()

    @classmethod
    def from_prediction(
        cls,
        prediction: ak.Array,
        name: str,
        *,
        label: str = "",
        seeds: Sequence[int] = (),
        f_tau: float = 0.0,
    ) -> FlavourScores:
        """From `predict`: `<name>_pb`, ..., `tracks.<name>_p<Origin>`, `_VertexIndex` and `_attention`.

        Raises:
            InputError: when the three probabilities are not there.
        """
        for flavour in ("b", "c", "u"):
            if f"{name}_p{flavour}" not in prediction.fields:
                field = f"{name}_p{flavour}"
                raise InputError(f"the prediction has no field '{field}'{closest(field, prediction.fields)}")
        tau = f"{name}_ptau"
        tracks = prediction["tracks"] if "tracks" in prediction.fields else None
        origins = vertex = attention = None
        if tracks is not None:
            if f"{name}_attention" in tracks.fields:
                attention = tracks[f"{name}_attention"]
            classes = [origin for origin in ORIGINS if f"{name}_p{origin}" in tracks.fields]
            if classes:
                origins = ak.zip({origin: tracks[f"{name}_p{origin}"] for origin in classes})
            if f"{name}_VertexIndex" in tracks.fields:
                vertex = tracks[f"{name}_VertexIndex"]
        pb, pc, pu = (
            ak.to_numpy(prediction[f"{name}_p{flavour}"]).astype(np.float64) for flavour in ("b", "c", "u")
        )
        ptau = ak.to_numpy(prediction[tau]).astype(np.float64) if tau in prediction.fields else None
        return cls(
            name, pb, pc, pu, ptau, f_tau, origins, vertex, attention, label or name, tuple(seeds)
        )  # fmt: skip

    def take(self, chosen: NDArray[np.bool_]) -> FlavourScores:
        """The scores of the jets where `chosen` (N,) is True."""
        fields = ("pb", "pc", "pu", "ptau", "origins", "vertex", "attention")
        parts = {name: getattr(self, name) for name in fields if getattr(self, name) is not None}
        return replace(self, **{name: values[chosen] for name, values in parts.items()})

    def discriminant_b(self, f_c: float) -> Floats:
        """D_b at this charm fraction, (N,)."""
        return discriminant_b(self.pb, self.pc, self.pu, f_c, self.ptau, self.f_tau)

    def discriminant_c(self, f_b: float = 0.2) -> Floats:
        """D_c at this b-fraction, (N,)."""
        return discriminant_c(self.pb, self.pc, self.pu, f_b, self.ptau, self.f_tau)

    def metric(self, name: str, at: At, sample: str, value: Estimate, limit: float | None = None) -> Metric:
        """One number of this tagger; where it is NaN, `limit` is what is known of it."""
        missing = not np.isfinite(float(value.value))
        note = None
        if missing:
            note = "nothing to measure in this sample" if limit is None else "no background jet passes"
        return Metric(
            name=name, at=at, method=self.name, sample=sample, value=float(value.value),
            error=float(value.error), seeds=list(self.seeds),
            lower_limit=limit if missing else None, note=note,
        )  # fmt: skip

    @property
    def probabilities(self) -> dict[str, Floats]:
        """The probabilities by flavour."""
        tau = {} if self.ptau is None else {"tau": self.ptau}
        return {"b": self.pb, "c": self.pc, "u": self.pu, **tau}

    @property
    def origin_classes(self) -> list[str]:
        """The origin classes this tagger tells apart."""
        return [] if self.origins is None else list(self.origins.fields)
