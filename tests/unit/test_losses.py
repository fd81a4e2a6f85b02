"""Weighted losses against scikit-learn, and preprocessing against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from femtobarn.data.inputs import Feature
from femtobarn.data.scaling import Moments, transformed
from femtobarn.nn.losses import (
    binary_cross_entropy,
    cross_entropy,
    distance_correlation,
    inverse_frequencies,
    weighted_mean,
)
from femtobarn.nn.preprocess import Standardise

RNG = np.random.default_rng(1)


def test_cross_entropy_against_scikit_learn() -> None:
    logits = torch.from_numpy(RNG.normal(size=(50, 4))).float()
    labels = torch.from_numpy(RNG.integers(0, 4, 50))
    weights = torch.from_numpy(RNG.uniform(0.1, 2, 50)).float()
    expected = log_loss(labels, logits.double().softmax(1), sample_weight=weights)
    assert float(cross_entropy(logits, labels, weights)) == pytest.approx(expected, rel=1e-5)
    balance = torch.tensor([1.0, 2.0, 0.5, 0.0])
    expected = log_loss(labels, logits.double().softmax(1), sample_weight=weights * balance[labels])
    assert float(cross_entropy(logits, labels, weights, balance)) == pytest.approx(expected, rel=1e-5)


def test_binary_cross_entropy_against_scikit_learn() -> None:
    logits = torch.from_numpy(RNG.normal(size=50)).float()
    labels = torch.from_numpy(RNG.integers(0, 2, 50))
    weights = torch.from_numpy(RNG.uniform(0.1, 2, 50)).float()
    expected = log_loss(labels, logits.double().sigmoid(), sample_weight=weights)
    assert float(binary_cross_entropy(logits, labels, weights)) == pytest.approx(expected, rel=1e-5)


def test_negative_weights_and_nothing() -> None:
    assert float(weighted_mean(torch.tensor([1.0, 3.0]), torch.tensor([2.0, -1.0]))) == pytest.approx(-1 / 3)
    assert float(weighted_mean(torch.ones(0), torch.ones(0))) == 0
    logits = torch.zeros(3, 2, requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([-1, -1, -1]), torch.ones(3))
    loss.backward()
    assert float(loss.detach()) == 0 and not logits.grad.any()


def test_unknown_labels_count_nothing() -> None:
    logits, weights = torch.randn(6, 3), torch.rand(6)
    labels = torch.tensor([0, -1, 2, 1, -1, 0])
    known = labels >= 0
    expected = cross_entropy(logits[known], labels[known], weights[known])
    torch.testing.assert_close(cross_entropy(logits, labels, weights), expected)


def test_inverse_frequencies() -> None:
    assert inverse_frequencies([10, 10]).tolist() == [1, 1]
    assert inverse_frequencies([30, 10, 0]).tolist() == pytest.approx([2 / 3, 2, 0])
    assert inverse_frequencies([0, 0]).tolist() == [0, 0]


def test_standardise_is_what_scaling_fits() -> None:
    features = [
        Feature(name="a"),
        Feature(name="b", transform="log", scale=3.0, clip=(-1, 1)),
        Feature(name="c", transform="asinh", scale=0.5),
        Feature(name="d", clip=(-0.5, 0.5), standardise=False),
    ]
    values = RNG.uniform(0.1, 9, (20, 4)).astype(np.float32)
    moments = Moments(mean=[0.5, 0.1, -2, 0], std=[2, 0.5, 3, 1])
    expected = (transformed(values, features) - np.array(moments.mean)) / np.array(moments.std)
    layer = Standardise(features, moments)
    np.testing.assert_allclose(layer(torch.from_numpy(values)), expected, rtol=1e-5, atol=1e-6)
    typical = layer.typical(5000, torch.Generator().manual_seed(1))
    free = layer(typical)[:, [0, 2]]
    np.testing.assert_allclose(free.mean(0), 0, atol=0.06)
    np.testing.assert_allclose(free.std(0), 1, atol=0.06)


def test_distance_correlation_against_its_definition() -> None:
    generator = torch.Generator().manual_seed(3)
    x, noise = torch.randn(60, generator=generator), torch.randn(60, generator=generator)
    y = x.square() + 0.5 * noise
    counts = torch.randint(1, 4, (60,), generator=generator)

    def brute(x: torch.Tensor, y: torch.Tensor) -> float:
        """Of events of weight one, sums written out."""
        a, b = (np.abs(v[:, None] - v[None, :]) for v in (x.double().numpy(), y.double().numpy()))
        a, b = (c - c.mean(0) - c.mean(1)[:, None] + c.mean() for c in (a, b))
        return float((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean()))

    twice = [v.repeat_interleave(counts) for v in (x, y)]
    found = distance_correlation(x, y, counts.float())
    assert float(found) == pytest.approx(brute(*twice), rel=1e-4)
    assert float(distance_correlation(x, y, 7.0 * counts)) == pytest.approx(float(found), rel=1e-5)
    ones = torch.ones(60)
    assert float(distance_correlation(x, 3 - 2 * x, ones)) == pytest.approx(1, rel=1e-4)
    assert float(distance_correlation(x, ones, ones)) == 0
    assert float(distance_correlation(x, y, 0 * ones)) == 0


def test_distance_correlation_of_independent_numbers_vanishes() -> None:
    generator = torch.Generator().manual_seed(4)
    x, y = torch.randn(2, 2000, generator=generator)
    assert float(distance_correlation(x, y, torch.ones(2000))) < 0.01
    x.requires_grad_()
    distance_correlation(x, y + x.detach(), torch.ones(2000)).backward()
    assert torch.isfinite(x.grad).all() and x.grad.any()
