"""Functions that networks of n neurons are fitted to, and how well it can be done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from femtobarn.data.atomic import atomic
from femtobarn.nn.stacked import Stacked, descend

__all__ = ["TARGETS", "Target", "best_lines", "fit"]

Floats = NDArray[np.float64]


class Target(NamedTuple):
    """A function on the square [-1, 1]^d.

    Attributes:
        dimensions: d.
        value: points (N, d) to (N,).
        points: along each axis, to fit on; it is judged on other points in between.
    """

    dimensions: int
    value: Callable[[Floats], Floats]
    points: int

    def grid(self, size: int) -> Floats:
        """Centres of `size` cells along each axis, (size^d, d), the first coordinate running fastest."""
        axis = (np.arange(size) + 0.5) * 2 / size - 1
        mesh = np.meshgrid(*[axis] * self.dimensions)
        return np.stack(mesh, axis=-1).reshape(-1, self.dimensions)

    @property
    def judges(self) -> Floats:
        """Points on which a fit is judged: many, and none of those it was made on."""
        return self.grid(999 if self.dimensions == 1 else 99)


TARGETS = {
    "sine": Target(1, lambda x: np.sin(np.pi * x[:, 0]), 256),
    "square": Target(2, lambda x: (x[:, 0] - x[:, 1]) ** 2, 32),
    "xor": Target(2, lambda x: (x[:, 0] * x[:, 1] < 0).astype(np.float64), 32),
}


def fit(
    path: Path, name: str, activation: str, layers: int, neurons: int, networks: int, steps: int, rate: float
) -> None:
    """Fit networks from as many starts, the last layer exactly, and write their errors as `.npz`.

    Arrays `rms` (networks,) on other points, and what the best one says of these, `answer` (points,). Two
    layers share the neurons.
    """
    target = TARGETS[name]
    x = target.grid(target.points)
    inputs, truth = torch.from_numpy(x), torch.from_numpy(target.value(x))[:, None]
    hidden = (neurons,) if layers == 1 else ((neurons + 1) // 2, neurons // 2)
    stack = Stacked(networks, (target.dimensions, *hidden, 1), activation, seed=neurons)
    place_kinks(stack, seed=neurons)
    descend(stack, inputs, truth, steps, rate)
    stack.solve_last(inputs, truth)
    with torch.no_grad():
        answers = stack(torch.from_numpy(target.judges))[..., 0].numpy()
    rms = np.sqrt(((answers - target.value(target.judges)) ** 2).mean(axis=1))
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, rms=rms, answer=answers[int(rms.argmin())])


@torch.no_grad()
def place_kinks(stack: Stacked, seed: int) -> None:
    """Let the first units bend anywhere in the square, at points drawn evenly, not mostly near 0."""
    weight = stack.weights[0]
    generator = torch.Generator().manual_seed(seed)
    where = 2 * torch.rand(weight.shape, generator=generator, dtype=torch.float64) - 1
    stack.biases[0].copy_(-(where * weight).sum(1, keepdim=True))


def best_lines(curvature: Floats, density: Floats, step: float, pieces: Floats) -> Floats:
    r"""RMS error of the best broken line with so many pieces, when there are many.

    On a piece of length h a line misses a curve of second derivative f'' by h^5 f''^2 / 720 in the integral
    of the square. Shared out best, the pieces give

    $$ \mathrm{rms} = \frac{1}{\sqrt{720}\, m^2} \Big( \int (\rho f''^2)^{1/5} dx \Big)^{5/2} $$

    [de Boor, Journal of Approximation Theory 1 (1968) 219, for constant density].

    Args:
        curvature: f'' at points `step` apart.
        density: rho of the points that it is judged on, of unit integral.
        step: between points.
        pieces: m, any shape.
    """
    integral = ((density * curvature**2) ** 0.2).sum() * step
    return np.asarray(integral**2.5 / np.sqrt(720) / pieces**2)
