"""GN2 with the weights of salt's GN2 answers what salt answers.

`gn2_salt.npz` holds a small GN2 of salt 0.13.0 with random weights, what it was given (standardised) and what
it answered: width 16, 2 layers, 4 heads, 8 out, heads of 8-4. Its first layers take the jet before the track.
"""

from pathlib import Path

import numpy as np
import torch

from femtobarn.data.ragged import Batch, Ragged
from femtobarn.tagging.gn2 import GN2

SIZES = {"width": 16, "layers": 2, "heads": 4, "feed_forward": 32, "out": 8, "initial": (16,)}
HEADS = {"jet_head": (8, 4), "origin_head": (8, 4), "vertex_head": (8, 4)}
NAMES = {"initial.0": "init_nets.0.net.net.0", "initial.2": "init_nets.0.net.net.2",
         "encoder.project": "encoder.out_proj", "gate": "pool_net.gate_nn"}  # fmt: skip
LAYER = {"attention.mix": "attn.fn.out_proj", "feed_forward.0": "dense.fn.in_proj",
         "feed_forward.2": "dense.fn.out_proj"}  # fmt: skip


def test_jets_and_origins_are_salts() -> None:
    with np.load(Path(__file__).with_name("gn2_salt.npz")) as file:
        salt = {name: torch.from_numpy(value) for name, value in file.items()}
    gn2 = GN2(**SIZES, **HEADS)
    network = gn2.network(gn2.default_inputs()).eval()
    network.preprocess = torch.nn.Identity()
    names = NAMES | {f"heads.jet.{k}": f"tasks.0.net.net.{k}" for k in (0, 2, 4)}
    names |= {f"heads.origin.rest.{k}": f"tasks.1.net.net.{k + 2}" for k in (0, 2)}
    for layer in (f"encoder.layers.{k}." for k in range(2)):
        names |= {layer + ours: layer + theirs for ours, theirs in LAYER.items()}
    weights = {f"{ours}.{kind}": salt[f"{theirs}.{kind}"] for ours, theirs in names.items()
               for kind in ("weight", "bias")}  # fmt: skip
    for layer in (f"encoder.layers.{k}." for k in range(2)):
        for kind in ("weight", "bias"):
            weights[f"{layer}attention.qkv.{kind}"] = salt[f"{layer}attn.fn.in_proj_{kind}"]
    weights["encoder.registers"] = salt["encoder.registers"]
    weights["initial.0.weight"] = weights["initial.0.weight"].roll(-2, 1)
    weights["heads.origin.context.weight"], weights["heads.origin.token.weight"] = (
        salt["tasks.1.net.net.0.weight"].split(8, 1)
    )  # fmt: skip
    weights["heads.origin.token.bias"] = salt["tasks.1.net.net.0.bias"]
    missing, unexpected = network.load_state_dict(weights, strict=False)
    assert not unexpected and all(name.startswith(("heads.vertex.", "heads.balance")) for name in missing)
    lengths = salt["in.lengths"]
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    tracks = Ragged(salt["in.tracks"], offsets)
    with torch.no_grad():
        output = network(Batch(salt["in.jets"], {"tracks": tracks}, {}, torch.ones(len(lengths))))
    torch.testing.assert_close(output["jet"], salt["out.jet"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output["origin"], salt["out.origin"], rtol=1e-4, atol=1e-5)
