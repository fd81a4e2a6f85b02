"""What networks on an event's reconstructed objects share: their inputs, and the geometry of pairs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from femtobarn.data.inputs import Collection, Feature, Inputs, Label
from femtobarn.data.ragged import Batch, Ragged
from femtobarn.errors import InputError
from femtobarn.learn.training import Training
from femtobarn.nn.preprocess import Preprocess, Statistics

__all__ = ["PAIR_FEATURES", "TRAINING", "Objects", "object_inputs"]

KINDS = ("is_electron", "is_muon", "is_tau", "is_photon", "is_jet", "is_met")
GEOMETRY = ("pt", "eta", "phi", "mass", "is_met")
PAIR_FEATURES = 4
TRAINING = Training(optimiser="adamw", weight_decay=1e-3, learning_rate=2e-3, schedule="one-cycle",
                    batch_size=500, epochs=20, clip_norm=1.0)  # fmt: skip


def object_inputs() -> Inputs:
    """Leptons, photons, jets and missing momentum as one collection `objects`, see `physics.objects`.

    Momenta are read as logarithms; azimuths are measured from the missing momentum. `label` has the classes
    `signal` and `background`, `weight` is the event's. Neither the beams' nor the azimuth's direction means
    anything, so events are shown as their mirror images while training.
    """
    objects = [
        Feature(name="pt", transform="log"),
        Feature(name="eta"),
        Feature(name="phi", standardise=False),
        Feature(name="mass", transform="asinh"),
        *(Feature(name=name) for name in ("charge", "btag", *KINDS)),
    ]
    return Inputs(
        event=[Feature(name="met", transform="asinh", scale=20.0)],
        collections={"objects": Collection(features=list(objects))},
        labels={"class": Label(field="label", classes={"s": ["signal"], "b": ["background"]})},
        weight="weight",
        mirrors={"z": ["objects.eta"], "phi": ["objects.phi"]},
    )


class Objects(nn.Module):
    """Raw batches to features of objects, and to the geometry of pairs of them.

    Args:
        inputs: of the method.
        statistics: of the training sample.
        method: its name, for messages.

    Raises:
        InputError: when `objects` lacks one of pt, eta, phi, mass and is_met.
    """

    kept: Tensor

    def __init__(self, inputs: Inputs, statistics: Statistics | None, method: str) -> None:
        super().__init__()
        known = (
            [f.name for f in inputs.collection_features("objects")] if "objects" in inputs.collections else []
        )
        missing = [name for name in GEOMETRY if name not in known]
        if missing:
            raise InputError(f"the inputs of '{method}' lack objects.{missing[0]}: its collection 'objects' "
                             f"needs {', '.join(GEOMETRY)}")  # fmt: skip
        self.preprocess = Preprocess(inputs, statistics)
        self.columns = [known.index(name) for name in GEOMETRY]
        kept = torch.tensor([k for k, name in enumerate(known) if name != "phi"])
        self.register_buffer("kept", kept, persistent=False)
        self.width = len(known) + 1
        self.event_width = len(inputs.event)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Ragged]:
        """Features (T, width) and (B, event_width), and the raw objects for `pairs`.

        The azimuth is read as its sine and cosine.
        """
        batch = self.preprocess.mirrored(batch)
        raw = batch.collections["objects"]
        ready = self.preprocess.scaled(batch)
        phi = raw.values[:, self.columns[2]]
        single = ready.collections["objects"].values.index_select(-1, self.kept)
        return torch.cat([single, torch.stack([torch.cos(phi), torch.sin(phi)], -1)], -1), ready.event, raw

    def pairs(self, raw: Ragged, i: Tensor, j: Tensor) -> Tensor:
        r"""ln m, ln dR, deta and cos(dphi) of pairs i, j (P,) of objects: (P, 4) [2202.03772, Eq. 3].

        $m_{ij}^2 = m_i^2 + m_j^2 + 2 p_{T,i} p_{T,j} (\cosh\Delta\eta - \cos\Delta\phi)$ for objects light
        beside their momenta. Missing momentum has no pseudorapidity: with it the distance is that in azimuth,
        the mass the transverse mass.
        """
        pt, eta, phi, mass, is_met = (raw.values[:, k] for k in self.columns)
        transverse = torch.maximum(is_met[i], is_met[j]) > 0.5
        deta = torch.where(transverse, torch.zeros_like(eta[i]), eta[i] - eta[j]).clamp(-10, 10)
        dphi = phi[i] - phi[j]
        cosine = torch.cos(dphi)
        square = mass[i] ** 2 + mass[j] ** 2 + 2 * pt[i] * pt[j] * (torch.cosh(deta) - cosine)
        distance = deta**2 + torch.atan2(torch.sin(dphi).abs(), cosine) ** 2
        logs = 0.5 * torch.log(square.clamp(min=0) + 1) - 4, 0.5 * torch.log(distance + 1e-4)
        return torch.stack([*logs, deta, cosine], -1)
