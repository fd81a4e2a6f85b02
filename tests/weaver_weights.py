"""Weights of weaver-core's ParT and ParticleNet as those of ours, and clouds as both take them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from femtobarn.data.ragged import Batch
from femtobarn.tagging.candidates import Cloud

BLOCK = {
    "before": "pre_attn_norm", "after": "post_attn_norm", "qkv": "attn.in_proj", "mix": "attn.out_proj",
    "dense_before": "pre_fc_norm", "dense_after": "post_fc_norm", "expand": "fc1", "contract": "fc2",
}  # fmt: skip


def part_weights(weaver: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of weaver's ParticleTransformer under our names."""
    ours = {}
    for name, value in weaver.items():
        parts = name.split(".")
        if parts[0] == "embed":
            where = "norm" if parts[1] == "input_bn" else f"layers.{parts[2]}"
            ours[f"embed.{where}.{parts[-1]}"] = value
        elif parts[0] == "pair_embed":
            step = int(parts[2])
            kind = "norm" if step == 0 else f"{'layers' if step % 3 == 1 else 'norms'}.{step // 3}"
            flat = value.squeeze(-1) if value.ndim == 3 else value
            ours[f"pair.{kind}.{parts[-1]}"] = flat
        elif parts[0] in ("blocks", "cls_blocks"):
            block = f"{'class_' * (parts[0] == 'cls_blocks')}blocks.{parts[1]}"
            inner = ".".join(parts[2:-1])
            if not inner:
                ours[f"{block}.{'head_factor' if parts[2] == 'c_attn' else 'factor'}"] = value
            else:
                own = next(key for key, theirs in BLOCK.items() if theirs == inner)
                ours[f"{block}.{own}.{parts[-1]}"] = value
        elif name == "cls_token":
            ours["token"] = value.view(1, -1)
        else:
            ours[name.replace("fc.0", "jet")] = value
    return ours


def particlenet_weights(weaver: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of weaver's ParticleNet under our names."""
    names = {
        "bn_fts": "norm", "edge_convs": "blocks", "convs": "layers", "bns": "norms", "sc": "short",
        "sc_bn": "short_norm",
    }  # fmt: skip
    ours = {}
    for name, value in weaver.items():
        if name.startswith("fc"):
            ours[name.replace("fc.0.0", "jet.0").replace("fc.1", "jet.3")] = value
        else:
            own = ".".join(names.get(part, part) for part in name.split("."))
            for k in range(4):  # the first layer of a block is apart
                own = own.replace(f"layers.{k}.", "first." if k == 0 else f"layers.{k - 1}.")
            ours[own] = value.flatten(1) if value.ndim > 2 else value
    return ours


def load(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Take the weights over, all of them."""
    missing, unexpected = network.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all(name.startswith("candidates.") for name in missing), missing


class Given(nn.Module):
    """In place of `Candidates`: features as they are given."""

    def __init__(self, momenta: Tensor, features: Tensor, place: Tensor, lengths: Tensor) -> None:
        super().__init__()
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        segments = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
        self.cloud = Placed(momenta, features, torch.zeros(len(lengths), 0), offsets, segments)
        self.cloud.own_place = place

    def forward(self, batch: Batch | None) -> Cloud:
        return self.cloud


class Placed(Cloud):
    """A cloud whose places are not among its features where ours are."""

    own_place: Tensor

    @property
    def place(self) -> Tensor:
        return self.own_place


def jets(lengths: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Momenta (T, 4) of jets of about 500 GeV, features (T, 17) and places (T, 2) of as many candidates."""
    generator = torch.Generator().manual_seed(seed)
    count = int(lengths.sum())
    place = 0.2 * torch.randn(count, 2, generator=generator)
    pt = 500 / 40 * torch.empty(count).exponential_(generator=generator) + 0.5
    eta, phi = place[:, 0] + 0.7, place[:, 1] - 2.0
    momentum = torch.stack([pt * phi.cos(), pt * phi.sin(), pt * eta.sinh()], -1)
    energy = (momentum.double().square().sum(-1) + 0.14**2).sqrt().float()
    features = torch.randn(count, 17, generator=generator)
    return torch.cat([momentum, energy.unsqueeze(-1)], -1), features, place


def padded(values: Tensor, lengths: Tensor, length: int) -> Tensor:
    """(T, F) as weaver takes it: (B, F, length)."""
    dense = values.new_zeros(len(lengths), length, values.shape[1])
    dense[torch.arange(length) < lengths.unsqueeze(1)] = values
    return dense.transpose(1, 2).contiguous()
