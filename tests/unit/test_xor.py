"""The exact solutions of XOR, and that symmetries are seen through."""

import numpy as np
import pytest

from femtobarn.recipes.xor_fits import CORNERS, DIFFERENCE, TEXTBOOK, TRUTH, Solution, distance, images


@pytest.mark.parametrize("solution", [TEXTBOOK, DIFFERENCE])
def test_exact_solutions_are_exact(solution: Solution) -> None:
    np.testing.assert_array_equal(solution(CORNERS), TRUTH)
    assert len(images(solution)) == 16
    for image in images(solution):
        np.testing.assert_allclose(image(CORNERS), TRUTH, atol=1e-12)
        np.testing.assert_allclose(image.normal()(CORNERS), TRUTH, atol=1e-12)
        assert distance(image, solution) < 1e-12
        scaled = Solution(image.w * [3, 0.2], image.c * [3, 0.2], image.v / [3, 0.2], image.b)
        assert distance(scaled, solution) < 1e-12


def test_a_constant_may_sit_in_a_unit_that_is_always_on() -> None:
    moved = TEXTBOOK._replace(c=TEXTBOOK.c + np.array([0.7, 0]), b=TEXTBOOK.b - 0.7)
    np.testing.assert_allclose(moved(CORNERS), TRUTH, atol=1e-12)
    assert distance(moved, TEXTBOOK) < 1e-12


def test_other_solutions_are_told_apart() -> None:
    assert distance(TEXTBOOK, DIFFERENCE) > 0.5
    other = TEXTBOOK._replace(w=TEXTBOOK.w + np.array([[0, 0.3], [0, 0]]), c=TEXTBOOK.c - [0, 0.3 / 2])
    assert distance(other, TEXTBOOK) == pytest.approx(2 * 0.3, abs=1e-9)  # scaled by |v| = 2
    several = Solution(*(np.stack(parts) for parts in zip(TEXTBOOK, other, DIFFERENCE, strict=True)))
    np.testing.assert_allclose(
        distance(several, TEXTBOOK), [0, 0.6, distance(DIFFERENCE, TEXTBOOK)], atol=1e-9
    )
