"""What no project's file may mount."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import ExitCode, RunnerError
from runner.guard.sources import find_danger
from runner.launchers.docker.mounts import describe_outside, resolve_mounts
from runner.project.find import find_project
from runner.settings.load import load_settings
from runner.settings.mounts import parse_mount
from runner.state.find import open_state


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("/", "the whole machine"),
        ("/home/me", "the home"),
        ("/home", "with homes in it"),
        ("/home/me/.ssh", "private files in `/home/me/.ssh`"),
        ("/home/me/.config/gh", "private files in"),
        ("/home/me/.bashrc", "private files in"),
        ("/etc", "the system of this machine"),
        ("/etc/cron.d", "the system of this machine"),
        ("/proc/1", "the system of this machine"),
        ("/dev", "the system of this machine"),
        ("/sys/fs", "the system of this machine"),
        ("/run/user/1000", "the system of this machine"),
        ("/var/run/docker.sock", "the system of this machine"),
        ("/var/lib/docker/volumes", "the system of this machine"),
        ("/usr/local/bin", "programs of other users"),
        ("/home/me/data", None),
        ("/home/me/.cache/huggingface", None),
        ("/data/imagenet", None),
        ("/mnt/disk", None),
        ("/etcetera", None),
    ],
)
def test_places_of_the_machine_and_of_users_are_dangerous(source: str, said: str | None) -> None:
    found = find_danger(Path(source), read_only=False, homes=[Path("/home/me"), Path("/root")])

    assert (found is None) if said is None else (said in str(found))


def test_programs_may_be_read() -> None:
    assert find_danger(Path("/usr/share"), read_only=True, homes=[]) is None


def test_sockets_and_fleets_states_are_dangerous(tmp_path: Path) -> None:
    state = open_state(tmp_path, tmp_path, environ={})
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "s"))

        assert "socket" in str(find_danger(tmp_path / "s", read_only=True, homes=[]))
    for place in (state.root, state.secrets, state.root / "fleet"):
        assert "the state of a fleet" in str(find_danger(place, read_only=True, homes=[]))
    assert find_danger(tmp_path, read_only=True, homes=[]) is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    (made / "data").mkdir(parents=True)
    (tmp_path / "sets").mkdir()
    return made


def mounts_of(folder: Path, *flags: str, **environ: str) -> list[dict[str, str]]:
    """What `up` would print; the mounts are resolved before."""
    settings = load_settings(
        find_project(folder), environ=environ, flags={"run.mounts": list(flags)}
    )
    resolve_mounts(settings.run.mounts, folder)
    return describe_outside(settings.run.mounts, folder)


@pytest.mark.parametrize("source", ["/", "/etc", "~", "./link", "../project/link/passwd"])
def test_a_file_of_the_project_mounts_no_dangerous_place(folder: Path, source: str) -> None:
    """A link counts as what it leads to."""
    (folder / "link").symlink_to("/etc")
    (folder / "runner.toml").write_text(f'[run]\nmounts = ["{source}:/workspace/x"]\n')

    with pytest.raises(RunnerError, match=r"\(runner.toml\) would open") as caught:
        mounts_of(folder)

    assert caught.value.code == ExitCode.USAGE
    assert "--mount" in str(caught.value.hint)


def test_the_environment_neither_and_a_flag_may(folder: Path) -> None:
    with pytest.raises(RunnerError, match="RUNNER_RUN_MOUNTS"):
        mounts_of(folder, RUNNER_RUN_MOUNTS="/etc:/workspace/x")

    (shown,) = mounts_of(folder, "/etc:/workspace/x:ro")

    assert shown == {
        "source": "/etc",
        "target": "/workspace/x",
        "mode": "ro",
        "origin": "flag",
    }


def test_what_lies_outside_is_told_and_what_lies_inside_is_not(folder: Path) -> None:
    (folder / "out").symlink_to(folder.parent / "sets")
    text = '[run]\nmounts = ["data:/workspace/data", "../sets:/workspace/a", "out:/workspace/b"]\n'
    (folder / "runner.toml").write_text(text)

    shown = mounts_of(folder)

    sets = str(folder.parent / "sets")
    assert [(one["source"], one["target"]) for one in shown] == [
        (sets, "/workspace/a"),
        (sets, "/workspace/b"),
    ]
    assert {one["origin"] for one in shown} == {"runner.toml"}


def test_who_asked_for_a_mount_changes_no_agent() -> None:
    """It would be replaced only because the same mount stands elsewhere now."""
    asked = parse_mount("/a:/b")

    assert replace(asked, origin="runner.toml") == replace(asked, origin="flag")
