"""LorentzNet: a graph network that answers the same in every frame [2201.08187]."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.four_momenta import minkowski
from femtobarn.nn.norm import BatchNorm, normalised
from femtobarn.nn.preprocess import Statistics
from femtobarn.nn.ragged import other_pairs, segment_mean, summed_at
from femtobarn.tagging.candidates import Candidates, candidate_inputs

__all__ = ["LorentzNet"]

EDGES = 1 << 15
"""Edges at once when predicting."""


@method
class LorentzNet(Classifier):
    """Lorentz-group-equivariant message passing between all candidates of a jet [2201.08187, Eqs. 3.3-3.6].

        m_ij = phi_e(h_i, h_j, psi(|x_i - x_j|^2), psi(x_i.x_j)),     psi(z) = sign(z) ln(|z| + 1)
        x_i <- x_i + c mean_j phi_x(m_ij) (x_i - x_j)
        h_i <- h_i + phi_h(h_i, sum_j phi_m(m_ij) m_ij, s_i)

    The four-vectors x begin as the momenta, the scalars h as a linear map of s_i: psi(m_i^2) and the
    candidate's properties. Nothing but invariants reaches the answer, which a rotation or boost of the whole
    jet leaves as it is. The beams, which the paper adds as two particles for top tagging, are left out: with
    them the answer depends on the jet's direction.

    Attributes:
        width: of the hidden layers.
        layers: of message passing.
        step: c, the weight of the updates of x.
        dropout: in the dense part that follows.
    """

    contract_parameters: ClassVar[dict[str, Any]] = {"width": 12, "layers": 3}

    width: int = Field(default=72, ge=1)
    layers: int = Field(default=6, ge=1)
    step: float = Field(default=5e-3, gt=0)
    dropout: float = Field(default=0.2, ge=0, lt=1)

    def default_inputs(self) -> Inputs:
        """See `candidate_inputs`."""
        return candidate_inputs()

    def default_training(self) -> Training:
        """AdamW with a rate of 1e-3 and a decay of 0.01, batches of 32 jets, 35 epochs (Section 4.1).

        One fall of the rate in place of the paper's warm restarts.
        """
        return Training(
            optimiser="adamw", learning_rate=1e-3, weight_decay=1e-2, batch_size=32, epochs=35,
            schedule="cosine", warmup=0.1,
        )  # fmt: skip

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Momenta and scalars -> messages -> mean of the scalars -> logits of the classes."""

    def __init__(self, net: LorentzNet, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        self.candidates = Candidates(inputs, statistics)
        scalars = 1 + len(self.candidates.properties)
        self.embed = nn.Linear(scalars, net.width)
        self.layers = nn.ModuleList(
            Layer(net.width, scalars, net.step, last=k == net.layers - 1) for k in range(net.layers)
        )
        classes = len(inputs.labels["jet"].classes)
        self.jet = nn.Sequential(
            nn.Linear(net.width + self.candidates.event, net.width),
            nn.ReLU(),
            nn.Dropout(net.dropout),
            nn.Linear(net.width, classes),
        )

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        cloud = self.candidates(batch)
        x, properties = cloud.momenta, cloud.features[:, 7:]
        scalars = torch.cat([_psi(_square(x)), properties], -1)
        h = self.embed(scalars)
        i, j = other_pairs(cloud.offsets, x.shape[0])
        others = (cloud.offsets[1:] - cloud.offsets[:-1] - 1).clamp(min=1)
        share = 1 / cloud.to_tokens(others).to(x.dtype).unsqueeze(-1)
        for layer in self.layers:
            h, x = layer(h, x, scalars, i, j, share)
        mean = segment_mean(h, cloud.segments, cloud.jets)
        return {"jet": self.jet(torch.cat([mean, cloud.event], -1))}


class Layer(nn.Module):
    """One round of messages. The first layer of phi_e factorises: W_1 h_i + W_2 h_j + W_3 (invariants)."""

    def __init__(self, width: int, scalars: int, step: float, last: bool) -> None:
        super().__init__()
        self.step = step
        self.one = nn.Linear(width, width, bias=False)
        self.other = nn.Linear(width, width, bias=False)
        self.invariants = nn.Linear(2, width, bias=False)
        self.norm = BatchNorm(width)
        self.message = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.gate = nn.Sequential(nn.Linear(width, 1), nn.Sigmoid())
        self.update, self.update_norm = nn.Linear(2 * width + scalars, width), BatchNorm(width)
        self.finish = nn.Linear(width, width)
        self.move = None if last else nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1, bias=False)
        )  # fmt: skip
        if self.move is not None:
            for last_weight in self.move[-1].parameters():
                nn.init.xavier_uniform_(last_weight, gain=1e-3)

    def forward(
        self, h: Tensor, x: Tensor, scalars: Tensor, i: Tensor, j: Tensor, share: Tensor
    ) -> tuple[Tensor, Tensor]:
        """h: (T, width), x: (T, 4), scalars: (T, S), edges i, j: (P,), share: (T, 1), 1 / neighbours."""
        one, other = self.one(h), self.other(h)
        total, moved = torch.zeros_like(h), torch.zeros_like(x)
        whole = self.training or torch.compiler.is_exporting()
        blocks = [(i, j)] if whole else zip(torch.split(i, EDGES), torch.split(j, EDGES), strict=True)
        for k, n in blocks:
            message, way = self.messages(one, other, x, k, n)
            total = summed_at(total, k, message)
            if way is not None:
                moved = summed_at(moved, k, way)
        update = torch.cat([h, total, scalars], -1)
        h = h + self.finish(torch.relu(normalised(self.update, self.update_norm, update)))
        return h, x + self.step * share * moved

    def messages(
        self, one: Tensor, other: Tensor, x: Tensor, i: Tensor, j: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """phi_m(m) m of edges i, j (P,): (P, width); and phi_x(m) (x_i - x_j): (P, 4)."""
        # Products of momenta cancel: in single precision little is left of the mass of a collinear pair.
        x_i, x_j = x.double().index_select(0, i), x.double().index_select(0, j)
        way = x_i - x_j
        seen = torch.stack([minkowski(way, way), minkowski(x_i, x_j)], -1)
        first = one.index_select(0, i) + other.index_select(0, j) + self.invariants(_psi(seen).to(one.dtype))
        message = self.message(torch.relu(self.norm(first)))
        message = message * self.gate(message)
        if self.move is None:
            return message, None
        return message, (way.to(x.dtype) * self.move(message)).clamp(-100, 100)


def _psi(z: Tensor) -> Tensor:
    return torch.sign(z) * torch.log(z.abs() + 1)


def _square(x: Tensor) -> Tensor:
    """m^2 of (T, 4) four-momenta: (T, 1)."""
    wide = x.double()
    return minkowski(wide, wide).unsqueeze(-1).to(x.dtype)
