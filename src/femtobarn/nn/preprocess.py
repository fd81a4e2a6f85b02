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
from femtobarn.errors import InputError, closest

__all__ = ["Mirror", "Preprocess", "Standardise", "Statistics"]


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
        self.mirror = Mirror(inputs)

    def forward(self, batch: Batch) -> Batch:
        """The same batch with other `event` and `values`; in training, each event mirrored at random."""
        return self.scaled(self.mirrored(batch))

    def mirrored(self, batch: Batch) -> Batch:
        """The raw batch, in training each event mirrored at random."""
        return self.mirror(batch) if self.training and self.mirror.count else batch

    def scaled(self, batch: Batch) -> Batch:
        """Without mirroring."""
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


class Mirror(nn.Module):
    """Raw events to one of their mirror images each: every reflection of `Inputs.mirrors` or not, at random.

    Raises:
        InputError: when a reflection names a feature that is not read, or one whose transform has no negative
            side.
    """

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.count = len(inputs.mirrors)
        features = {"": inputs.event_features}
        features |= {name: inputs.collection_features(name) for name in inputs.collections}
        known = {
            f"{name}.{feature.name}".removeprefix("."): feature
            for name, own in features.items()
            for feature in own
        }
        for reflection, flipped in inputs.mirrors.items():
            for odd in flipped:
                if odd not in known:
                    raise InputError(
                        f"mirror '{reflection}': '{odd}' is not among the features{closest(odd, known)}"
                    )
                if known[odd].transform == "log":
                    raise InputError(f"mirror '{reflection}': '{odd}' is read as a logarithm, without sign")
        # (reflections, F) of each collection, the event's under "": 1 where the feature changes sign.
        for name, own in features.items():
            names = [f"{name}.{feature.name}".removeprefix(".") for feature in own]
            odds = [[float(feature in flipped) for feature in names] for flipped in inputs.mirrors.values()]
            values = torch.tensor(odds).view(self.count, len(names))
            self.register_buffer(f"odd_{name}", values, persistent=False)

    def forward(self, batch: Batch) -> Batch:
        """The batch with the signs of what is reflected changed."""
        drawn = torch.randint(0, 2, (len(batch), self.count), device=batch.event.device)
        collections = {}
        for name, ragged in batch.collections.items():
            sign = self._sign(name, drawn, ragged.values)
            collections[name] = ragged.replace(ragged.values * sign.index_select(0, ragged.segments))
        event = batch.event * self._sign("", drawn, batch.event)
        return replace(batch, event=event, collections={**batch.collections, **collections})

    def _sign(self, name: str, drawn: Tensor, like: Tensor) -> Tensor:
        """(B, F) factors: -1 for a feature that an odd number of the drawn reflections turns round."""
        odd = drawn.to(like.dtype) @ cast(Tensor, getattr(self, f"odd_{name}"))
        return 1 - 2 * (odd % 2)


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
        self.logs = {k: feature.scale for k, feature in enumerate(features) if feature.transform == "log"}
        self.asinhs = {k: feature.scale for k, feature in enumerate(features) if feature.transform == "asinh"}
        self.tanhs = {k: feature.scale for k, feature in enumerate(features) if feature.transform == "tanh"}
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
        if self.logs or self.asinhs or self.tanhs:
            columns = list(values.unbind(-1))
            for k, scale in self.logs.items():
                columns[k] = torch.log(columns[k] / scale)
            for k, scale in self.asinhs.items():
                # Not torch.asinh: onnxruntime's loses all digits of large negative values.
                size = columns[k].abs() / scale
                columns[k] = torch.sign(columns[k]) * torch.log(size + torch.sqrt(size * size + 1))
            for k, scale in self.tanhs.items():
                columns[k] = torch.tanh(columns[k] / scale)
            values = torch.stack(columns, -1)
        if self.clips:
            values = torch.minimum(torch.maximum(values, self.low), self.high)
        return (values - self.mean) / self.std

    def typical(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, F) raw values whose standardised ones are normally distributed."""
        values = torch.randn(count, len(self.mean), generator=generator) * self.std + self.mean
        for k, scale in self.logs.items():
            values[:, k] = scale * torch.exp(values[:, k])
        for k, scale in self.asinhs.items():
            values[:, k] = scale * torch.sinh(values[:, k])
        for k, scale in self.tanhs.items():
            values[:, k] = scale * torch.atanh(values[:, k].clamp(-0.999, 0.999))
        return values
