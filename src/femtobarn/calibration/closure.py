"""Does a calibration close? Pseudo-experiments in which the truth is known and the world differs by chance.

In each one data are drawn anew from a pool of collisions, and the nuisance parameters theta from unit
Gaussians: an event counts exp(sum_k theta_k r_k), r_k being its response to one standard deviation of source
k. The simulation's events are drawn anew too. The measurement knows none of this. Its pull is
(measured - true) / error, and it closes if pulls have mean 0 and width 1. Where jets are measured one by one
they are the events.
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
from femtobarn.errors import InputError

__all__ = [
    "Experiment",
    "LightMeasurement",
    "Measurement",
    "PairMeasurement",
    "measured",
    "pseudo_experiments",
    "shared_offset",
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
    def sizes(self) -> tuple[int, int]:
        """Events of the pool of data, and of the simulation."""

    @property
    def efficiency(self) -> Array:
        """(B,) of the simulation."""

    def factors(self, data: Array, simulation: Array) -> tuple[Array, Array]:
        """Scale factors (B,), NaN where it fails, and the covariance from the statistics of data.

        Args:
            data: how often each event of the pool is there.
            simulation: factors on the weights of the simulation's events.
        """

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
    def sizes(self) -> tuple[int, int]:
        """Pairs of the pool of data, and of the simulation."""
        return len(self.data), len(self.simulation)

    @property
    def efficiency(self) -> Array:
        """(B,) of the simulation."""
        return self.simulation.efficiency(len(self.edges) - 1)

    def factors(self, data: Array, simulation: Array) -> tuple[Array, Array]:
        """Scale factors (B,) and their statistical covariance, events weighted by these factors."""
        bins = len(self.edges) - 1
        likelihood = PairLikelihood(self.simulation.weighted(simulation), bins, self.regions, self.signal)
        fitted = likelihood.fit(self.data.weighted(data))
        value, scale = fitted.value / self.efficiency, np.outer(self.efficiency, self.efficiency)
        return (value if fitted.valid else np.full(bins, np.nan)), fitted.covariance / scale

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
    def sizes(self) -> tuple[int, int]:
        """Jets of the pool of data, and of the simulation."""
        return len(self.data.pt), len(self.simulation.pt)

    @property
    def efficiency(self) -> Array:
        """(B,) of the simulation."""
        return self.simulation.efficiency(self.edges)

    def factors(self, data: Array, simulation: Array) -> tuple[Array, Array]:
        """Scale factors (B,) and their statistical covariance, events weighted by these factors."""
        varied = self.simulation.weighted(simulation)
        value, covariance = light_scale_factor(self.data.drawn(data), varied, self.edges)
        # What is measured is the rate in data, by e_neg(data) times the simulation's e / e_neg.
        extrapolated = varied.efficiency(self.edges) / self.efficiency
        return value * extrapolated, covariance * np.outer(extrapolated, extrapolated)

    def truth(self, data: Array) -> Array:
        """(B,) true efficiency in data, events weighted by these factors, over that of the simulation."""
        return self.data.weighted(data).efficiency(self.edges) / self.efficiency


def measured(
    measurement: Measurement, data: Array, simulation: Array, systematic: Mapping[str, Array], spread: Array
) -> ScaleFactors:
    """The scale factors from data.

    Args:
        measurement: of one flavour.
        data: how often each event of the pool is there.
        simulation: factors on the weights of the simulation's events.
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
    data, simulation = (np.ones(events) for events in measurement.sizes)
    nominal, _ = measurement.factors(fraction * data, simulation)
    return {
        source: measurement.factors(fraction * data, np.exp(response))[0] - nominal
        for source, response in measurement.responses[1].items()
    }


def simulation_spread(
    measurement: Measurement, fraction: float, rng: np.random.Generator, times: int = 20
) -> Array:
    """(B, B) covariance of the scale factors from the finite simulation, its events drawn anew `times`."""
    data, simulation = measurement.sizes
    drawn = [
        measurement.factors(np.full(data, fraction), rng.poisson(1.0, simulation).astype(np.float64))[0]
        for _ in range(times)
    ]
    good = np.array([value for value in drawn if np.isfinite(value).all()])
    return np.atleast_2d(np.cov(good.T))


def shared_offset(
    measurement: Measurement, fraction: float, rng: np.random.Generator, times: int = 20
) -> Array:
    """(B,) standard deviation of measured minus true scale factors that all pseudo-experiments share.

    They draw from one pool, whose true efficiency is known no better than its own events tell, and have one
    simulation. Both are drawn anew `times`; each time all of the pool, scaled to the `fraction` that data
    are, is measured.
    """
    events, simulated = measurement.sizes
    offsets = []
    for _ in range(times):
        pool = rng.poisson(1.0, events).astype(np.float64)
        value, _ = measurement.factors(fraction * pool, rng.poisson(1.0, simulated).astype(np.float64))
        offsets.append(value - measurement.truth(pool))
    good = np.array([offset for offset in offsets if np.isfinite(offset).all()])
    return np.asarray(good.std(axis=0, ddof=1), dtype=np.float64)


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


def pseudo_experiments(
    measurement: Measurement,
    number: int,
    fraction: float,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> list[Experiment]:
    """Repeat a measurement on a `fraction` of the pool of data: first with all nuisances at 0, then drawn.

    Gives `number` + 1 experiments.

    Raises:
        InputError: when a bin has no jet of the flavour, or the measurement fails on all of the pool.
    """
    missing = np.flatnonzero(~(measurement.efficiency > 0))
    if len(missing):
        low, high = measurement.edges[missing[0] : missing[0] + 2]
        raise InputError(
            f"no tagged {measurement.flavour}-jet of {low:g} to {high:g} GeV in the simulation: "
            "take more events or wider bins"
        )
    systematic = shifts(measurement, fraction)
    spread = simulation_spread(measurement, fraction, rng)
    if not all(np.isfinite(shift).all() for shift in (*systematic.values(), spread)):
        raise InputError(
            f"the measurement of {measurement.flavour}-jets fails: take more events or wider bins"
        )
    responses, (events, simulated) = measurement.responses[0], measurement.sizes
    experiments = []
    for done in range(number + 1):
        theta = rng.standard_normal(len(responses)) if done else np.zeros(len(responses))
        change = np.exp(
            sum((t * r for t, r in zip(theta, responses.values(), strict=True)), np.zeros(events))
        )
        drawn = rng.poisson(fraction * change).astype(np.float64)
        simulation = rng.poisson(1.0, simulated).astype(np.float64) if done else np.ones(simulated)
        factors = measured(measurement, drawn, simulation, systematic, spread)
        experiments.append(Experiment(factors, measurement.truth(change)))
        if progress:
            progress(done, number)
    return experiments
