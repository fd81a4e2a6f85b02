"""Areas under ROC curves on the same events: what is common to two classifiers drops out of the error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from femtobarn.evaluate.metrics import Estimate, Floats
from femtobarn.evaluate.metrics import auc as area

__all__ = ["Area", "area_of", "mean_area"]


class Area(NamedTuple):
    """An AUC and how much each event moved it.

    Attributes:
        value: the area.
        influence: (N,), what each event adds; the error of any sum of areas on the same events is the root of
            the sum of squares of the same sum of influences.
    """

    value: float
    influence: Floats

    @property
    def estimate(self) -> Estimate:
        """The area with its statistical error."""
        return Estimate(np.asarray(self.value), np.asarray(np.sqrt(np.sum(self.influence**2))))

    def minus(self, other: Area) -> Area:
        """The difference of two areas on the same events, as an area."""
        return Area(self.value - other.value, self.influence - other.influence)


def area_of(scores: ArrayLike, is_signal: ArrayLike) -> Area:
    """The AUC of (N,) scores with the influence of each event [DeLong et al., Biometrics 44 (1988) 837].

    A signal event adds (fraction of background below it - AUC) / (number of signal), a background event
    (fraction of signal above it - AUC) / (number of background); of equal scores half counts as below.

    Raises:
        InputError: when there is one class only, or a score is not finite.
    """
    values, signal = np.asarray(scores, dtype=np.float64), np.asarray(is_signal, dtype=bool)
    value = float(area(values, signal).value)
    influence = np.empty(len(values))
    above, below = np.sort(values[signal]), np.sort(values[~signal])
    influence[signal] = (_below(values[signal], below) - value) / len(above)
    influence[~signal] = (1 - _below(values[~signal], above) - value) / len(below)
    return Area(value, influence)


def mean_area(areas: Sequence[Area], rows: Sequence[NDArray[np.integer]], events: int) -> Area:
    """The mean of areas, each of its own rows among `events`: folds, or seeds on the same rows."""
    influence = np.zeros(events)
    for one, own in zip(areas, rows, strict=True):
        influence[own] += one.influence / len(areas)
    return Area(float(np.mean([one.value for one in areas])), influence)


def _below(points: Floats, ordered: Floats) -> Floats:
    """The fraction of `ordered` below each point, equal ones counted half."""
    left, right = (np.searchsorted(ordered, points, side) for side in ("left", "right"))
    return np.asarray((left + right) / (2 * len(ordered)))
