"""XOR with one hidden layer: trained by the hundred, and the exact solutions with two ReLUs.

A network f(x) = v . relu(W^T x + c) + b stays the same function when its hidden units change places or when
one is scaled, (w, c, v) -> (a w, a c, v / a). XOR itself has the eight symmetries of the square: exchanging
the inputs and negating both leave it as it is, negating one turns f into 1 - f.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from femtobarn.data.atomic import atomic
from femtobarn.nn.stacked import Stacked, descend

__all__ = ["CORNERS", "DIFFERENCE", "TEXTBOOK", "TRUTH", "Solution", "distance", "search", "train"]

Floats = NDArray[np.float64]

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float64)
TRUTH = np.array([0, 1, 1, 0], dtype=np.float64)


class Solution(NamedTuple):
    """Networks with two inputs, two hidden units and one output: a leading axis for several.

    Attributes:
        w: (..., 2, 2) from input to hidden unit.
        c: (..., 2) their biases.
        v: (..., 2) from the hidden units to the output.
        b: (...,) its bias.
    """

    w: Floats
    c: Floats
    v: Floats
    b: Floats

    def hidden(self, x: Floats) -> Floats:
        """relu(W^T x + c) of points (N, 2): (..., N, 2)."""
        return np.maximum(x @ self.w + self.c[..., None, :], 0)

    def __call__(self, x: Floats) -> Floats:
        """f of points (N, 2): (..., N)."""
        return np.asarray((self.hidden(x) * self.v[..., None, :]).sum(-1) + self.b[..., None])

    def take(self, which: Any) -> Solution:
        """Some of several."""
        return Solution(*(part[which] for part in self))

    def normal(self) -> Solution:
        """The same functions of the corners with |v| = 1, and no constant hidden in a unit.

        A unit that is above zero at all corners is linear there: its lowest value goes into b.
        """
        size = np.abs(self.v)
        w, c, v = self.w * size[..., None, :], self.c * size, np.sign(self.v)
        lowest = np.maximum((CORNERS @ w + c[..., None, :]).min(axis=-2), 0)
        return Solution(w, c - lowest, v, self.b + (v * lowest).sum(-1))


TEXTBOOK = Solution(
    np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([0.0, -1.0]), np.array([1.0, -2.0]), np.array(0.0)
)
"""relu(x1 + x2) - 2 relu(x1 + x2 - 1) [Goodfellow, Bengio, Courville, Deep Learning, 2016, ch. 6.1]."""
DIFFERENCE = Solution(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.zeros(2), np.ones(2), np.array(0.0))
"""relu(x1 - x2) + relu(x2 - x1) = |x1 - x2|."""


def images(of: Solution) -> list[Solution]:
    """A solution and what the symmetries of XOR and of the hidden units make of it, sixteen in all."""
    found = []
    for exchange, first, second, order in product((False, True), (0, 1), (0, 1), ([0, 1], [1, 0])):
        # In the new coordinates x = sign * x' + shift, and f' = f or 1 - f.
        sign, shift = np.array([1 - 2 * first, 1 - 2 * second]), np.array([first, second])
        w = of.w[..., ::-1, :] if exchange else of.w
        c = of.c + np.einsum("...ij,i->...j", w, shift)
        flip = -1 if first != second else 1
        b = of.b if flip == 1 else 1 - of.b
        w = w * sign[:, None]
        found.append(Solution(w[..., order], c[..., order], flip * of.v[..., order], b))
    return found


def distance(of: Solution, reference: Solution) -> Floats:
    """Largest difference of any parameter from the reference, after the symmetry that makes it smallest."""
    best = np.full(of.b.shape, np.inf)
    target = reference.normal()
    for image in images(of):
        parts = [np.abs(a - b) for a, b in zip(image.normal(), target, strict=True)]
        flat = [part.reshape(*best.shape, -1).max(axis=-1) for part in parts]
        best = np.minimum(best, np.max(flat, axis=0))
    return best


def train(
    path: Path, activation: str, width: int, networks: int, steps: int, rate: float, points: Floats
) -> None:
    """Train networks with `width` hidden units from as many starts; what they answer goes to `.npz`.

    Arrays `corners` (networks, 4), and of the one with the smallest error `map` (points,).
    """
    x, y = torch.from_numpy(CORNERS), torch.from_numpy(TRUTH)[:, None]
    stack = Stacked(networks, (2, width, 1), activation, seed=width)
    error = descend(stack, x, y, steps, rate)
    with torch.no_grad():
        answers = stack(torch.from_numpy(points))[int(error.argmin()), :, 0].numpy()
        corners = stack(x)[..., 0].numpy()
    _write(path, corners=corners, map=answers)


def search(path: Path, networks: int, steps: int, seed: int) -> None:
    """Train two ReLUs with less and less decay of the weights: of all exact solutions the smallest ones.

    Four equations do not fix nine parameters. The decay, not of the biases, picks the smallest weights in
    the neighbourhood, and leaves as it falls.
    """
    x, y = torch.from_numpy(CORNERS), torch.from_numpy(TRUTH)[:, None]
    stack = Stacked(networks, (2, 2, 1), "relu", seed=seed)
    for decay, rate in ((1e-3, 0.02), (1e-4, 0.01), (1e-5, 0.005), (1e-6, 0.002)):
        descend(stack, x, y, steps, rate, decay)
    w, v = (weight.detach().numpy() for weight in stack.weights)
    c, b = (bias.detach().numpy() for bias in stack.biases)
    _write(path, w=w, c=c[:, 0], v=v[..., 0], b=b[:, 0, 0])


def _write(path: Path, **arrays: Floats) -> None:
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
