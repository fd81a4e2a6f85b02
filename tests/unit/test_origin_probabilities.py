"""Probabilities of track origins are with the frequencies of the training sample, not those of the loss."""

import pytest
import torch

from femtobarn.nn.losses import cross_entropy, inverse_frequencies
from femtobarn.tagging.heads import answers

COUNTS = [700, 200, 100]


def said(logits: torch.Tensor, balance: torch.Tensor) -> torch.Tensor:
    tracks = len(logits)
    output = {"jet": torch.zeros(1, 3), "attention": torch.ones(tracks), "origin": logits}
    return answers({**output, "balance": balance})["origin"]


def test_what_the_loss_drives_to_is_right_on_average() -> None:
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    balance = inverse_frequencies(COUNTS)
    logits = torch.tensor([0.3, -0.2, 0.1], requires_grad=True)
    descent = torch.optim.LBFGS([logits], line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        descent.zero_grad()
        loss = cross_entropy(logits.expand(1000, 3), labels, torch.ones(1000), balance)
        loss.backward()
        return loss

    descent.step(closure)
    assert said(logits.detach().unsqueeze(0), balance)[0].tolist() == pytest.approx([0.7, 0.2, 0.1], rel=1e-3)


def test_an_origin_that_training_never_saw_has_no_probability() -> None:
    origin = said(torch.tensor([[1.0, 1.0, 9.0]]), inverse_frequencies([30, 10, 0]))
    assert origin[0].tolist() == pytest.approx([0.75, 0.25, 0])


def test_equal_frequencies_change_nothing() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(said(logits, inverse_frequencies([5, 5, 5])), torch.softmax(logits, -1))
