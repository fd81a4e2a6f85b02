"""Toy problems of two classes whose densities are known, and with them the best that any classifier can do.

By the lemma of Neyman and Pearson [Phil. Trans. R. Soc. A 231 (1933) 289] no classifier has a higher signal
efficiency at any background efficiency than a cut on the ratio of the densities of the two classes.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from scipy.special import i0e, ndtr

from femtobarn.data.sample import Sample, from_memory

__all__ = ["Crescent", "Drawn", "Gaussians", "Optimum", "Problem", "Rotated", "optimum"]

Floats = NDArray[np.float64]


class Drawn(NamedTuple):
    """Events of a toy problem: features (N, F), and which of them are signal (N,)."""

    x: Floats
    is_signal: NDArray[np.bool_]

    def sample(self, name: str = "toy") -> Sample:
        """With the fields `x1`, `x2`, ..., `label` (classes `signal` and `background`) and `weight`."""
        fields = {f"x{i + 1}": column.astype(np.float32) for i, column in enumerate(self.x.T)}
        fields["label"] = (~self.is_signal).astype(np.int8)
        fields["weight"] = np.ones(len(self.x), dtype=np.float32)
        return from_memory(ak.Array(fields), {"label": ["signal", "background"]}, name)


class Problem(Protocol):
    """Two classes of events, as many of one as of the other."""

    dimensions: int

    def draw(self, events: int, rng: np.random.Generator) -> Drawn:
        """Events in any order."""

    def log_densities(self, x: Floats) -> tuple[Floats, Floats]:
        """Logarithms of the densities of signal and background at the points (N, F)."""


class Gaussians:
    """Two Gaussians of one covariance [[1, rho], [rho, 1]], apart in x1 only.

    x2 alone tells nothing, but with x1 it does: the separation is m / sqrt(1 - rho^2) instead of m.

    Args:
        distance: m, between the means.
        correlation: rho.
    """

    dimensions = 2

    def __init__(self, distance: float = 1.2, correlation: float = 0.8) -> None:
        self.distance, self.correlation = distance, correlation
        self._mean = np.array([distance / 2, 0.0])
        self._covariance = np.array([[1.0, correlation], [correlation, 1.0]])

    @property
    def auc(self) -> float:
        """The area under the best ROC curve, Phi(d / sqrt 2) of Mahalanobis' distance d of the means."""
        return float(ndtr(self.distance / np.sqrt(1 - self.correlation**2) / np.sqrt(2)))

    def draw(self, events: int, rng: np.random.Generator) -> Drawn:
        """Events in any order."""
        is_signal = np.arange(events) % 2 == 0
        x = rng.multivariate_normal(np.zeros(2), self._covariance, events)
        return Drawn(x + np.where(is_signal, 1, -1)[:, None] * self._mean, is_signal)

    def log_densities(self, x: Floats) -> tuple[Floats, Floats]:
        """Logarithms of the densities of signal and background at the points (N, 2)."""
        inverse = np.linalg.inv(self._covariance)
        norm = np.log(2 * np.pi) + np.log(np.linalg.det(self._covariance)) / 2
        logs = [-0.5 * np.einsum("ni,ij,nj->n", x - m, inverse, x - m) - norm
                for m in (self._mean, -self._mean)]  # fmt: skip
        return logs[0], logs[1]


