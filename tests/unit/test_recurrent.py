"""A memory that reads the tokens of an event, and DeepJet, which reads them from the last to the first."""

import pytest
import torch
from pydantic import ValidationError

from femtobarn.errors import InputError
from femtobarn.nn.recurrent import Memory
from femtobarn.tagging.deepjet import DeepJet


def test_backwards_is_forwards_on_the_tokens_turned_round() -> None:
    """Events shorter than what is read, as long, longer, and empty."""
    counts, longest = [2, 3, 5, 0], 3
    offsets = torch.tensor([0, *counts]).cumsum(0)
    values = torch.randn(sum(counts), 4, generator=torch.Generator().manual_seed(1))
    backwards, forwards = Memory(4, 6, longest, backwards=True), Memory(4, 6, longest)
    forwards.load_state_dict(backwards.state_dict())
    read = [values[start : start + min(n, longest)] for start, n in zip(offsets, counts, strict=False)]
    turned = torch.cat([tokens.flip(0) for tokens in read])
    ends = torch.tensor([0, *(len(tokens) for tokens in read)]).cumsum(0)
    torch.testing.assert_close(backwards(values, offsets), forwards(turned, ends))
    assert not torch.allclose(backwards(values, offsets)[0], forwards(values, offsets)[0])


def test_deepjet_says_what_its_inputs_lack() -> None:
    inputs = DeepJet().default_inputs()
    without = inputs.model_copy(update={"collections": {"tracks": inputs.collections["tracks"]}})
    with pytest.raises(InputError, match="'tracks' and 'flows'"):
        DeepJet().network(without)
    bare = inputs.model_copy(update={"event": ["pt", "eta"]})
    with pytest.raises(InputError, match="SV1_masssvx"):
        DeepJet().network(bare)


@pytest.mark.parametrize("wrong", [{"memories": (0, 50)}, {"charged": ()}, {"dropout": 2.0}, {"longest": -1}])
def test_deepjet_refuses_sizes_that_make_no_network(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DeepJet(**wrong)
