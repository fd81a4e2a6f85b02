"""Models built from histograms, and the differentiable twin, against pyhf."""

import json

import numpy as np
import pyhf
import pytest
import torch
from hist import Hist, axis, storage

from femtobarn.errors import InputError
from femtobarn.statistics.histfactory import Channel, Process, Systematic, workspace
from femtobarn.statistics.inference import Model, cls, discovery, fit, upper_limit
from femtobarn.statistics.minimise import attached, minimise
from femtobarn.statistics.significance import asimov
from femtobarn.statistics.twin import Data
from femtobarn.statistics.twin_json import read_twin, write_twin


@pytest.fixture(autouse=True)
def backends_are_put_back():
    """pyhf's torch backend makes double torch's default, for everybody."""
    before = torch.get_default_dtype()
    yield
    pyhf.set_backend("numpy")
    torch.set_default_dtype(before)


pytestmark = [  # pyhf's own
    pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Creating a tensor from a list:UserWarning"),
]
BINS = 4


def template(yields, weight: float = 0.5) -> Hist:
    """A histogram with these sums of weights, each event weighing `weight`."""
    histogram = Hist(axis.Regular(BINS, 0, 1), storage=storage.Weight())
    histogram.view().value = yields
    histogram.view().variance = np.asarray(yields) * weight
    return histogram


def channels() -> list[Channel]:
    z, top = np.array([60.0, 40.0, 20.0, 6.0]), np.array([30.0, 25.0, 10.0, 4.0])
    jes = Systematic(
        "jet energy", template(z * [0.95, 1.02, 1.1, 1.2]), template(z * [1.04, 0.98, 0.92, 0.85])
    )
    signal = Process("VH", template([1.0, 3.0, 6.0, 9.0], 0.01), [Systematic("theory", 0.1)], signal=True)
    return [
        Channel("two", [signal,
                        Process("Z", template(z), [jes, Systematic("theory Z", 0.2, -0.15)]),
                        Process("top", template(top), free=True),
                        Process("fakes", template([3.0, 2.0, 1.0, 0.0]), luminosity=False, counted=True)],
                data=[95.0, 75.0, 41.0, 15.0]),
        Channel("control", [Process("Z", [20.0, 10.0], [Systematic("jet energy", [21.0, 9.0])]),
                            Process("top", [200.0, 150.0], [Systematic("jet energy", 0.03)], free=True)],
                data=[230.0, 155.0]),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def spec():
    return workspace(channels(), luminosity=0.02)


@pytest.fixture(scope="module")
def peer(spec):
    pyhf.set_backend("numpy")
    model = pyhf.Workspace(spec).model()
    return model, np.asarray(pyhf.Workspace(spec).data(model))


def in_order(theta, names, model):
    return np.asarray(theta)[[names.index(name) for name in model.config.par_names]]


def test_the_workspace_follows_the_schema(spec):
    pyhf.schema.validate(json.loads(json.dumps(spec)), "workspace.json")
    modifiers = {(m["name"], m["type"]) for s in spec["channels"][0]["samples"] for m in s["modifiers"]}
    assert modifiers == {
        ("mu", "normfactor"), ("norm top", "normfactor"), ("lumi", "lumi"), ("theory", "normsys"),
        ("theory Z", "normsys"), ("jet energy", "normsys"), ("jet energy", "histosys"),
        ("statistics two", "staterror"), ("statistics fakes two", "shapesys"),
    }  # fmt: skip
    varied = spec["channels"][0]["samples"][1]["modifiers"]
    norm, shape = [m for m in varied if m["name"] == "jet energy"]
    np.testing.assert_allclose(
        np.array(shape["data"]["hi_data"]) * norm["data"]["hi"], [57.0, 40.8, 22.0, 7.2], rtol=1e-12
    )


def test_the_twin_is_pyhf(spec, peer):
    model, data = peer
    twin, observed = read_twin(spec)
    names, rng = list(twin.parameters.names), np.random.default_rng(1)
    for scale in (0.0, 0.1, 0.5):
        theta = np.abs(twin.parameters.start.numpy() + scale * rng.normal(size=len(names)))
        expected = float(np.ravel(model.logpdf(in_order(theta, names, model), data))[0])
        assert float(twin.log_likelihood(torch.tensor(theta), observed)) == pytest.approx(expected, abs=1e-9)
    assert write_twin(twin) == spec


def test_other_yields_are_written(spec):
    twin, _ = read_twin(spec)
    twice = write_twin(twin.with_(nominal=2 * twin.nominal))
    again, _ = read_twin(twice)
    np.testing.assert_allclose(again.nominal, 2 * twin.nominal)
    np.testing.assert_allclose(again.shape_up, twin.shape_up, atol=1e-12)


def test_derivatives_are_autograd(spec):
    twin, data = read_twin(spec)
    torch.manual_seed(1)
    theta = twin.parameters.start + 0.3 * torch.randn(len(twin.parameters.start), dtype=torch.float64)
    theta[twin.poi] = 0.0
    gradient, hessian, _ = twin.derivatives(theta[None], Data(data.main[None], data.aux[None]))
    deviance = lambda x: twin.deviance(x, data)  # noqa: E731
    np.testing.assert_allclose(gradient[0], torch.func.grad(deviance)(theta), rtol=1e-7, atol=1e-7)
    reference = torch.func.jacrev(torch.func.grad(deviance))(theta)
    np.testing.assert_allclose(hessian[0], reference, rtol=1e-6, atol=1e-6)


def test_the_fit_is_pyhfs(spec, peer):
    model, data = peer
    ours = fit(Model.of(spec))
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-3))
    theirs, deviance = pyhf.infer.mle.fit(data, model, return_uncertainties=True, return_fitted_val=True)
    pyhf.set_backend("numpy")
    values, errors = np.asarray(theirs).T
    np.testing.assert_allclose(in_order(ours.values, list(ours.names), model), values, atol=2e-3)
    # Minuit differentiates numerically: what no bin depends on, of error 1 exactly, has 0.993 there.
    np.testing.assert_allclose(in_order(ours.errors, list(ours.names), model), errors, rtol=0.015)
    twin = Model.of(spec).twin
    best = -2 * float(twin.log_likelihood(torch.tensor(ours.values), read_twin(spec)[1]))
    assert best <= float(deviance) + 1e-6
    pulled = dict(zip(ours.names, ours.pulls, strict=True))
    assert np.isnan(pulled["mu"]) and abs(pulled["jet energy"]) < 2
    assert dict(zip(ours.names, ours.constraints, strict=True))["theory Z"] < 1.01


