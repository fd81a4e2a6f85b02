"""How jets of many classes are judged: against scikit-learn, closed forms and brute force."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from femtobarn.evaluate.jet_metrics import accuracy, accuracy_gain, background_rejection, one_vs_one_auc


def drawn(jets, classes, rng, strength=1.0):
    labels = rng.integers(0, classes, jets)
    logits = rng.normal(size=(jets, classes)) + strength * np.eye(classes)[labels]
    odds = np.exp(logits)
    return odds / odds.sum(1, keepdims=True), labels


def test_area_is_scikit_learns():
    p, labels = drawn(3000, 4, np.random.default_rng(1))
    area = one_vs_one_auc(p, labels, np.ones(3000))
    assert float(area.value) == pytest.approx(roc_auc_score(labels, p, multi_class="ovo"), abs=1e-12)
    values = [float(one_vs_one_auc(*drawn(3000, 4, np.random.default_rng(k)), np.ones(3000)).value)
              for k in range(40)]  # fmt: skip
    assert 0.5 < float(area.error) / np.std(values) < 2


def test_weights_count_as_copies():
    p, labels = drawn(400, 3, np.random.default_rng(2))
    weights = np.random.default_rng(3).integers(1, 4, 400)
    copies = np.repeat(np.arange(400), weights)
    for measure in (accuracy, one_vs_one_auc):
        once = float(measure(p, labels, weights.astype(float)).value)
        assert once == pytest.approx(float(measure(p[copies], labels[copies], np.ones(len(copies))).value))


def test_what_both_judge_alike_cancels():
    """One of two taggers is right in 30 jets more of 1000; in all other jets they say the same."""
    p, labels = drawn(1000, 3, np.random.default_rng(4))
    better = p.copy()
    wrong = np.flatnonzero(p.argmax(1) != labels)[:30]
    better[wrong] = np.eye(3)[labels[wrong]]
    gain = accuracy_gain([p], [better], labels, np.ones(1000))
    assert float(gain.value) == pytest.approx(0.03)
    assert float(gain.error) == pytest.approx(np.sqrt(0.03 * 0.97 / 1000))
    same = accuracy_gain([p], [p], labels, np.ones(1000))
    assert float(same.value) == float(same.error) == 0


def test_spread_of_trainings_is_in_the_error_of_a_gain():
    """Accuracies a and a + 0.03 of one tagger; the other is trained once, and may be as lucky."""
    p, labels = drawn(1000, 3, np.random.default_rng(4))
    better = p.copy()
    wrong = np.flatnonzero(p.argmax(1) != labels)[:30]
    better[wrong] = np.eye(3)[labels[wrong]]
    variance = np.var([0, 0.03], ddof=1)
    jets = np.var(np.isin(np.arange(1000), wrong)) / 4 / 1000
    for before, after in (([p], [p, better]), ([p, better], [p])):
        gain = accuracy_gain(before, after, labels, np.ones(1000))
        assert float(gain.error) == pytest.approx(np.sqrt(jets + variance / 2 + variance), rel=1e-3)
    both = accuracy_gain([p, better], [better, p, better, p], labels, np.ones(1000))
    four = np.var([0, 0.03, 0, 0.03], ddof=1)
    assert float(both.error) == pytest.approx(np.sqrt(variance / 2 + four / 4))


def test_rejection_of_a_score_that_is_known():
    """p_S / (p_S + p_B) is uniform in the background, and the root of a uniform number in the signal."""
    rng = np.random.default_rng(5)
    score = np.concatenate([np.sqrt(rng.random(200_000)), rng.random(200_000)])
    labels = np.repeat([1, 0], 200_000)
    p = np.stack([1 - score, score, np.zeros(400_000)], 1) * 0.5  # a third class does not matter
    kept = background_rejection(p, labels, np.ones(400_000), 1, 0, 0.5)
    # P(sqrt(u) > t) = 1 - t^2 = 0.5 at t = sqrt(0.5).
    assert abs(float(kept.value) - 1 / (1 - np.sqrt(0.5))) < 4 * float(kept.error)
