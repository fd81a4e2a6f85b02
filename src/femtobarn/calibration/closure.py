"""Does a calibration close? Pseudo-experiments in which the truth is known and the world differs by chance.

In each one data are drawn anew from a pool of collisions, and the nuisance parameters theta from unit
Gaussians: an event counts exp(sum_k theta_k r_k), r_k being its response to one standard deviation of source
k. The simulation's events are drawn anew too. The measurement knows none of this. Its pull is
(measured - true) / error, and it closes if pulls have mean 0 and width 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from femtobarn.calibration.combinatorial import PairLikelihood, Pairs
from femtobarn.calibration.negative_tags import TaggedJets, light_scale_factor
from femtobarn.calibration.scale_factors import ScaleFactors

__all__ = [
    "Experiment",
    "LightMeasurement",
    "Measurement",
    "PairMeasurement",
    "measured",
    "pseudo_experiments",
    "shifts",
    "simulation_spread",
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
    def efficiency(self) -> Array:
        """(B,) of the simulation."""

    def factors(self, data: Array, simulation: Array) -> tuple[Array, Array]:
        """Scale factors (B,) and their statistical covariance, events weighted by these factors."""

    def truth(self, data: Array) -> Array:
        """(B,) true efficiency in data, events weighted by these factors, over that of the simulation."""


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

    @property
    def efficiency(self) -> Array:
        """(B,) of the simulation."""
        return self.simulation.efficiency(len(self.edges) - 1)

    def factors(self, data: Array, simulation: Array) -> tuple[Array, Array]:
        """Scale factors (B,) and their statistical covariance, events weighted by these factors."""
        bins = len(self.edges) - 1
        likelihood = PairLikelihood(self.simulation.weighted(simulation), bins, self.regions, self.signal)
        fitted = likelihood.fit(self.data.weighted(data))
        return fitted.value / self.efficiency, fitted.covariance / np.outer(self.efficiency, self.efficiency)

    def truth(self, data: Array) -> Array:
        """(B,) true efficiency in data, events weighted by these factors, over that of the simulation."""
        return self.data.weighted(data).efficiency(len(self.edges) - 1) / self.efficiency


@dataclass(frozen=True)
class LightMeasurement:
    """By negative tags."""

    flavour: str
    edges: Array
    data: TaggedJets
    simulation: TaggedJets
    responses: tuple[Responses, Responses]

    @property
    def efficiency(self) -> Array:
        """(B,) of the simulation."""
        return self.simulation.efficiency(self.edges)

    def factors(self, data: Array, simulation: Array) -> tuple[Array, Array]:
        """Scale factors (B,) and their statistical covariance, events weighted by these factors."""
        return light_scale_factor(self.data.weighted(data), self.simulation.weighted(simulation), self.edges)

    def truth(self, data: Array) -> Array:
        """(B,) true efficiency in data, events weighted by these factors, over that of the simulation."""
        return self.data.weighted(data).efficiency(self.edges) / self.efficiency


def measured(
    measurement: Measurement, data: Array, simulation: Array, systematic: Mapping[str, Array], spread: Array
) -> ScaleFactors:
    """The scale factors from data with these weights.

    Args:
        measurement: of one flavour.
        data: weights of the events of the pool: how often each happened.
        simulation: weights of the simulation's events.
        systematic: shifts from `shifts`.
        spread: (B, B) covariance from the finite simulation.
    """
    value, covariance = measurement.factors(data, simulation)
    return ScaleFactors(
        measurement.flavour, measurement.edges, value, covariance + spread, measurement.efficiency, systematic
    )


def shifts(measurement: Measurement, fraction: float) -> dict[str, Array]:
    """How the scale factors move when the simulation is varied by one standard deviation of each source.

    Of those of a source that changes the simulation as it would data: a mistake in one is the opposite of a
    change in the other. `fraction` is the part of the pool that data are.
    """
    data, simulation = (np.ones(events) for events in _events(measurement))
    nominal, _ = measurement.factors(fraction * data, simulation)
    return {
        source: measurement.factors(fraction * data, np.exp(response))[0] - nominal
        for source, response in measurement.responses[1].items()
    }


def simulation_spread(
    measurement: Measurement, fraction: float, rng: np.random.Generator, times: int = 20
) -> Array:
    """(B, B) covariance of the scale factors from the finite simulation, its events drawn anew `times`."""
    data, simulation = _events(measurement)
    drawn = [
        measurement.factors(np.full(data, fraction), rng.poisson(1.0, simulation).astype(np.float64))[0]
        for _ in range(times)
    ]
    return np.atleast_2d(np.cov(np.array(drawn).T))


@dataclass(frozen=True)
class Experiment:
    """A pseudo-experiment: scale factors measured, and the true ones (B,)."""

    factors: ScaleFactors
    truth: Array

    def pull(self, total: bool) -> Array:
        """(B,) by the total error or the statistical one."""
        error = self.factors.error if total else self.factors.statistical_error
        return (self.factors.value - self.truth) / error


def pseudo_experiments(
    measurement: Measurement,
    number: int,
    fraction: float,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> list[Experiment]:
    """Repeat a measurement `number` times on a `fraction` of the pool of data, nuisances drawn afresh."""
    systematic = shifts(measurement, fraction)
    spread = simulation_spread(measurement, fraction, rng)
    responses, (events, simulated) = measurement.responses[0], _events(measurement)
    experiments = []
    for done in range(number):
        theta = rng.standard_normal(len(responses))
        change = np.exp(sum(t * r for t, r in zip(theta, responses.values(), strict=True)))
        drawn = rng.poisson(fraction, events) * change
        simulation = rng.poisson(1.0, simulated).astype(np.float64)
        factors = measured(measurement, drawn, simulation, systematic, spread)
        experiments.append(Experiment(factors, measurement.truth(change)))
        if progress:
            progress(done + 1, number)
    return experiments


def _events(measurement: Measurement) -> tuple[int, int]:
    data, simulation = (len(next(iter(responses.values()))) for responses in measurement.responses)
    return data, simulation
