"""Where a folder's own server keeps its data."""

import os
from pathlib import Path

import pytest

from runner.disk import file_systems
from runner.errors import ExitCode, RunnerError
from runner.server_container.files import find_data
from runner.state.folder import State


def put_on(monkeypatch: pytest.MonkeyPatch, folder: Path, kind: str) -> None:
    """Let the folder be on such a file system."""
    mounts = {"/": "ext4", str(folder.resolve()): kind}
    monkeypatch.setattr(file_systems, "read_mounts", lambda: mounts)


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A state folder whose fleet has nothing in `/var/tmp`."""
    return State(tmp_path, f"nobody-{os.getpid()}")


def test_data_lie_in_the_state_folder_or_on_a_local_disk(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    put_on(monkeypatch, state.root, "xfs")
    assert find_data(state, report=told.append) == state.server
    assert told == []

    put_on(monkeypatch, state.root, "wekafs")
    aside = Path(f"/var/tmp/runner-{os.getuid()}-{state.fleet}/server")
    assert find_data(state, report=told.append) == aside
    assert told == [f"the state folder is on wekafs: the server's data is in `{aside}`"]


def test_data_that_lie_on_a_network_file_system_already_are_not_passed_over(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier version took it for a local one: the server would begin with nothing."""
    put_on(monkeypatch, state.root, "virtiofs")
    state.server.mkdir()
    (state.server / "server.db").touch()

    with pytest.raises(RunnerError, match="is on virtiofs, a network file system") as refused:
        find_data(state, report=print)

    assert refused.value.code == ExitCode.UNFIT
    assert f"mv {state.server} /var/tmp/" in (refused.value.hint or "")
