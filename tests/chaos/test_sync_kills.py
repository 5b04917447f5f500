"""SIGKILL of `sync-offline` at random moments; `RUNNER_CHAOS_SIZE` moments, 3 by default."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from runner.backend.client import Client
from tests.rig.cloud import Cloud, start_cloud
from tests.rig.command import start_runner
from tests.runner.offline.logs import logs_in, start_runs, wait
from tests.runner.offline.syncing import GRID, remember_sweep

SIZE = int(os.environ.get("RUNNER_CHAOS_SIZE", "3"))
ROWS, RUNS = 400, 6


def start(cloud: Cloud, home: Path) -> subprocess.Popen[str]:
    words = ("sync-offline", "--to", cloud.url, "--json")
    return start_runner(*words, cwd=home, env=cloud.environment(home), stderr=subprocess.DEVNULL)


def finish(cloud: Cloud, home: Path) -> tuple[int, list[dict[str, Any]]]:
    process = start(cloud, home)
    output, _ = process.communicate(timeout=280)
    return process.returncode, json.loads(output)["runs"]


def steps_of(cloud: Cloud) -> dict[str, list[int]]:
    """The steps of the rows of each run that is there."""
    return {run.id: [row["_step"] for row in cloud.rows(run)] for run in cloud.runs("p")}


def receipts_in(home: Path) -> set[str]:
    """IDs of the runs that the ledger calls synced."""
    file = home / ".runner" / "sync.db"
    if not file.exists():
        return set()
    with closing(sqlite3.connect(file)) as ledger:
        if not ledger.execute("SELECT 1 FROM sqlite_master WHERE name='receipts'").fetchall():
            return set()
        rows = ledger.execute("SELECT path FROM receipts WHERE state='done'").fetchall()
    return {str(path).split("/")[-1] for (path,) in rows}


def leftovers(home: Path) -> list[str]:
    """Of a killed call, after the next one: processes, staged copies, links to the runs' files."""
    staged = home / ".runner" / "cache" / "sync"
    linked = [one for one in home.joinpath("wandb").rglob("*") if one.is_file()]
    return [
        *(f"process {one}" for one in wait_for_end(home)),
        *([str(staged)] if staged.exists() else []),
        *(str(one) for one in linked if one.lstat().st_nlink > 1 and not one.is_symlink()),
    ]


def wait_for_end(home: Path) -> list[str]:
    """Processes that are still there after 10 s: wandb-core ends itself once its parent is gone."""
    end = time.monotonic() + 10
    while (left := processes_in(home)) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def processes_in(home: Path) -> list[str]:
    """Those that work below this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(home):
                found.append(f"{process.name}: {(process / 'cmdline').read_bytes()!r}")
    return found


def copy_runs(made: Path, home: Path) -> None:
    """The runs, and a state folder that knows their sweep."""
    shutil.copytree(made / "wandb", home / "wandb", symlinks=True)
    remember_sweep(home, "local/p/sw1", GRID)


def unharmed(tmp_path: Path, made: Path) -> float:
    """Seconds that the sync takes when nobody kills it."""
    home = tmp_path / "unharmed"
    copy_runs(made, home)
    with start_cloud(tmp_path / "cloud", lag_s=2.0) as cloud:
        began = time.monotonic()
        assert finish(cloud, home)[0] == 0
        return time.monotonic() - began


@pytest.mark.client
@pytest.mark.timeout(240 * (SIZE + 1))
def test_a_killed_sync_leaves_every_run_whole_or_named(tmp_path: Path) -> None:
    made = tmp_path / "made"
    names = [f"run{number}" for number in range(RUNS)]
    # in a sweep the client makes one run a process
    of_sweep = {"ROWS": str(ROWS), "WANDB_SWEEP_ID": "sw1", "WANDB_PROJECT": "p"}
    started = [start_runs(made, "good", name, environ=of_sweep) for name in names]
    assert [wait(one) for one in started] == [0] * RUNS
    seed = int(os.environ.get("RUNNER_CHAOS_SEED", str(time.time_ns() % 100_000)))
    moments = random.Random(seed)
    tally = Counter[str]()
    whole = list(range(ROWS))
    longest_s = unharmed(tmp_path, made)
    for number in range(SIZE):
        home = tmp_path / str(number)
        copy_runs(made, home)
        with start_cloud(tmp_path / f"cloud{number}", lag_s=2.0) as cloud:
            process = start(cloud, home)
            time.sleep(moments.uniform(0.2, longest_s))
            tally["killed" if process.poll() is None else "ended before"] += 1
            process.send_signal(signal.SIGKILL)
            process.communicate()
            marked, there = receipts_in(home), steps_of(cloud)
            assert all(there[name] == whole for name in marked), (seed, number, marked)

            code, runs = finish(cloud, home)
            assert leftovers(home) == [], (seed, number)

            there, states = steps_of(cloud), {run.id: run.state for run in cloud.runs("p")}
            assert sorted(run["id"] for run in runs) == sorted(names) == sorted(logs_in(home)), seed
            for run in runs:
                rows, reason = there.get(run["id"], []), run["reason"]
                if run["status"] in ("synced", "already"):  # none is called synced that is not
                    assert (rows, states[run["id"]]) == (whole, "finished"), (seed, number, run)
                    tally["whole"] += 1
                    continue
                assert run["status"] == "failed", (seed, number, run)
                assert reason.endswith("it is not sent again"), (seed, number, run)
                twice = f"{len(rows)} rows there, {ROWS} in its log: rows were sent twice" in reason
                assert twice == (len(rows) > ROWS), (seed, number, run)
                tally["named, rows twice" if twice else "named"] += 1
            assert code == (7 if any(run["status"] == "failed" for run in runs) else 0), runs
            done = {run["id"] for run in runs if run["status"] != "failed"}
            assert receipts_in(home) == done, (seed, number)
            client = Client(cloud.url, cloud.key, kind="wandb", ca_bundle=cloud.ca_file)
            [sweep] = client.sweeps(cloud.entity, "p")  # one, however often it was begun
            assert sweep.state == "PAUSED", (seed, number)
            assert {run.sweep for run in cloud.runs("p") if run.id in done} <= {sweep.id}, seed
    print(f"{SIZE} times {RUNS} runs, seed {seed}: {dict(tally)}")
