"""Sliding-window fits: every bin estimated by a short function of its surroundings [1804.03496].

Over a wide spectrum no function of few parameters may hold, over a part of it one does. The window slides
from bin to bin; the estimate in a bin is what the fit to its window says there.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from femtobarn.background.dijet import Dijet
from femtobarn.errors import InputError
from femtobarn.learn.background_model import Background, BackgroundModel, Mask
from femtobarn.learn.method import method
from femtobarn.statistics.shape_fit import fit_shapes
from femtobarn.statistics.spectrum import Spectrum

__all__ = ["SlidingWindow"]

Array = NDArray[np.float64]
BLOCK = 200
"""Pseudo-experiments at once."""


@method
class SlidingWindow(BackgroundModel):
    """Fits of the dijet function to windows of a spectrum.

    Attributes:
        sqrt_s: collision energy in GeV; all masses lie below it.
        reach: bins of the window on either side; at the ends of the spectrum the window stops sliding.
        gap: bins on either side of the estimated one that are left out with it, so that a signal does not
            pull its own background; None: nothing is left out.
        terms: parameters of the function in a window.
        samples: pseudo-experiments that the uncertainty is taken from.
        seed: of these.
    """

    sqrt_s: Annotated[float, Field(gt=0)] = 13_000.0
    reach: PositiveInt = 10
    gap: NonNegativeInt | None = None
    terms: Annotated[int, Field(ge=3, le=6)] = 3
    samples: Annotated[int, Field(ge=10)] = 200
    seed: int = 1

    def estimate(self, edges: Array, counts: Array, blind: Mask | None = None) -> Background:
        """See `BackgroundModel.estimate`; the uncertainty is the spread of pseudo-experiments."""
        spectrum = Spectrum.of(edges, counts)
        (expected,), start = self._slide(edges, spectrum.counts[None], blind)
        pseudo = np.random.default_rng(self.seed).poisson(expected, (self.samples, len(expected)))
        found, _ = self._slide(edges, pseudo.astype(np.float64), blind, start)
        return Background(expected, (found - found.mean(axis=0)) / np.sqrt(self.samples - 1))

    def repeat(self, edges: Array, counts: Array, pseudo: Array, blind: Mask | None = None) -> Array:
        """See `BackgroundModel.repeat`."""
        _, start = self._slide(edges, Spectrum.of(edges, counts).counts[None], blind)
        parts = [
            self._slide(edges, pseudo[k : k + BLOCK], blind, start)[0] for k in range(0, len(pseudo), BLOCK)
        ]
        return np.concatenate(parts)

    def _slide(
        self, edges: Array, counts: Array, blind: Mask | None, start: Array | None = None
    ) -> tuple[Array, Array]:
        """Estimates (T, B) of spectra (T, B), and the parameters of the first one's windows (B, P).

        Each window of each spectrum is a fit, which begins at `start` (B, P) if that is known.
        """
        bins = counts.shape[1]
        used = self._windows(bins) & (True if blind is None else ~blind)
        short = used.sum(axis=1).min()
        if short <= self.terms:
            raise InputError(
                f"a window of {short} bins is too short to fit {self.terms} parameters: raise `reach` or "
                "leave fewer bins out"
            )
        masks = np.repeat(used[None], len(counts), axis=0).reshape(-1, bins)
        spectra = np.repeat(counts, bins, axis=0)
        empty = (spectra * masks).sum(axis=1) == 0
        # A window without an entry says only that little is expected: half a count in all of it.
        spectra[empty] += 0.5 * masks[empty] / masks[empty].sum(axis=1, keepdims=True)
        shape = Dijet(sqrt_s=self.sqrt_s).shape(edges, self.terms)
        fits = fit_shapes(
            spectra, shape, masks, start=None if start is None else np.tile(start, (len(counts), 1))
        )
        return np.einsum("tbb->tb", fits.expected.reshape(len(counts), bins, bins)), fits.theta[:bins]

    def _windows(self, bins: int) -> Mask:
        """Which bins (B, B) are in the window of each."""
        place = np.arange(bins)
        width = min(2 * self.reach + 1, bins)
        start = np.clip(place - self.reach, 0, bins - width)[:, None]
        inside = (place >= start) & (place < start + width)
        return inside if self.gap is None else inside & (np.abs(place - place[:, None]) > self.gap)
