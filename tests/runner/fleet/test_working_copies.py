"""Each agent's own copy of the project: separate, the caller's, and of one image."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.engine import TestEngine
from tests.rig.plain import PlainImage, make_folder
from tests.rig.waiting import wait_for

pytestmark = pytest.mark.engine

WRITE = """
import os, pathlib, sys
agent = os.environ["RUNNER_AGENT"]
assert not pathlib.Path("checkpoint.pt").exists()
pathlib.Path("checkpoint.pt").write_text(agent)
pathlib.Path("outputs").mkdir()
pathlib.Path("outputs", "metrics.csv").write_text(agent)
"""
OWN = """
FROM {base}
USER root
RUN mkdir -m 1777 /app && mv /opt/project/train.py /app/ && rm -rf /opt/project
WORKDIR /app
"""
GATED = """
import os, pathlib, time
VERSION = 1
with open("versions.txt", "a") as file:
    file.write(f"{VERSION}\\n")
number = len(open("versions.txt").readlines())
pathlib.Path("settings.yaml").write_text("changed by a run")
gate = pathlib.Path("/checkpoints", f"{os.environ['RUNNER_AGENT']}-{number}")
while not gate.exists():
    time.sleep(0.05)
"""
LOOK = """
import os, pathlib, sys
def fails(function):
    try:
        function()
    except OSError as error:
        return error.errno
