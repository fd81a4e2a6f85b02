"""ParT (plain): the particle transformer without pairs, a transformer on candidates [2202.03772]."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import nn

from femtobarn.data.inputs import Inputs
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.preprocess import Statistics
from femtobarn.tagging.candidates import candidate_inputs
from femtobarn.tagging.part import Network, ParT

__all__ = ["PlainParT"]


@method
class PlainParT(Classifier):
    """`ParT` whose attention scores know nothing of the pair but query and key [2202.03772, Table 3].

    Attributes:
        width: numbers per candidate between blocks.
        blocks: blocks of self-attention.
        class_blocks: blocks of class attention.
        heads: attention heads.
        feed_forward: the hidden size of a block's dense part, in widths.
        embedding: hidden sizes of the network per candidate.
        dropout: of attention weights, activations and updates in blocks of self-attention.
    """

    contract_parameters: ClassVar[dict[str, Any]] = {
        "width": 16, "blocks": 2, "heads": 2, "embedding": (16,),
    }  # fmt: skip
    pair: ClassVar[tuple[int, ...]] = ()

    width: int = Field(default=128, ge=1)
    blocks: int = Field(default=8, ge=1)
    class_blocks: int = Field(default=2, ge=1)
    heads: int = Field(default=8, ge=1)
    feed_forward: int = Field(default=4, ge=1)
    embedding: tuple[int, ...] = (128, 512)
    dropout: float = Field(default=0.1, ge=0, lt=1)

    def default_inputs(self) -> Inputs:
        """See `candidate_inputs`."""
        return candidate_inputs()

    def default_training(self) -> Training:
        """As `ParT`."""
        return ParT().default_training()

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `tagging.part.Network`."""
        return Network(self, inputs, statistics)
