"""The hardest objects of each type in their places: what autoencoders of objects read, rebuild and compare.

A place without an object enters as zeros and a flag that says so, and is not compared but for the flag. An
azimuth enters as cosine and sine, measured from that of the first object of the first collection, so that
neither its jump at pi nor the event's orientation means anything.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from femtobarn.data.inputs import Collection, Feature, Inputs
from femtobarn.data.ragged import Batch, Ragged
from femtobarn.errors import InputError
from femtobarn.nn.preprocess import Preprocess, Statistics
from femtobarn.nn.ragged import segments_of

__all__ = ["Read", "Slots", "object_inputs"]


def object_inputs() -> Inputs:
    """Six fat jets, four electrons and four muons, the hardest of each, as in the QCD School exercise."""
    features: list[Feature | str] = [
        Feature(name="pt", transform="log"),
        Feature(name="eta"),
        Feature(name="phi", standardise=False),
    ]
    places = {"fat_jets": 6, "electrons": 4, "muons": 4}
    return Inputs(
        collections={
            name: Collection(features=features, order_by="pt", max_length=size)
            for name, size in places.items()
        },
        weight="mcEventWeight",
    )


class Read(NamedTuple):
    """Events as their network sees them.

    Attributes:
        columns: (B, width), zero in empty places.
        compared: (B, width) bool, where columns hold something to compare.
        flags: (B, places) bool, which places hold an object.
    """

    columns: Tensor
    compared: Tensor
    flags: Tensor


class Slots(nn.Module):
    """Raw batches to `Read`, and the comparison with what a network rebuilds of them.

    Attributes:
        width: columns of an event.
        places: for objects in an event.

    Raises:
        InputError: when a collection has no `max_length`, or an azimuth is to be standardised.
    """

    def __init__(self, inputs: Inputs, statistics: Statistics | None, method: str) -> None:
        super().__init__()
        self.preprocess = Preprocess(inputs, statistics)
        self.sizes: dict[str, int] = {}
        self.angles: dict[str, list[int]] = {"": _angles(inputs.event_features, method)}
        widths = [len(inputs.event) + len(self.angles[""])]
        for name, collection in inputs.collections.items():
            if collection.max_length is None:
                raise InputError(
                    f"the inputs of '{method}' lack collections.{name}.max_length: how many places"
                )
            self.sizes[name] = collection.max_length
            features = inputs.collection_features(name)
            self.angles[name] = _angles(features, method)
            widths.append(collection.max_length * (len(features) + len(self.angles[name])))
        self.width, self.places = sum(widths), sum(self.sizes.values())

    def forward(self, batch: Batch) -> Read:
        """See `Read`."""
        batch = self.preprocess(batch)
        events = batch.event.shape[0]
        columns, compared, flags = [], [], []
        axis = batch.event.new_zeros(events)
        for number, (name, size) in enumerate(self.sizes.items()):
            values, present = placed(batch.collections[name], size, events)
            if number == 0 and self.angles[name]:
                axis = values[:, 0, self.angles[name][0]]
            values = self._turned(values, self.angles[name], axis[:, None]) * present[:, :, None]
            columns.append(values.flatten(1))
            compared.append((present[:, :, None] > 0).expand_as(values).flatten(1))
            flags.append(present > 0)
        event = self._turned(batch.event, self.angles[""], axis)
        columns.append(event)
        compared.append(torch.ones_like(event) > 0)
        places = torch.cat(flags, 1) if flags else event[:, :0] > 0
        return Read(torch.cat(columns, 1), torch.cat(compared, 1), places)

    @staticmethod
    def _turned(values: Tensor, angles: list[int], axis: Tensor) -> Tensor:
        """(..., F) values with cosine and sine of each angle from the axis in its place."""
        parts = []
        for k, value in enumerate(values.unbind(-1)):
            parts += [torch.cos(value - axis), torch.sin(value - axis)] if k in angles else [value]
        return torch.stack(parts, -1) if parts else values

    def entered(self, read: Read) -> Tensor:
        """(B, width + places): what a network reads."""
        return torch.cat([read.columns, read.flags.float()], 1)

    def misfit(self, rebuilt: Tensor, read: Read) -> Tensor:
        """(B,) minus the log-likelihood, up to a constant, of events given (B, width + places) rebuilt.

        Of what is there, half the squared differences; of each place, the cross-entropy of its flag.
        """
        columns, flags = rebuilt[:, : self.width], rebuilt[:, self.width :]
        squares = 0.5 * (columns - read.columns).square() * read.compared
        asked = F.binary_cross_entropy_with_logits(flags, read.flags.float(), reduction="none")
        return squares.sum(1) + asked.sum(1)


def _angles(features: list[Feature], method: str) -> list[int]:
    """Which features are azimuths: those called phi, or something_phi."""
    found = [k for k, f in enumerate(features) if f.name == "phi" or f.name.endswith("_phi")]
    for k in found:
        if features[k].standardise or features[k].transform != "none":
            raise InputError(
                f"'{method}' reads the azimuth '{features[k].name}' as it is: standardise: false"
            )
    return found


def placed(ragged: Ragged, size: int, events: int) -> tuple[Tensor, Tensor]:
    """The first `size` tokens of each event (B, size, F), zeros in empty places, and 1 where one is."""
    tokens, features = ragged.values.shape
    segments = segments_of(ragged.offsets, tokens)
    position = torch.arange(tokens, device=segments.device) - ragged.offsets[:-1].index_select(0, segments)
    # What is too many goes to a place behind all others.
    place = torch.where(position < size, segments * size + position, events * size)
    filled = ragged.values.new_zeros(events * size + 1, features).index_copy(0, place, ragged.values)
    ones = ragged.values.new_zeros(events * size + 1).index_fill(0, place, 1.0)
    return filled[:-1].view(events, size, features), ones[:-1].view(events, size)
