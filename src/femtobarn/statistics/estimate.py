"""A number with its statistical error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate"]


class Estimate(NamedTuple):
    """Values with their statistical standard deviations, arrays of one shape; NaN where undefined."""

    value: NDArray[np.float64]
    error: NDArray[np.float64]
