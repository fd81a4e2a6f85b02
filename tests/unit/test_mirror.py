"""Mirror images of events: only signs change, all reflections turn up, and only in training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from femtobarn.data.inputs import Collection, Feature, Inputs
from femtobarn.data.ragged import Batch, Ragged
from femtobarn.errors import InputError
from femtobarn.nn.preprocess import Mirror, Preprocess

INPUTS = Inputs(
    event=["pt", "eta"],
    collections={"tracks": Collection(features=["dphi", "deta", "hits"])},
    mirrors={"phi": ["tracks.dphi"], "z": ["eta", "tracks.deta"]},
)


def batch(events: int = 400) -> Batch:
    rng = torch.Generator().manual_seed(1)
    offsets = torch.arange(events + 1) * 2
    values = torch.rand(2 * events, 3, generator=rng) + 1
    return Batch(
        torch.rand(events, 2, generator=rng) + 1, {"tracks": Ragged(values, offsets)}, {}, torch.ones(events)
    )


def test_signs_change_together() -> None:
    torch.manual_seed(3)
    before = batch()
    after = Mirror(INPUTS)(before)
    event = (after.event / before.event).round().numpy()
    tracks = (after.collections["tracks"].values / before.collections["tracks"].values).round().numpy()
    tracks = tracks.reshape(-1, 2, 3)
    assert (event[:, 0] == 1).all() and (tracks[:, :, 2] == 1).all()
    np.testing.assert_array_equal(tracks[:, 0], tracks[:, 1])
    np.testing.assert_array_equal(tracks[:, 0, 1], event[:, 1])
    images, counts = np.unique(tracks[:, 0, :2], axis=0, return_counts=True)
    assert len(images) == 4 and counts.min() > 70  # 100 expected of each


def test_only_in_training() -> None:
    layer, raw = Preprocess(INPUTS, None), batch()
    torch.testing.assert_close(layer.eval()(raw).event, raw.event)
    torch.manual_seed(1)
    assert not torch.equal(layer.train()(raw).event, raw.event)


def test_a_batch_without_tokens() -> None:
    empty = replace(
        batch(3), collections={"tracks": Ragged(torch.zeros(0, 3), torch.zeros(4, dtype=torch.int64))}
    )
    assert Mirror(INPUTS)(empty).collections["tracks"].values.shape == (0, 3)


@pytest.mark.parametrize(
    ("feature", "field", "says"),
    [("eta", "tracks.dfi", "'tracks.dfi' is not among the features"), ("pt", "pt", "logarithm")],
)
def test_bad_mirrors_are_refused(feature: str, field: str, says: str) -> None:
    event = [Feature(name=feature, transform="log"), "phi"]
    with pytest.raises(InputError, match=says):
        Mirror(Inputs(event=event, mirrors={"x": [field]}))
