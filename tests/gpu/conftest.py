"""The cards of this machine."""

import pytest

from runner.errors import RunnerError
from runner.gpus.gpu import Gpu
from runner.gpus.nvml import read_gpus


@pytest.fixture(scope="session")
def gpus() -> list[Gpu]:
    """All of them; without one the test is skipped."""
    try:
        found = read_gpus()
    except RunnerError as error:
        pytest.skip(f"gpu: {error.message}")
    if not found:
        pytest.skip("gpu: this machine has no GPU")
    return found
