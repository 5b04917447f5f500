"""A fleet that version 0.1.0 (0eb7efa) started goes on with this one, its sweep in the middle."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.rig.command import ROOT
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage, make_folder
from tests.rig.waiting import wait_for

pytestmark = pytest.mark.engine

OLD = "0eb7efa"
RUNS = 8
SWEEP = f"""\
program: train.py
method: grid
metric: {{name: loss, goal: minimize}}
parameters:
  mode: {{value: wandb}}
  n: {{values: {list(range(RUNS))}}}
"""
ROWS = """
import json, sys, wandb
for run in wandb.Api().runs(sys.argv[1]):
    steps = [row["_step"] for row in run.scan_history()]
    print(json.dumps([run.config["n"], run.state, steps]))
"""


@pytest.fixture(scope="module")
def old_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of that version."""
    made = subprocess.run(
        ["git", "-C", str(ROOT), "archive", OLD], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"history: this clone does not have the commit {OLD}: `git fetch --unshallow`")
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as tree:
        tree.extractall(folder, filter="data")
    return folder


def finished(folder: Folder) -> int:
    """Runs that the agents have brought to their end."""
    return sum(one["runs_finished"] for one in folder.json("ps")["agents"])


def wait_until_some_ended(folder: Folder) -> None:
    wait_for(
        lambda: finished(folder), 120, pause_s=0.5, otherwise=lambda: folder.run("ps", "--all")
    )


def read_rows(folder: Folder, path: str, server: dict[str, Any]) -> list[Any]:
    """(n, state, steps) of each run, as W&B's client reads them."""
    key = Path(server["key_file"]).read_text().strip()
    done = subprocess.run(
        [sys.executable, "-c", ROWS, path.rpartition("/")[0]],
        env={"WANDB_BASE_URL": server["url"], "WANDB_API_KEY": key, "HOME": str(folder.root)},
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(json.loads(line) for line in done.stdout.splitlines())


SHORT = """\
program: train.py
method: random
parameters: {mode: {value: short}}
"""


def test_an_old_agent_leaves_after_its_run_for_a_new_one_with_folders_of_its_own(
    engine_env: TestEngine, plain_image: PlainImage, old_code: Path, tmp_path: Path, fleet: str
) -> None:
    """It is asked in the folder that all share, in which the new one has nothing."""
    new = make_folder(tmp_path / "plain", fleet, engine_env.env)
    new.use_image(plain_image)
    (new.root / "old.yaml").write_text(SHORT)
    new.write_sweep("new.yaml", "other")
    old = Folder(new.root, fleet, {**engine_env.env, "PYTHONPATH": str(old_code)})
    old_sweep = old.json("up", "--gpus", "cpu:1", "--sweep", "old.yaml")["sweep"]
    state, agent = new.root / ".runner", f"{fleet}-cpu-0"
    wait_until_some_ended(old)
    (state / "work" / agent / "result").touch()

    _, said = new.run("up", "--gpus", "cpu:1", "--sweep", "new.yaml", "--follow")

    assert f"{agent}: waits for run " in said
    assert [one.name for one in (state / "agents").iterdir()] == [f"{agent}.json"]
    assert "ended after its run" in (state / "agents" / f"{agent}.json").read_text()
    assert {one.name for one in (state / "status" / agent).iterdir()} == {
        f"{agent}.json",
        f"{agent}.files",
    }
    assert [one.name for one in (state / "orders" / agent).iterdir()] == [f"{agent}.copy"]
    assert (state / "work" / f"{agent}.{old_sweep.rpartition('/')[2]}" / "result").is_file()
    (shown,) = new.json("ps")["agents"]
    assert (shown["state"], shown["runs_finished"]) == ("finished", 1)
    new.run("down")


def test_a_running_fleet_is_shown_kept_stopped_and_continued(
    engine_env: TestEngine,
    plain_image: PlainImage,
    old_code: Path,
    tmp_path: Path,
    fleet: str,
) -> None:
    new = make_folder(tmp_path / "plain", fleet, engine_env.env)
    new.use_image(plain_image)
    (new.root / "sweep.yaml").write_text(SWEEP)
    old = Folder(new.root, fleet, {**engine_env.env, "PYTHONPATH": str(old_code)})
    up = ("up", "--gpus", "cpu:2", "--sweep")
    path = old.json(*up, "sweep.yaml")["sweep"]
    wait_until_some_ended(old)

    shown = new.json("ps")["agents"]
    kept = new.json(*up, path)
    stopped = new.json("stop")
    before = finished(new)
    _, said = new.run(*up, "sweep.yaml", "--follow")

    assert {one["sweep"] for one in shown} == {path}
    assert {one["state"] for one in shown} <= {"running", "waiting"}
    assert [one["cause"] for one in kept["actions"]] == ["runs as wanted"] * 2
    assert [one["outcome"] for one in stopped["actions"]] == ["done"] * 2
    assert 0 < before < RUNS
    assert f"sweep {path} of `sweep.yaml` is unfinished" in said
    runs = read_rows(new, path, new.json("server", "status"))
    assert runs == [[n, "finished", [0, 1, 2]] for n in range(RUNS)]
    assert json.loads((new.root / ".runner" / "fleet").read_text())["format"] > 1
    refused, told = old.run("ps", code=1)
    assert refused == ""
    assert "was written by a newer runner (format " in told
    assert "hint: upgrade: `pip install --upgrade sweep-runner`" in told
    new.run("down")
