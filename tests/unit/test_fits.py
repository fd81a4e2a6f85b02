"""Impacts, yields, toys and differentiable objectives of binned models, against brute force."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hist import Hist, axis, storage

from femtobarn.errors import InputError
from femtobarn.statistics.histfactory import Channel, Process, Systematic, workspace
from femtobarn.statistics.inference import Model, cls, discovery, fit, upper_limit
from femtobarn.statistics.minimise import minimise
from femtobarn.statistics.objectives import expected_error, expected_limit, expected_significance
from femtobarn.statistics.postfit import impacts, yields
from femtobarn.statistics.toys import q0, throw, toy_cls, toy_discovery
from femtobarn.statistics.twin import Data


def simulated(values) -> Hist:
    histogram = Hist(axis.Regular(len(values), 0, 1), storage=storage.Weight())
    histogram.view().value, histogram.view().variance = values, 0.1 * np.asarray(values)
    return histogram


@pytest.fixture(scope="module")
def model() -> Model:
    b = np.array([50.0, 30.0, 10.0])
    background = Process(
        "b", simulated(b), [Systematic("shape", b * [0.95, 1.0, 1.15]), Systematic("rate", 0.05)]
    )
    signal = Process("s", simulated([2.0, 5.0, 8.0]), [Systematic("theory", 0.1)], signal=True)
    control = Channel("control", [Process("b", simulated([100.0]), [Systematic("rate", 0.05)])], data=[108.0])
    return Model.of(workspace([Channel("SR", [signal, background], data=[53.0, 37.0, 16.0]), control]))


def test_impacts_are_correlations_for_small_shifts(model):
    """In the Gaussian limit the impact of theta is cov(mu, theta)/sigma_theta."""
    fitted = fit(model)
    found = {impact.name: impact for impact in impacts(model, fitted=fitted)}
    assert len(found) == len(fitted.names) - 1
    for k, name in enumerate(fitted.names):
        if name == "mu":
            continue
        linear = fitted.covariance[fitted.poi, k] / fitted.errors[k]
        assert (found[name].up - found[name].down) / 2 == pytest.approx(linear, rel=0.1, abs=0.01)
        assert found[name].constraint == pytest.approx(fitted.errors[k] / model.twin.parameters.prior[k])
    assert found["rate"].up < 0 < found["theory"].down
    assert abs(found["rate"].prior_up) > abs(found["rate"].up)
    sizes = [impact.size for impact in impacts(model)]
    assert sizes == sorted(sizes, reverse=True)


def test_a_fit_that_did_not_converge_has_no_impact(model, monkeypatch):
    def fails_once(*arguments):
        found = minimise(*arguments)
        found.converged[0] = False
        return found

    before = impacts(model)
    monkeypatch.setattr("femtobarn.statistics.postfit.minimise", fails_once)
    after = impacts(model)
    assert sum(math.isnan(impact.up) for impact in after) == 1
    assert {impact.name for impact in after} == {impact.name for impact in before}
    assert all(impact.size > 0 for impact in after)


def test_toys_are_not_thrown_from_a_fit_that_did_not_converge(model, monkeypatch):
    def fails(*arguments):
        return minimise(*arguments)._replace(converged=torch.tensor([False]))

    monkeypatch.setattr("femtobarn.statistics.inference.minimise", fails)
    monkeypatch.setattr("femtobarn.statistics.toys.q0", lambda *arguments: torch.zeros(1))
    with pytest.raises(InputError, match="did not converge"):
        toy_discovery(model, count=10)


def test_negative_signals_when_asked(model):
    data = model.asimov(0.0)
    data = data._replace(main=data.main * torch.tensor([0.9, 0.85, 0.7, 1.0], dtype=torch.float64))
    assert fit(model, data).mu == 0.0 and fit(model, data).mu_error == 0.0
    free = fit(model.with_negative_signal(), data)
    assert free.mu < -0.1 and free.mu_error > 0


def test_yields_before_and_after(model):
    before, control = yields(model)
    assert (before.name, control.name) == ("SR", "control")
    np.testing.assert_allclose(before.total, [52, 35, 18])
    np.testing.assert_allclose(before.processes["b"], [50, 30, 10])
    np.testing.assert_allclose(before.data, [53, 37, 16])
    rate, statistics = math.log(1.05) * 100, math.sqrt(10.0)
    assert control.error[0] == pytest.approx(math.hypot(rate, statistics), rel=1e-3)
    fitted = fit(model)
    after, sideband = yields(model, fitted)
    assert sideband.error[0] < control.error[0]  # in the signal region mu, free now, adds its own
    assert abs(after.total - after.data).sum() < abs(before.total - before.data).sum()
    # Errors of the total by throwing parameters.
    rng = np.random.default_rng(1)
    thrown = torch.tensor(rng.multivariate_normal(fitted.values, fitted.covariance, 20_000))
    np.testing.assert_allclose(model.twin.expected(thrown).std(0)[:3], after.error, rtol=0.05)


def test_toys_scatter_as_their_errors(model):
    truth = model.at(1.0)
    toys = throw(model.twin, truth, 4000, seed=1)
    np.testing.assert_allclose(toys.main.mean(0), model.twin.expected(truth)[0], rtol=0.02)
    np.testing.assert_allclose(toys.main.var(0), model.twin.expected(truth)[0], rtol=0.1)
    free = ~model.twin.parameters.prior.isnan()
    np.testing.assert_allclose(toys.aux.std(0)[free], model.twin.parameters.prior[free], rtol=0.05)
    assert torch.equal(toys.main, throw(model.twin, truth, 4000, seed=1).main)
    assert not torch.equal(toys.main, throw(model.twin, truth, 4000, seed=2).main)


def test_toys_agree_with_asymptotics(model):
    counted = toy_cls(model, 1.5, count=3000)
    assert counted.value == pytest.approx(cls(model, 1.5).observed, abs=4 * counted.error + 0.01)
    assert 0 < counted.error < 0.05
    p = toy_discovery(model, count=3000)
    assert p.value == pytest.approx(discovery(model).p, abs=4 * p.error + 0.005)
    medians = [float(q0(model, throw(model.twin, model.at(mu), 2000, 5)).sqrt().median()) for mu in (1.0,)]
    assert medians[0] == pytest.approx(discovery(model, model.asimov()).z, abs=0.15)


def test_objectives_are_the_fits(model):
    assert float(expected_significance(model.twin)) == pytest.approx(
        discovery(model, model.asimov()).z, abs=1e-6
    )
    limit = upper_limit(model, model.asimov(0.0)).expected[2]
    assert float(expected_limit(model.twin)) == pytest.approx(limit, rel=1e-6)
    assert float(expected_error(model.twin)) == pytest.approx(fit(model, model.asimov()).mu_error, rel=1e-6)


@pytest.mark.parametrize("objective", [expected_significance, expected_limit, expected_error])
def test_objectives_are_differentiable(model, objective):
    nominal = model.twin.nominal.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(model.twin.with_(nominal=nominal)), nominal)
    for cell in range(len(nominal)):
        step = torch.zeros_like(model.twin.nominal)
        step[cell] = 1e-4
        above, below = (
            float(objective(model.twin.with_(nominal=model.twin.nominal + s * step))) for s in (1, -1)
        )
        assert float(gradient[cell]) == pytest.approx((above - below) / 2e-4, rel=2e-3, abs=1e-6)


def test_the_tutorial_runs(capsys):
    page = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text()
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "statistics.md", "exec"), names)
    said = capsys.readouterr().out
    found = [float(number) for number in re.findall(r"(?:Z =|significance|limit) ([0-9.]+)", said)]
    assert len(found) == 4
    one_cut, bins, with_systematics, limit = found
    assert bins > one_cut and with_systematics < bins and 0.3 < limit < 0.7
    assert len(names["figure"].axes) == 2 and len(names["stack"].axes) == 2


def test_yields_below_zero_count_as_nothing():
    """Shapes that together take more than there is: a count of zero pulls the fit there, where it rests."""
    shapes = [Systematic(name, [1.7, 20.0], [0.3, 20.0]) for name in ("one", "two")]
    channel = Channel("SR", [Process("s", [1e-3, 5.0], signal=True), Process("b", [1.0, 20.0], shapes)])
    model = Model.of(workspace([channel]))
    start = model.twin.parameters.start
    places = [model.twin.parameters.names.index(name) for name in ("one", "two")]
    scan = model.at(0.0).expand(4001, -1).clone()
    scan[:, places] = torch.linspace(-4, 4, 4001, dtype=start.dtype)[:, None]  # both alike
    assert (model.twin.expected(scan) >= 0).all() and float(model.twin.expected(scan)[0, 0]) < 1e-9
    for count, pull in ((0.0, -2.5), (0.0, 0.0), (0.0, -0.8), (1.0, -2.5)):
        aux = start.clone()
        aux[places] = pull
        data = Data(torch.tensor([[count, 20.0]], dtype=start.dtype), aux[None])
        found = model.minimum(data, 0.0)
        lowest = model.twin.deviance(scan, Data(*(part.expand(4001, -1) for part in data))).min()
        assert bool(found.converged)
        assert float(lowest) - 2e-3 < float(found.deviance) < float(lowest) + 1e-9


def test_a_count_where_nothing_is_expected_is_no_fit(model):
    twin = model.twin
    nothing = twin.with_(nominal=torch.where(twin.bin == 0, 0.0, twin.nominal),
                         shape_up=0 * twin.shape_up, shape_down=0 * twin.shape_down)  # fmt: skip
    assert bool(minimise(twin, model.observed).converged)
    assert not minimise(nothing, model.observed).converged
