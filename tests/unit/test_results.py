"""Committed results are results, and the documentation says what they say."""

from pathlib import Path

import pytest

from femtobarn.evaluate.result import Result
from femtobarn.evaluate.table import markdown_table

PROJECT = Path(__file__).parents[2]
RESULTS = sorted((PROJECT / "results").glob("*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_committed_result_says_how_it_was_made(path: Path) -> None:
    result = Result.read(path)
    assert result.command and result.versions and result.machine and result.metrics


def test_the_documentation_shows_the_results() -> None:
    page = (PROJECT / "docs" / "results.md").read_text()
    shown = page.partition("<!-- table -->")[2].partition("<!-- /table -->")[0]
    assert shown.strip() == markdown_table(PROJECT / "results").strip()
