"""A server's data folder, in which every name is followed: nothing in it leads elsewhere."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import ExitCode, RunnerError
from runner.guard.data_folder import check_data_folder
from runner.server.check import check
from runner.server.folder import locked

NAMES = ("lock", "server.db", "server.db-shm", "key", "runs", "artifacts", "backup", "extra")
DEEP = ("runs/me", "runs/me/hands", "runs/me/hands/r1", "runs/me/hands/r1/files", "artifacts/ab")


def link(place: Path, outside: Path) -> None:
    place.symlink_to(outside)


def hanging_link(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "missing")


def pipe(place: Path, _: Path) -> None:
    os.mkfifo(place)


def listener(place: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(place))


KINDS = (link, hanging_link, pipe, listener)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What a server would take for the folders of runs that it does not know."""
    kept = tmp_path / "home" / "a" / "b" / "c.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("kept")
    return tmp_path / "home"


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)  # addresses of sockets are short
    (tmp_path / "data").mkdir(mode=0o700)
    return Path("data")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*NAMES, *DEEP, "runs/me/hands/r1/files/model.pt"])
def test_what_leads_elsewhere_is_refused(
    data: Path, outside: Path, name: str, kind: Callable[[Path, Path], None]
) -> None:
    (data / name).parent.mkdir(parents=True, exist_ok=True)
    kind(data / name, outside)

    with pytest.raises(RunnerError, match=name) as refused, locked(data):
        pass

    assert refused.value.code == ExitCode.UNFIT
    assert refused.value.hint
    assert (outside / "a" / "b" / "c.txt").read_text() == "kept"


@pytest.mark.parametrize("mode", [0o777, 0o772])
@pytest.mark.parametrize("name", ["", *DEEP])
def test_what_everybody_can_write_is_refused(data: Path, name: str, mode: int) -> None:
    (data / name).mkdir(parents=True, exist_ok=True)
    (data / name).chmod(mode)

    with pytest.raises(RunnerError, match="everybody"):
        check_data_folder(data)


@pytest.mark.skipif(os.geteuid() != 0, reason="root: only root gives folders away")
@pytest.mark.parametrize("name", DEEP)
def test_a_folder_of_another_user_in_it_is_refused(data: Path, name: str) -> None:
    (data / name).mkdir(parents=True)
    os.chown(data / name, 4242, 4242)

    with pytest.raises(RunnerError, match="#4242"):
        check_data_folder(data)


@pytest.mark.skipif(os.geteuid() != 0, reason="root: only root gives folders away")
def test_root_works_for_the_user_whose_folder_it_is(data: Path) -> None:
    for name in ("", "runs"):
        (data / name).mkdir(exist_ok=True)
        os.chown(data / name, 4242, 4242)
    (data / "artifacts").mkdir()

    check_data_folder(data)


def test_the_folder_itself_may_be_on_another_disk(data: Path, tmp_path: Path) -> None:
    """As its user says with `--data`."""
    (tmp_path / "named").symlink_to(data)

    with locked(tmp_path / "named"):
        assert (data / "lock").read_text() == f"{os.getpid()}\n"


def test_a_check_removes_nothing_through_a_link(data: Path, outside: Path) -> None:
    (data / "server.db").touch()
    (data / "runs").symlink_to(outside)

    with pytest.raises(RunnerError, match="is a link"):
        check(data, repair=True)

    assert (outside / "a" / "b" / "c.txt").read_text() == "kept"
