"""The transcripts of README, tutorial, docs/wandb.md and docs/offline.md, typed as they stand."""

import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.server.records import Run
from tests.rig.cloud import Cloud, start_cloud
from tests.rig.command import ROOT
from tests.rig.engine import TestEngine
from tests.rig.plain import REQUIREMENTS, Folder
from tests.rig.transcript import Shell, read_steps

pytestmark = pytest.mark.engine


@pytest.fixture
def project(engine_env: TestEngine, tmp_path: Path) -> Iterator[Folder]:
    """The project of the docs, built; with the client of the tests' other images."""
    root = shutil.copytree(ROOT / "examples" / "plain", tmp_path / "my-project")
    (root / "requirements.txt").write_text(REQUIREMENTS)
    fleet = f"my-project-{secrets.token_hex(2)}"
    made = Folder(root, fleet, {**engine_env.env, "RUNNER_FLEET": fleet})
    made.run("build", "--cpu")
    yield made
    engine_env.remove_fleet(fleet)


@pytest.fixture
def cloud(engine_env: TestEngine, tmp_path: Path) -> Iterator[Cloud]:
    """The server that plays W&B; it hears no key but its own."""
    host = engine_env.gateway()
    with start_cloud(tmp_path / "cloud", host=host, lag_s=0.0, limit_every=0) as started:
        yield started
    assert started.record.keys == {started.key}


@pytest.fixture
def shell(project: Folder, cloud: Cloud) -> Shell:
    """That of a person whom `wandb login` has left a key of this server."""
    home = project.root.parent
    cloud.write_netrc(home)
    environ = {**cloud.environment(home, key=False), **project.env}
    path = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    moved = ("WANDB_DIR", "WANDB_DATA_DIR")
    kept = {name: value for name, value in environ.items() if name not in moved}
    return Shell(project.root, {**kept, "PATH": path})


@pytest.fixture
def newcomer(engine_env: TestEngine, tmp_path: Path) -> Iterator[Shell]:
    """A user without a key of W&B, in a clone."""
    fleet = f"my-project-{secrets.token_hex(2)}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    nobody = {"WANDB_API_KEY": "", "WANDB_BASE_URL": "", "RUNNER_SERVER": ""}
    names = {"HOME": str(tmp_path), "PATH": path, "RUNNER_FLEET": fleet, "PYTHONPATH": str(ROOT)}
    made = Shell(ROOT, {**engine_env.env, **nobody, **names})
    yield made
    engine_env.remove_fleet(fleet)
    record = made.folder / ".runner" / "cache" / "image.json"
    if record.exists():
        engine_env.docker("rmi", json.loads(record.read_text())["tag"])


def test_the_readme_shows_a_sweep_on_w_and_b(shell: Shell) -> None:
    steps = list(read_steps("README.md", "Quick start A: you have a sweep on W&B"))
    for step in steps:
        shell.type(step)

    assert [step.command.split()[:2] for step in steps] == [
        ["runner", "build"],
        ["wandb", "sweep"],
        ["runner", "up"],
        ["runner", "down"],
    ]


@pytest.mark.parametrize(
    ("page", "section", "count"),
    [
        ("README.md", "Quick start B: no internet", 5),
        ("docs/tutorial.md", "Your own project", 6),
    ],
)
def test_a_newcomer_sees_what_the_page_shows(
    newcomer: Shell, page: str, section: str, count: int
) -> None:
    steps = list(read_steps(page, section))

    assert len(steps) == count
    for step in steps:
        newcomer.type(step)
        if step.command.startswith("cp "):  # the client of the tests' other images, a new program
            (newcomer.folder / "requirements.txt").write_text(REQUIREMENTS)
            with (newcomer.folder / "train.py").open("a") as program:
                program.write(f"# {secrets.token_hex(8)}\n")


def test_the_page_shows_a_sweep_on_w_and_b(shell: Shell) -> None:
    for step in read_steps("docs/wandb.md"):
        shell.type(step)

    assert len(shell.known) > 4


def test_the_page_shows_work_without_internet(shell: Shell, cloud: Cloud) -> None:
    """W&B is gone from the second search until the sync."""
    for step in read_steps("docs/offline.md"):
        if "--server local" in step.command:
            cloud.off()
        if step.command == "runner sync-offline":
            cloud.off()
            cloud.on()
        shell.type(step)

    states = [(run.state, len(cloud.rows(run))) for run in every_run(cloud)]
    assert states == [("finished", 60)] * 8


def every_run(cloud: Cloud) -> list[Run]:
    """The runs of all its W&B projects."""
    return [run for name in ("vision", "my-project") for run in cloud.runs(name)]
