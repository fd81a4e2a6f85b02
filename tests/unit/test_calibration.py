"""Calibrations on toys with a known truth: fits, pulls, selections, scale factors written and applied."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from scipy.stats import poisson

from femtobarn.calibration.chance import tag_probability, tags_by_chance
from femtobarn.calibration.closure import (
    LightMeasurement,
    PairMeasurement,
    finite_data,
    finite_simulation,
    offset,
    pseudo_experiments,
)
from femtobarn.calibration.closure_page import SimulatedJets, applied_section
from femtobarn.calibration.combinatorial import PairLikelihood, Pairs
from femtobarn.calibration.negative_tags import TaggedJets, flipped, light_scale_factor
from femtobarn.calibration.scale_factors import (
    FLAVOURS,
    ScaleFactors,
    binned_efficiency,
    event_weights,
    known_responses,
    known_weights,
    write_correctionlib,
)
from femtobarn.calibration.selection import dilepton_pairs, jet_rows, w_pairs
from femtobarn.errors import InputError
from femtobarn.evaluate.report import Report
from femtobarn.statistics.counts import fit_counts

TRUE, SIMULATED = np.array([0.58, 0.70, 0.74]), np.array([0.62, 0.68, 0.72])


def toy_pairs(number: int, efficiency: np.ndarray, purity: float, seed: int) -> Pairs:
    """Pairs of two, one or no b-jets, purer in region 0, others tagged in 10 %."""
    rng = np.random.default_rng(seed)
    rest = (1 - purity) * np.array([0.1, 0.8, 0.1])
    kind = rng.choice(4, number, p=[purity, *rest])
    target = np.stack([np.isin(kind, (0, 2)), np.isin(kind, (0, 1))], axis=1)
    bins = np.sort(rng.choice(3, (number, 2)), axis=1)[:, ::-1].copy()
    region = np.where(kind == 0, rng.choice(2, number, p=[0.9, 0.1]), rng.choice(2, number))
    tagged = rng.random((number, 2)) < np.where(target, efficiency[bins], 0.10)
    return Pairs(bins, region, tagged, np.ones(number), target)


def test_counts_of_one_bin_are_their_own_estimate() -> None:
    fit = fit_counts(lambda theta: theta.exp(), np.array([0.0, 1.0]), np.array([50.0, 400.0]))
    np.testing.assert_allclose(np.exp(fit.values), [50, 400], rtol=1e-3)
    np.testing.assert_allclose(np.diag(fit.covariance), [1 / 50, 1 / 400], rtol=1e-2)
    assert fit.valid


def test_pairs_give_efficiency_and_purity() -> None:
    likelihood = PairLikelihood(toy_pairs(200_000, SIMULATED, 0.7, 1), 3, 2)
    found = likelihood.fit(toy_pairs(100_000, TRUE, 0.6, 2))
    error = np.sqrt(np.diag(found.covariance))
    assert found.valid and (error < 0.006).all()
    assert (np.abs(found.value - TRUE) < 4 * error).all()
    assert (np.abs(found.value - SIMULATED) > 3 * error).any()  # it does not give back the simulation


def test_background_of_two_flavours() -> None:
    """Half of the pairs hold a c-jet, the others a b-jet, beside a light one: tags are not independent."""

    def pairs(number: int, seed: int) -> Pairs:
        rng = np.random.default_rng(seed)
        first, signal = rng.random(number) < 0.5, rng.random(number) < 0.5
        heavy = np.stack([first, ~first], axis=1)
        target = heavy & signal[:, None]
        tagged = rng.random((number, 2)) < np.where(target, 0.35, np.where(heavy, 0.8, 0.05))
        zeros = np.zeros(number, dtype=np.int64)
        return Pairs(np.zeros((number, 2), dtype=np.int64), zeros, tagged, np.ones(number), target)

    every = ((0, 0), (0, 1), (1, 0), (1, 1))
    found = PairLikelihood(pairs(400_000, 1), 1, 1, every).fit(pairs(50_000, 2))
    assert abs(found.value[0] - 0.35) < 4 * found.covariance[0, 0] ** 0.5 < 0.05


def test_the_truth_of_data_is_not_asked_for() -> None:
    data = toy_pairs(5000, TRUE, 0.6, 3)
    blind = Pairs(data.bins, data.region, data.tagged, data.weights)
    likelihood = PairLikelihood(toy_pairs(50_000, SIMULATED, 0.7, 1), 3, 2)
    np.testing.assert_array_equal(likelihood.fit(blind).value, likelihood.fit(data).value)
    with pytest.raises(InputError, match="flavour"):
        blind.efficiency(3)


def by_chance(pairs: Pairs, efficiency: np.ndarray) -> Pairs:
    """The same pairs with all outcomes of their tags."""
    tagged, share = tags_by_chance(np.where(pairs.target, efficiency[pairs.bins], 0.10))
    bins, target = np.tile(pairs.bins, (4, 1)), np.tile(pairs.target, (4, 1))
    return Pairs(bins, np.tile(pairs.region, 4), tagged, share, target)


def test_pulls_of_pseudo_experiments() -> None:
    """With a nuisance that the measurement feels, statistical errors are too small and total ones are not."""
    pairs = toy_pairs(50_000, TRUE, 0.6, 4)
    data, simulation = by_chance(pairs, TRUE), by_chance(pairs, SIMULATED)
    responses = tuple(
        {"mistags": 0.3 * (~every.target & every.tagged).sum(axis=1)} for every in (data, simulation)
    )
    measurement = PairMeasurement("b", np.arange(4.0), data, simulation, responses, 2, ((1, 1),), 4)
    np.testing.assert_allclose(measurement.truth(data.weights), TRUE / SIMULATED)
    done = pseudo_experiments(measurement, 40, 0.2, np.random.default_rng(6))
    assert len(done.valid.drawn) == 40 and np.abs(done.nominal.pull(True)).max() < 4
    for pulls in done.pulls.values():
        assert (np.abs(pulls.mean(axis=0)) < 4 / 40**0.5).all()
        assert (np.abs(pulls.std(axis=0, ddof=1) - 1) < 4 / 80**0.5).all()
    blind = np.array([one.pull(False) for one in done.drawn])
    assert blind[:, 0].std() > 1.15 * done.pulls["total"][:, 0].std()


def test_chances_are_learnt_by_flavour() -> None:
    rng = np.random.default_rng(9)
    flavour, pt = rng.integers(0, 2, 40_000), rng.uniform(0, 1, 40_000)
    true = np.where(flavour == 1, 0.6 + 0.2 * pt, 0.1)
    features = np.stack([flavour, pt], axis=1).astype(np.float64)
    found = tag_probability(features, rng.random(40_000) < true)(features[:10_000])
    assert np.sqrt(np.mean((found - true[:10_000]) ** 2)) < 0.02
    tagged, share = tags_by_chance(found[:6].reshape(3, 2))
    assert tagged.shape == (12, 2)
    np.testing.assert_allclose(share.reshape(4, 3).sum(axis=0), 1)
    np.testing.assert_allclose(
        (share[:, None] * tagged).reshape(4, 3, 2).sum(axis=0), found[:6].reshape(3, 2)
    )


def light_jets(number: int, rate: float, seed: int) -> TaggedJets:
    """95 % light jets, as often tagged negatively as positively, and heavy ones."""
    rng = np.random.default_rng(seed)
    light = rng.random(number) < 0.95
    negative = rng.random(number) < np.where(light, rate, 0.05)
    tagged = rng.random(number) < np.where(light, rate, 0.7)
    ones = np.ones(number)
    return TaggedJets(rng.uniform(20, 100, number), tagged, negative, light, ones, ones)


def test_negative_tags() -> None:
    edges = np.array([20.0, 50.0, 100.0])
    data, simulation = light_jets(200_000, 0.012, 1), light_jets(400_000, 0.010, 2)
    value, covariance = light_scale_factor(data, simulation, edges)
    assert (np.abs(value - 1.2) < 4 * np.sqrt(np.diag(covariance))).all()
    measurement = LightMeasurement("light", edges, data, simulation, ({}, {}))
    np.testing.assert_allclose(measurement.truth(np.ones(200_000)), 1.2, atol=0.1)


def test_pulls_of_negative_tags() -> None:
    """With a source that makes positive tags alone more frequent: only total errors know of it."""
    edges = np.array([20.0, 100.0])
    data, simulation = light_jets(20_000, 0.05, 3), light_jets(80_000, 0.05, 4)
    widths = {}
    for size in (0.0, 0.2):
        responses = tuple({"long-lived": size * (jets.light & jets.tagged)} for jets in (data, simulation))
        measurement = LightMeasurement("light", edges, data, simulation, responses)
        done = pseudo_experiments(measurement, 100, 0.5, np.random.default_rng(5))
        assert np.abs(done.nominal.pull(True)).max() < 4
        pulls = np.array([[one.pull(False)[0], one.pull(True)[0]] for one in done.drawn])
        widths[size] = pulls.std(axis=0, ddof=1)
    np.testing.assert_allclose(widths[0.0], 1, atol=0.2)
    assert widths[0.2][0] > 1.4
    np.testing.assert_allclose(widths[0.2][1], 1, atol=0.25)


def test_tags_themselves_are_counted() -> None:
    edges = np.array([20.0, 50.0, 100.0])
    data, simulation = (
        replace(jets, counted=jets.tagged)
        for jets in (light_jets(200_000, 0.06, 1), light_jets(400_000, 0.05, 2))
    )
    value, covariance = light_scale_factor(data, simulation, edges)
    assert (np.abs(value - 1.2) < 4 * np.sqrt(np.diag(covariance))).all()


def test_the_error_of_an_offset() -> None:
    """It is the spread of measured minus true over samples that are independent."""
    edges = np.array([20.0, 60.0, 100.0])
    offsets, told = [], []
    for seed in range(60):
        data, simulation = light_jets(20_000, 0.05, 100 + seed), light_jets(20_000, 0.05, 500 + seed)
        measurement = LightMeasurement("light", edges, data, simulation, ({}, {}))
        value, error = offset(measurement, np.random.default_rng(seed), 40 if seed < 10 else 8)
        offsets.append(value)
        told += [error] if seed < 10 else []
    spread = np.std(offsets, axis=0, ddof=1)
    np.testing.assert_allclose(np.mean(told, axis=0), spread, rtol=0.3)
    assert (np.abs(np.mean(offsets, axis=0)) < 4 * spread / 60**0.5).all()


@dataclass(frozen=True)
class PerSimulatedEvent:
    """Data over simulation, as a background is scaled: 1/n is larger on average than 1 over the mean of n."""

    number: int
    flavour: str = "b"
    edges: Any = field(default_factory=lambda: np.array([20.0, 100.0]))
    responses: Any = ({}, {})
    outcomes: int = 1
    efficiency: Any = field(default_factory=lambda: np.ones(1))

    @property
    def rates(self) -> Any:
        return np.ones(40_000), np.ones(self.number)

    def factors(self, data: Any, simulation: Any) -> Any:
        value = data.sum() / simulation.sum() * self.number / 40_000
        return np.array([value]), np.array([[value**2 / data.sum()]])

    def truth(self, data: Any) -> Any:
        return np.array([data.sum() / 40_000])


def test_what_a_small_simulation_shifts_is_subtracted() -> None:
    """With 25 events the mean of 25/n is 1.044."""
    measurement = PerSimulatedEvent(25)
    shift, covariance = finite_simulation(measurement, 1.0, np.random.default_rng(1), 40_000)
    events = np.arange(1, 200)
    chance, value = poisson.pmf(events, 25), 25 / events
    mean = chance @ value
    np.testing.assert_allclose(shift, mean - 1, atol=0.005)
    np.testing.assert_allclose(covariance, chance @ value**2 - mean**2, rtol=0.05)
    done = pseudo_experiments(measurement, 3000, 1.0, np.random.default_rng(2), 3000)
    off = np.array([one.factors.value - one.truth for one in done.fixed])
    error = off.std() / len(off) ** 0.5
    assert abs(off.mean()) < 4 * 2**0.5 * error < shift[0]
    assert done.nominal.factors.value == pytest.approx(1.0, abs=4 / 200)  # all of the simulation: no shift


@dataclass(frozen=True)
class SquareOfData(PerSimulatedEvent):
    """(n/N)^2, with the error of n/N: it scatters twice as much, and is 1 + 1/N on average."""

    @property
    def rates(self) -> Any:
        return np.ones(self.number), np.ones(4)

    def factors(self, data: Any, simulation: Any) -> Any:
        return np.array([(data.sum() / self.number) ** 2]), np.array([[1 / self.number]])

    def truth(self, data: Any) -> Any:
        return np.array([(data.sum() / self.number) ** 2])


def test_what_few_data_shift_and_scatter() -> None:
    measurement = SquareOfData(100)
    shift, ratio = finite_data(measurement, 1.0, np.random.default_rng(1), 20_000)
    np.testing.assert_allclose(shift, 0.01, atol=4 * 0.2 / 20_000**0.5)
    np.testing.assert_allclose(ratio, 2.0, rtol=0.03)
    done = pseudo_experiments(measurement, 400, 1.0, np.random.default_rng(2), 400)
    pulls = done.pulls["statistical"][:, 0]
    assert abs(pulls.std(ddof=1) - 1) < 4 / 800**0.5
    # The shift subtracted from all is as uncertain as the mean of so many pulls itself.
    assert done.pull_mean_errors["statistical"][0] == pytest.approx(2**0.5 / 20, rel=0.1)


def test_bins_without_jets_are_refused() -> None:
    data = simulation = light_jets(1000, 0.0, 6)
    measurement = LightMeasurement("light", np.array([20.0, 100.0]), data, simulation, ({}, {}))
    with pytest.raises(InputError, match="no tagged light-jet of 20 to 100 GeV"):
        pseudo_experiments(measurement, 2, 0.5, np.random.default_rng(1))
    with pytest.raises(InputError, match="two or more of each"):
        pseudo_experiments(measurement, 1, 0.5, np.random.default_rng(1))
    negative = replace(data, weights=-data.weights)
    measurement = replace(measurement, data=negative, simulation=light_jets(1000, 0.1, 6))
    with pytest.raises(InputError, match="negative"):
        pseudo_experiments(measurement, 2, 0.5, np.random.default_rng(1))


def test_weights_of_data_are_in_the_covariance() -> None:
    """Ten times the weight of each pair is no more pairs, and negative ones make it worse."""
    likelihood = PairLikelihood(toy_pairs(200_000, SIMULATED, 0.7, 1), 3, 2)
    data = toy_pairs(20_000, TRUE, 0.6, 2)
    one = np.diag(likelihood.fit(data).covariance)
    ten = np.diag(likelihood.fit(replace(data, weights=10 * data.weights)).covariance)
    np.testing.assert_allclose(ten, one, rtol=0.02)
    sign = np.where(np.random.default_rng(3).random(20_000) < 0.2, -1.0, 1.0)
    signed = likelihood.fit(replace(data, weights=sign))
    # Of 60 % of the sum of weights, all of the sum of their squares: 1 / 0.6^2 times the variance.
    np.testing.assert_allclose(np.diag(signed.covariance) / one, 1 / 0.36, rtol=0.25)
    assert (np.abs(signed.value - TRUE) < 4 * np.sqrt(np.diag(signed.covariance))).all()
    # How often a pair is there is not a weight.
    twice = np.diag(likelihood.fit(replace(data, times=np.full(20_000, 2.0))).covariance)
    np.testing.assert_allclose(twice, one / 2, rtol=0.02)


def test_pairs_out_of_range_and_unknown() -> None:
    data, simulation = toy_pairs(500, TRUE, 0.6, 3), toy_pairs(5000, SIMULATED, 0.7, 1)
    with pytest.raises(InputError, match="simulation: a pair in bin 2, but they are 0 to 1"):
        PairLikelihood(simulation, 2, 2)
    with pytest.raises(InputError, match="data: a pair in region 1, but they are 0 to 0"):
        PairLikelihood(replace(simulation, region=0 * simulation.region), 3, 1).fit(data)
    with pytest.raises(InputError, match="need `target`"):
        PairLikelihood(replace(simulation, target=None), 3, 2)
    found = PairLikelihood(simulation, 4, 2).fit(data)  # nothing is in the last bin
    assert np.isfinite(found.value[:3]).all() and np.isnan(found.value[3])
    assert np.isnan(found.covariance[3]).all() and np.isfinite(found.covariance[:3, :3]).all()


def test_what_is_known_of_other_flavours_is_known_with_an_uncertainty() -> None:
    edges = np.array([20.0, 50.0, 200.0])
    light = ScaleFactors("light", edges, np.array([1.3, 1.2]), np.diag([0.2, 0.1]) ** 2, np.array([0.1, 0.1]),
                         {"pile-up": np.array([0.1, -0.1])})  # fmt: skip
    pt, tagged = np.array([30.0, 30.0, 100.0, 30.0]), np.array([True, False, True, True])
    is_light, e = np.array([True, True, True, False]), np.full(4, 0.1)
    found = known_responses({"light": light}, {"light": is_light}, pt, tagged, e)
    assert set(found) == {"pile-up", "statistical light 1", "statistical light 2"}
    np.testing.assert_allclose(found["pile-up"], [0.1 / 1.3, -0.1 / 1.3 / 9, -0.1 / 1.2, 0])
    # It is by how much the weights of the correction move, if e is the efficiency after it.
    shifted = replace(light, value=light.value + 1e-4 * light.systematic["pile-up"])
    weights = [
        known_weights({"light": one}, {"light": is_light}, pt, tagged, e / 1.3) for one in (light, shifted)
    ]
    slope = np.log(weights[1] / weights[0])[:2] / 1e-4
    np.testing.assert_allclose(slope, found["pile-up"][:2], rtol=1e-3)


def test_weights_for_jets_that_the_file_does_not_know(tmp_path: Path) -> None:
    file, edges = tmp_path / "sf.json", np.array([20.0, 200.0])
    b = ScaleFactors("b", edges, np.array([0.9]), np.array([[0.01]]), np.array([0.7]))
    write_correctionlib([b], "GN1", "70", file, "D_b above 1.5")
    assert "D_b above 1.5" in file.read_text()
    flavour, pt, tagged = np.array([5, 5]), np.array([30.0, 60.0]), np.array([True, False])
    good = {"flavour": flavour, "pt": pt, "tagged": tagged, "name": "GN1_70"}
    np.testing.assert_allclose(event_weights(file, **good), [0.9, (1 - 0.63) / 0.3])
    for wrong, message in (
        ({"name": "GN1_77"}, "no scale factors 'GN1_77'"),
        ({"flavour": np.array([5, 15])}, "flavour 15"),
        ({"flavour": np.array(["b", "b"])}, "flavour b"),
        ({"flavour": np.array([5, 4])}, "has those of b"),
        ({"pt": np.array([30.0, np.nan])}, "pT of jet 1 is not finite"),
        ({"systematic": "up_all"}, "no variation 'up_all'"),
        ({"efficiency": np.array([1.0, 1.0])}, "jet 1 is not tagged although"),
    ):
        with pytest.raises(InputError, match=message):
            event_weights(file, **(good | wrong))


def test_efficiencies_of_a_sample_count_its_weights() -> None:
    flavour, pt, tagged = np.array([5, 5, 0]), np.array([30.0, 40.0, 30.0]), np.array([True, False, True])
    found = binned_efficiency(flavour, pt, tagged, {5: [20, 200], 0: [20, 200]}, np.array([3.0, 1.0, 0.0]))
    np.testing.assert_allclose(found, [0.75, 0.75, 0.0])


def test_flipping_keeps_tracks_behind_the_jet_and_turns_them_round() -> None:
    tracks = ak.Array(
        [
            [
                {"d0": 0.1, "IP3D_signed_d0": 0.1, "IP3D_signed_d0_significance": 3.0, "qOverP": -0.2},
                {"d0": 0.2, "IP3D_signed_d0": -0.2, "IP3D_signed_d0_significance": -5.0, "qOverP": 0.3},
            ],
            [],
        ]
    )
    jets = ak.zip({"pt": np.array([30.0, 40.0]), "tracks": tracks}, depth_limit=1)
    turned = flipped(jets)
    assert turned.pt.to_list() == [30.0, 40.0]
    assert turned.tracks.to_list() == [
        [{"d0": -0.2, "IP3D_signed_d0": 0.2, "IP3D_signed_d0_significance": 5.0, "qOverP": 0.3}],
        [],
    ]


def event(number: int, jets: list[dict[str, float]], electrons: int, muons: int) -> list[dict[str, float]]:
    shared = {"runNumber": 1, "eventNumber": number, "numberOfElectrons": electrons, "numberOfMuons": muons}
    return [{"eta": 0.0, "phi": 0.0, "energy": jet["pt"], **shared, **jet} for jet in jets]


def test_pairs_of_dileptons() -> None:
    def jet(pt: float, one: float, other: float) -> dict[str, float]:
        return {"pt": pt, "leadingLeptonMass": one, "subleadingLeptonMass": other}

    rows = [
        *event(5, [jet(50, 300, 90), jet(80, 100, 250)], 1, 1),
        *event(6, [jet(50, 300, 90), jet(80, 100, 250)], 2, 0),
        *event(7, [jet(40, 200, 90), jet(80, 190, 260), jet(30, 10, 10)], 1, 1),
        *event(8, [jet(40, 200, 90)], 1, 1),
    ]
    pairs, region = dilepton_pairs(ak.Array(rows))
    # The hardest first; each with another lepton, so that the masses are small: 100 and 90, 190 and 90.
    assert pairs.tolist() == [[1, 0], [5, 4]] and region.tolist() == [0, 1]
    assert [found.shape for found in jet_rows(ak.Array(rows), (1, 3))] == [(1, 1), (2, 2), (1, 3)]


def test_pairs_of_a_w() -> None:
    """Two jets back to back of 80.4 GeV and a third, 172.5 GeV together; the fourth is with the lepton."""
    third = (172.5**2 - 80.4**2) / (2 * 80.4)
    jets = [
        {"pt": 40.2, "phi": 0.0, "energy": 40.2},
        {"pt": third, "phi": np.pi / 2, "energy": third},
        {"pt": 40.2, "phi": np.pi, "energy": 40.2},
        {"pt": 60.0, "phi": -np.pi / 3, "energy": 60.0},
    ]
    jets = [{**jet, "leadingLeptonMass": 100.0 if k == 3 else 300.0} for k, jet in enumerate(jets)]
    rows = ak.Array([*event(1, jets, 0, 1), *event(2, jets, 1, 1)])
    tagged = np.array([0, 1, 0, 1, 0, 1, 0, 1], dtype=bool)
    pairs, region = w_pairs(rows, tagged)
    assert sorted(pairs[0].tolist()) == [0, 2] and len(pairs) == 1 and region.tolist() == [0]
    assert len(w_pairs(rows, ~tagged)[0]) == 0


def test_scale_factors_written_and_applied(tmp_path: Path) -> None:
    edges = np.array([20.0, 50.0, 200.0])
    make = {
        "b": (np.array([0.9, 0.95]), np.array([0.6, 0.7])),
        "c": (np.array([1.1, 1.0]), np.array([0.1, 0.12])),
        "light": (np.array([1.3, 1.2]), np.array([0.01, 0.01])),
    }
    factors = [
        ScaleFactors(flavour, edges, value, np.diag([0.02, 0.01]) ** 2, efficiency, {"pile-up": value / 10})
        for flavour, (value, efficiency) in make.items()
    ]
    np.testing.assert_allclose(factors[0].error, np.hypot([0.02, 0.01], [0.09, 0.095]))
    np.testing.assert_array_equal(factors[0].at(np.array([10.0, 49.0, 51.0, 900.0])), [0.9, 0.9, 0.95, 0.95])
    file = tmp_path / "sf.json"
    write_correctionlib(factors, "GN1", "70", file)
    rng = np.random.default_rng(8)
    flavour = rng.choice([5, 4, 0], 90_000)
    pt = rng.uniform(20, 300, 90_000)
    bins = (pt > 50).astype(int)
    efficiency = np.select([flavour == FLAVOURS[f] for f in make], [e[bins] for _, e in make.values()])
    tagged = rng.random(90_000) < efficiency
    weights = event_weights(file, "GN1_70", flavour, pt, tagged)
    for name, (value, e) in make.items():
        for k in (0, 1):
            own = (flavour == FLAVOURS[name]) & (bins == k)
            np.testing.assert_allclose(weights[own & tagged], value[k])
            error = 3 * np.sqrt(e[k] / own.sum())
            assert abs((weights * tagged)[own].mean() - value[k] * e[k]) < 3 * error
            assert abs(weights[own].mean() - 1) < 3 * error
    up = event_weights(file, "GN1_70", flavour, pt, tagged, "up_pile-up")
    np.testing.assert_allclose(up[tagged], 1.1 * weights[tagged])
    whole = event_weights(file, "GN1_70", flavour, pt, tagged, "down")
    b = tagged & (flavour == 5) & (bins == 0)
    np.testing.assert_allclose(whole[b], 0.9 - np.hypot(0.02, 0.09))
    assert not list(tmp_path.glob("*.tmp*"))
    # The fraction of tagged jets after correction: each source moves it by its share of the efficiencies.
    report = Report("page", "")
    ones = np.ones(len(pt))
    true = {one.flavour: replace(one, value=np.full(2, 1.1)) for one in factors}
    metrics = applied_section(report, file, "GN1_70", factors, SimulatedJets(flavour, pt, tagged, ones),
                              (tagged, ones), true=true, method="gn1", sample="toys")  # fmt: skip
    data, before, after, right = (metric.value for metric in metrics)
    assert right == pytest.approx(1.1 * before)
    assert data == before == tagged.mean() and after == pytest.approx((weights * tagged).mean(), rel=0.01)
    part = {(f, k): ((flavour == FLAVOURS[f]) & (bins == k) & tagged).mean() for f in make for k in (0, 1)}
    moves = [0.1 * after, *(part[f, k] * sigma for f in make for k, sigma in ((0, 0.02), (1, 0.01)))]
    jets_error = np.sqrt((weights * tagged - weights * after).var() / len(pt))
    assert metrics[2].error == pytest.approx(np.linalg.norm([jets_error, *moves]), rel=0.01)
    assert metrics[0].error < 0.2 * metrics[2].error
