"""CLs from the asymptotic distribution of the profile likelihood ratio [Cowan et al., 1007.1727]."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

__all__ = ["asymptotic_cls"]

SMALLEST = 1e-300


def asymptotic_cls(q: ArrayLike, q_asimov: ArrayLike) -> NDArray[np.float64]:
    """CLs of q~ given that of the Asimov data without signal [1007.1727, equations 64 to 66].

    One where the latter is zero: nothing tells signal from background there.
    """
    q, q_asimov = (np.asarray(value, dtype=np.float64) for value in (q, q_asimov))
    root, root_asimov = np.sqrt(q), np.sqrt(q_asimov)
    beyond = (q - q_asimov) / np.where(root_asimov > 0, 2 * root_asimov, 1.0)
    t = np.where(root <= root_asimov, root - root_asimov, beyond)
    ratio = ndtr(-t - root_asimov) / np.maximum(ndtr(-t), SMALLEST)
    return np.where(root_asimov > 0, ratio, 1.0)
