"""ParT and ParticleNet with the weights of weaver-core 0.5.3 answer what weaver answers.

`part_weaver.npz` (made by `make_part_weaver.py`) holds small networks of weaver with random weights, what
they were given and what they answered; where weaver is installed, those of the published size are compared.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from femtobarn.data.inputs import Inputs, Label
from femtobarn.tagging.candidates import candidate_inputs
from femtobarn.tagging.part import ParT
from femtobarn.tagging.particlenet import ParticleNet
from weaver_weights import Given, jets, load, padded, part_weights, particlenet_weights


def inputs_of(classes: int) -> Inputs:
    label = Label(field="jet_label", classes={f"c{k}": [f"c{k}"] for k in range(classes)})
    return candidate_inputs().model_copy(update={"labels": {"jet": label}})


def answer(method: Any, weights: dict[str, Tensor], given: Given, classes: int) -> Tensor:
    network = method.network(inputs_of(classes)).eval()
    load(network, weights)
    network.candidates = given
    with torch.no_grad():
        logits: Tensor = network(None)["jet"]
    return logits


def test_small_networks_answer_what_weavers_answer() -> None:
    with np.load(Path(__file__).with_name("part_weaver.npz")) as file:
        saved = {name: torch.from_numpy(value) for name, value in file.items()}
    given = Given(*(saved[f"in.{name}"] for name in ("momenta", "features", "place", "lengths")))
    part = ParT(width=16, blocks=2, heads=2, embedding=(12, 24), pair=(8, 6))
    net = ParticleNet(neighbours=4, blocks=((8, 6), (12, 10)), hidden=16)
    for name, method, mapped in (("part", part, part_weights), ("particlenet", net, particlenet_weights)):
        theirs = {
            key.removeprefix(f"{name}.w."): v for key, v in saved.items() if key.startswith(f"{name}.w.")
        }
        ours = answer(method, mapped(theirs), given, 5)
        assert saved[f"{name}.out"].std() > 0.1
        torch.testing.assert_close(ours, saved[f"{name}.out"], rtol=0, atol=1e-4)


def test_published_networks_answer_what_weavers_answer() -> None:
    pytest.importorskip("weaver")
    from weaver.nn.model.ParticleNet import ParticleNet as TheirNet
    from weaver.nn.model.ParticleTransformer import ParticleTransformer

    torch.manual_seed(1)
    lengths = torch.tensor([45, 1, 60, 17, 16, 128, 2, 33])
    momenta, features, place = jets(lengths, 4)
    mask = padded(torch.ones(len(features), 1), lengths, 128).bool()
    x, v, p = (padded(values, lengths, 128) for values in (features, momenta, place))
    given = Given(momenta, features, place, lengths)
    part = ParticleTransformer(17, 10, pair_input_dim=4, use_pre_activation_pair=False).eval()
    sizes = [(16, (64, 64, 64)), (16, (128, 128, 128)), (16, (256, 256, 256))]
    net = TheirNet(17, 10, conv_params=sizes, fc_params=[(256, 0.1)], use_fusion=False).eval()
    for network in (part, net):  # moments of real batches, answers of the size of trained ones
        network.fc[-1].weight.data.mul_(10)
        network.train()
        network(x, v=v, mask=mask) if network is part else network(p, x, mask=mask)
        network.eval()
    with torch.no_grad():
        expected = {"part": part(x, v=v, mask=mask), "net": net(p, x, mask=mask)}
    assert all(logits.std() > 0.05 for logits in expected.values())
    torch.testing.assert_close(answer(ParT(), part_weights(part.state_dict()), given, 10), expected["part"],
                               rtol=0, atol=1e-4)  # fmt: skip
    ours = answer(ParticleNet(), particlenet_weights(net.state_dict()), given, 10)
    torch.testing.assert_close(ours, expected["net"], rtol=0, atol=1e-4)
