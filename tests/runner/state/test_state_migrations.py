"""A state folder of an earlier version goes on with this one."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.state.find import find_state
from runner.state.folder import FORMAT, State
from runner.state.migrations import find_changes, migrate
from runner.state.place import Place
from runner.sweeps.records import load_records
from runner.sweeps.servers import find_kind

OLD = {  # as version 0.1.0 (commit 0eb7efa) wrote it
    "fleet": {"format": 1, "name": "hands-f415"},
    "server.json": {
        "container": "runner-hands-f415-server",
        "port": 39267,
        "data": "/home/me/hands/.runner/server",
    },
    "sweeps/0desafha.json": {
        "path": "local/hands/0desafha",
        "server": "local",
        "url": "http://127.0.0.1:39267/local/hands/sweeps/0desafha",
        "hash": "ab" * 32,
        "config": {"method": "grid", "parameters": {"x": {"values": [1, 2]}}},
    },
    "sweeps/c134l015.json": {
        "path": "acme/vision/c134l015",
        "server": "https://wandb.example",
        "url": "https://wandb.example/acme/vision/sweeps/c134l015",
        "hash": None,
        "config": {"method": "random"},
    },
    "sweeps/damaged.json": ["no record"],
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folder of a project with an old state in it."""
    for number, (name, content) in enumerate(OLD.items()):
        file = tmp_path / ".runner" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
        os.utime(file, (1000 + number, 1000 + number))
    return tmp_path


def load(folder: Path, *, read_only: bool = False) -> State:
    found = find_state(folder, environ={}, read_only=read_only)
    assert found is not None
    return found


def test_the_newest_change_is_the_format() -> None:
    assert list(find_changes()) == list(range(2, FORMAT + 1))


def test_an_old_folder_is_brought_to_this_format(old: Path) -> None:
    before = load_records(load(old, read_only=True))

    state = load(old)

    assert state.fleet == "hands-f415"
    fleet = json.loads((state.root / "fleet").read_text())
    assert fleet.pop("place") == Place.of(state.root).to_json()
    assert fleet == {"format": FORMAT, "name": state.fleet}
    records = load_records(state)
    assert list(records) == list(before) == ["0desafha", "c134l015"]
    assert records["0desafha"] == replace(before["0desafha"], kind="runner")
    assert records["c134l015"] == replace(before["c134l015"], kind="wandb")
    assert (state.sweeps / "damaged.json").read_text() == '["no record"]'


def test_a_look_changes_nothing_and_understands_it(old: Path) -> None:
    before = {file: file.read_bytes() for file in old.rglob("*") if file.is_file()}

    state = load(old, read_only=True)

    assert find_kind("http://127.0.0.1:9", state, None) == "wandb"
    assert {file: file.read_bytes() for file in old.rglob("*") if file.is_file()} == before


def test_a_step_that_fails_is_taken_again(old: Path) -> None:
    """Those before it stay done, and none is done twice."""
    taken: list[int] = []

    def fails(_root: Path) -> None:
        taken.append(3)
        if taken.count(3) == 1:
            raise OSError(28, "No space left on device")

    changes = {2: lambda _root: taken.append(2), 3: fails, 4: lambda _root: taken.append(4)}
    root = old / ".runner"
    with pytest.raises(RunnerError, match=r"cannot bring .*: No space left on device") as caught:
        migrate(root, changes)
    assert "nothing in it is lost" in (caught.value.hint or "")
    assert json.loads((root / "fleet").read_text())["format"] == 2

    migrate(root, changes)
    migrate(root, changes)

    assert taken == [2, 3, 3, 4]
    assert json.loads((root / "fleet").read_text()) == {"format": 4, "name": "hands-f415"}
