"""A state folder, and the way up to it: only where nobody else may have filled it."""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import ExitCode, RunnerError
from runner.guard.ownership import check_state_folder, walk_up
from runner.project.find import find_project
from runner.state.find import find_state, open_state

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="root: only root can make others' folders")
STRANGER = 4242


def commit(folder: Path) -> None:
    """All of it into a new repository, ignored or not."""
    git = ("git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "-Af"), ("commit", "-qm", "a repository")):
        subprocess.run([*git, *words], check=True)


def link_out(root: Path, name: str) -> None:
    (root.parent / "elsewhere").mkdir()
    place = root / name
    if place.exists():
        place.rmdir()
    place.symlink_to(root.parent / "elsewhere")


def replace_by_link(root: Path) -> None:
    root.rename(root.parent / "elsewhere")
    root.symlink_to(root.parent / "elsewhere")


def give_away(root: Path) -> None:
    os.chown(root, STRANGER, STRANGER)


def give_secrets_away(root: Path) -> None:
    os.chown(root / "secrets", STRANGER, STRANGER)


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a link": (replace_by_link, "is a link"),
    "a link to secrets": (lambda root: link_out(root, "secrets"), "secrets` is a link"),
    "a link to runs": (lambda root: link_out(root, "runs"), "runs` is a link"),
    "a link in the cache": (lambda root: link_out(root, "cache/agents"), "agents` is a link"),
    "open to everybody": (lambda root: root.chmod(0o777), "can be changed by everybody"),
    "secrets for everybody": (lambda root: (root / "secrets").chmod(0o707), "by everybody"),
    "tracked by git": (lambda root: commit(root.parent), "git tracks `.runner/"),
    "another's": (give_away, "belongs to #4242"),
    "with another's secrets": (give_secrets_away, "secrets` belongs to #4242"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_may_be_a_strangers_is_refused(tmp_path: Path, what: str) -> None:
    make, said = REFUSED[what]
    if make in (give_away, give_secrets_away) and os.geteuid() != 0:
        pytest.skip("root: only root can make others' folders")
    root = open_state(tmp_path, tmp_path, environ={}).root
    make(root)

    for read_only in (True, False):
        with pytest.raises(RunnerError, match=said) as caught:
            find_state(tmp_path, environ={}, read_only=read_only)
        assert caught.value.hint
        assert caught.value.code == ExitCode.UNFIT


@pytest.mark.parametrize("name", ["runs", "work", "checkpoints", "agents"])
def test_modes_of_what_containers_write_cost_nobody_the_fleet(tmp_path: Path, name: str) -> None:
    """A program may change the mode of its mount; what lies in it is not believed anyway."""
    state = open_state(tmp_path, tmp_path, environ={})
    (state.root / name).mkdir(exist_ok=True)
    (state.root / name).chmod(0o777)

    assert find_state(tmp_path, environ={}) == state


def test_only_the_group_of_ones_own_is_harmless(tmp_path: Path) -> None:
    root = open_state(tmp_path, tmp_path, environ={}).root
    root.chmod(0o775)

    check_state_folder(root, tmp_path, read_only=True)
    assert stat.S_IMODE(root.stat().st_mode) == 0o775
    check_state_folder(root, tmp_path, read_only=False)
    assert stat.S_IMODE(root.stat().st_mode) == 0o755


@root_only
def test_a_group_of_others_is_not(tmp_path: Path) -> None:
    root = open_state(tmp_path, tmp_path, environ={}).root
    os.chown(root, -1, 1)
    root.chmod(0o775)

    with pytest.raises(RunnerError, match="can be changed by the group") as caught:
        find_state(tmp_path, environ={})

    assert "chmod -R go-w" in str(caught.value.hint)


@root_only
def test_a_folder_above_that_is_anothers_decides_nothing(tmp_path: Path) -> None:
    """Neither its state, nor its settings; what stands in one's own folder does."""
    open_state(tmp_path, tmp_path, environ={})
    (tmp_path / "runner.toml").write_text('server = "https://evil.example"\n')
    own = tmp_path / "own" / "deep"
    own.mkdir(parents=True)
    for one in (tmp_path, tmp_path / ".runner", tmp_path / "runner.toml"):
        os.chown(one, STRANGER, STRANGER)

    assert list(walk_up(own)) == [own, own.parent]
    assert find_state(own, environ={}) is None
    assert find_project(own).settings_file is None
    assert find_project(tmp_path).settings_file == tmp_path / "runner.toml"


def test_a_folder_above_that_everybody_may_write_decides_nothing(tmp_path: Path) -> None:
    open_state(tmp_path, tmp_path, environ={})
    own = tmp_path / "own"
    own.mkdir()
    tmp_path.chmod(0o1777)

    assert find_state(own, environ={}) is None
    assert find_state(tmp_path, environ={}) is not None


@root_only
def test_root_works_for_the_user_whose_folder_it_is(tmp_path: Path) -> None:
    state = open_state(tmp_path, tmp_path, environ={})
    below = tmp_path / "src"
    below.mkdir()
    for one in (tmp_path, below, *state.root.rglob("*"), state.root):
        os.chown(one, STRANGER, STRANGER)

    assert find_state(below, environ={}) == state


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_modes_are_right_under_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        state = open_state(tmp_path, tmp_path, environ={})
    finally:
        os.umask(before)

    modes = {one: stat.S_IMODE(one.stat().st_mode) for one in (state.root, *state.root.iterdir())}
    assert not [one for one, mode in modes.items() if mode & 0o022]
    assert modes[state.secrets] == 0o700