def test_limits_and_significance_are_pyhfs(spec, peer):
    model, data = peer
    pyhf.set_backend("pytorch")
    data = pyhf.tensorlib.astensor(data)
    ours = Model.of(spec)
    at_one = cls(ours, 1.0)
    observed, expected = pyhf.infer.hypotest(1.0, data, model, return_expected_set=True)
    assert at_one.observed == pytest.approx(float(observed), abs=1e-5)
    np.testing.assert_allclose(at_one.expected, [float(value) for value in expected], atol=1e-5)
    limit = upper_limit(ours)
    for mu, which in ((limit.observed, None), (limit.expected[2], 2), (limit.expected[4], 4)):
        one, band = pyhf.infer.hypotest(mu, data, model, return_expected_set=True)
        assert float(one if which is None else band[which]) == pytest.approx(0.05, abs=2e-4)
    significance = discovery(ours)
    p = pyhf.infer.hypotest(0.0, data, model, test_stat="q0")
    assert significance.p == pytest.approx(float(p), abs=1e-5)
    pyhf.set_backend("numpy")


def test_expected_significance_of_a_count_is_the_formula():
    one = Channel("one", [Process("s", [12.0], signal=True), Process("b", [30.0])])
    model = Model.of(workspace([one]))
    assert discovery(model, model.asimov()).z == pytest.approx(float(asimov(12.0, 30.0).value), abs=1e-6)
    counted = Hist(axis.Regular(1, 0, 1), storage=storage.Weight())
    counted.view().value, counted.view().variance = 30.0, 36.0
    one = Channel("one", [Process("s", [12.0], signal=True), Process("b", counted, counted=True)])
    model = Model.of(workspace([one]))
    z = float(asimov(12.0, 30.0, sigma=6.0).value)
    assert discovery(model, model.asimov()).z == pytest.approx(z, abs=1e-6)


def test_mu_of_a_small_signal_is_not_stopped_by_its_bound():
    """A tenth of an event on a hundred: mu = 500 is what fifty more say."""
    one = Channel("one", [Process("s", [0.1], signal=True), Process("b", [100.0])], data=[150.0])
    model = Model.of(workspace([one]))
    found = discovery(model)
    assert found.mu == pytest.approx(500, rel=1e-6)
    assert found.q0 == pytest.approx(2 * (150 * np.log(1.5) - 50), rel=1e-9)
    assert fit(model).mu_error == pytest.approx(150**0.5 / 0.1, rel=1e-6)


def test_a_level_is_between_0_and_1(spec):
    with pytest.raises(InputError, match="level of 95 is not between 0 and 1"):
        upper_limit(Model.of(spec), level=95)


