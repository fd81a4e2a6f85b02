"""Pair masses of the search with rapidity-mass matrices: smooth fits to weighted events, bump hunts, limits.

The simulated spectrum of a region is a histogram of weights. Each bin is taken for n = (sum w)^2 / sum w^2
events seen at an exposure n / sum w, for which the smooth function is fitted with a Poisson likelihood. That
function is the truth from which data are drawn: what is searched has the fluctuations of the luminosity, not
those of the simulation, and no shape that the function does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from scipy.stats import f as f_distribution

from femtobarn.background.dijet import Dijet
from femtobarn.errors import InputError
from femtobarn.statistics.bump_hunt import Hunt, Windows, hunt, pseudo_experiments, strongest, windows
from femtobarn.statistics.resonances import Limits, gaussian_signals, upper_limits
from femtobarn.statistics.shape_fit import Shape, fit_shapes, modes
from femtobarn.statistics.spectrum import Spectrum
from femtobarn.statistics.tails import tail_probability

__all__ = ["TERMS", "Searched", "Smooth", "false_alarms", "fitted", "searched", "smooth"]

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
TERMS = (3, 4, 5)
"""Numbers of parameters that an F-test chooses from."""
SIZE = 0.05
"""Of the F-tests, and of the false alarms."""
LOWEST, HIGHEST = 100.0, 8000.0
"""GeV."""
STEPS = (0.06, 0.12, 0.24)
"""Widths of bins in the logarithm of the mass: the finest that gives enough bins is taken."""
FEWEST_BINS = 8
GOODNESS = 0.01
"""Smallest probability of the deviance; a spectrum begins where it is reached."""


class Smooth(NamedTuple):
    """A smooth function fitted to simulated events.

    Attributes:
        edges: (B+1,) GeV, of the bins used.
        simulated: (B,) pb and its error.
        expected: (B,) pb.
        terms: parameters of the function.
        deviance, dof: of the fit to effective events.
        theta: of the shape.
    """

    edges: Array
    simulated: tuple[Array, Array]
    expected: Array
    terms: int
    deviance: float
    dof: int
    theta: Array

    @property
    def probability(self) -> float:
        """Of a deviance as large or larger."""
        return float(chi2.sf(self.deviance, self.dof))


class Searched(NamedTuple):
    """The search in one spectrum.

    Attributes:
        truth: what the data were drawn from.
        spectrum: the data.
        terms: parameters that the F-test chose for them.
        expected, error: (B,) of the fit to them.
        hunt: with calibrated global p-value.
        calibration, trials: (T,) strongest local p-values of two independent sets of pseudo-experiments.
        mass: (H,) GeV of the signals whose limits are set.
        limits: in events by the relative width of a Gaussian.
    """

    truth: Smooth
    spectrum: Spectrum
    terms: int
    expected: Array
    error: Array
    hunt: Hunt
    calibration: Array
    trials: Array
    mass: Array
    limits: dict[float, Limits]


def smooth(mass: NDArray[np.float32], weight: Array, sqrt_s: float) -> Smooth | None:
    """The dijet function that describes weighted events from where they fall to their first empty bin.

    Begins behind the peak, later if no function has a probability above `GOODNESS` there. None where this
    leaves fewer than `FEWEST_BINS` bins: too few events to search.

    Raises:
        InputError: when the weights of a bin sum to less than nothing.
    """
    for step in STEPS:
        edges = np.exp(np.arange(np.log(LOWEST), np.log(HIGHEST), step))
        within = (mass >= edges[0]) & (mass < edges[-1])
        if not within.any():
            return None
        # Not np.histogram, whose sums of weights are differences: small ones beside large ones are lost.
        place = np.searchsorted(edges, mass[within], side="right") - 1
        sums = [np.bincount(place, weight[within] ** k, len(edges) - 1) for k in (1, 2)]
        total, square = (np.asarray(part, dtype=np.float64) for part in sums)
        Spectrum.of(edges, total, "the simulated spectrum")
        peak = int((total / np.diff(edges)).argmax())
        end = peak + int(np.argmin(np.append(total[peak:] > 0, False)))
        for first in range(peak + 1, end - FEWEST_BINS + 1):
            rows = slice(first, end)
            if found := _smooth(edges[first : end + 1], total[rows], square[rows], sqrt_s):
                return found
    return None


def _smooth(edges: Array, total: Array, square: Array, sqrt_s: float) -> Smooth | None:
    """The function on these bins, None if it does not describe them."""
    exposure = total / square
    counts = total * exposure
    fits = {}
    for terms in TERMS:
        shape = Dijet(sqrt_s=sqrt_s).shape(edges, terms)
        seen = Shape(shape.basis, shape.weights * exposure[:, None])
        fits[terms] = fit_shapes(counts, seen)
    deviances = np.stack([fits[terms].deviance for terms in TERMS])
    terms = int(_chosen(deviances, len(counts))[0])
    fit = fits[terms]
    one = Smooth(edges, (total, np.sqrt(square)), fit.expected[0] / exposure, terms,
                 float(fit.deviance[0]), len(counts) - terms, fit.theta[0])  # fmt: skip
    return one if fit.valid[0] and one.probability > GOODNESS else None


def _chosen(deviances: Array, bins: int) -> Numbers:
    """Number of parameters (T,) from deviances (len(TERMS), T): the largest that an F-test finds needed."""
    terms = np.full(deviances.shape[1], TERMS[0])
    for k, more in enumerate(TERMS[1:], start=1):
        dof = bins - more
        better = np.maximum(deviances[k - 1] - deviances[k], 0.0) / np.maximum(deviances[k] / dof, 1e-12)
        terms[f_distribution.sf(better, 1, dof) < SIZE] = more
    return terms


def fitted(counts: Array, edges: Array, truth: Smooth, sqrt_s: float) -> tuple[Array, Numbers]:
    """Backgrounds (T, B) fitted to spectra (T, B), and the numbers of parameters (T,) the F-tests ask for."""
    expected, deviances = [], []
    for terms in TERMS:
        shape = Dijet(sqrt_s=sqrt_s).shape(edges, terms)
        start = np.zeros(terms)
        common = min(terms, truth.terms)
        start[:common] = truth.theta[:common]
        mean = np.exp(shape.basis @ start) * shape.weights
        start[0] += np.log(max(counts.sum(axis=1).mean(), 1.0) / mean.sum())
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # steps that are then shortened
            fit = fit_shapes(counts, shape, start=start)
        expected.append(fit.expected)
        deviances.append(fit.deviance)
    chosen = _chosen(np.stack(deviances), counts.shape[1])
    return np.stack(expected)[np.searchsorted(TERMS, chosen), np.arange(len(counts))], chosen


def searched(truth: Smooth, luminosity: float, sqrt_s: float, toys: int, trials: int, widths: Sequence[float],
             resolution: float, masses: int, rng: np.random.Generator) -> Searched:  # fmt: skip
    """Draw data from a smooth function, and search them: fit, bump hunt, limits.

    Args:
        truth: the function.
        luminosity: 1/pb.
        sqrt_s: GeV.
        toys: pseudo-experiments that calibrate the bump hunt; the choice of the function is repeated in each.
        trials: further ones, for the rate of false alarms.
        widths: standard deviations over mass of the signals.
        resolution: added to them in quadrature.
        masses: signal hypotheses.
        rng: for all that is drawn.
    """
    edges, mean = truth.edges, truth.expected * luminosity
    spectrum = Spectrum.of(edges, rng.poisson(mean), "the pseudo-data")
    expected, number = fitted(spectrum.counts[None], edges, truth, sqrt_s)
    terms = int(number[0])
    shape = Dijet(sqrt_s=sqrt_s).shape(edges, terms)
    fit = fit_shapes(spectrum.counts, shape)
    where = windows(len(mean), 2, max(2, len(mean) // 3))
    calibration, repeated = (
        _strongest(mean, size, edges, truth, sqrt_s, where, rng) for size in (toys, trials)
    )
    one = hunt(spectrum.counts, np.maximum(expected[0], 1e-9), where, toys=1, rng=rng)
    statistic = -np.log(calibration)
    one = one._replace(toys=statistic, tail=tail_probability(statistic, -np.log(one.local_p)))
    mass = np.exp(np.linspace(np.log(edges[1]), np.log(edges[-2]), masses))
    limits = {}
    for width in widths:
        signals = gaussian_signals(edges, mass, np.full_like(mass, np.hypot(width, resolution)))
        limits[width] = upper_limits(spectrum.counts, shape, signals)
    error = np.sqrt((modes(shape, fit.theta[0]) ** 2).sum(axis=0))
    return Searched(truth, spectrum, terms, expected[0], error, one, calibration, repeated, mass,
                    limits)  # fmt: skip


def _strongest(mean: Array, number: int, edges: Array, truth: Smooth, sqrt_s: float, where: Windows,
               rng: np.random.Generator) -> Array:  # fmt: skip
    """The smallest local p-value (T,) of each of some pseudo-experiments, all done as with the data."""
    pseudo = pseudo_experiments(mean, number, rng)
    expected, _ = fitted(pseudo, edges, truth, sqrt_s)
    return strongest(pseudo, np.maximum(expected, 1e-9), where)[0]


def false_alarms(spectra: Sequence[Searched]) -> tuple[Array, Array, int]:
    """How often a search without a signal raises an alarm at 5 %, and what is counted.

    Returns:
        The rate of each spectrum (S,); the rate of any of them together, whose smallest global p-value is to
        fall below 1 - 0.95^(1/S), and its error (2,); and the number of trials.

    Raises:
        InputError: when there is no spectrum.
    """
    if not spectra:
        raise InputError("no spectrum has enough events to be searched: simulate more")
    p = np.stack([
        (np.searchsorted(np.sort(one.calibration), one.trials, side="right") + 0.5)
        / (len(one.calibration) + 1)
        for one in spectra
    ])  # fmt: skip
    alarm = p.min(axis=0) < 1 - (1 - SIZE) ** (1 / len(spectra))
    rate = float(alarm.mean())
    error = np.sqrt(max(rate * (1 - rate), 1 / len(alarm)) / len(alarm))
    return (p < SIZE).mean(axis=1), np.array([rate, error]), len(alarm)
