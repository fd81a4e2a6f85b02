"""Toy problems: densities that integrate to one, and the optimum where it is known in closed form."""

import numpy as np
import pytest

from femtobarn.evaluate.metrics import auc
from femtobarn.simulation.toys import Crescent, Gaussians, Problem, Rotated, optimum


@pytest.mark.parametrize(
    "problem", [Gaussians(), Crescent(), Gaussians(2.0, -0.3), Crescent(concentration=0)]
)
def test_densities_are_those_of_the_events(problem: Problem) -> None:
    cells, reach = 700, 7.0
    centre = (np.arange(cells) + 0.5) * (2 * reach / cells) - reach
    x = np.stack(np.meshgrid(centre, centre), axis=-1).reshape(-1, 2)
    drawn = problem.draw(100_000, np.random.default_rng(5))
    for which, log in zip((True, False), problem.log_densities(x), strict=True):
        share = np.exp(log) * (2 * reach / cells) ** 2
        assert share.sum() == pytest.approx(1, abs=1e-3)
        own = drawn.x[drawn.is_signal == which]
        error = own.std(axis=0) / np.sqrt(len(own))
        assert (np.abs(own.mean(axis=0) - share @ x) < 4 * error + 1e-3).all()
        assert (own**2).mean() == pytest.approx((share @ x**2).mean(), rel=0.02)


def test_optimum_is_the_closed_form() -> None:
    problem = Gaussians()
    assert problem.auc == pytest.approx(0.921350, abs=1e-6)  # Phi(sqrt 2)
    assert optimum(problem, cells=500).auc == pytest.approx(problem.auc, abs=1e-5)


def test_optimum_of_the_crescent_converges_and_is_what_events_say() -> None:
    problem = Crescent()
    best = optimum(problem, cells=600)
    assert best.auc == pytest.approx(optimum(problem, cells=900).auc, abs=1e-5)
    drawn = problem.draw(200_000, np.random.default_rng(2))
    signal, background = problem.log_densities(drawn.x)
    measured = auc(signal - background, drawn.is_signal)
    assert abs(measured.value - best.auc) < 4 * measured.error
    assert (np.diff(best.signal) >= 0).all() and best.signal[-1] == 1


def test_more_dimensions_leave_the_ratio_as_it_is() -> None:
    problem = Rotated(Crescent(), 5)
    np.testing.assert_allclose(problem.rotation @ problem.rotation.T, np.eye(5), atol=1e-12)
    drawn, flat = (p.draw(1000, np.random.default_rng(3)) for p in (problem, Crescent()))
    assert drawn.x.shape == (1000, 5)
    ratios = [np.subtract(*p.log_densities(x)) for p, x in ((problem, drawn.x), (Crescent(), flat.x))]
    np.testing.assert_allclose(*ratios, atol=1e-9)