seen = [os.getcwd(), sorted(os.listdir(".runner")), sorted(os.listdir("/opt/project/.runner"))]
seen.append(fails(pathlib.Path(".git", "hook").touch))
seen.append(fails(pathlib.Path("/opt/project/x").touch))
pathlib.Path("seen.txt").write_text(repr(seen))
"""


@pytest.fixture(params=["ours", "own"])
def image(
    request: pytest.FixtureRequest, engine_env: TestEngine, plain_image: PlainImage
) -> Iterator[str]:
    """The tag of an image of ours, and of one that exists and works in a folder of its own."""
    base = str(plain_image.record["tag"])
    if request.param == "ours":
        yield base
        return
    tag = f"runner-test/own-copy-{os.getpid()}"
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", tag, "-"],
        input=OWN.format(base=base),
        env=os.environ | engine_env.env,
        text=True,
        check=True,
        capture_output=True,
    )
    yield tag
    engine_env.docker("rmi", "--force", tag)


def test_four_agents_leave_four_sets_of_files_that_are_the_callers(
    image: str, engine_env: TestEngine, tmp_path: Path, fleet: str
) -> None:
    folder = make_folder(tmp_path / "plain", fleet, engine_env.env)
    sweep = folder.write_sweep("sweep.yaml", "a", "b", "c", "d")
    ask = ("--image", image, "--sweep", sweep, "--count", "1", "--follow")

    folder.run("up", "--gpus", "cpu:4", *ask, "--", "python", "-c", WRITE)
    folder.run("down")

    work = folder.root / ".runner" / "work"
    names = [f"{fleet}-cpu-{number}" for number in range(4)]
    assert sorted(one.name for one in work.iterdir()) == names
    for name in names:
        files = [work / name / "checkpoint.pt", work / name / "outputs" / "metrics.csv"]
        assert [one.read_text() for one in files] == [name] * 2
        assert {one.stat().st_uid for one in (*files, files[1].parent)} == {os.getuid()}
    assert not (folder.root / "checkpoint.pt").exists()


def test_an_edit_changes_no_run_until_each_agent_is_replaced_after_its_run(
    engine_env: TestEngine, tmp_path: Path, fleet: str
) -> None:
    """Code comes and goes with the image; what runs wrote stays; names and links survive."""
    folder = make_folder(tmp_path / f"edited-{fleet}", fleet, engine_env.env)
    odd, work = os.fsdecode(b"caf\xe9\n.txt"), folder.root / ".runner" / "work"
    agents = [f"{fleet}-cpu-{number}" for number in range(2)]

    def write(version: int) -> None:
        (folder.root / "train.py").write_text(GATED.replace("= 1", f"= {version}"))
        (folder.root / "settings.yaml").write_text(f"version: {version}")
        (folder.root / odd).write_text(str(version))

    def versions(agent: str) -> list[str]:
        file = work / agent / "versions.txt"
        return file.read_text().split() if file.exists() else []

    def end_run(agent: str) -> None:
        (folder.root / ".runner" / "checkpoints" / f"{agent}-{len(versions(agent))}").touch()

    def wait_for_run(number: int) -> None:
        wait_for(lambda: all(len(versions(agent)) == number for agent in agents))

    write(1)
    (folder.root / "gone.py").write_text("")
    (folder.root / "link").symlink_to("train.py")
    (folder.root / "tool.sh").write_text("#!/bin/sh\n")
    sweep = folder.write_sweep("sweep.yaml", "a", "b", "c", "d", "e", "f")
    ask = ("up", "--gpus", "cpu:2", "--sweep", sweep)
    folder.run(*ask, "--build")
    wait_for_run(1)

    write(2)
    (folder.root / "gone.py").unlink()
    (folder.root / "link").unlink()
    (folder.root / "link").symlink_to("settings.yaml")
    (folder.root / "tool.sh").chmod(0o755)
    _, said = folder.run(*ask)
    assert "the project has changed since its image was built: `--build` rebuilds it" in said
    assert said.count("runs as wanted") == 2
    for agent in agents:
        end_run(agent)
    wait_for_run(2)
    assert [versions(agent) for agent in agents] == [["1", "1"]] * 2

    lines: list[str] = []
    with folder.start(*ask, "--build") as replacing:
        reader = threading.Thread(target=lambda: lines.extend(replacing.stderr or ()))
        reader.start()
        wait_for(lambda: sum("waits for run" in line for line in lines) == 2)
        time.sleep(0.5)
        assert [versions(agent) for agent in agents] == [["1", "1"]] * 2
        for agent in agents:
            end_run(agent)
        reader.join()
    assert replacing.returncode == 0, lines

    wait_for_run(3)
    for agent in agents:
        copy = work / agent
        assert versions(agent) == ["1", "1", "2"]
        assert (copy / "settings.yaml.kept").read_text() == "changed by a run"
        assert (copy / odd).read_text() == "2"
        assert (copy / "link").readlink() == Path("settings.yaml")
        assert os.access(copy / "tool.sh", os.X_OK)
        assert not (copy / "gone.py").exists()
        end_run(agent)
    logged, _ = folder.run("logs", *agents)
    assert logged.count("both changed `settings.yaml`") == 2
    shown = folder.json("sweep", "show", folder.json("ps")["agents"][0]["sweep"])
    assert {run["attempts"] for run in shown["runs"]} == {1}
    folder.run("down")
    assert [len(versions(agent)) for agent in agents] == [3, 3]
    for tag in engine_env.docker("images", "-q", f"runner-{folder.root.name}").split():
        engine_env.docker("rmi", "-f", tag)


def test_live_runs_work_in_the_folder_and_see_no_keys(
    engine_env: TestEngine, plain_image: PlainImage, tmp_path: Path, fleet: str
) -> None:
    folder = make_folder(tmp_path / "plain", fleet, engine_env.env)
    folder.use_image(plain_image)
    (folder.root / ".git").mkdir()
    (folder.root / "train.py").write_text("open('result.txt', 'a').write('edited ')\n")
    sweep = folder.write_sweep("sweep.yaml", "a", "b")
    ask = ("up", "--gpus", "cpu:2", "--sweep", sweep, "--live")
    before = sorted(folder.root.rglob("*"))

    planned, said = folder.run(*ask, "--dry-run")
    assert f"runs work in `{folder.root}` itself" in said
    assert "warning: 2 agents share this folder" in said
    assert (planned.count("start "), sorted(folder.root.rglob("*"))) == (2, before)
    folder.run("run", "--gpus", "cpu:1", "--live", "--", "python", "-c", LOOK)
    assert (folder.root / "seen.txt").read_text() == repr(["/workspace", [], [], 30, 30])
    assert (folder.root / "seen.txt").stat().st_uid == os.getuid()
    folder.run(*ask, "--follow")

    assert (folder.root / "result.txt").read_text() == "edited edited "
    assert not list((folder.root / ".runner" / "work").glob("*/*"))
    (folder.root / "train.py").unlink()
    _, said = folder.run("up", "--gpus", "cpu:1", "--sweep", sweep, "--new", "--live", code=3)
    assert f"error: no run can start in `{folder.root}`" in said
    folder.run("down")


@pytest.mark.parametrize("words", [("up", "--sweep", "sweep.yaml"), ("run", "--", "true")])
def test_a_mount_without_source_is_refused_before_anything_is_made(
    engine_env: TestEngine,
    plain_image: PlainImage,
    tmp_path: Path,
    fleet: str,
    words: tuple[str, ...],
) -> None:
    folder = make_folder(tmp_path / "plain", fleet, engine_env.env)
    folder.use_image(plain_image)
    folder.write_sweep("sweep.yaml", "a")
    command, *rest = words

    mount = ("--gpus", "cpu:1", "--mount", "nope:/workspace/data")
    _, said = folder.run(command, *mount, *rest, code=3)

    error, hint = said.splitlines()[-2:]
    assert error.endswith(f"there is no `{folder.root / 'nope'}`")
    assert hint == "hint: make the folder first, or correct the path"
    assert not engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.fleet={fleet}")
    assert not (folder.root / ".runner" / "work").exists()
    assert not list((folder.root / ".runner").glob("sweeps/*"))
