"""`runner prune` finds what nothing uses, and leaves everything else."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from runner.agent.contract.slots import cpu_slot
from runner.engine.types import Container, Image
from runner.fleet.agents import Agent
from runner.usecases.prune import (
    find_leftovers,
    measure,
    remove_copy,
    remove_leftovers,
    select_ended,
    select_images,
)
from runner.usecases.session import open_session
from tests.rig.engine import TestEngine
from tests.rig.plain import make_folder
from tests.runner.guard.leavings import LEAVINGS, Scene
from tests.runner.guard.repositories import describe, make_home

AGENT = Agent("a-0", "c" * 64, "demo", cpu_slot(0), "exited", 0, None, "sha256:1", "f00d")
IMAGE = Image("sha256:1", ("runner-p:1",), {}, 9, "", {}, "/", "")


def test_only_replaced_containers_and_ended_commands_are_removed() -> None:
    """The last agent of a GPU says why it ended, and is kept for that."""
    retired = replace(AGENT, name=f"a-0-{'c' * 12}")
    command = replace(AGENT, name="demo-run", command="true")
    kept = replace(AGENT, keeps_for="demo-run")
    alive = [replace(one, engine_state="running") for one in (retired, command, kept)]
    other = replace(retired, fleet="other")

    found = select_ended([AGENT, retired, command, kept, *alive, other], "demo")

    assert found == [retired, command, kept]


def test_images_in_use_current_ones_and_those_of_other_projects_stay() -> None:
    old, current = IMAGE, replace(IMAGE, id="sha256:2", tags=("runner-p:2",))
    used = replace(IMAGE, id="sha256:3", tags=("runner-p:3",))
    other = replace(IMAGE, id="sha256:4", tags=("runner-q:1",))
    box = Container("b", "x", "exited", 0, {}, used.id, {})
    images = [old, current, used, other]

    found = select_images(images, [box], ended=set(), current={"runner-p:2"})
    without = select_images(images, [box], ended={"b"}, current={"runner-p:2"})

    assert found == [(old, "runner-p:1")]
    assert without == [(old, "runner-p:1"), (used, "runner-p:3")]


def test_a_link_is_measured_as_itself(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 100_000)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "link").symlink_to(tmp_path / "big")

    assert measure(tmp_path) >= 100_000 > measure(tmp_path / "copy")


@pytest.mark.parametrize("kind", LEAVINGS)
def test_a_copy_goes_whatever_a_program_has_left_in_it(tmp_path: Path, kind: str) -> None:
    make_home(tmp_path / "home")
    scene = Scene(tmp_path / "state", "a-0", "c" * 12, "a-1", "d" * 12, tmp_path / "home")
    (scene.root / "checkpoints").mkdir(parents=True)
    LEAVINGS[kind](scene)
    scene.work.mkdir(parents=True, exist_ok=True)
    (scene.work / "home").symlink_to(tmp_path / "home")
    (scene.work / "read-only").mkdir(mode=0o500)
    before = describe(tmp_path / "home")

    assert measure(scene.work) < 1 << 20
    assert remove_copy(scene.work) is None
    assert not scene.work.exists()
    assert describe(tmp_path / "home") == before


def test_a_copy_that_cannot_be_deleted_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-0.s1").mkdir()
    (tmp_path / "a-0.s1" / "x").touch()

    def refuse(name: str, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", name)

    monkeypatch.setattr(os, "unlink", refuse)

    copy = tmp_path / "a-0.s1"
    assert remove_copy(copy) == f"`{copy}`: Permission denied (x)"
    assert remove_copy(tmp_path / "never there") is None


@pytest.mark.engine
def test_prune_lists_asks_and_removes(
    engine_env: TestEngine, tiny_image: str, tmp_path: Path, fleet: str
) -> None:
    """Nobody answers here: nothing is removed without `--yes`.

    Other tests use this engine: of what is found only our own is removed.
    """
    folder = make_folder(tmp_path / "plain", fleet, engine_env.env)
    work = folder.root / ".runner" / "work"
    (work / "a-0.s1").mkdir(parents=True)
    (work / "a-0.s1" / "last.pt").write_bytes(b"x" * 5000)
    (work / "a-0").mkdir()
    marks = [f"dev.runner.fleet={fleet}", "dev.runner.role=agent", "dev.runner.command=true"]
    words = [word for mark in marks for word in ("--label", mark)]
    (work / "link.s1").symlink_to(tmp_path)
    old = f"runner-server:{fleet}"
    box = engine_env.docker("create", tiny_image, "true").strip()
    engine_env.docker("commit", "--change", "LABEL dev.runner.kind=server", box, old)
    engine_env.docker("rm", box)
    engine_env.docker("run", "--name", f"runner-{fleet}-run", *words, tiny_image, "true")

    listed, _ = folder.run("prune", "--dry-run")
    _, err = folder.run("prune", code=2)
    left = {one["name"] for one in folder.json("prune", "--dry-run")["leftovers"]}

    assert "working copy  a-0.s1" in listed
    assert "Nobody is here to answer" in err
    assert {"a-0.s1", f"{fleet}-run"} <= left
    assert list_names(work) == ["a-0", "a-0.s1", "link.s1"]

    session = open_session(
        folder.root,
        {**os.environ, **engine_env.env},
        report=lambda _: None,
        ask=lambda _: False,
        yes=True,
    )
    found = find_leftovers(session, keep_cache=True)
    mine = [one for one in found if one.name in ("a-0.s1", f"{fleet}-run", old)]
    removed: list[str] = []
    remove_leftovers(session, mine, lambda one: removed.append(one.kind))
    remove_leftovers(session, mine, lambda _: None)  # they are gone: not an error
    session.engine().close()

    assert removed == ["container", "image", "working copy"]
    assert list_names(work) == ["a-0", "link.s1"]
    assert not engine_env.docker("ps", "-aq", "--filter", f"name=runner-{fleet}-run")
    assert not engine_env.docker("images", "-q", old)


def list_names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(one.name for one in folder.iterdir())
