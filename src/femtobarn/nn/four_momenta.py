"""From the four-momenta of a jet's candidates to what networks read: per candidate, and per pair.

Four-momenta are (..., 4): px, py, pz, energy in GeV.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from femtobarn.nn.ragged import segment_sum

__all__ = ["KINEMATICS", "PAIRS", "kinematics", "minkowski", "pair_kinematics", "transverse"]

KINEMATICS = ("log pt", "log E", "log pt/jet pt", "log E/jet E", "dR", "deta", "dphi")
"""What `kinematics` gives."""
PAIRS = ("ln kT", "ln z", "ln dR", "ln m2")
"""What `pair_kinematics` gives."""
CENTRES, FACTORS = (1.7, 2.0, -4.7, -4.7, 0.2), (0.7, 0.7, 0.7, 0.7, 4.0)
"""Of the first five of KINEMATICS, as in the inputs of ParT to JetClass [2202.03772]."""
LARGEST, SMALL = 5.0, 1e-8
"""Beyond the first the scaled ones are cut, below the second no logarithm is taken."""


def transverse(p: Tensor) -> Tensor:
    """Transverse momentum, (...,)."""
    return torch.sqrt((p[..., 0].square() + p[..., 1].square()).clamp(min=SMALL * SMALL))


def minkowski(p: Tensor, q: Tensor) -> Tensor:
    """p.q with signature (-, -, -, +), (...,)."""
    product = p * q
    return product[..., 3] - product[..., 2] - product[..., 1] - product[..., 0]


def kinematics(p: Tensor, segments: Tensor, jets: int) -> Tensor:
    """Of each candidate, the seven numbers KINEMATICS with respect to the sum of its jet's candidates.

    p: (T, 4), segments: (T,) the jet of each. The first five are shifted, scaled and cut as ParT's inputs.
    """
    jet = segment_sum(p, segments, jets)
    pt, jet_pt = transverse(p), transverse(jet)
    own = torch.stack([pt, p[:, 3].clamp(min=SMALL)], -1).log()
    whole = torch.stack([jet_pt, jet[:, 3].clamp(min=SMALL)], -1).log()
    eta, jet_eta = _asinh(p[:, 2] / pt), _asinh(jet[:, 2] / jet_pt)
    deta = eta - jet_eta.index_select(0, segments)
    dphi = _wrap(torch.atan2(p[:, 1], p[:, 0]) - torch.atan2(jet[:, 1], jet[:, 0]).index_select(0, segments))
    dr = torch.sqrt(deta.square() + dphi.square())
    five = torch.cat([own, own - whole.index_select(0, segments), dr.unsqueeze(-1)], -1)
    scaled = (five - five.new_tensor(CENTRES)) * five.new_tensor(FACTORS)
    return torch.cat([scaled.clamp(-LARGEST, LARGEST), torch.stack([deta, dphi], -1)], -1)


def pair_kinematics(p: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Of pairs i, j of candidates ln kT, ln z, ln dR and ln m2 [2202.03772, Eq. 3]: (P, 4).

    dR^2 = (y_i - y_j)^2 + (phi_i - phi_j)^2 with the rapidity y, kT = min(pT_i, pT_j) dR,
    z = min(pT_i, pT_j) / (pT_i + pT_j), m2 = (E_i + E_j)^2 - |p_i + p_j|^2. p: (T, 4).
    """
    rapidity = 0.5 * torch.log((1 + 2 * p[:, 2] / (p[:, 3] - p[:, 2]).clamp(min=1e-20)).clamp(min=SMALL))
    own = torch.cat([p, torch.stack([transverse(p), rapidity, torch.atan2(p[:, 1], p[:, 0])], -1)], -1)
    one, other = own.index_select(0, i), own.index_select(0, j)
    pt_i, pt_j = one[:, 4], other[:, 4]
    away = one[:, 5:] - other[:, 5:]
    dr = torch.sqrt(away[:, 0].square() + _wrap(away[:, 1]).square())
    softer, both = torch.minimum(pt_i, pt_j), one[:, :4] + other[:, :4]
    m2 = both[:, 3].square() - (both[:, 0].square() + both[:, 1].square() + both[:, 2].square())
    return torch.stack([softer * dr, softer / (pt_i + pt_j), dr, m2], -1).clamp(min=SMALL).log()


def _wrap(angle: Tensor) -> Tensor:
    """An angle brought to [-pi, pi]."""
    return angle - 2 * math.pi * torch.round(angle / (2 * math.pi))


def _asinh(x: Tensor) -> Tensor:
    # Not torch.asinh: onnxruntime's loses all digits of large negative values.
    return torch.sign(x) * torch.log(x.abs() + torch.sqrt(x.square() + 1))
