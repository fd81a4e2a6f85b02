"""L-GATr: a transformer of multivectors, equivariant under Lorentz transformations [2411.00446]."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.errors import require
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.nn.preprocess import Statistics
from femtobarn.tagging.candidates import Candidates, Cloud, candidate_inputs

__all__ = ["LGATr"]


@method
class LGATr(Classifier):
    """The authors' `lgatr` package on the candidates of a jet and a token that is asked for the answer.

    Each candidate is a multivector of its four-momentum and scalars of its properties; attention, products
    and norms are those of the space-time algebra [2405.14806, 2411.00446]. With `references` the direction
    of time and the plane across the beam are further channels of every token, so that the network may break
    the symmetry; without, nothing but Lorentz invariants reaches the answer.

    Attributes:
        blocks: of attention and geometric products.
        multivectors: channels of multivectors between blocks.
        scalars: channels of scalars.
        heads: of the attention.
        references: whether time and beam are told.
        scale: of momenta, GeV.
        dropout: in the blocks.
    """

    needs: ClassVar[str] = "lgatr"
    contract_parameters: ClassVar[dict[str, Any]] = {"blocks": 1, "multivectors": 4, "scalars": 8, "heads": 2}
    contract_exempt: ClassVar[dict[str, str]] = {
        "gradients": "of the last block's multivectors only the scalar part is asked for",
        "onnx": "exporting what the package computes is left to the package",
    }

    blocks: int = Field(default=12, ge=1)
    multivectors: int = Field(default=16, ge=1)
    scalars: int = Field(default=32, ge=1)
    heads: int = Field(default=8, ge=1)
    references: bool = True
    scale: float = Field(default=20.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    def default_inputs(self) -> Inputs:
        """See `candidate_inputs`."""
        return candidate_inputs()

    def default_training(self) -> Training:
        """AdamW with a rate of 1e-3 that falls as a cosine, batches of 128 jets: ours."""
        return Training(optimiser="adamw", learning_rate=1e-3, weight_decay=0.01, batch_size=128, epochs=20,
                        schedule="cosine")  # fmt: skip

    def network(self, inputs: Inputs, statistics: Statistics | None = None) -> nn.Module:
        """See `Network`. Raises InputError where the package is not installed."""
        return Network(self, inputs, statistics)


class Network(nn.Module):
    """Candidates and one token more -> multivectors and scalars -> scalars of that token -> logits."""

    def __init__(self, net: LGATr, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        package = require("lgatr", "lgatr")
        self.candidates = Candidates(inputs, statistics)
        self.scale, classes = net.scale, len(inputs.labels["jet"].classes)
        references = package.get_spurions() if net.references else torch.zeros(0, 16)
        self.references: Tensor
        self.register_buffer("references", references, persistent=False)
        self.properties = self.candidates.features - 7
        self.transformer = package.LGATr(
            num_blocks=net.blocks,
            in_mv_channels=1 + len(references),
            out_mv_channels=1,
            hidden_mv_channels=net.multivectors,
            in_s_channels=1 + self.properties,
            out_s_channels=net.scalars,
            hidden_s_channels=net.scalars,
            attention={"num_heads": net.heads},
            mlp={},
            dropout_prob=net.dropout or None,
        )
        self.jet = nn.Linear(1 + net.scalars + self.candidates.event, classes)

    def forward(self, batch: Batch) -> dict[str, Any]:
        """`jet` (B, classes) logits."""
        cloud = self.candidates(batch)
        vectors, scalars, there = self.tokens(cloud)
        seen_vectors, seen = self.transformer(vectors, scalars, attn_mask=there[:, None, None, :])
        asked = torch.cat([seen_vectors[:, 0, :, 0], seen[:, 0], cloud.event], -1)
        return {"jet": self.jet(asked)}

    def tokens(self, cloud: Cloud) -> tuple[Tensor, Tensor, Tensor]:
        """Padded (B, 1 + N, C, 16), (B, 1 + N, S), and which are real; the first is the one asked."""
        lengths = cloud.offsets[1:] - cloud.offsets[:-1]
        size = 1 + (int(lengths.max()) if len(lengths) else 0)
        place = torch.arange(len(cloud.segments), device=lengths.device) - cloud.to_tokens(cloud.offsets[:-1])
        at = (cloud.segments, place + 1)
        vectors = cloud.momenta.new_zeros(cloud.jets, size, 1 + len(self.references), 16)
        # The package orders them time first; vectors follow the scalar component.
        vectors[..., 0, 1:5] = vectors.new_zeros(cloud.jets, size, 4).index_put(
            at, cloud.momenta[:, [3, 0, 1, 2]] / self.scale
        )
        vectors[..., 1:, :] = self.references
        scalars = vectors.new_zeros(cloud.jets, size, 1 + self.properties)
        scalars[:, 0, 0] = 1
        scalars[..., 1:] = scalars[..., 1:].index_put(at, cloud.features[:, 7:])
        there = torch.arange(size, device=lengths.device) <= lengths.unsqueeze(1)
        return vectors, scalars, there
