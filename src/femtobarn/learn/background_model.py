"""The verb *estimate*: what a spectrum would hold without a signal, from the spectrum itself."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from femtobarn import registry
from femtobarn.learn.method import method

__all__ = ["Background", "BackgroundModel"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Background(NamedTuple):
    """An estimate and its uncertainty.

    Attributes:
        expected: (B,) counts.
        shifts: (K, B) independent changes of `expected` by one standard deviation; their squares add up.
    """

    expected: Array
    shifts: Array

    @property
    def error(self) -> Array:
        """(B,) standard deviation in each bin."""
        return np.asarray(np.sqrt((self.shifts**2).sum(axis=0)))


@method
class BackgroundModel(ABC):
    """A method that is fitted to the counts of a spectrum and keeps nothing: its fields are all of it.

    Spectra are bin edges (B+1,) and counts (B,), zero or more, that may be sums of weights; empty bins are
    data. Bins that are `blind` (B,) do not enter the fit, and are estimated from the others.
    """

    contract_exempt: ClassVar[dict[str, str]] = {}

    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or registry.name_of("methods", type(self)) or type(self).__name__.lower()

    @abstractmethod
    def estimate(self, edges: Array, counts: Array, blind: Mask | None = None) -> Background:
        """The background of one spectrum.

        Raises:
            InputError: when counts are negative, or too few bins are left to fit.
        """

    @abstractmethod
    def repeat(self, edges: Array, counts: Array, pseudo: Array, blind: Mask | None = None) -> Array:
        """The backgrounds (T, B) of T pseudo-experiments (T, B), each estimated as that of `counts` was.

        What was chosen on `counts` (how many parameters, how smooth) is kept; everything else is done afresh.
        """

    @property
    def parameters(self) -> dict[str, Any]:
        """Hyper-parameters by name, `name` included."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
