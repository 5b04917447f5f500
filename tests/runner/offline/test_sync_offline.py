"""`runner sync-offline` to a server that is as unkind as W&B's cloud may be."""

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from runner.agent.contract.sweeps import SweepPath
from runner.backend.client import Client
from tests.rig.cloud import Cloud, start_cloud
from tests.runner.offline.conftest import Made
from tests.runner.offline.logs import logs_in, start_runs, wait
from tests.runner.offline.syncing import GRID, read_back, remember_sweep, sync
from tests.runner.server.servers import Server

pytestmark = pytest.mark.client

CONFIG = {"lr": 0.1, "deep": {"a": [1, "b"]}}
SUMMARY = {"loss": 28.5, "deep": {"x": 19}, "nan": "NaN"}


@pytest.fixture
def slow_cloud(tmp_path: Path) -> Iterator[Cloud]:
    with start_cloud(tmp_path / "cloud") as cloud:  # its counts lag by five seconds
        yield cloud


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "local")
    server.start()
    yield server
    server.stop()


def changes(cloud: Cloud) -> Counter[str]:
    """What was sent to the cloud so far."""
    streams = sum(one.path.endswith("/file_stream") for one in cloud.record.requests)
    asked = {"project", "model", "viewer", "serverInfo", "entity"}
    fields = {name: count for name, count in cloud.record.fields.items() if name not in asked}
    return Counter({**fields, "file_stream": streams})


def logged_artifacts(cloud: Cloud, run: str, home: Path) -> list[str]:
    """Their names, as `wandb.Api()` tells them."""
    code = (
        "import sys, wandb; run = wandb.Api().run(sys.argv[1]);"
        "print(*(one.name for one in run.logged_artifacts()))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, f"{cloud.entity}/{run}"],
        env=cloud.environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def plain_sync(cloud: Cloud, home: Path, *logs: Path) -> str:
    """What W&B's own sync does with copies of the same folders."""
    home.mkdir()
    copies = [shutil.copytree(log.parent, home / log.parent.name) for log in logs]
    ended = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", *map(str, copies), "-p", "plain"],
        env=cloud.environment(home),
        capture_output=True,
        text=True,
        check=True,  # its exit code is 0 whatever happens
    )
    return ended.stdout + ended.stderr


def test_runs_of_three_kinds_arrive_as_they_were_and_are_sent_once(
    slow_cloud: Cloud, local: Server, tmp_path: Path
) -> None:
    cloud = slow_cloud
    home = tmp_path / "home"
    home.mkdir()
    sweep = Client(local.url, local.key, kind="runner").create_sweep(
        yaml.safe_load(GRID), entity="local", project="p"
    )
    remember_sweep(home, str(sweep.path), GRID)
    runs = home / ".runner" / "runs"
    online = {"WANDB_BASE_URL": local.url, "WANDB_API_KEY": local.key, "WANDB_MODE": "online"}
    of_sweep = {"WANDB_SWEEP_ID": sweep.id, "WANDB_PROJECT": "p"}
    online |= of_sweep
    started = [
        start_runs(runs, "good", "on1", environ=online),
        start_runs(runs, "failed", "on2", environ=online),
        start_runs(runs, "killed", "on3", environ=online),
        start_runs(runs, "good", "off1", environ=of_sweep),
        start_runs(home, "good", "plain1", "plain2", "plain3"),
        start_runs(home, "killed", "dead"),
        start_runs(home, "artifact", "art"),
    ]
    assert [wait(one) for one in started] == [0, 0, -9, 0, 0, -9, 0]
    before = {path: path.read_bytes() for path in home.rglob("*.wandb")}

    first = sync(cloud, home, "--workers", "3", code=0)
    sent = changes(cloud)
    second = sync(cloud, home, code=0)
    sent_again = changes(cloud) - sent
    there = read_back(cloud, "p", home)
    said = plain_sync(cloud, tmp_path / "plain", *before)
    plain = read_back(cloud, "plain", home)

    assert (first.told["synced"], first.told["failed"]) == (9, 0), first.narration
    assert (second.told["synced"], second.told["already"]) == (0, 9), second.narration
    assert not sent_again
    assert {name: run["state"] for name, run in there.items()} == {
        **dict.fromkeys(("on1", "off1", "plain1", "plain2", "plain3", "art"), "finished"),
        **dict.fromkeys(("on2", "on3", "dead"), "failed"),
    }
    for name, run in there.items():
        assert run["config"] == {**CONFIG, "name": name}
        assert run["rows"] == list(range(20))
        assert run["loss"] == [step * 1.5 for step in range(20)]
        assert run["summary"] == {**SUMMARY, "note": name}
    joined = {name: run["sweep"] for name, run in there.items() if run["sweep"]}
    assert set(joined) == {"on1", "on2", "on3", "off1"}
    assert len(set(joined.values())) == 1
    made = Client(cloud.url, cloud.key, kind="wandb", ca_bundle=cloud.ca_file).find_sweep(
        SweepPath(cloud.entity, "p", joined["on1"])
    )
    assert made is not None
    assert (made.state, made.config) == ("PAUSED", yaml.safe_load(GRID))
    assert {path: path.read_bytes() for path in before} == before
    # W&B's own: what was online is skipped, and the sweep of the local server is not known there
    assert {name: (run["state"], len(run["rows"])) for name, run in plain.items()} == {
        **dict.fromkeys(("plain1", "plain2", "plain3", "art"), ("finished", 20)),
        "dead": ("failed", 20),
    }, said


