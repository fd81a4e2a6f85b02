"""The classical classifiers against brute force, closed forms and scikit-learn."""

from itertools import product

import awkward as ak
import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from femtobarn.classification.cuts import Cuts, box_sums, intervals, thresholds_per_feature
from femtobarn.classification.fisher import Fisher
from femtobarn.classification.knn import KNN, Neighbours
from femtobarn.classification.likelihood import Likelihood, smooth
from femtobarn.classification.mlp import MLP
from femtobarn.classification.parametrised import Parametrised
from femtobarn.classification.tree import Tree
from femtobarn.data.inputs import Inputs, Label
from femtobarn.data.sample import Sample, from_memory
from femtobarn.errors import InputError
from femtobarn.evaluate.metrics import auc
from femtobarn.learn.training import Training
from femtobarn.simulation.toys import Gaussians
from femtobarn.statistics.significance import asimov


def events(n: int = 2000, seed: int = 1, weighted: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, label (0 signal), weight of both signs."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    x = rng.normal(size=(n, 2)) + (label == 0)[:, None] * [1.5, -0.5]
    weight = rng.uniform(0.5, 1.5, n) * np.where(rng.random(n) < 0.1, -1, 1) if weighted else np.ones(n)
    return x.astype(np.float32), label, weight.astype(np.float32)


def sample(x: np.ndarray, label: np.ndarray, weight: np.ndarray) -> Sample:
    fields = {"x1": x[:, 0], "x2": x[:, 1], "label": label.astype(np.int8), "weight": weight}
    return from_memory(ak.Array(fields), {"label": ["signal", "background"]})


def test_sums_over_boxes_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(3)
    x, weight = rng.normal(size=(300, 3)), rng.normal(size=300)
    edges = [np.array([-1.0, 0.0, 0.5]), np.array([0.2]), np.array([-0.4, 0.4])]
    x[:5, 0] = 0.5  # on a threshold: below it
    sides = ("between", "above", "below")
    spans = [intervals(len(edge), side) for edge, side in zip(edges, sides, strict=True)]
    sums = box_sums(x, weight, edges, spans)
    assert sums.shape == (10, 2, 3)
    bounds = [np.concatenate([[-np.inf], edge, [np.inf]]) for edge in edges]
    for place in product(*(range(size) for size in sums.shape)):
        inside = np.ones(300, dtype=bool)
        for i, which in enumerate(place):
            low, high = bounds[i][spans[i][which]]
            inside &= (x[:, i] > low) & (x[:, i] <= high)
        assert sums[place] == pytest.approx(weight[inside].sum(), abs=1e-12)


def test_the_best_box_is_the_best_of_all() -> None:
    x, label, weight = events()
    cuts = Cuts(combinations=400, sides={"x2": "below"}, signal=50, background=400, uncertainty=0.1)
    cuts.fit(sample(x, label, weight))
    total = [weight[label == k].astype(float).sum() for k in (0, 1)]

    def z(inside: np.ndarray) -> float:
        share = [weight[inside & (label == k)].astype(float).sum() / total[k] for k in (0, 1)]
        if share[1] < cuts.least:
            return 0.0
        return float(asimov(50 * share[0], 400 * share[1], sigma=40 * share[1]).value)

    n1, n2 = thresholds_per_feature(["between", "below"], 400)
    assert (n1 + 1) * (n1 + 2) // 2 * (n2 + 1) <= 400 < (n1 + 2) * (n1 + 3) // 2 * (n2 + 2)
    # The thresholds are the quantiles of |w|, both classes with the same sum.
    size = np.abs(weight).astype(float)
    size /= np.array([size[label == k].sum() for k in (0, 1)])[label]
    grid = []
    for column, count in ((x[:, 0], n1), (x[:, 1], n2)):
        order = np.argsort(column)
        share = np.cumsum(size[order]) / 2
        grid.append([column[order][np.argmax(share >= q)] for q in np.arange(1, count + 1) / (count + 1)])
    lows, highs = [-np.inf, *grid[0]], [*grid[0], np.inf]
    best = max(
        z((x[:, 0] > low) & (x[:, 0] <= high) & (x[:, 1] <= top))
        for i, low in enumerate(lows)
        for high in highs[i:]
        for top in [*grid[1], np.inf]
    )
    assert float(cuts.significance) == pytest.approx(best, rel=1e-9)
    assert z(cuts.passes(x)) == pytest.approx(best, rel=1e-9)


def test_boxes_lie_in_each_other_and_purity_falls_outwards() -> None:
    cuts = Cuts().fit(sample(*events(5000)))
    assert len(cuts.boxes) > 15
    assert (cuts.boxes[1:, :, 1] >= cuts.boxes[:-1, :, 1]).all()
    assert (cuts.boxes[1:, :, 0] <= cuts.boxes[:-1, :, 0]).all()
    assert (np.diff(cuts.purity) <= 1e-12).all()


def test_sides_that_are_not_read_are_named() -> None:
    with pytest.raises(InputError, match=r"'x3'.*not read"):
        Cuts(sides={"x3": "above"}).fit(sample(*events(100)))


def test_density_is_that_of_the_kernel() -> None:
    from femtobarn.classification.likelihood import GRID

    values, weights = np.array([0.3, -1.21, 2.0]), np.array([0.7, 0.5, -0.2])
    width = 0.3
    exact = sum(
        w * np.exp(-0.5 * ((GRID - v) / width) ** 2) / (np.sqrt(2 * np.pi) * width)
        for v, w in zip(values, weights, strict=True)
    )
    np.testing.assert_allclose(smooth(values, weights, width), exact, atol=2e-3)


def test_likelihood_of_independent_features_is_the_exact_one() -> None:
    x, label, weight = events(40_000, weighted=False)
    answer = Likelihood(smoothing=0.1).fit(sample(x, label, weight)).predict(sample(x, label, weight))
    exact = 1 / (1 + np.exp(-(1.5 * (x[:, 0] - 0.75) - 0.5 * (x[:, 1] + 0.25))))
    assert np.abs(ak.to_numpy(answer.likelihood_ps) - exact).mean() < 0.012


def test_decorrelation_finds_what_correlation_hides() -> None:
    problem = Gaussians(correlation=0.8)
    train, test = (problem.draw(n, np.random.default_rng(n)) for n in (20_000, 40_000))
    area = {}
    for decorrelate in (False, True):
        method = Likelihood(decorrelate=decorrelate).fit(train.sample())
        score = ak.to_numpy(method.predict(test.sample()).likelihood_ps)
        area[decorrelate] = auc(score, test.is_signal)
    assert abs(area[True].value - problem.auc) < 4 * area[True].error
    # x2 alone tells nothing, and x1 is one distance apart: Phi(1.2 / sqrt 2), and less for x2's noise.
    assert abs(area[False].value - Gaussians(correlation=0.0).auc) < 4 * area[False].error


def test_dependent_features_are_refused() -> None:
    x, label, weight = events(500)
    x[:, 1] = 2 * x[:, 0] + 1
    with pytest.raises(InputError, match="linearly dependent"):
        Likelihood(decorrelate=True).fit(sample(x, label, weight))


def test_units_of_features_do_not_matter_to_fisher() -> None:
    x, label, weight = events(500)
    plain = Fisher().fit(sample(x, label, weight)).predict(sample(x, label, weight))
    x *= np.array([1e5, 1e-3], dtype=np.float32)  # MeV beside mm
    other = Fisher().fit(sample(x, label, weight)).predict(sample(x, label, weight))
    np.testing.assert_allclose(ak.to_numpy(other.fisher_ps), ak.to_numpy(plain.fisher_ps), rtol=1e-4)
    x[:, 1] = 2 * x[:, 0] + 1
    with pytest.raises(InputError, match="linearly dependent"):
        Fisher().fit(sample(x, label, weight))


def test_neighbours_are_those_of_a_full_search() -> None:
    x, label, weight = events(400)
    at = events(50, seed=2)[0]
    method = KNN(k=3).fit(sample(x, label, weight))
    scale = x.astype(float).std(axis=0)
    distance = (((at[:, None] - x[None]) / scale) ** 2).sum(axis=2)
    near = np.argsort(distance, axis=1)[:, :3]
    total = np.array([weight[label == k].sum() for k in (0, 1)])
    vote = np.stack([((label == k) * weight / total[k])[near].sum(axis=1) for k in (0, 1)], axis=1).clip(0)
    sums = vote.sum(axis=1)
    expected = np.where(sums > 0, vote[:, 0] / np.where(sums > 0, sums, 1), 0.5)
    answer = method.predict(ak.Array({"x1": at[:, 0], "x2": at[:, 1]}))
    np.testing.assert_allclose(ak.to_numpy(answer.knn_ps), np.maximum(expected, 1e-30), atol=1e-6)
    target = x[:, 0] ** 2
    mean = Neighbours(x.astype(float)).mean(target, at, 3, np.abs(weight))
    weighted = (np.abs(weight) * target)[near].sum(axis=1) / np.abs(weight)[near].sum(axis=1)
    np.testing.assert_allclose(mean, weighted, rtol=1e-6)


def test_fewer_events_than_neighbours() -> None:
    with pytest.raises(InputError, match="2 events"):
        KNN(k=3).fit(sample(np.array([[0, 0], [1, 1.0]]), np.array([0, 1]), np.ones(2)))


def test_tree_is_scikit_learns() -> None:
    x, label, weight = events(3000)
    weight = np.abs(weight)
    tree = Tree(leaves=20).fit(sample(x, label, weight))
    share = weight.astype(float) / np.array([weight[label == k].astype(float).sum() for k in (0, 1)])[label]
    peer = DecisionTreeClassifier(max_leaf_nodes=20, min_weight_fraction_leaf=2e-3, random_state=0)
    peer.fit(x, label, share)
    answer = tree.predict(sample(x, label, weight))
    np.testing.assert_allclose(
        ak.to_numpy(answer.tree_ps), peer.predict_proba(x)[:, 0].clip(1e-30), atol=1e-6
    )


def test_negative_weights_are_subtracted_in_the_leaves() -> None:
    x = np.array([[0, 0], [0, 1], [0, 0], [1, 0], [1, 1], [1, 0]], dtype=np.float32)
    label, weight = np.array([0, 0, 1, 1, 1, 0]), np.array([3, 2, 1, 2, 2, -1], dtype=np.float32)
    tree = Tree(leaves=2, smallest=0).fit(sample(x, label, weight))
    answer = ak.to_numpy(tree.predict(sample(x, label, weight)).tree_ps)
    # Signal 5 of 4 and background 1 of 5 where x1 = 0; signal -1 and background 4 where x1 = 1.
    np.testing.assert_allclose(answer, np.where(x[:, 0] == 0, (5 / 4) / (5 / 4 + 1 / 5), 1e-30), rtol=1e-6)


@pytest.mark.parametrize("make", [Cuts, Fisher, Likelihood, KNN, Tree])
def test_what_cannot_be_learnt_from_is_refused(make: type) -> None:
    x, label, weight = events(100, weighted=False)
    constant = x.copy()
    constant[:, 1] = 3
    with pytest.raises(InputError, match="'x2' is the same in all events"):
        make().fit(sample(constant, label, weight))
    with pytest.raises(InputError, match="no events of class b"):
        make().fit(sample(x, np.zeros_like(label), weight))
    with pytest.raises(InputError, match="the weights of class s do not sum to more than zero"):
        make().fit(sample(x, label, np.where(label == 0, -weight, weight)))
    with pytest.raises(InputError, match="there are no events"):
        make().fit(sample(x[:0], label[:0], weight[:0]))


@pytest.mark.parametrize("make", [MLP, Parametrised])
def test_networks_need_two_classes(make: type) -> None:
    x, label, weight = events(100, weighted=False)
    training = Training(epochs=1, progress="none", accelerator="cpu")
    for labels, weights, sentence in (
        (np.zeros_like(label), weight, "all rows to train on are of class s"),
        (label, 0 * weight, "no row to train on has a weight"),
        (label, np.where(label == 0, -weight, weight), "the weights of class s to train on sum to -"),
    ):
        one = sample(x, labels, weights)
        rows = ak.with_field(one.read(), np.ones(100, dtype=np.float32), "mass")
        one = from_memory(rows, {"label": ["signal", "background"]})
        with pytest.raises(InputError, match=sentence):
            make().fit(one, training=training)
    with pytest.raises(InputError, match="all features to train on are constant"):
        MLP().fit(sample(np.ones_like(x), label, weight), training=training)


@pytest.mark.parametrize("make", [Likelihood, KNN, Tree])
def test_three_classes(make: type) -> None:
    rng = np.random.default_rng(4)
    label = rng.integers(0, 3, 3000)
    x = rng.normal(size=(3000, 2)) * 0.4 + np.array([[0, 0], [2, 0], [0, 2]])[label]
    fields = {"x1": x[:, 0], "x2": x[:, 1], "kind": label.astype(np.int8)}
    toys = from_memory(ak.Array(fields), {"kind": ["a", "b", "c"]})
    task = Label(field="kind", classes={name: [name] for name in "abc"})
    answer = make(name="m").fit(toys, inputs=Inputs(event=["x1", "x2"], labels={"class": task})).predict(toys)
    found = np.stack([ak.to_numpy(answer[f"m_p{name}"]) for name in "abc"])
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-5)
    assert (found.argmax(axis=0) == label).mean() > 0.97


def test_cuts_are_for_two_classes() -> None:
    task = Label(field="label", classes={name: [name] for name in ("signal", "background", "other")})
    with pytest.raises(InputError, match="two classes"):
        Cuts().fit(sample(*events(50)), inputs=Inputs(event=["x1"], labels={"class": task}))
