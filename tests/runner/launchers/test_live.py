"""`--live`: what runs get of the project's own folder, and what stays covered."""

from dataclasses import replace
from pathlib import Path

import pytest

from runner.agent.contract.slots import cpu_slot
from runner.engine.payload import create_body
from runner.engine.types import Mount
from runner.errors import ExitCode, RunnerError
from runner.fleet.selection import Slot
from runner.launchers.docker.container_spec import AgentOptions, Folders, make_spec
from runner.launchers.docker.live import LiveFolder, find_live_folder
from runner.launchers.docker.mounts import make_mount_points
from runner.project.command_fault import WordFacts
from runner.state.folder import State
from runner.usecases.up.live import see_live
from tests.runner.launchers.test_container_spec import HOST, LAUNCH


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / ".runner" / "secrets").mkdir(parents=True)
    (root / ".git" / "hooks").mkdir(parents=True)
    return root


def find(root: Path, state: Path | None = None, *, installed: bool = False) -> LiveFolder:
    found = State(state or root / ".runner", "demo-1a2b")
    return find_live_folder(root, found, installed=installed)


def test_keys_are_covered_and_git_is_read_only(project: Path) -> None:
    live = find(project, installed=True)

    root = str(project)
    assert live.mounts() == (
        Mount(root, "/workspace"),
        Mount(f"{root}/.git", "/workspace/.git", read_only=True),
        Mount(root, "/opt/project", read_only=True),
    )
    assert set(live.tmpfs()) == {"/workspace/.runner", "/opt/project/.runner"}
    assert all(options.startswith("ro,") for options in live.tmpfs().values())


def test_a_state_folder_of_another_name_is_covered_too(project: Path) -> None:
    (project / "state" / "here").mkdir(parents=True)

    assert find(project, project / "state" / "here").hidden == (".runner", "state/here")
    assert find(project, project.parent / "elsewhere").hidden == (".runner",)


def test_links_in_place_of_these_are_not_followed(project: Path) -> None:
    (project / ".git").rename(project / "git")
    (project / ".git").symlink_to("git")
    (project / ".runner").rename(project.parent / "state")
    (project / ".runner").symlink_to(project.parent / "state")

    live = find(project, project.parent / "other")

    assert (live.kept, live.hidden) == ((), ())


@pytest.mark.parametrize("by_flag", [True, False])
@pytest.mark.parametrize("place", ["/", "/etc", "~"])
def test_a_home_or_the_system_is_no_project_to_share(place: str, by_flag: bool) -> None:
    with pytest.raises(RunnerError, match="with `--live` every run would get") as caught:
        find_live_folder(
            Path(place).expanduser(), State(Path("/s"), "d"), installed=False, by_flag=by_flag
        )

    assert caught.value.code == ExitCode.UNFIT


def test_the_container_works_there_and_fills_nothing(project: Path) -> None:
    live = find(project)
    launch = replace(LAUNCH, project_dir=None, options=AgentOptions(live=live))
    folders = Folders(State(project / ".runner", LAUNCH.fleet), "a-0", Path("/c"), live)

    spec = make_spec(launch, Slot(0, cpu_slot(0), "CPU"), folders, HOST, None)

    assert (spec.working_dir, spec.environment["RUNNER_WORKSPACE"]) == ("/workspace", "/workspace")
    assert "RUNNER_PROJECT_DIR" not in spec.environment
    assert [one.source for one in spec.mounts if one.target == "/workspace"] == [str(project)]
    body = create_body(spec, proxies={})
    assert body["HostConfig"]["Tmpfs"]["/workspace/.runner"].startswith("ro,")
    assert launch.options.hash != AgentOptions().hash


def test_mount_points_are_made_in_the_folder_and_through_no_link(project: Path) -> None:
    state = State(project / ".runner", "demo")
    outside = project.parent / "outside"
    outside.mkdir()
    live = LiveFolder(project)

    make_mount_points([Mount(str(outside), "/workspace/data/coco")], state, "a-0", live=live)

    assert (project / "data" / "coco").is_dir()
    assert not state.work.exists()
    (project / "link").symlink_to(outside)
    with pytest.raises(RunnerError, match="link"):
        make_mount_points([Mount(str(outside), "/workspace/link/x")], state, "a-0", live=live)
    assert list(outside.iterdir()) == []


def test_files_are_the_folders_and_programs_the_images(tmp_path: Path) -> None:
    (tmp_path / "new.py").write_text("x")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text("x")
    of_image = {
        "/opt/venv/bin/python": WordFacts(kind="file", executable=True),
        "new.py": WordFacts(on_path=False, module=False),
        "gone.py": WordFacts(kind="file", on_path=False, module=False),
        "src.train": WordFacts(on_path=False, module=False),
        "torch": WordFacts(on_path=False, module=True),
    }

    seen = see_live(of_image, tmp_path)

    assert seen["/opt/venv/bin/python"].executable
    assert [seen[name].kind for name in ("new.py", "gone.py")] == ["file", None]
    assert [seen[name].module for name in ("src.train", "torch")] == [True, True]
    assert seen["new.py"].on_path is False