def test_bad_logs_among_good_ones_are_named_and_hinder_nobody(cloud: Cloud, tmp_path: Path) -> None:
    home = tmp_path / "home"
    names = [f"good{number}" for number in range(10)]
    live = start_runs(home, "open", "live", ROWS="3")
    made = [start_runs(home, "good", *names[:5]), start_runs(home, "good", *names[5:], "cut")]
    assert [wait(one) for one in made] == [0, 0]
    cut = logs_in(home)["cut"]
    cut.write_bytes(cut.read_bytes()[:-30])
    empty = home / "wandb" / "offline-run-20260101_000000-empty"
    empty.mkdir()
    (empty / "run-empty.wandb").touch()
    assert live.stdout is not None
    live.stdout.readline()

    told = sync(cloud, home, str(home / "wandb"), code=7).told
    there = read_back(cloud, "p", home)
    plain = plain_sync(cloud, tmp_path / "plain", *logs_in(home).values())
    assert wait(live) == 0

    status = {run["id"]: run["status"] for run in told["runs"]}
    reason = {run["id"]: run["reason"] for run in told["runs"]}
    assert status == {
        **dict.fromkeys(names, "synced"),
        **dict.fromkeys(("cut", "empty", "live"), "skipped"),
    }
    assert reason["empty"] == "its log is empty"
    assert reason["cut"].startswith("its log is truncated at byte")
    assert reason["live"] == "it is still being written"
    assert {name: len(run["rows"]) for name, run in there.items()} == dict.fromkeys(names, 20)
    assert cloud.runs("plain") == [], plain  # one empty log, and it sends nothing


