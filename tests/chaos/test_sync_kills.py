"""SIGKILL of `sync-offline` at random moments; `RUNNER_CHAOS_SIZE` moments, 3 by default."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.rig.cloud import Cloud, start_cloud
from tests.runner.offline.logs import logs_in, start_runs, wait

SIZE = int(os.environ.get("RUNNER_CHAOS_SIZE", "3"))
ROWS, RUNS = 400, 6


def start(cloud: Cloud, home: Path) -> subprocess.Popen[str]:
    environ = cloud.environment(home)
    return subprocess.Popen(
        [sys.executable, "-m", "runner", "sync-offline", "--to", cloud.url, "--json"],
        cwd=home,
        env={**environ, "XDG_STATE_HOME": str(home / "xdg")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def finish(cloud: Cloud, home: Path) -> tuple[int, list[dict[str, Any]]]:
    process = start(cloud, home)
    output, _ = process.communicate(timeout=280)
    return process.returncode, json.loads(output)["runs"]


def steps_of(cloud: Cloud, runs: Sequence[str]) -> dict[str, list[int]]:
    there = {run.id: run for run in cloud.runs("p")}
    return {
        name: [row["_step"] for row in cloud.rows(there[name])] if name in there else []
        for name in runs
    }


@pytest.mark.client
@pytest.mark.timeout(240 * (SIZE + 1))
def test_a_killed_sync_leaves_every_run_whole_or_named(tmp_path: Path) -> None:
    made = tmp_path / "made"
    names = [f"run{number}" for number in range(RUNS)]
    assert wait(start_runs(made, "good", *names, ROWS=str(ROWS))) == 0
    seed = int(os.environ.get("RUNNER_CHAOS_SEED", str(time.time_ns() % 100_000)))
    moments = random.Random(seed)
    tally = {"whole": 0, "named": 0}
    for number in range(SIZE):
        home = tmp_path / str(number)
        shutil.copytree(made / "wandb", home / "wandb", symlinks=True)
        with start_cloud(tmp_path / f"cloud{number}", lag_s=2.0) as cloud:
            process = start(cloud, home)
            time.sleep(0.3 + moments.random() * 3.5)
            process.send_signal(signal.SIGKILL)
            process.communicate()

            code, runs = finish(cloud, home)

            whole = list(range(ROWS))
            steps = steps_of(cloud, names)
            assert {run["id"] for run in runs} == set(names) == set(logs_in(home)), seed
            for run in runs:
                arrived = run["status"] in ("synced", "already")
                if arrived:  # none is called synced that is not
                    assert steps[run["id"]] == whole, (seed, number, run)
                else:
                    assert run["status"] == "failed", (seed, number, run)
                    assert "it is not sent again" in run["reason"], (seed, number, run)
                tally["whole" if arrived else "named"] += 1
            named = any(run["status"] == "failed" for run in runs)
            assert code == (7 if named else 0), (seed, number, runs)
    print(f"{SIZE} kills of {RUNS} runs, seed {seed}: {tally}")
