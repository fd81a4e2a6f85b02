"""Networks side by side are networks alone."""

import numpy as np
import pytest
import torch
from torch import nn

from femtobarn.nn.stacked import ACTIVATIONS, Stacked, descend


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_is_a_network_of_its_own(activation: str) -> None:
    stack = Stacked(3, (2, 4, 5, 1), activation, seed=1)
    x = torch.randn(20, 2, dtype=torch.float64)
    for k, answer in enumerate(stack(x)):
        values = x
        for i, (weight, bias) in enumerate(zip(stack.weights, stack.biases, strict=True)):
            layer = nn.Linear(*weight.shape[1:], dtype=torch.float64)
            layer.weight.data, layer.bias.data = weight[k].T, bias[k, 0]
            values = layer(values if i == 0 else ACTIVATIONS[activation](values))
        torch.testing.assert_close(answer, values)


def test_descent_lowers_each_and_the_last_layer_is_solved() -> None:
    x = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None]
    y = torch.sin(3 * x)
    stack = Stacked(4, (1, 6, 1), "tanh", seed=2)
    before = (stack(x) - y).square().mean((1, 2))
    after = descend(stack, x, y, 200, 0.01)
    assert (after < before).all()
    stack.solve_last(x, y)
    # Least squares of numpy on what each hidden layer says, with the same directions left out.
    for hidden, answer in zip(stack.hidden(x).detach().numpy(), stack(x).detach().numpy(), strict=True):
        design = np.concatenate([hidden, np.ones((50, 1))], axis=1)
        found = np.linalg.lstsq(design, y.numpy(), rcond=1e-6)[0]
        np.testing.assert_allclose(answer, design @ found, atol=1e-8)
