"""`runner sync-offline` as a user calls it, and what W&B's client then reads there."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runner.disk.own_files import write_json
from runner.state.find import open_state
from tests.rig.cloud import Cloud
from tests.rig.command import run_runner

GRID = """
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters: {lr: {values: [0.1, 0.2]}}
"""
READ_BACK = """
import json, sys, wandb
print(json.dumps([
    {"id": run.id, "state": run.state, "config": dict(run.config), "sweep": run.sweep_name,
     "summary": {key: value for key, value in run.summary.items() if key[0] != "_"},
     "rows": [row["_step"] for row in run.scan_history()],
     "loss": [row.get("loss") for row in run.scan_history()]}
    for run in wandb.Api().runs(sys.argv[1])
], default=dict))
"""


@dataclass(frozen=True)
class Ended:
    """What a command said."""

    code: int
    told: Any
    narration: str


def sync(
    cloud: Cloud,
    home: Path,
    *arguments: str,
    code: int | None = None,
    timeout_s: float = 240,
    **environment: str,
) -> Ended:
    """`runner sync-offline --json` in `home`, with the cloud's key in its ~/.netrc."""
    cloud.write_netrc(home)
    environ = {
        name: value
        for name, value in cloud.environment(home, key=False).items()
        if not name.startswith("WANDB")
    }
    ended = run_runner(
        *("sync-offline", "--to", cloud.url, "--json", *arguments),
        cwd=home,
        env={**environ, "XDG_STATE_HOME": str(home / "xdg"), **environment},
        timeout_s=timeout_s,
    )
    told = json.loads(ended.stdout or "{}")
    if code is not None:
        assert ended.returncode == code, ended.stderr + ended.stdout
    return Ended(ended.returncode, told, ended.stderr)


def read_back(cloud: Cloud, project: str, home: Path) -> dict[str, dict[str, Any]]:
    """What `wandb.Api()` tells of the runs."""
    ended = subprocess.run(
        [sys.executable, "-c", READ_BACK, f"{cloud.entity}/{project}"],
        env=cloud.environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return {run["id"]: run for run in json.loads(ended.stdout.splitlines()[-1])}


def remember_sweep(home: Path, path: str, config: str) -> None:
    """As `runner sweep create` leaves it in the state folder of `home`."""
    state = open_state(home, home, environ={})
    record = {"path": path, "server": "local", "url": "", "config": yaml.safe_load(config)}
    write_json(state.sweeps / f"{path.split('/')[2]}.json", record)
