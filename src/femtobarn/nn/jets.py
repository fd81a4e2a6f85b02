"""What of a whole jet a network reads beside what it makes of the candidates."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["log_pt"]

CENTRE, FACTOR = 6.5, 4.0
"""Of ln(pT / GeV): -1 to 1.6 from 500 to 1000 GeV."""


def log_pt(total: Tensor) -> Tensor:
    """Transverse momenta (B,) of jets in GeV to their logarithms, shifted and scaled, (B, 1).

    For networks that read shares of it: these and angles alone say m / pT and not the mass.
    """
    return ((torch.log(total.clamp(min=1.0)) - CENTRE) * FACTOR).unsqueeze(-1)
