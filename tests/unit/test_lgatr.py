"""L-GATr answers the same in every frame, if it is told of no frame."""

import pytest
import torch

from femtobarn.data.ragged import Batch, Ragged
from femtobarn.tagging.lgatr import LGATr

pytest.importorskip("lgatr")
SMALL = {"blocks": 2, "multivectors": 4, "scalars": 8, "heads": 2, "scale": 1.0}


def batch_of(momenta, lengths, tagger):
    names = [f.name for f in tagger.default_inputs().collection_features("candidates")]
    values = torch.rand(len(momenta), len(names), generator=torch.Generator().manual_seed(3))
    for k, name in enumerate(("px", "py", "pz", "energy")):
        values[:, names.index(name)] = momenta[:, k]
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    return Batch(
        torch.zeros(len(lengths), 0), {"candidates": Ragged(values, offsets)}, {}, torch.ones(len(lengths))
    )


def boosted(p, beta):
    gamma = 1 / (1 - beta**2) ** 0.5
    px, py, pz, energy = p.unbind(-1)
    return torch.stack([px, py, gamma * (pz + beta * energy), gamma * (energy + beta * pz)], -1)


@pytest.mark.parametrize("references", [False, True])
def test_boosts_and_rotations(references):
    torch.manual_seed(1)
    lengths = torch.tensor([4, 1, 9])
    p = torch.randn(14, 3) * 5
    momenta = torch.cat([p, (p.square().sum(-1, keepdim=True) + 0.02).sqrt()], -1)
    tagger = LGATr(**SMALL, references=references)
    network = tagger.network(tagger.default_inputs()).eval()
    cos, sin = 0.6, 0.8
    turned = momenta @ torch.tensor([[1, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1.0]])
    with torch.no_grad():
        here, there, far = (network(batch_of(m, lengths, tagger))["jet"]
                            for m in (momenta, turned, boosted(turned, 0.5)))  # fmt: skip
    if references:
        assert (here - far).abs().max() > 1e-3
    else:
        torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(here, far, atol=1e-4, rtol=1e-4)
