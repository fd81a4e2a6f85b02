"""Power laws through points."""

import numpy as np

from femtobarn.evaluate.metrics import Estimate
from femtobarn.evaluate.scaling import PowerLaw, scaling_figure
from femtobarn.evaluate.style import Caption, lines_for, to_svg


def test_a_power_law_is_found_with_its_error() -> None:
    x = np.array([1e4, 2e4, 4e4, 8e4])
    exact = Estimate(0.3 * x**0.2, 0.03 * x**0.2)
    law = PowerLaw.fit(x, exact)
    np.testing.assert_allclose([law.slope, np.exp(law.offset)], [0.2, 0.3])
    np.testing.assert_allclose(law.reaches(6.0), (6.0 / 0.3) ** 5)
    assert PowerLaw.fit(x, Estimate(2 - exact.value / 10, exact.error)).reaches(6.0) == np.inf
    rng = np.random.default_rng(1)
    slopes = [
        PowerLaw.fit(x, Estimate(exact.value * np.exp(0.1 * rng.standard_normal(4)), exact.error)).slope
        for _ in range(400)
    ]
    np.testing.assert_allclose(np.std(slopes), law.covariance[0, 0] ** 0.5, rtol=0.15)


def test_the_figure_is_drawn() -> None:
    x = np.array([1e4, 2e4, 4e4])
    curves = {name: Estimate(k * x**0.3, 0.1 * x**0.3) for k, name in enumerate(("dl1r", "gn1"), 2)}
    ratio = Estimate(curves["gn1"].value / curves["dl1r"].value, np.full(3, 0.1))
    figure = scaling_figure(
        x, curves, lines_for(list(curves)), Caption(), quantity="Rejection", ratio=ratio,
        law=PowerLaw.fit(x, ratio), published=1.76,
    )  # fmt: skip
    assert "<svg" in to_svg(figure, "scan")