def test_numbers_of_numpy_are_relative_changes():
    b = Process("b", [5.0, 3.0], [Systematic("x", np.float32(0.25))])
    made = workspace([Channel("SR", [Process("s", [1.0, 2.0], signal=True), b])])
    (modifier,) = made["channels"][0]["samples"][1]["modifiers"]
    assert modifier == {"name": "x", "type": "normsys", "data": {"hi": 1.25, "lo": 0.8}}


def test_many_fits_at_once_are_the_same(spec):
    model = Model.of(spec)
    rng = np.random.default_rng(3)
    main = torch.tensor(rng.poisson(model.observed.main[0].numpy(), (20, 6)).astype(float))
    data = Data(main, model.observed.aux.expand(20, -1))
    together = minimise(model.twin, data)
    assert together.converged.all()
    alone = minimise(model.twin, Data(main[7:8], data.aux[7:8]))
    np.testing.assert_allclose(together.theta[7], alone.theta[0], atol=1e-6)


def test_the_start_does_not_matter():
    """Signals far from the data: the first step's way to the bounds leads uphill there."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        counted = rng.uniform(2, 30, 5)
        size = 10 ** rng.uniform(0, 2)
        bend, rate = rng.uniform(0.8, 1.2, 5), Systematic("rate", 0.2)
        tops, rest = 0.4 * counted, 0.6 * counted
        processes = [
            Process("s", size * rng.uniform(0, 10, 5), [Systematic("rate", 0.1)], signal=True),
            Process("tops", tops, [Systematic("shape", tops * bend), rate], free=True, counted=True),
            Process("rest", rest, [Systematic("shape", rest * bend), rate], free=True),
        ]
        model = Model.of(workspace([Channel("SR", processes)], luminosity=0.03))
        data = Data(torch.as_tensor(rng.poisson(counted))[None].double(), model.observed.aux)
        found = [model.minimum(data, None, model.at(mu)) for mu in (0.0, 0.01, 0.3, 1.0, 5.0)]
        deviances = [float(one.deviance) for one in found]
        assert all(bool(one.converged) for one in found)
        assert max(deviances) - min(deviances) < 1e-6


def test_the_fit_is_differentiable_in_yields(spec):
    twin, data = read_twin(spec)
    data = Data(data.main[None], data.aux[None])

    def fitted(nominal):
        return minimise(twin.with_(nominal=nominal), data).theta[0, twin.poi]

    nominal = twin.nominal.clone().requires_grad_()
    other = twin.with_(nominal=nominal)
    (gradient,) = torch.autograd.grad(
        attached(other, data, minimise(other, data).theta)[0, twin.poi], nominal
    )
    for cell in (0, 3, 4, 9):
        step = torch.zeros_like(twin.nominal)
        step[cell] = 1e-4
        numeric = float(fitted(twin.nominal + step) - fitted(twin.nominal - step)) / 2e-4
        assert float(gradient[cell]) == pytest.approx(numeric, rel=1e-4, abs=1e-7)


def one_channel(**changes):
    signal = changes.pop("signal", [1.0, 2.0])
    background = changes.pop("background", [5.0, 3.0])
    return [Channel("SR", [Process("s", signal, signal=True), Process("b", background, **changes)])]


@pytest.mark.parametrize(
    ("channels", "sentence"),
    [
        (one_channel(signal=[0.0, 0.0]), "the template of 's' in 'SR' is empty"),
        (one_channel(background=[5.0, -0.4]), "holds -0.4 events in bin 1: the weights there sum to less"),
        (one_channel(background=[5.0, 0.0]), "no background is expected in bin 1 of 'SR'"),
        (one_channel(background=[5.0, 1.0, 1.0]), "has 3 bins where 2 were expected"),
        (one_channel(background=[np.nan, 1.0]), "not finite"),
        (one_channel(systematics=[Systematic("x", -1.5)]), "must be above -1"),
        (one_channel(systematics=[Systematic("x", float("nan"))]), "must be above -1"),
        (one_channel(systematics=[Systematic("x", -1.0)]), "must be above -1"),
        (one_channel(background=["a", "b"]), "is not a histogram or a list of numbers"),
        (one_channel(background=[[5.0, 3.0]]), "has 2 axes: a template has one"),
        (one_channel(systematics=[Systematic("x", 0.1), Systematic("x", 0.2)]), "are called 'x'"),
        (one_channel(background=Hist(axis.Regular(2, 0, 1)).fill([0.1], weight=2.0)), "storage.Weight()"),
        ([Channel("SR", [Process("b", [1.0])])], "no process is marked as signal"),
        (one_channel() * 2, "two channels are called 'SR'"),
    ],
)  # fmt: skip
def test_bad_templates_get_a_sentence(channels, sentence):
    with pytest.raises(InputError, match=sentence.replace("(", r"\(").replace(")", r"\)")):
        workspace(channels)