class Crescent:
    """A crescent, the signal, around a round blob, the background.

    Signal: the distance from the origin is Gaussian (cut off at zero), the azimuth von Mises about the
    diagonal. Background: a round Gaussian on the diagonal.

    Args:
        radius, width: of the crescent.
        concentration: of its azimuth; 0 would make it a ring.
        blob: both coordinates of the centre of the background, and its width.
    """

    dimensions = 2

    def __init__(
        self, radius: float = 2.2, width: float = 0.3, concentration: float = 0.7,
        blob: tuple[float, float] = (0.9, 0.7),
    ) -> None:  # fmt: skip
        self.radius, self.width, self.concentration, self.blob = radius, width, concentration, blob

    def draw(self, events: int, rng: np.random.Generator) -> Drawn:
        """Events in any order."""
        is_signal = np.arange(events) % 2 == 0
        r = rng.normal(self.radius, self.width, events)
        while (beyond := r <= 0).any():
            r[beyond] = rng.normal(self.radius, self.width, int(beyond.sum()))
        phi = rng.vonmises(np.pi / 4, self.concentration, events)
        crescent = np.stack([r * np.cos(phi), r * np.sin(phi)], axis=1)
        blob = rng.normal(0, self.blob[1], (events, 2)) + self.blob[0]
        return Drawn(np.where(is_signal[:, None], crescent, blob), is_signal)

    def log_densities(self, x: Floats) -> tuple[Floats, Floats]:
        """Logarithms of the densities of signal and background at the points (N, 2)."""
        r, phi = np.hypot(*x.T), np.arctan2(x[:, 1], x[:, 0])
        radial = -0.5 * ((r - self.radius) / self.width) ** 2 - np.log(np.sqrt(2 * np.pi) * self.width)
        radial -= np.log(ndtr(self.radius / self.width)) + np.log(np.maximum(r, 1e-6))
        k = self.concentration
        azimuth = k * (np.cos(phi - np.pi / 4) - 1) - np.log(2 * np.pi * i0e(k))
        centre, width = self.blob
        square = ((x[:, 0] - centre) ** 2 + (x[:, 1] - centre) ** 2) / width**2
        return radial + azimuth, -0.5 * square - np.log(2 * np.pi * width**2)


class Rotated:
    """A problem in two dimensions, hidden in more: Gaussian noise beside it, all turned at random.

    Neither noise that is the same in both classes nor a rotation changes the ratio of densities: whatever the
    dimensions, the best is as good as in two.

    Args:
        problem: in two dimensions.
        dimensions: of the new one, two or more; at two nothing is turned.
        seed: of the rotation.
    """

    def __init__(self, problem: Problem, dimensions: int, seed: int = 1) -> None:
        self.problem, self.dimensions = problem, dimensions
        noise = np.random.default_rng(seed).normal(size=(dimensions, dimensions))
        self.rotation = np.linalg.qr(noise)[0] if dimensions > 2 else np.eye(2)

    def draw(self, events: int, rng: np.random.Generator) -> Drawn:
        """Events in any order."""
        x, is_signal = self.problem.draw(events, rng)
        noise = rng.normal(size=(events, self.dimensions - 2))
        return Drawn(np.concatenate([x, noise], axis=1) @ self.rotation.T, is_signal)

    def plane(self, x: Floats) -> Floats:
        """The two coordinates (N, 2) of the original problem."""
        return np.asarray((x @ self.rotation)[:, :2])

    def log_densities(self, x: Floats) -> tuple[Floats, Floats]:
        """Logarithms of the densities of signal and background at the points (N, F)."""
        signal, background = self.problem.log_densities(self.plane(x))
        square = ((x @ self.rotation)[:, 2:] ** 2).sum(axis=1)
        noise = -0.5 * square - 0.5 * (self.dimensions - 2) * np.log(2 * np.pi)
        return signal + noise, background + noise


class Optimum(NamedTuple):
    """The best ROC curve: efficiencies (K,) of signal and background, rising, and the area under it."""

    signal: Floats
    background: Floats
    auc: float


def optimum(problem: Problem, reach: float = 7.0, cells: int = 1500) -> Optimum:
    """The exact ROC curve of the ratio of densities, integrated over the plane.

    Args:
        problem: in two dimensions.
        reach: half the side of the square that is integrated over.
        cells: along a side; at the default the area is good to 1e-5.
    """
    centre = (np.arange(cells) + 0.5) * (2 * reach / cells) - reach
    x = np.stack(np.meshgrid(centre, centre), axis=-1).reshape(-1, 2)
    signal, background = problem.log_densities(x)
    order = np.argsort(background - signal)
    area = (2 * reach / cells) ** 2
    s, b = (np.concatenate([[0], np.cumsum(np.exp(log[order]) * area)]) for log in (signal, background))
    s, b = s / s[-1], b / b[-1]
    return Optimum(s, b, float(np.trapezoid(s, b)))
