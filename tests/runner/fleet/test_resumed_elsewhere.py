"""`docker stop` in the middle of an epoch: the run goes on with another agent where it was."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.rig.cloud import Cloud, start_cloud
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage, make_folder
from tests.rig.waiting import wait_for

pytestmark = pytest.mark.engine

EPOCH = 10  # steps; a checkpoint after each, and when the run is to stop
STEPS = 45
PROGRAM = f"""
import os, pathlib, signal, sys, time, wandb

folder = pathlib.Path(os.environ["RUNNER_CHECKPOINT_DIR"])
saved, stopping = folder / "step", []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))

def save(step):
    (folder / "new").write_text(str(step))
    (folder / "new").rename(saved)

with wandb.init() as run:
    first = int(saved.read_text()) if saved.exists() else 0
    with (folder / "attempts").open("a") as file:
        file.write(f"{{os.environ['RUNNER_AGENT']}} {{first}} {{run.config.x}}\\n")
    for step in range(first, {STEPS}):
        run.log({{"loss": 1 / (step + 1)}}, step=step)
        time.sleep(0.1)
        if stopping:
            save(step + 1)
            run.mark_preempting()
            sys.exit(75)
        if (step + 1) % {EPOCH} == 0:
            save(step + 1)
"""
SWEEP = "program: code/train.py\nmethod: grid\nparameters: {x: {values: [1, 2]}}\n"


@dataclass(frozen=True, slots=True)
class Place:
    """A project, and the server that its sweep is on: the folder's own, or W&B's."""

    folder: Folder
    cloud: Cloud | None

    def create(self) -> str:
        """The sweep."""
        (self.folder.root / "theirs.yaml").write_text(SWEEP)
        if self.cloud is None:
            return str(self.folder.json("sweep", "create", "theirs.yaml")["path"])
        environ = self.cloud.environment(Path(self.folder.env["HOME"]), key=False)
        subprocess.run(
            [sys.executable, "-m", "wandb", "sweep", "theirs.yaml"],
            cwd=self.folder.root,
            env={**environ, "WANDB_PROJECT": "vision"},
            check=True,
            capture_output=True,
        )
        return str(max(self.cloud.store.sweeps(), key=lambda sweep: sweep.created).id)

    def attempts(self) -> dict[str, list[list[str]]]:
        """Run → agent, first step and value of each of its attempts."""
        files = (self.folder.root / ".runner" / "checkpoints").glob("*/attempts")
        return {
            file.parent.name: [line.split() for line in file.read_text().splitlines()]
            for file in files
        }


@pytest.fixture(params=["ours", "W&B's"])
def place(
    request: pytest.FixtureRequest,
    engine_env: TestEngine,
    plain_image: PlainImage,
    server_image: str,
    fleet: str,
    tmp_path: Path,
) -> Iterator[Place]:
    assert server_image
    (tmp_path / "home").mkdir()
    (tmp_path / "cloud").mkdir()
    env = {**engine_env.env, "HOME": str(tmp_path / "home")}
    if request.param == "ours":
        yield make_place(tmp_path, fleet, env, plain_image, None)
        return
    with start_cloud(tmp_path / "cloud", host=engine_env.gateway(), lag_s=0.0) as cloud:
        cloud.write_netrc(tmp_path / "home")
        trust = {"SSL_CERT_FILE": str(cloud.ca_file), "RUNNER_SERVER": ""}
        env |= {"WANDB_BASE_URL": cloud.url, "WANDB_PROJECT": "vision", **trust}
        yield make_place(tmp_path, fleet, env, plain_image, cloud)


def make_place(
    root: Path, fleet: str, env: dict[str, str], image: PlainImage, cloud: Cloud | None
) -> Place:
    made = make_folder(root / "plain", fleet, env)
    (made.root / "code").mkdir()
    (made.root / "code" / "train.py").write_text(PROGRAM)
    (made.root / "runner.toml").write_text('[run]\nmounts = ["./code:/workspace/code:ro"]\n')
    made.use_image(image)
    return Place(made, cloud)


def test_a_stopped_run_goes_on_with_another_agent_from_the_same_step(
    place: Place, engine_env: TestEngine
) -> None:
    sweep, folder = place.create(), place.folder
    folder.run("up", "--gpus", "cpu:2", "--sweep", sweep)
    names = [f"{folder.fleet}-cpu-{number}" for number in range(2)]
    wait_for(lambda: len(place.attempts()) == 2, 60, otherwise=lambda: folder.run("logs"))
    run = next(name for name, found in place.attempts().items() if found[0][0] == names[0])
    checkpoint = folder.root / ".runner" / "checkpoints" / run / "step"
    wait_for(checkpoint.exists)
    time.sleep(0.4)  # in the middle of the next epoch

    begun = time.monotonic()
    engine_env.docker("stop", f"runner-{names[0]}")
    took_s = time.monotonic() - begun
    step = int(checkpoint.read_text())
    wait_for(lambda: read_end(folder, names[0]) == ("stopped", 143), 20)
    wait_for(
        lambda: is_finished(folder, sweep), 90, pause_s=1, otherwise=lambda: folder.run("logs")
    )

    assert took_s < 15
    assert EPOCH < step < STEPS
    assert step % EPOCH
    attempts = place.attempts()
    assert [found[:2] for found in attempts[run]] == [[names[0], "0"], [names[1], str(step)]]
    assert sorted(found[0][2] for found in attempts.values()) == ["1", "2"]
    assert find_steps(place, sweep, run) == list(range(STEPS))
    folder.run("down")


def read_end(folder: Folder, agent: str) -> tuple[str, int | None]:
    """State and exit code of an agent; the engine lists an end a moment after it has told it."""
    [found] = [one for one in folder.json("ps", "--all")["agents"] if one["name"] == agent]
    return found["state"], found["exit_code"]


def is_finished(folder: Folder, sweep: str) -> bool:
    """Whether all of its runs are."""
    runs = folder.json("sweep", "show", sweep)["runs"]
    return [one["state"] for one in runs] == ["finished"] * 2


def find_steps(place: Place, sweep: str, run: str) -> list[int]:
    """The steps of the run's rows, as its server has them."""
    if place.cloud is not None:
        [found] = [one for one in place.cloud.runs("vision") if one.id == run]
        return [int(row["_step"]) for row in place.cloud.rows(found)]
    entity, project, _ = sweep.split("/")
    environ: dict[str, Any] = dict(
        line.removeprefix("export ").split("=", 1)
        for line in place.folder.run("env")[0].splitlines()
        if line.startswith("export ")
    )
    program = (
        "import json, sys, wandb\n"
        f"rows = wandb.Api().run('{entity}/{project}/{run}').scan_history()\n"
        "print(json.dumps([row['_step'] for row in rows]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={key: value.strip("'\"") for key, value in environ.items()} | {"PATH": "/usr/bin"},
        check=True,
        capture_output=True,
        text=True,
    )
    return list(json.loads(done.stdout.splitlines()[-1]))
