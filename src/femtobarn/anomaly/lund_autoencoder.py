"""An autoencoder of the Lund tree of a jet: each branching rebuilt from itself and its neighbours."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from femtobarn.anomaly.jets import TRAINING
from femtobarn.data.inputs import Collection, Feature, Inputs
from femtobarn.data.ragged import Batch, Ragged
from femtobarn.errors import InputError
from femtobarn.learn.method import method
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training
from femtobarn.nn.preprocess import Preprocess, Statistics
from femtobarn.nn.ragged import segment_mean, segments_of, summed_at

__all__ = ["LundAutoencoder"]

PLANE = ("kt", "delta", "z")
LINKS = ("parent", "softer")


@method
class LundAutoencoder(Scorer):
    """Graph autoencoder [2105.07988] of the Lund tree [1807.04758; as a graph 2012.08526]; sizes are ours.

    A sample's collection `branchings` holds what `physics.lund.lund_tree` gives: ln kT, ln delta and ln z of
    each are compared, and `parent` says how they hang together. Two layers pass messages from a branching's
    parent and from the mean of its children; each branching then keeps `latent` numbers, from which, again
    with its neighbours', the three are rebuilt. The score is the mean over a jet of half the squared
    differences of the standardised numbers; 0 for a jet that does not branch.

    Attributes:
        longest: branchings read of a jet, the first from its root on.
        width: of the layers.
        latent: numbers kept of each branching.
    """

    contract_exempt: ClassVar[dict[str, str]] = {
        "permutation": "parents are named by their place",
        "empty_events": "where nothing branches there is nothing to rebuild, and nothing to learn",
    }

    longest: int = Field(default=40, ge=1)
    width: PositiveInt = 32
    latent: PositiveInt = 1

    def default_inputs(self) -> Inputs:
        """The collection `branchings`."""
        features: list[Feature | str] = [Feature(name=name, transform="log") for name in PLANE]
        features += [Feature(name=name, standardise=False) for name in LINKS]
        branchings = Collection(features=features, max_length=self.longest)
        return Inputs(collections={"branchings": branchings}, weight="mcEventWeight")

    def default_training(self) -> Training:
        """AdamW and one cycle of the learning rate."""
        return TRAINING

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`."""
        return Network(self, inputs, statistics)


class Tree(NamedTuple):
    """Where messages come from: the parent (T,) of each branching, 1 where it has one (T, 1), and its number
    of children (T, 1), at least one."""

    parent: Tensor
    follows: Tensor
    children: Tensor


class Message(nn.Module):
    """h_i <- SiLU(A h_i + B h_parent + C mean_children h)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.own = nn.Linear(before, after)
        self.above = nn.Linear(before, after, bias=False)
        self.below = nn.Linear(before, after, bias=False)
        self.act = nn.SiLU()

    def forward(self, h: Tensor, tree: Tree) -> Tensor:
        """(T, before) to (T, after)."""
        above = self.above(h).index_select(0, tree.parent) * tree.follows
        below = self.below(h) * tree.follows
        below = summed_at(torch.zeros_like(below), tree.parent, below) / tree.children
        return torch.as_tensor(self.act(self.own(h) + above + below))


class Network(nn.Module):
    """Branchings -> messages -> bottleneck -> messages -> branchings; `score` (B,)."""

    def __init__(self, method: LundAutoencoder, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        names = [feature.name for feature in inputs.collection_features("branchings")]
        if names != [*PLANE, *LINKS]:
            raise InputError(
                f"'{method.name}' reads of branchings {', '.join((*PLANE, *LINKS))}, in this order"
            )
        self.preprocess = Preprocess(inputs, statistics)
        width, latent = method.width, method.latent
        self.encoder = nn.ModuleList([Message(len(PLANE) + 1, width), Message(width, width)])
        self.narrow = nn.Linear(width, latent)
        self.decoder = nn.ModuleList([Message(latent, width), Message(width, width)])
        self.wide = nn.Linear(width, len(PLANE))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`score` (B,)."""
        branchings = self.preprocess(batch).collections["branchings"]
        jets, tokens = branchings.offsets.shape[0] - 1, branchings.values.shape[0]
        segments = segments_of(branchings.offsets, tokens)
        tree = _tree(branchings, segments)
        h = torch.cat([branchings.values[:, : len(PLANE)], branchings.values[:, -1:]], -1)
        for layer in self.encoder:
            h = layer(h, tree)
        h = self.narrow(h)
        for layer in self.decoder:
            h = layer(h, tree)
        squares = 0.5 * (self.wide(h) - branchings.values[:, : len(PLANE)]).square().sum(-1)
        return {"score": segment_mean(squares, segments, jets)}


def _tree(branchings: Ragged, segments: Tensor) -> Tree:
    """The links of a batch; a parent is never behind its branching."""
    tokens = segments.shape[0]
    first = branchings.offsets[:-1].index_select(0, segments)
    own = torch.arange(tokens, device=segments.device)
    place = torch.round(branchings.values[:, len(PLANE)]).long()
    parent = first + torch.minimum(place.clamp(min=0), own - first)
    follows = (parent != own).to(branchings.values.dtype)
    children = summed_at(torch.zeros_like(follows), parent, follows).clamp(min=1)
    return Tree(parent, follows.unsqueeze(-1), children.unsqueeze(-1))
