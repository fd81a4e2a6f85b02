"""Transform, clip and standardise inside the network, so that a saved or exported model takes raw values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor, nn

from femtobarn.data.inputs import Feature, Inputs
from femtobarn.data.ragged import Batch, Ragged
from femtobarn.data.scaling import Moments, Scaling

__all__ = ["Preprocess", "Standardise", "Statistics"]


@dataclass
class Statistics:
    """What a network's buffers take from the training sample.

    Attributes:
        scaling: means and deviations of the transformed features.
        counts: sum of absolute weights per class, by task ("jet") or collection and task ("tracks.origin").
    """

    scaling: Scaling
    counts: dict[str, list[float]] = field(default_factory=dict)


class Preprocess(nn.Module):
    """A batch of raw values to one of transformed, clipped and standardised values."""

    def __init__(self, inputs: Inputs, statistics: Statistics | None) -> None:
        super().__init__()
        scaling = statistics.scaling if statistics else None
        self.event = Standardise(inputs.event_features, scaling.event if scaling else None)
        self.collections = nn.ModuleDict(
            {
                name: Standardise(
                    inputs.collection_features(name), scaling.collections[name] if scaling else None
                )
                for name in inputs.collections
            }
        )

    def forward(self, batch: Batch) -> Batch:
        """The same batch with other `event` and `values`."""
        ragged = {name: layer(batch.collections[name].values) for name, layer in self.collections.items()}
        collections = {name: batch.collections[name].replace(values) for name, values in ragged.items()}
        return replace(batch, event=self.event(batch.event), collections={**batch.collections, **collections})

    def typical(self, lengths: Tensor, generator: torch.Generator) -> Batch:
        """Raw events like those of the training sample, with (B,) `lengths` tokens: to try a network on."""
        offsets = torch.cat([lengths.new_zeros(1), torch.cumsum(lengths, 0)])
        event = self.event.typical(len(lengths), generator)
        collections = {
            name: Ragged(cast(Standardise, layer).typical(int(offsets[-1]), generator), offsets)
            for name, layer in self.collections.items()
        }
        return Batch(event, collections, {}, torch.ones(len(lengths)))


class Standardise(nn.Module):
    """(N, F) raw values to `(clip(transform(x)) - mean) / std`, as `data.scaling` defines them.

    Means and deviations are buffers, saved with the weights; without moments they are 0 and 1, to be loaded.
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, features: Sequence[Feature], moments: Moments | None) -> None:
        super().__init__()
        count = len(features)
        self.logs = [k for k, feature in enumerate(features) if feature.transform == "log"]
        self.asinhs = [k for k, feature in enumerate(features) if feature.transform == "asinh"]
        self.clips = any(feature.clip for feature in features)
        limits = [feature.clip or (-torch.inf, torch.inf) for feature in features]
        mean, std = (moments.mean, moments.std) if moments else ([0.0] * count, [1.0] * count)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))
        # Limits follow from the inputs: nothing to save.
        bounds = torch.tensor(limits, dtype=torch.float32).view(count, 2)
        self.register_buffer("low", bounds[:, 0].contiguous(), persistent=False)
        self.register_buffer("high", bounds[:, 1].contiguous(), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """values: (N, F) float32, checked to be finite where they were read."""
        if self.logs or self.asinhs:
            columns = list(values.unbind(-1))
            for k in self.logs:
                columns[k] = torch.log(columns[k])
            for k in self.asinhs:
                # Not torch.asinh: onnxruntime's loses all digits of large negative values.
                size = columns[k].abs()
                columns[k] = torch.sign(columns[k]) * torch.log(size + torch.sqrt(size * size + 1))
            values = torch.stack(columns, -1)
        if self.clips:
            values = torch.minimum(torch.maximum(values, self.low), self.high)
        return (values - self.mean) / self.std

    def typical(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, F) raw values whose standardised ones are normally distributed."""
        values = torch.randn(count, len(self.mean), generator=generator) * self.std + self.mean
        for k in self.logs:
            values[:, k] = torch.exp(values[:, k])
        for k in self.asinhs:
            values[:, k] = torch.sinh(values[:, k])
        return values
