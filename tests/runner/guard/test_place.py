"""A copied folder is another fleet, a moved one is not."""

import json
import os
import shutil
from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.state.find import find_state, open_state
from runner.state.folder import State
from runner.user.engines import keep_engine, recall_engine


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a fleet."""
    folder = tmp_path / "hands"
    folder.mkdir()
    open_state(folder, folder, environ={})
    return folder


def look(folder: Path, *, read_only: bool = False, environ: dict[str, str] | None = None) -> State:
    found = find_state(folder, environ=environ or {}, read_only=read_only)
    assert found is not None
    return found


def test_a_copy_gets_a_name_of_its_own_once(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = project.with_name("variant")
    shutil.copytree(project, copy)

    first, second = look(copy), look(copy)

    assert first.fleet.startswith("variant-")
    assert first == second
    assert look(project).fleet.startswith("hands-")
    assert capsys.readouterr().err.count(f"is a copy of `{project / '.runner'}`") == 1


def test_a_look_at_a_copy_writes_nothing_and_takes_no_agents_for_its_own(project: Path) -> None:
    copy = project.with_name("variant")
    shutil.copytree(project, copy)
    before = (copy / ".runner" / "fleet").read_bytes()

    assert look(copy, read_only=True).fleet != look(project).fleet
    assert (copy / ".runner" / "fleet").read_bytes() == before


def test_a_moved_folder_stays_what_it_was(project: Path, tmp_path: Path) -> None:
    before, moved = look(project), tmp_path / "elsewhere"
    environ = {"XDG_STATE_HOME": str(tmp_path / "user")}
    keep_engine(before.root, "unix:///some/docker.sock", environ)
    project.rename(moved)

    after = look(moved, environ=environ)

    assert after.fleet == before.fleet
    engine = recall_engine(after.root, environ)
    assert engine
    assert engine.host == "unix:///some/docker.sock"
    place = json.loads((moved / ".runner" / "fleet").read_text())["place"]
    assert place["path"] == str(moved / ".runner")


def test_a_folder_from_a_backup_stays_what_it_was(project: Path) -> None:
    before = look(project)
    shutil.copytree(project, project.with_name("backup"))
    shutil.rmtree(project)
    shutil.copytree(project.with_name("backup"), project)

    assert look(project) == before


def test_the_original_that_made_way_for_its_copy_keeps_its_name(project: Path) -> None:
    """`mv hands hands.old; cp -r hands.old hands`: the folder counts, not its path."""
    before, old = look(project), project.with_name("hands.old")
    project.rename(old)
    shutil.copytree(old, project)

    assert look(old).fleet == before.fleet
    assert look(project).fleet == before.fleet  # it lies where it says, and cannot know better


def test_the_same_folder_under_another_path_is_the_same(project: Path) -> None:
    other = project.with_name("by-a-link")
    other.symlink_to(project)

    assert look(other).fleet == look(project).fleet


def test_runner_fleet_names_a_copy(project: Path) -> None:
    copy = project.with_name("variant")
    shutil.copytree(project, copy)

    assert look(copy, environ={"RUNNER_FLEET": "lab-1"}).fleet == "lab-1"


def test_a_folder_of_an_earlier_version_learns_its_place(project: Path) -> None:
    file = project / ".runner" / "fleet"
    file.write_text(json.dumps({"format": 1, "name": "hands-1234"}))

    assert look(project).fleet == "hands-1234"
    assert json.loads(file.read_text())["place"]["inode"] == (project / ".runner").stat().st_ino


def test_a_container_does_not_work_for_the_original(project: Path) -> None:
    """There the path is the mount's; only the folder itself can be compared."""
    copy = project.with_name("variant")
    shutil.copytree(project, copy)

    assert find_state(project, environ={}, mapped=True) == look(project)
    with pytest.raises(RunnerError, match="is a copy of") as caught:
        find_state(copy, environ={}, mapped=True)

    assert "runner compose" in str(caught.value.hint)


@pytest.mark.parametrize(
    "place", [None, 3, [], {}, {"path": 3, "device": 1, "inode": 1}, {"path": "\0", "device": 1}]
)
def test_a_damaged_place_is_none(project: Path, place: object) -> None:
    file = project / ".runner" / "fleet"
    file.write_text(json.dumps({"format": 2, "name": "hands-1234", "place": place}))

    assert look(project).fleet == "hands-1234"


def test_a_pipe_in_the_way_hangs_nothing(project: Path) -> None:
    copy = project.with_name("variant")
    shutil.copytree(project, copy)
    fleet = project / ".runner" / "fleet"
    fleet.unlink()
    os.mkfifo(fleet)

    assert look(copy).fleet.startswith("hands-")  # nothing of that fleet is there any more
