"""Fixtures of the sync's tests."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rig.cloud import Cloud, start_cloud
from tests.runner.offline.logs import logs_in, start_runs, wait


@dataclass(frozen=True)
class Made:
    """Offline runs: `good` finished, `art` with an artifact, `bad` failed, `dead` was killed."""

    home: Path

    @property
    def logs(self) -> dict[str, Path]:
        """Their logs."""
        return logs_in(self.home)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One folder of real offline runs; tests leave it as it is."""
    home = tmp_path_factory.mktemp("made")
    started = [
        start_runs(home, "good", "good", WANDB_SWEEP_ID="sw1"),
        start_runs(home, "artifact", "art"),
        start_runs(home, "failed", "bad"),
        start_runs(home, "killed", "dead"),
    ]
    assert [wait(one) for one in started] == [0, 0, 0, -9]
    return Made(home)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with start_cloud(tmp_path / "cloud", lag_s=1.0) as cloud:
        yield cloud
