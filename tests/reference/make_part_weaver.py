"""Write `part_weaver.npz`: what small networks of weaver-core 0.5.3 answer, with random weights.

    PYTHONPATH=tests:src PYTHON tests/reference/make_part_weaver.py

with an interpreter that has weaver-core==0.5.3 and torch.
"""

from pathlib import Path

import numpy as np
import torch
from weaver.nn.model.ParticleNet import ParticleNet
from weaver.nn.model.ParticleTransformer import ParticleTransformer

from weaver_weights import jets, padded

LENGTHS = torch.tensor([1, 7, 20, 3, 12, 5, 9, 16])
PART = {"embed_dims": (12, 24, 16), "pair_embed_dims": (8, 6), "num_heads": 2, "num_layers": 2,
        "use_pre_activation_pair": False, "pair_input_dim": 4}  # fmt: skip
NET = {"conv_params": [(4, (8, 6)), (4, (12, 10))], "fc_params": [(16, 0.1)], "use_fusion": False}


def lively(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """All weights and running moments drawn, so that none is one or zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            value.add_(noise.abs() if "running_var" in name else 0.2 * noise)
    return network.eval()


def main() -> None:
    momenta, features, place = jets(LENGTHS, 1)
    longest = int(LENGTHS.max()) + 5
    mask = padded(torch.ones(len(features), 1), LENGTHS, longest).bool()
    saved = {"in.momenta": momenta, "in.features": features, "in.place": place, "in.lengths": LENGTHS}
    part = lively(ParticleTransformer(17, 5, **PART), 2)
    net = lively(ParticleNet(17, 5, **NET), 3)
    x, v, p = (padded(values, LENGTHS, longest) for values in (features, momenta, place))
    with torch.no_grad():
        saved["part.out"] = part(x, v=v, mask=mask)
        saved["particlenet.out"] = net(p, x, mask=mask)
    for name, network in (("part", part), ("particlenet", net)):
        saved |= {f"{name}.w.{key}": value for key, value in network.state_dict().items()}
    np.savez_compressed(
        Path(__file__).with_name("part_weaver.npz"), **{k: v.numpy() for k, v in saved.items()}
    )


if __name__ == "__main__":
    main()
