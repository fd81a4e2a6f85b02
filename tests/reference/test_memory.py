"""Memory does not grow with the sample."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "memory.py"


@pytest.mark.slow
def test_peak_is_that_of_a_block() -> None:
    command = [sys.executable, str(BENCHMARK), "--sizes", "60000", "240000"]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    # Row numbers of the training split take 8 bytes a row; nothing else may depend on the size.
    assert result["growth"] < 1.15, result
    assert max(result["240000"].values()) < 1000, result
