"""`sync-offline` of what a container left: nothing outside a run's folder is read or changed."""

import gzip
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.cloud import Cloud, start_cloud
from tests.runner.offline.hostile import (
    SECRET,
    artifact,
    files,
    framed,
    make_run,
    md5,
    place,
    record,
    run_record,
    summary,
    usual,
)
from tests.runner.offline.syncing import Ended, sync

pytestmark = pytest.mark.client
PLACES = ("fifo", "link", "loop", "folder", "device", "sparse")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with start_cloud(tmp_path / "cloud", lag_s=0.2, tls=False) as cloud:
        yield cloud


def arrived(cloud: Cloud) -> dict[str, set[str]]:
    """Run ID → the files of it that are there, but for those that W&B's sync makes itself."""
    made = {"config.yaml", "wandb-summary.json", "wandb-metadata.json"}
    return {
        run.id: {one.name for one in cloud.store.uploads(run)} - made for run in cloud.runs("p")
    }


def leaks(cloud: Cloud, secret: str = SECRET) -> list[Path]:
    """Files of the cloud that hold the secret, its database among them."""
    found = [one for one in cloud.folder.rglob("*") if one.is_file()]
    return [one for one in found if secret.encode() in one.read_bytes()]


def outside(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and mode of all that lies there."""
    return {
        str(one.relative_to(folder)): (one.read_bytes(), one.stat().st_mode)
        for one in sorted(folder.rglob("*"))
        if one.is_file()
    }


def reasons(ended: Ended) -> dict[str, str | None]:
    return {run["id"]: run["reason"] for run in ended.told["runs"]}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A folder of the user's with secrets in it."""
    folder = tmp_path / "host"
    folder.mkdir()
    for name in ("id_rsa", "bashrc", "events.out.tfevents.1.host", "weights"):
        (folder / name).write_text(SECRET)
        (folder / name).chmod(0o640)
    return folder


@pytest.mark.parametrize("where", [".runner/runs", "."])
def test_links_of_run_files_send_and_change_nothing_outside(
    cloud: Cloud, tmp_path: Path, host: Path, where: str
) -> None:
    """File and folder links, chains, and links where W&B's sync writes files of its own."""
    home = tmp_path / "home"
    runs = home / where
    (home / ".runner").mkdir(parents=True)
    (home / ".runner" / "fleet").write_text('{"name": "home-0000", "format": 2}')
    output = record(output_raw={"line": "evil\n", "output_type": 1})
    environment = record(environment={"os": "evil", "program": "evil"})
    for run_id, named in {
        "file": ("innocent.txt", "good.txt"),
        "folder": ("dir/id_rsa", "good.txt"),
        "chain": ("a", "good.txt"),
        "dots": ("../../../../host/id_rsa", "../../x", "good.txt"),
        "absolute": (str(host / "id_rsa"), "good.txt"),
        "inside": ("alias.txt", "far.txt", "good.txt"),
        "hard": ("hard.txt", "good.txt"),
        "whole": ("id_rsa",),
        "overwrite": ("good.txt",),
        "odd": ("fifo", "socket", "zero", "sparse", "good.txt"),
    }.items():
        folder = make_run(runs, run_id, files(*named), output, environment) / "files"
        (folder / "good.txt").write_text(f"good {run_id}")
    at = {one.name.split("-")[-1]: one / "files" for one in (runs / "wandb").iterdir()}
    (at["file"] / "innocent.txt").symlink_to(host / "id_rsa")
    (at["folder"] / "dir").symlink_to(host)
    (at["chain"] / "a").symlink_to("b")
    (at["chain"] / "b").symlink_to("../c")
    (at["chain"].parent / "c").symlink_to(os.path.relpath(host / "id_rsa", at["chain"].parent))
    (at["inside"] / "alias.txt").symlink_to("good.txt")
    (at["inside"] / "far.txt").symlink_to("../beside.txt")
    (at["inside"].parent / "beside.txt").write_text("beside")
    (at["hard"] / "hard.txt").hardlink_to(at["hard"] / "good.txt")
    (at["whole"] / "good.txt").unlink()
    at["whole"].rmdir()
    at["whole"].symlink_to(host)
    for name in ("output.log", "config.yaml", "wandb-summary.json", "wandb-metadata.json"):
        (at["overwrite"] / name).symlink_to(host / "bashrc")
    os.mkfifo(at["odd"] / "fifo")
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{short}/socket")  # such a path is 108 bytes at most
        Path(short, "socket").rename(at["odd"] / "socket")
    (at["odd"] / "zero").symlink_to("/dev/zero")
    with (at["odd"] / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 42)
    before = outside(host)

    ended = sync(cloud, home, code=7)

    assert outside(host) == before
    assert not leaks(cloud)
    there = arrived(cloud)
    assert there.pop("inside") == {"good.txt", "alias.txt", "far.txt", "output.log"}
    assert there.pop("hard") == {"good.txt", "hard.txt", "output.log"}
    assert there.pop("whole") == {"output.log"}
    assert all(names == {"good.txt", "output.log"} for names in there.values()), there
    said = reasons(ended)
    silent = {run for run, reason in said.items() if reason is None}
    assert silent == {"inside", "hard", "overwrite"}  # of the last no log names a link
    assert "`innocent.txt`" in str(said["file"])
    again = reasons(sync(cloud, home, code=7))
    assert {run for run, reason in again.items() if reason is None} == silent


def test_artifacts_take_files_from_wandbs_staging_folder_only(
    cloud: Cloud, tmp_path: Path, host: Path
) -> None:
    """Absolute paths, links, manifests: W&B's sync sends such a file, and then removes it."""
    home = tmp_path / "home"
    staging = home / ".runner" / "runs" / "artifacts" / "staging"
    staging.mkdir(parents=True)
    (home / ".runner" / "fleet").write_text('{"name": "home-0000", "format": 2}')
    (staging / "tmpgood").write_text("good")
    (staging / "tmplink").symlink_to(host / "id_rsa")
    secret = str(host / "id_rsa")
    entry = {"path": "x", "digest": md5(SECRET), "size": len(SECRET), "local_path": secret}
    (staging / "artifact_manifests").mkdir()
    with gzip.open(staging / "artifact_manifests" / "m.gz", "wt") as file:
        file.write(json.dumps(entry) + "\n")
    (host / "manifest.gz").write_bytes(gzip.compress(json.dumps(entry).encode()))
    runs = {
        "good": artifact("good", "/runs/artifacts/staging/tmpgood"),
        "absolute": artifact("absolute", secret),
        "mixed": artifact("mixed", "/runs/artifacts/staging/tmpgood", secret),
        "dots": artifact("dots", "/runs/artifacts/staging/../../../../../host/id_rsa"),
        "link": artifact("link", "/runs/artifacts/staging/tmplink"),
        "listed": artifact("listed", manifest="/runs/artifacts/staging/artifact_manifests/m.gz"),
        "list": artifact("list", manifest=str(host / "manifest.gz")),
        "asked": record(request={"log_artifact": {"staging_dir": str(host)}}),
    }
    for run_id, one in runs.items():
        make_run(home / ".runner" / "runs", run_id, one, files("good.txt"))
    before = outside(host)

    ended = sync(cloud, home, code=7)

    assert outside(host) == before
    assert not leaks(cloud)
    lacking = {run["id"]: run["lacking_artifacts"] for run in ended.told["runs"]}
    assert lacking == {name: [name] for name in runs} | {"good": [], "asked": []}
    assert {run["status"] for run in ended.told["runs"]} == {"synced"}


def test_records_that_make_wandbs_sync_act_are_not_passed_on(
    cloud: Cloud, tmp_path: Path, host: Path
) -> None:
    """TensorBoard's folders, requests, kinds of record that end W&B's process, other runs' IDs."""
    home = tmp_path / "home"
    board = {"log_dir": str(host), "save": True, "ignore_timestamp": True, "ignore_hostname": True}
    for number in range(3):
        make_run(home, f"good{number}")
    make_run(home, "board", record(tbrecord=board))
    make_run(home, "nothing", record(num=7))
    make_run(home, "asks", record(request={"network_status": {}}), record(request={}))
    make_run(home, "downloads", record(request={"download_artifact": {"download_root": "/"}}))
    make_run(home, "twice", record(exit={"exit_code": 0}), record(exit={"exit_code": 0}))
    make_run(home, "other", run_record("good0"))
    before = outside(host)

    ended = sync(cloud, home, code=7)

    assert outside(host) == before
    assert not leaks(cloud)
    status = {run["id"]: run["status"] for run in ended.told["runs"]}
    assert {status[f"good{number}"] for number in range(3)} == {"synced"}
    assert {run.id for run in cloud.runs("p")} <= set(status)


def value(text: str) -> bytes:
    """A change of the config to this JSON."""
    return record(config={"update": [{"key": "x", "value_json": text}]})


def test_no_log_stops_the_others(cloud: Cloud, tmp_path: Path, host: Path) -> None:
    """Each is named and left alone; the good ones arrive, and nothing is waited for."""
    home = tmp_path / "home"
    hostile = {
        "deep": [value("[" * 100_000)],
        "closed": [value("[" * 5000 + "]" * 5000)],
        "objects": [value('{"a":' * 100_000)],
        "summary": [record(summary={"update": [{"key": "x", "value_json": "[" * 100_000}]})],
        "nested": [record(summary={"update": [{"nested_key": ["a"] * 300, "value_json": "1"}]})],
        "nothing": [value("")],
        "digits": [value("1" * 5000)],
        "undecoded": [summary(x=1) + b"\x2a\x02\x0a\x7f"],
        "garbage": [b"\xff\xff\xff"],
        "second": [run_record("good1")],
        "outside": [record(exit={"exit_code": 0}), record(history={"item": []})],
        "many": [record(config={"update": [{"key": "x"}] * 200_001})],
    }
    for run_id, more in hostile.items():
        make_run(home, run_id, *more)
    for number, run_id in enumerate(("../x", "", "a\x1b[2J", "..", " ", "x" * 200)):
        place(home, f"name{number}", framed(*usual(run_id)))
        hostile[f"name{number}"] = []
    good = {f"good{number}" for number in range(3)}
    for run_id in good:
        make_run(home, run_id)
    at = {name: place(home, name, b"") / f"run-{name}.wandb" for name in PLACES}
    for log in at.values():
        log.unlink()
    os.mkfifo(at["fifo"])
    at["link"].symlink_to(next(home.glob("wandb/*-good0/*.wandb")))
    at["loop"].symlink_to(at["loop"].name)
    at["folder"].mkdir()
    at["device"].symlink_to("/dev/zero")
    at["sparse"].touch()
    os.truncate(at["sparse"], 1 << 42)
    (home / "wandb" / "offline-run-20260101_000000-elsewhere").symlink_to(host)
    (home / "wandb" / "offline-run-20260101_000000-round").symlink_to("../wandb")
    escape = "offline-run-20260101_000000-\x1b]0;x\x07"
    (home / "wandb" / escape).mkdir()
    (home / "wandb" / escape / "run-\x1b[2J.wandb").write_bytes(b"no log")
    hostile |= {name: [] for name in (*PLACES, "elsewhere", "round", "\x1b[2J")}
    before = outside(host)

    ended = sync(cloud, home, code=7)
    planned = sync(cloud, home, "--dry-run", code=7)

    status = {run["id"]: run["status"] for run in ended.told["runs"]}
    assert {name for name, one in status.items() if one == "synced"} == good
    assert set(arrived(cloud)) == good
    assert outside(host) == before
    left = {run["id"] for run in ended.told["runs"] if run["status"] == "skipped" and run["reason"]}
    assert len(ended.told["runs"]) == len(hostile) + len(good)
    assert set(hostile) - {f"name{number}" for number in range(6)} <= left
    assert {run["id"] for run in planned.told["runs"] if run["reason"]} >= left
    for one in (ended, planned):
        assert "Traceback" not in one.narration
        assert "\x1b" not in one.narration
        assert "\x07" not in one.narration


def test_records_that_end_wandbs_client_are_kept_from_it(cloud: Cloud, tmp_path: Path) -> None:
    """One of these ends the process that sends all runs: wandb-core panics (seen with 0.31)."""
    home = tmp_path / "home"
    item = {"key": "cpu", "value_json": "1"}
    make_run(home, "bare", record(stats={}))
    make_run(home, "untimed", record(stats={"item": [item]}))
    make_run(home, "typed", record(stats={"stats_type": 0, "item": [item, item]}))
    make_run(home, "good", record(stats={"timestamp": {"seconds": 1}, "item": [item]}))

    told = sync(cloud, home, code=0).told

    assert told["synced"] == 4
