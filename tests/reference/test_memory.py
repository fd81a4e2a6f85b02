"""Memory does not grow with the sample."""

import subprocess
import sys
from pathlib import Path

import pytest

from femtobarn.evaluate.result import Result

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "memory.py"


@pytest.mark.slow
def test_peak_is_that_of_a_block(tmp_path: Path) -> None:
    out = tmp_path / "memory.json"
    command = [sys.executable, str(BENCHMARK), "--sizes", "60000", "240000", "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    metrics = Result.read(out).metrics
    # Row numbers of the training split take 8 bytes a row; nothing else may depend on the size.
    assert metrics[-1].name == "memory_growth" and metrics[-1].value < 1.15, metrics
    assert max(metric.value for metric in metrics if metric.name == "peak_memory_mb") < 1000, metrics
