"""Many small networks side by side, trained at once: what takes a thousand seeds takes as long as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["ACTIVATIONS", "Stacked", "descend"]


def step(x: Tensor) -> Tensor:
    """1 above zero, else 0, and no gradient: the neuron of McCulloch, Pitts (1943) and Rosenblatt (1958)."""
    return (x > 0).to(x.dtype)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "step": step,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": lambda x: nn.functional.leaky_relu(x, 0.1),
}


class Stacked(nn.Module):
    """S dense networks of one shape that know nothing of each other; the last layer is linear.

    Weights and biases start as those of `torch.nn.Linear`, in double precision.

    Args:
        networks: S.
        sizes: of the layers, inputs first.
        activation: between them, of `ACTIVATIONS`.
        seed: of the initial weights.
    """

    def __init__(self, networks: int, sizes: Sequence[int], activation: str, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.activation = ACTIVATIONS[activation]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise(sizes):
            reach = before**-0.5
            for parameters, rows in ((self.weights, before), (self.biases, 1)):
                drawn = torch.rand(networks, rows, after, generator=generator, dtype=torch.float64)
                parameters.append(nn.Parameter((2 * drawn - 1) * reach))

    def hidden(self, x: Tensor) -> Tensor:
        """Points (N, inputs) to what the last hidden layer says (S, N, width)."""
        values = x.expand(len(self.weights[0]), *x.shape)
        for weight, bias in list(zip(self.weights, self.biases, strict=True))[:-1]:
            values = self.activation(torch.baddbmm(bias, values, weight))
        return values

    def forward(self, x: Tensor) -> Tensor:
        """Points (N, inputs) to answers (S, N, outputs)."""
        answer: Tensor = torch.baddbmm(self.biases[-1], self.hidden(x), self.weights[-1])
        return answer

    @torch.no_grad()
    def solve_last(self, x: Tensor, y: Tensor) -> None:
        """Set the last layers to what fits y (N, outputs) best on what the hidden layers say.

        Combinations of hidden units that are nearly zero at all points (a millionth of the largest) are left
        out: their weights would be huge, and wrong at any other point.
        """
        hidden = self.hidden(x)
        design = torch.cat([hidden, torch.ones_like(hidden[..., :1])], -1)
        found = torch.linalg.lstsq(
            design, y.expand(len(design), *y.shape), rcond=1e-6, driver="gelsd"
        ).solution
        self.weights[-1].copy_(found[:, :-1])
        self.biases[-1].copy_(found[:, -1:])


def descend(
    networks: Stacked, x: Tensor, y: Tensor, steps: int, learning_rate: float, decay: float = 0.0
) -> Tensor:
    """Lower the mean squared error of each network by Adam with a cosine schedule, all points at every step.

    Args:
        networks: changed in place.
        x, y: points (N, inputs) and what they should give (N, outputs).
        steps, learning_rate: of Adam; the rate falls to zero.
        decay: factor of the sum of squared weights, biases not counted, in what is lowered.

    Returns:
        the mean squared error of each network at the end, (S,).
    """
    optimiser = torch.optim.Adam(networks.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        loss = (networks(x) - y).square().mean((1, 2)).sum()
        if decay:
            loss = loss + decay * sum(weight.square().sum() for weight in networks.weights)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        error: Tensor = (networks(x) - y).square().mean((1, 2))
    return error
