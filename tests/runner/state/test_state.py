"""The state folder: found upwards, named once, kept out of git."""

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from runner.disk.own_files import read_json, write_atomic
from runner.errors import ExitCode, RunnerError
from runner.state.find import find_state, open_state
from runner.state.fleet_name import make_fleet_name
from runner.state.owner import check_owner


def test_a_state_folder_is_made_once_and_found_from_below(tmp_path: Path) -> None:
    made = open_state(tmp_path, tmp_path, environ={})
    below = tmp_path / "src" / "deep"
    below.mkdir(parents=True)

    found = find_state(below, environ={})

    assert found == made
    assert stat.S_IMODE(made.secrets.stat().st_mode) == 0o700


def test_the_search_ends_at_the_git_root(tmp_path: Path) -> None:
    open_state(tmp_path, tmp_path, environ={})
    inner = tmp_path / "repository"
    (inner / ".git").mkdir(parents=True)

    assert find_state(inner, environ={}) is None


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(RunnerError, match=r"cannot write `.*/file/below`: ") as caught:
        write_atomic(tmp_path / "file" / "below", "text")

    assert caught.value.hint is not None


def test_git_does_not_see_the_state_folder(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)

    open_state(tmp_path, tmp_path, environ={})
    open_state(tmp_path, tmp_path, environ={})

    shown = subprocess.run(
        ["git", "-C", tmp_path, "status", "--porcelain"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == ""
    assert (tmp_path / ".runner/.gitignore").read_text() == "*\n"


def test_runner_home_and_runner_fleet_override(tmp_path: Path) -> None:
    environ = {"RUNNER_HOME": str(tmp_path / "elsewhere"), "RUNNER_FLEET": "lab-1"}

    state = open_state(tmp_path, tmp_path, environ=environ)

    assert (state.root, state.fleet) == (tmp_path / "elsewhere", "lab-1")


@pytest.mark.parametrize("name", ["Größe A/B", "x" * 80, "...", "My_Project"])
def test_a_fleet_name_is_one_that_docker_takes(name: str) -> None:
    made = make_fleet_name(name)

    assert len(made) <= 40
    assert made.replace("-", "").isalnum()
    assert made.isascii()
    assert made == made.lower()


def test_a_newer_format_is_refused_with_a_hint(tmp_path: Path) -> None:
    state = open_state(tmp_path, tmp_path, environ={})
    (state.root / "fleet").write_text(json.dumps({"format": 99, "name": "a-1234"}))

    with pytest.raises(RunnerError, match="newer runner") as caught:
        find_state(tmp_path, environ={})

    assert caught.value.hint is not None


def test_a_damaged_fleet_file_is_named(tmp_path: Path) -> None:
    state = open_state(tmp_path, tmp_path, environ={})
    (state.root / "fleet").write_text("{")

    with pytest.raises(RunnerError, match="damaged"):
        find_state(tmp_path, environ={})


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    write_atomic(file, '{"a": 1}')

    with pytest.raises(UnicodeEncodeError):
        write_atomic(file, "\ud800")

    assert read_json(file) == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="root: only root meets other users' folders")
def test_root_starts_no_containers_in_the_folder_of_another(tmp_path: Path) -> None:
    """They could write nothing there."""
    state = open_state(tmp_path, tmp_path, environ={})
    check_owner(state)
    os.chown(state.root, 4242, 4242)

    with pytest.raises(RunnerError, match="belongs to #4242") as caught:
        check_owner(state)

    assert (caught.value.code, caught.value.hint) == (ExitCode.UNFIT, "`sudo -u '#4242' runner …`")