def test_what_is_there_in_part_or_twice_is_named_and_not_sent_again(
    cloud: Cloud, made: Made, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(made.home / "wandb", home / "wandb", symlinks=True)
    log = logs_in(home)["bad"].parent
    twice = ["sync", "--include-synced", "-p", "p", str(log)]
    for _ in range(2):  # W&B's own: a repeat sends all rows again
        subprocess.run(
            [sys.executable, "-m", "wandb", *twice],
            env=cloud.environment(home),
            check=True,
            capture_output=True,
        )

    first = sync(cloud, home, str(log), "--project", "p", code=7).told["runs"]
    second = sync(cloud, home, str(log), "--project", "p", code=7).told["runs"]

    for [run] in (first, second):
        assert run["status"] == "failed"
        assert "40 rows there, 20 in its log: rows were sent twice" in run["reason"]


def test_a_deleted_run_is_named_at_once_and_the_others_arrive(
    cloud: Cloud, made: Made, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    logs = [str(made.logs[name].parent) for name in ("bad", "dead")]
    assert sync(cloud, home, logs[0], "--project", "p", code=0).told["synced"] == 1
    cloud.delete_run(f"{cloud.entity}/p/bad")
    (home / "xdg" / "runner" / "sync.db").unlink()  # or another machine sent it

    began = time.monotonic()
    told = sync(cloud, home, *logs, "--project", "p", code=7).told
    elsewhere = sync(cloud, home, *logs, "--project", "q", code=0).told

    assert time.monotonic() - began < 60  # W&B's own sync tries for days
    status = {run["id"]: (run["status"], run["reason"]) for run in told["runs"]}
    assert status["dead"] == ("synced", None)
    assert status["bad"][0] == "failed"
    assert "a run with this ID was deleted there" in status["bad"][1]
    assert [run.id for run in cloud.runs("p")] == ["dead"]
    assert elsewhere["synced"] == 2


def test_artifacts_arrive_or_are_named_each_time(cloud: Cloud, made: Made, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(made.home, home, symlinks=True)
    log = logs_in(home)["art"].parent
    for staged in home.joinpath("artifacts", "staging").rglob("*"):
        if staged.is_file():
            staged.rename(home / "kept")  # one file

    told = [sync(cloud, home, str(log), code=7).told for _ in range(2)]
    whole = sync(
        *(cloud, home, str(log), "--project", "whole"), code=0, WANDB_DATA_DIR=str(made.home)
    ).told

    for one, status in zip(told, ("synced", "already"), strict=True):
        [run] = one["runs"]
        assert (run["status"], run["lacking_artifacts"]) == (status, ["made-art"])
    first, later = (one["runs"][0]["reason"] for one in told)
    assert first.startswith("artifacts that are left out: `made-art` (a file of it is neither in ")
    assert "which `WANDB_DATA_DIR` names" in first
    assert later == "artifacts that are not on the target: `made-art`"
    assert whole["runs"][0]["lacking_artifacts"] == []
    assert logged_artifacts(cloud, "whole/art", home) == ["made-art:v0"]


def test_fragments_of_a_resumed_run_arrive_in_order_as_one(cloud: Cloud, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert wait(start_runs(home, "good", "again")) == 0
    first = sync(cloud, home, code=0).told
    for _ in range(2):
        assert wait(start_runs(home, "good", "again")) == 0

    second = sync(cloud, home, code=0).told
    there = read_back(cloud, "p", home)["again"]

    assert (first["synced"], second["synced"]) == (1, 1)
    assert (there["rows"], there["state"]) == (list(range(60)), "finished")


def test_a_sweep_is_joined_and_an_unknown_one_is_refused(
    cloud: Cloud, made: Made, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    joined = cloud.make_sweep(GRID, project="q")
    log = str(made.logs["good"].parent)

    unknown = sync(cloud, home, log, code=7).told
    missing = sync(cloud, home, log, "--sweep", f"{cloud.entity}/q/nosuch", code=3).told
    told = sync(cloud, home, log, "--sweep", joined, code=0).told

    assert "its YAML is unknown" in unknown["runs"][0]["reason"]
    assert "there is no sweep" in missing["error"]["message"]
    assert told["synced"] == 1
    [run] = cloud.runs("q")
    assert (run.id, run.sweep, run.state) == ("good", joined.split("/")[2], "finished")
    plain = plain_sync(cloud, tmp_path / "plain", made.logs["good"])
    assert cloud.runs("plain") == [], plain  # 404: its sweep is not known there


def test_a_wrong_key_and_a_foreign_entity_are_told_in_one_line(
    cloud: Cloud, made: Made, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    log = str(made.logs["bad"].parent)

    foreign = sync(cloud, home, log, "--entity", "stranger")
    good, cloud.key = cloud.key, "x" * 40
    wrong = sync(cloud, home, log)
    cloud.key = good

    assert (wrong.code, wrong.told["error"]["code"]) == (4, 4)
    assert foreign.code == 4, foreign.told
    assert cloud.runs("p") == []


def test_a_dry_run_sends_nothing(cloud: Cloud, made: Made, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()

    told = sync(cloud, home, str(made.logs["bad"].parent), "--dry-run", code=0).told

    assert [(run["id"], run["reason"], run["history_rows"]) for run in told["runs"]] == [
        ("bad", "dry run", 20)
    ]
    assert cloud.runs("p") == []


def test_runs_in_a_programs_own_folders_are_named_and_sent(cloud: Cloud, tmp_path: Path) -> None:
    """Hydra's: each run has a folder of its own; without a path they are not lost from view."""
    for name, place in (("h1", "outputs/2026-01-01/00-00-00"), ("h2", "multirun/a/0")):
        assert wait(start_runs(tmp_path / place, "good", name)) == 0

    unnamed = sync(cloud, tmp_path)
    named = sync(cloud, tmp_path, "outputs", "multirun")
    again = sync(cloud, tmp_path, "outputs", "multirun")

    assert (unnamed.code, unnamed.told["runs"]) == (0, [])
    assert f"looked in `{tmp_path / 'wandb'}`" in unnamed.narration
    hint = "2 more logs are in `multirun/`, `outputs/`: `runner sync-offline multirun outputs`"
    assert hint in unnamed.narration
    assert (named.code, named.told["synced"]) == (0, 2)
    assert (again.told["synced"], again.told["already"]) == (0, 2)
