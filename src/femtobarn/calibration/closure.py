"""Does a calibration close? Pseudo-experiments in which the truth is known and the world differs by chance.

Two of the three things that fluctuate are those of a real measurement: which events data hold, and which the
simulation. Both are drawn anew in each pseudo-experiment, by Poisson numbers. The third are the nuisance
parameters theta, from unit Gaussians: an event counts exp(sum_k theta_k r_k - r_k^2 / 2), which is 1 on
average, r_k being its response to one standard deviation of source k. The measurement knows none of this. The
truth is the efficiency of the pool that data are drawn from, with the nuisances as drawn. A pull is (measured
- true) / error, and the measurement closes if pulls have mean 0 and width 1: by the statistical error where
the nuisances stay at 0, by the total error where they are drawn.

What all pseudo-experiments share does not average out. If the pools of data and simulation are samples of
their own, their differences by chance are of the size sqrt(fraction) of a statistical error; see
`calibration.chance` for pools that have none, and `offset` for what the samples themselves say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from femtobarn.calibration.combinatorial import PairLikelihood, Pairs
from femtobarn.calibration.negative_tags import TaggedJets, light_scale_factor
from femtobarn.calibration.scale_factors import ScaleFactors
from femtobarn.errors import InputError

__all__ = [
    "Closure",
    "Experiment",
    "LightMeasurement",
    "Measurement",
    "PairMeasurement",
    "drawn_anew",
    "finite_data",
    "finite_simulation",
    "offset",
    "pseudo_experiments",
    "shifts",
]

Array = NDArray[np.float64]
Responses = Mapping[str, Array]


class Measurement(Protocol):
    """A measurement of scale factors of one flavour, repeated with other weights of the same events."""

    @property
    def flavour(self) -> str:
        """`b`, `c` or `light`."""

    @property
    def edges(self) -> Array:
        """(B+1,) of pT, GeV."""

    @property
    def responses(self) -> tuple[Responses, Responses]:
        """Of data and of simulation, (events,) for each source of uncertainty."""

    @property
    def outcomes(self) -> int:
        """Rows that are one event with other tags: of E events, row k belongs to event k modulo E."""

    @property
    def rates(self) -> tuple[Array, Array]:
        """How often each row of the pool of data, and of the simulation, is expected."""

    @property
    def efficiency(self) -> Array:
        """(B,) of the simulation."""

    def factors(self, data: Array, simulation: Array) -> tuple[Array, Array]:
        """Scale factors (B,), NaN where it fails, and the covariance from the statistics of data.

        Args:
            data: how often each row of the pool is there.
            simulation: the same of the simulation's.
        """

    def truth(self, data: Array) -> Array:
        """(B,) true efficiency in data, rows of the pool so often, over that of the simulation."""


@dataclass(frozen=True)
class PairMeasurement:
    """By the combinatorial likelihood: b-jets of ttbar -> e mu, c-jets of W -> cs."""

    flavour: str
    edges: Array
    data: Pairs
    simulation: Pairs
    responses: tuple[Responses, Responses]
    regions: int
    signal: tuple[tuple[int, int], ...]
    outcomes: int = 1
    """Rows that are one pair with other tags, see `calibration.chance`."""

    @property
    def rates(self) -> tuple[Array, Array]:
        """The weights of both."""
        return self.data.weights, self.simulation.weights

    @property
    def efficiency(self) -> Array:
        """(B,) of the simulation."""
        return self.simulation.efficiency(len(self.edges) - 1)

    def factors(self, data: Array, simulation: Array) -> tuple[Array, Array]:
        """Scale factors (B,) and their statistical covariance."""
        bins = len(self.edges) - 1
        known = replace(self.simulation, weights=simulation)
        likelihood = PairLikelihood(known, bins, self.regions, self.signal)
        fitted = likelihood.fit(replace(self.data, times=data, weights=np.ones(len(data))))
        value, scale = fitted.value / self.efficiency, np.outer(self.efficiency, self.efficiency)
        return (value if fitted.valid else np.full(bins, np.nan)), fitted.covariance / scale

    def truth(self, data: Array) -> Array:
        """(B,) true efficiency in data, rows of the pool so often, over that of the simulation."""
        return replace(self.data, weights=data).efficiency(len(self.edges) - 1) / self.efficiency


@dataclass(frozen=True)
class LightMeasurement:
    """By counting tagged jets, or negative tags."""

    flavour: str
    edges: Array
    data: TaggedJets
    simulation: TaggedJets
    responses: tuple[Responses, Responses]
    outcomes: int = 1
    """Rows that are one jet with other tags, see `calibration.chance`."""

    @property
    def rates(self) -> tuple[Array, Array]:
        """The weights of both."""
        return self.data.weights, self.simulation.weights

    @property
    def efficiency(self) -> Array:
        """(B,) of the simulation."""
        return self.simulation.efficiency(self.edges)

    def factors(self, data: Array, simulation: Array) -> tuple[Array, Array]:
        """Scale factors (B,) and their statistical covariance."""
        varied = replace(self.simulation, weights=simulation)
        there = replace(self.data, times=data, weights=np.ones(len(data)))
        value, covariance = light_scale_factor(there, varied, self.edges)
        # What is measured is the efficiency in data, which is the scale factor times that of the simulation
        # as it was drawn.
        extrapolated = varied.efficiency(self.edges) / self.efficiency
        return value * extrapolated, covariance * np.outer(extrapolated, extrapolated)

    def truth(self, data: Array) -> Array:
        """(B,) true efficiency in data, rows of the pool so often, over that of the simulation."""
        return replace(self.data, weights=data).efficiency(self.edges) / self.efficiency


def shifts(measurement: Measurement, fraction: float) -> dict[str, Array]:
    """How the scale factors move when the simulation is varied by one standard deviation of each source.

    Half the difference of up and down, of sources that change the simulation as they would data: a mistake in
    one is the opposite of a change in the other. `fraction` is the part of the pool that data are.
    """
    data, simulation = measurement.rates
    found = {}
    for source, response in measurement.responses[1].items():
        up, down = (
            measurement.factors(fraction * data, simulation * np.exp(way * response))[0] for way in (1, -1)
        )
        found[source] = (up - down) / 2
    return found


def drawn_anew(rates: Array, outcomes: int, rng: np.random.Generator) -> Array:
    """How often each row is there if the sample were simulated once more: its events by Poisson numbers."""
    return rates * np.tile(rng.poisson(1.0, len(rates) // outcomes), outcomes)


def finite_simulation(
    measurement: Measurement, fraction: float, rng: np.random.Generator, times: int = 60
) -> tuple[Array, Array]:
    """What the size of the simulation does to the scale factors: a mean shift (B,) and a covariance (B, B).

    From `times` in which the simulation is drawn anew. Chance in the templates does not only scatter what is
    fitted with them, it moves it too: a background that is known poorly is fitted with less of a difference
    to the signal. The shift is to be subtracted [bias-corrected bootstrap: Efron, Tibshirani, An Introduction
    to the Bootstrap, 10.6].
    """
    data, simulation = measurement.rates
    found = [
        measurement.factors(fraction * data, drawn_anew(simulation, measurement.outcomes, rng))[0]
        for _ in range(times)
    ]
    good = np.array([value for value in found if np.isfinite(value).all()])
    value, _ = measurement.factors(fraction * data, simulation)
    return good.mean(axis=0) - value, np.atleast_2d(np.cov(good.T))


def finite_data(
    measurement: Measurement, fraction: float, rng: np.random.Generator, times: int = 60
) -> tuple[Array, Array]:
    """What the size of data does to the scale factors: a mean shift (B,), and by how much they scatter over
    the error that the measurement gives (B,).

    From `times` in which data are drawn anew. Fisher's information is the scatter of a maximum that is
    quadratic, and with few jets it is not.
    """
    data, simulation = measurement.rates
    expected = fraction * data
    found = [
        measurement.factors(rng.poisson(expected).astype(np.float64), simulation)[0] for _ in range(times)
    ]
    good = np.array([value for value in found if np.isfinite(value).all()])
    value, covariance = measurement.factors(expected, simulation)
    return good.mean(axis=0) - value, good.std(axis=0, ddof=1) / np.sqrt(np.diag(covariance))


def offset(measurement: Measurement, rng: np.random.Generator, times: int = 60) -> tuple[Array, Array]:
    """(B,) measured minus true scale factors with all of the pool as data, and its standard deviation.

    That is from `times` in which pool and simulation are drawn anew, truth included; the mean of these says
    by how much samples of this size are off, and is corrected for as in `finite_simulation`. The systematic
    effects of the sources are not in it.
    """
    data, simulation = measurement.rates
    found = []
    for _ in range(times):
        pool = drawn_anew(data, measurement.outcomes, rng)
        value, _ = measurement.factors(pool, drawn_anew(simulation, measurement.outcomes, rng))
        found.append(value - measurement.truth(pool))
    good = np.array([one for one in found if np.isfinite(one).all()])
    here = measurement.factors(data, simulation)[0] - measurement.truth(data)
    return 2 * here - good.mean(axis=0), np.asarray(good.std(axis=0, ddof=1), dtype=np.float64)


@dataclass(frozen=True)
class Experiment:
    """A pseudo-experiment: scale factors measured, and the true ones (B,)."""

    factors: ScaleFactors
    truth: Array

    def pull(self, total: bool) -> Array:
        """(B,) by the total error or the statistical one."""
        error = self.factors.error if total else self.factors.statistical_error
        return (self.factors.value - self.truth) / error

    @property
    def valid(self) -> bool:
        """Whether the measurement came to an end in every bin."""
        return bool(np.isfinite(self.pull(True)).all())


@dataclass(frozen=True)
class Closure:
    """Pseudo-experiments.

    Attributes:
        nominal: with nuisances at 0 and all of the simulation.
        fixed: with nuisances at 0.
        drawn: with nuisances drawn.
        common: (B,) error of what all share, the shift that is subtracted.
    """

    nominal: Experiment
    fixed: list[Experiment]
    drawn: list[Experiment]
    common: Array

    @property
    def valid(self) -> Closure:
        """Those whose measurement came to an end."""
        fixed, drawn = ([one for one in some if one.valid] for some in (self.fixed, self.drawn))
        return replace(self, fixed=fixed, drawn=drawn)

    @property
    def pulls(self) -> dict[str, Array]:
        """(experiments, B) by the statistical error with nuisances at 0, by the total one with them drawn."""
        return {
            "statistical": np.array([one.pull(False) for one in self.fixed]),
            "total": np.array([one.pull(True) for one in self.drawn]),
        }

    @property
    def pull_mean_errors(self) -> dict[str, Array]:
        """(B,) errors of the means of `pulls`: they scatter, and all have the same shift subtracted."""
        sizes = {
            "statistical": np.array([one.factors.statistical_error for one in self.fixed]),
            "total": np.array([one.factors.error for one in self.drawn]),
        }
        return {
            kind: np.hypot(pulls.std(axis=0, ddof=1) / len(pulls) ** 0.5, self.common / sizes[kind].mean(0))
            for kind, pulls in self.pulls.items()
        }


def pseudo_experiments(
    measurement: Measurement,
    number: int,
    fraction: float,
    rng: np.random.Generator,
    replicas: int = 60,
    progress: Callable[[int, int], None] | None = None,
) -> Closure:
    """Repeat a measurement on a `fraction` of the pool of data, `number` times each way.

    `replicas` is how often the simulation, and data, are drawn anew for the shift and the error that their
    sizes make.

    Raises:
        InputError: when there are too few experiments or replicas, data have negative weights, a bin has no
            jet of the flavour, or the measurement fails on all of the pool.
    """
    if number < 2 or replicas < 2:
        raise InputError(f"{number} experiments and {replicas} replicas: a scatter needs two or more of each")
    if (measurement.rates[0] < 0).any():
        raise InputError(
            "pseudo-experiments draw how often each event is there, which no negative weight says: "
            "take data without them"
        )
    missing = np.flatnonzero(~(measurement.efficiency > 0))
    if len(missing):
        low, high = measurement.edges[missing[0] : missing[0] + 2]
        raise InputError(
            f"no tagged {measurement.flavour}-jet of {low:g} to {high:g} GeV in the simulation: "
            "take more events or wider bins"
        )
    systematic = shifts(measurement, fraction)
    moved, spread = finite_simulation(measurement, fraction, rng, replicas)
    skewed, wider = finite_data(measurement, fraction, rng, replicas)
    if not all(np.isfinite(shift).all() for shift in (*systematic.values(), moved, spread, skewed, wider)):
        raise InputError(
            f"the measurement of {measurement.flavour}-jets fails: take more events or wider bins"
        )
    responses, (rates, simulated) = measurement.responses[0], measurement.rates

    def experiment(size: float, simulation: Array, correction: Array) -> Experiment:
        exponent = np.zeros(len(rates))
        for response in responses.values():
            exponent += size * (rng.standard_normal() * response - response**2 / 2)
        world = rates * np.exp(exponent)
        data = rng.poisson(fraction * world).astype(np.float64)
        value, covariance = measurement.factors(data, simulation)
        factors = ScaleFactors(
            measurement.flavour, measurement.edges, value - correction,
            covariance * np.outer(wider, wider) + spread, measurement.efficiency, systematic,
        )  # fmt: skip
        return Experiment(factors, measurement.truth(world))

    nominal = experiment(0.0, simulated, skewed)
    fixed: list[Experiment] = []
    drawn: list[Experiment] = []
    for done in range(number):
        for size, into in ((0.0, fixed), (1.0, drawn)):
            into.append(experiment(size, drawn_anew(simulated, measurement.outcomes, rng), moved + skewed))
        if progress:
            progress(done + 1, number)
    # Each mean shift is as uncertain as its replicas scatter, which together is the statistical error.
    return Closure(nominal, fixed, drawn, nominal.factors.statistical_error / replicas**0.5)
