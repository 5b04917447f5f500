"""`runner sync-offline` where folders, servers, disks and users are not as they should be."""

import os
import pty
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from runner.disk.own_files import write_json
from runner.errors import RunnerError
from runner.offline.ledger import Ledger
from runner.offline.lock import exclusive
from runner.offline.log.find import find_logs, read_runs
from runner.offline.target_choice import choose_target
from runner.project.find import find_project
from runner.settings.load import load_settings
from runner.state.find import open_state
from tests.rig.cloud import Cloud, start_cloud
from tests.rig.command import Done, start_runner
from tests.rig.listener import listening
from tests.rig.waiting import wait_for
from tests.rig.warm import WarmRunner
from tests.runner.offline.conftest import Made
from tests.runner.offline.logs import logs_in, start_runs, wait
from tests.runner.offline.syncing import read_back, sync


def start(cloud: Cloud, home: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command, under way."""
    return start_runner(
        *("sync-offline", "--to", cloud.url, *arguments),
        cwd=home,
        env={**cloud.environment(home), "XDG_STATE_HOME": str(home / "xdg")},
    )


@pytest.mark.client
def test_a_copy_of_a_folder_is_left_out_and_said(cloud: Cloud, made: Made, tmp_path: Path) -> None:
    """`cp -r wandb backup` in mid-run: the copy is shorter, and no fragment of its run."""
    home = tmp_path / "home"
    shutil.copytree(made.home / "wandb", home / "wandb", symlinks=True)
    backup = shutil.copytree(
        made.logs["dead"].parent, home / "backup" / made.logs["dead"].parent.name
    )
    log = backup / "run-dead.wandb"
    log.write_bytes(log.read_bytes()[:-30])

    [found] = read_runs(find_logs([logs_in(home)["dead"], log]), live=())
    told = sync(cloud, home, str(logs_in(home)["dead"]), str(log), "--project", "p", code=0)

    assert ([one.path for one in found.logs], found.copies) == ([logs_in(home)["dead"]], (log,))
    assert [(run["id"], run["status"]) for run in told.told["runs"]] == [("dead", "synced")]
    assert f"run dead: `{backup}` is a copy and is left out" in told.narration
    assert read_back(cloud, "p", home)["dead"]["rows"] == list(range(20))


@pytest.mark.client
def test_two_runs_of_one_id_are_not_mixed_in_one_place(cloud: Cloud, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert wait(start_runs(home, "good", "same")) == 0
    assert wait(start_runs(home, "good", "same", PROJECT="q", ROWS="30")) == 0

    mixed = sync(cloud, home, "--project", "one", code=7).told
    apart = sync(cloud, home, code=0).told

    assert sorted(run["status"] for run in mixed["runs"]) == ["failed", "synced"]
    [reason] = [run["reason"] for run in mixed["runs"] if run["reason"]]
    assert f"goes to {cloud.entity}/one/same too" in reason
    assert apart["synced"] == 2
    assert [len(cloud.rows(run)) for name in "pq" for run in cloud.runs(name)] == [20, 30]


@pytest.mark.client
def test_a_server_that_is_gone_while_it_is_read_back_costs_nothing(
    made: Made, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with start_cloud(tmp_path / "cloud") as cloud:  # its counts lag by five seconds
        process = start(cloud, home, str(made.logs["bad"].parent), "--project", "p")
        wait_for(lambda: [run.state for run in cloud.runs("p")] == ["failed"])
        cloud.off()
        time.sleep(3)
        cloud.on()
        output, said = process.communicate(timeout=120)

    assert process.returncode == 0, said
    assert "1 synced (20 rows)" in output


@pytest.mark.client
def test_ctrl_c_sends_no_further_batch_and_the_next_call_ends_it(
    cloud: Cloud, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    names = [f"run{number:02}" for number in range(10)]
    made = [start_runs(home, "good", *names[:5]), start_runs(home, "good", *names[5:])]
    assert [wait(one) for one in made] == [0, 0]

    process = start(cloud, home, "--workers", "1", "--json")
    wait_for(lambda: cloud.runs("p"))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    with closing(sqlite3.connect(home / "xdg" / "runner" / "sync.db")) as ledger:
        begun = {path for (path,) in ledger.execute("SELECT path FROM receipts")}
    told = sync(cloud, home).told

    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert len(begun) <= 6  # the first batch
    for run in told["runs"]:
        part = run["status"] == "failed" and "an earlier sync was interrupted" in run["reason"]
        assert part or run["status"] in ("synced", "already"), run
    assert len(told["runs"]) == len(names)


@pytest.mark.client
def test_certificates_named_for_requests_are_trusted(
    cloud: Cloud, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr("tests.rig.cloud.TRUST", ("REQUESTS_CA_BUNDLE",))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)

    told = sync(cloud, home, str(made.logs["bad"].parent), "--workers", "3", code=0).told

    assert told["synced"] == 1


def test_a_damaged_ledger_and_a_folder_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    (tmp_path / "sync.db").write_bytes(b"no database, but longer than its header" * 9)
    (tmp_path / "file").touch()

    with pytest.raises(RunnerError, match=r"sync\.db` cannot be used: file is not a database"):
        Ledger(tmp_path / "sync.db", "https://w")
    with (
        pytest.raises(RunnerError, match=r"cannot write in `.*file`: "),
        exclusive(tmp_path / "file" / "lock"),
    ):
        raise AssertionError


def test_sweeps_of_several_servers_need_a_choice(tmp_path: Path) -> None:
    """One folder, two W&B: neither takes the runs of the other's sweep."""
    state = open_state(tmp_path, tmp_path, environ={})
    for sweep, server in {"a1": "https://one.example", "b2": "https://two.example"}.items():
        record: Mapping[str, str] = {"path": f"e/p/{sweep}", "server": server, "url": ""}
        write_json(state.sweeps / f"{sweep}.json", record)
    settings = load_settings(find_project(tmp_path), environ={}, flags={})

    def choose(flag: str | None, *sweeps: str) -> str | None:
        return choose_target(
            flag,
            settings,
            sweeps=sweeps,
            state=state,
            environ={},
            home=tmp_path,
            find_kind=lambda url: "runner" if "ours" in url else "wandb",
        ).url

    assert choose(None, "a1", "unknown", "a1") == "https://one.example"
    with pytest.raises(RunnerError, match=r"several servers: https://one\.example, https://two"):
        choose(None, "a1", "b2")
    with pytest.raises(RunnerError, match=r"--to: `ftp://x` is not a URL"):
        choose("ftp://x")
    with pytest.raises(RunnerError, match=r"`https://ours` is a sweep server of runner, but sync"):
        choose("https://ours")


@pytest.mark.client
def test_a_terminal_shows_how_far_it_is_and_a_line_what_reached_where(
    cloud: Cloud, made: Made, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    for name in ("bad", "dead"):
        shutil.copytree(made.logs[name].parent, home / "wandb" / made.logs[name].parent.name)
    empty = home / "wandb" / "offline-run-20260101_000000-empty"
    empty.mkdir()
    (empty / "run-empty.wandb").touch()
    ours, theirs = pty.openpty()

    process = start_runner(
        *("sync-offline", "--to", cloud.url, "--project", "p"),
        cwd=home,
        env={**cloud.environment(home), "XDG_STATE_HOME": str(home / "xdg"), "COLUMNS": "100"},
        stderr=theirs,
    )
    output, _ = process.communicate(timeout=120)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)

    assert process.returncode == 7, shown
    assert re.search(r"\[#* *\] 1 of 3 runs, 0 rows, 0 B of \d+\.\d KiB\r", shown), shown
    assert "dead: synced, 20 rows\r\n" in shown
    assert shown.index("\r\033[K") < shown.index(": synced")  # the bar makes room
    assert f"skipped: run empty in {empty}: its log is empty" in shown
    assert output == f"{cloud.url}: 2 synced (40 rows), 0 already there, 1 skipped\n"


@pytest.mark.slow
def test_the_key_of_one_host_is_not_sent_to_another(warm: WarmRunner, tmp_path: Path) -> None:
    """`--to` a host that no key is for, and one that a key is for and that sends on to it."""
    log = tmp_path / "wandb" / "offline-run-20260101_000000-a"
    log.mkdir(parents=True)
    (log / "run-a.wandb").touch()
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def sync_to(url: str) -> Done:
        return warm.run("sync-offline", "--to", url, cwd=tmp_path, env=environ)

    with listening() as (stranger, heard), listening(stranger) as (known, heard_there):
        netrc = tmp_path / ".netrc"
        netrc.write_text(f"machine {known.removeprefix('http://')} login u password {'k' * 40}\n")
        netrc.chmod(0o600)
        foreign, sent_on = sync_to(stranger), sync_to(known)

    assert foreign.returncode == 4, foreign.stderr
    assert heard == [None]  # who serves there is asked without a key
    assert foreign.stderr.startswith(f"target: {stranger} (--to)\nerror: no key for {stranger}")
    assert sent_on.returncode == 1, sent_on.stderr
    assert [key is None for key in heard_there] == [True, False]
