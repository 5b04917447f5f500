"""The database's format: made anew, brought up from an earlier one, refused from a later one."""

import json
import sqlite3
import tarfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runner.backend.backup import fetch_backup
from runner.disk.migrations import Migration, read_migrations
from runner.errors import RunnerError
from runner.server import oldlogs, schema
from runner.server.check import check
from runner.server.disk import sync_folder
from runner.server.records import Run
from runner.server.schema import connect
from runner.server.service import Service
from runner.server.tokens import Tokens
from tests.runner.server.earlier import dump, log, report, restore, restore_format
from tests.runner.server.player import Player
from tests.runner.server.servers import KEY, Clock, Server, open_service

NEWEST = read_migrations("runner.server")[-1].number
SWEEP = """query {project(name: "demo") {sweeps {edges {node {name state
  agents {edges {node {name host}}}}}}
  runs {edges {node {name state exitcode attempts failure agentName config history bestMetric
    logLines {edges {node {line}}} files {edges {node {name url}}}
    outputArtifacts {edges {node {state size}}}}}}}}"""


def columns(database: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Each table's columns, in an order that does not tell when they came."""
    tables = database.execute("select name from sqlite_master where type='table'").fetchall()
    return {
        name: sorted(tuple(row)[1:] for row in database.execute(f"pragma table_info({name})"))
        for (name,) in map(tuple, tables)
    }


def read(player: Player) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The sweep that is under way, and all runs by their ID."""
    project = player.ask(SWEEP)["project"]
    sweeps = [edge["node"] for edge in project["sweeps"]["edges"]]
    runs = {edge["node"]["name"]: edge["node"] for edge in project["runs"]["edges"]}
    return next(one for one in sweeps if one["state"] != "PAUSED"), runs


def losses(run: dict[str, Any]) -> list[float]:
    """What a run has logged."""
    return [json.loads(line)["loss"] for line in run["history"]]


def make_old(file: Path) -> None:
    """A database of a version whose files could only grow, with many free pages."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("pragma journal_mode=wal")
        for one in read_migrations("runner.server"):
            database.executescript(f"begin;{one.sql};pragma user_version={one.number};commit")
        database.execute(
            "create table ballast as with recursive n(at) as (select 1 union all "
            "select at + 1 from n where at < 500) select randomblob(4000) from n"
        )
        database.execute("drop table ballast")


@pytest.mark.parametrize(("size", "mode", "free"), [(1 << 30, 2, 0), (1 << 20, 0, 500)])
def test_a_small_database_of_an_earlier_version_is_made_one_that_shrinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, mode: int, free: int
) -> None:
    """To rewrite a large one would keep its agents waiting."""
    make_old(tmp_path / "server.db")
    monkeypatch.setattr(schema, "VACUUM_BYTES", size)

    with closing(connect(tmp_path / "server.db")) as database:
        found = [
            database.execute(f"pragma {name}").fetchone()[0]
            for name in ("auto_vacuum", "freelist_count")
        ]

    assert found[0] == mode
    assert found[1] >= free
    assert (found[1] < 10) == (free == 0)


def test_a_small_database_that_finds_no_room_to_be_rewritten_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(tmp_path / "server.db")
    monkeypatch.setattr(schema, "migrate", forbid_copies)

    with closing(connect(tmp_path / "server.db")) as database:
        assert database.execute("pragma auto_vacuum").fetchone() == (0,)
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)


def forbid_copies(database: sqlite3.Connection, *_: object, **__: object) -> None:
    """A connection that cannot make the second database that `vacuum` needs."""
    database.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else 0
    )


def test_migrations_are_numbered_without_a_gap() -> None:
    known = read_migrations("runner.server")
    assert [one.number for one in known] == list(range(1, NEWEST + 1))
    assert all(one.name[4] == "_" for one in known)


def test_a_database_of_an_earlier_version_becomes_what_a_new_one_is(tmp_path: Path) -> None:
    restore(tmp_path / "old")
    with closing(sqlite3.connect(tmp_path / "older.db")) as older:  # before it knew outputs
        older.executescript(f"{read_migrations('runner.server')[0].sql}; pragma user_version=1;")

    with (
        closing(connect(tmp_path / "new.db")) as new,
        closing(connect(tmp_path / "old" / "server.db")) as old,
        closing(connect(tmp_path / "older.db")) as older,
    ):
        assert columns(new) == columns(old) == columns(older)
        assert {one.execute("pragma user_version").fetchone()[0] for one in (new, old, older)} == {
            NEWEST
        }


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, NEWEST))
def test_a_sweep_that_an_earlier_version_left_in_the_middle_goes_on_to_its_end(
    tmp_path: Path, number: int
) -> None:
    """Nothing is lost, nothing is run twice; a backup of it is a server, and all fits."""
    restore_format(tmp_path / "data", number)
    assert check(tmp_path / "data", repair=False) == []
    server, restored = Server(tmp_path / "data"), Server(tmp_path / "restored")
    server.start()
    try:
        with Player(server.url, server.key) as player:
            go_on(player)
            after = read(player)
        file = fetch_backup(server.url, server.key, tmp_path / "backup.tar")
    finally:
        server.stop()
    assert check(server.data, repair=False) == []

    restored.data.mkdir()
    with tarfile.open(file) as tar:
        tar.extractall(restored.data, filter="data")
    assert check(restored.data, repair=False) == []
    restored.start()
    with Player(restored.url, restored.key) as player:
        found = read(player)
    restored.stop()
    assert without_urls(found[1]) == without_urls(after[1])
    assert found[0] == after[0]


def without_urls(runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The runs; the URLs of their files name the server."""
    return {
        name: run | {"files": [edge["node"]["name"] for edge in run["files"]["edges"]]}
        for name, run in runs.items()
    }


def go_on(player: Player) -> None:
    """Three agents go on with what they had."""
    sweep, before = read(player)
    agents = {edge["node"]["host"]: edge["node"]["name"] for edge in sweep["agents"]["edges"]}
    by_state = {run["state"]: name for name, run in before.items()}
    assert Counter(run["state"] for run in before.values()) == dict.fromkeys(
        ("finished", "failed", "killed", "preempted", "running", "pending"), 1
    )
    assert json.loads(before[by_state["failed"]]["failure"])["lines"] == ["ValueError: no"]

    def end(name: str, run: str) -> list[dict[str, Any]]:
        player.stream(run, {"complete": True, "exitcode": 0})
        return player.beat(agents[name], name=name, ended=[report(run, 0, None)], leaving=True)

    running = by_state["running"]
    assert player.beat(agents["gpu-a"], running, name="gpu-a") == []
    log(player, running, 4, 2)
    end("gpu-a", running)
    [pending] = player.beat(agents["gpu-c"], name="gpu-c")  # its answer was lost with the server
    assert (pending["type"], pending["run_id"]) == ("run", by_state["pending"])
    player.begin(pending["run_id"], sweep=sweep["name"])
    log(player, pending["run_id"], 0, 6)
    end("gpu-c", pending["run_id"])
    [resumed] = player.beat(agents["gpu-b"], name="gpu-b")
    assert (resumed["type"], resumed["run_id"]) == ("resume", by_state["preempted"])
    player.begin(resumed["run_id"], sweep=sweep["name"])
    log(player, resumed["run_id"], 3, 3)
    end("gpu-b", resumed["run_id"])
    while (command := player.beat(agents["gpu-a"], name="gpu-a")[0])["type"] == "run":
        player.begin(command["run_id"], sweep=sweep["name"])
        log(player, command["run_id"], 0, 6)
        end("gpu-a", command["run_id"])

    sweep, after = read(player)
    assert sweep["state"] == "FINISHED"
    assert len({run["config"] for run in after.values()}) == len(after) == 12
    ended = Counter(run["state"] for run in after.values())
    assert ended == {"finished": 10, "failed": 1, "killed": 1}
    assert all(losses(run) == [1 / (1 + step) for step in range(6)] for run in after.values())
    lines = [f"step {step}" for step in range(6)]
    for run in after.values():
        assert [edge["node"]["line"] for edge in run["logLines"]["edges"]] == lines
    assert after[resumed["run_id"]]["attempts"] == 2
    done = after[by_state["finished"]]
    assert player.get(done["files"]["edges"][0]["node"]["url"]) == b"lr: 0.1\n"
    assert done["outputArtifacts"]["edges"] == [{"node": {"state": "COMMITTED", "size": 7}}]
    for name in ("finished", "failed", "killed"):  # these had ended
        assert after[by_state[name]] | {"files": None} == before[by_state[name]] | {"files": None}


@pytest.mark.parametrize("number", range(1, NEWEST))
def test_a_database_of_every_earlier_format_becomes_what_a_new_one_is(
    tmp_path: Path, number: int
) -> None:
    """With all of its rows; what it was is kept."""
    restore_format(tmp_path / "data", number)
    file = tmp_path / "data" / "server.db"
    before = dump(file)

    assert check(tmp_path / "data", repair=False) == []

    assert dump(tmp_path / "data" / f"backup-format{number}" / "server.db") == before
    with (
        closing(connect(tmp_path / "new.db")) as new,
        closing(connect(file)) as old,
        closing(open_service(tmp_path / "data", Clock()).store) as store,
    ):
        assert columns(new) == columns(old)
        runs = store.runs("local", "demo")
        counts = [len([*store.lines.read(run, "history")]) for run in runs]
        assert counts == [run.history_rows for run in runs]
        assert sorted(counts) == [0, 3, 4, 6, 6, 6]


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "server.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute(f"pragma user_version={NEWEST + 1}")
    content = file.read_bytes()

    with pytest.raises(RunnerError) as refused:
        connect(file)

    assert f"it has format {NEWEST + 1}, this version knows {NEWEST}" in refused.value.message
    assert "upgrade: " in (refused.value.hint or "")
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "sql",
    [
        "create table extra(a); insert into nowhere values(1)",
        "drop table run; select no_such_function()",
        "update run set state='x'; begin",
    ],
)
def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path, sql: str) -> None:
    restore(tmp_path / "data")
    file = tmp_path / "data" / "server.db"
    connect(file).close()
    before = dump(file)
    steps: Sequence[Migration] = [
        *read_migrations("runner.server"),
        Migration(NEWEST + 1, f"{NEWEST + 1:04}_bad.sql", sql),
    ]
    with pytest.raises(RunnerError, match=r"cannot migrate the database .* to format .*_bad\.sql"):
        connect(file, steps)

    assert dump(file) == before
    connect(file).close()


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "server.db"
    file.write_bytes(b"no database" * 100)

    with pytest.raises(RunnerError, match="cannot be opened"):
        connect(file)


def test_rows_in_files_go_into_the_database_whenever_the_server_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step of it fails once; in the end all is there, once, and the files are kept."""
    restore(tmp_path / "data")
    names = ("history.jsonl", "events.jsonl", "output.jsonl")
    files = [one for one in (tmp_path / "data" / "runs").rglob("*.jsonl") if one.name in names]
    before = {file.relative_to(tmp_path / "data"): file.read_text() for file in files}
    tries = 0
    while True:
        tries += 1
        with closing(open_service(tmp_path / "data", Clock()).store) as store:
            service = Service(store, Tokens(KEY))
            left, calls = len(store.database.execute("select * from old_log")), 0

            def fail_second(*given: Any) -> None:
                nonlocal calls
                calls += 1
                if calls == 2:
                    raise OSError(28, "No space left on device")
                sync_folder(*given)

            monkeypatch.setattr(oldlogs, "sync_folder", fail_second)
            if left > 2:
                with pytest.raises(RunnerError, match="cannot be taken into the database"):
                    oldlogs.take_old_logs(service)
                continue
            oldlogs.take_old_logs(service)
            runs = store.runs("local", "demo")
            found = {
                Path("runs", *safe_path(run), f"{kind}.jsonl"): "".join(
                    f"{line}\n" for line in store.lines.read(run, kind)
                )
                for run in runs
                for kind in ("history", "events", "output")
            }
            break

    assert tries > 5
    assert {path: text for path, text in found.items() if text} == before
    kept = tmp_path / "data" / "backup-format1"
    assert (kept / "server.db").exists()
    assert {path: (kept / path).read_text() for path in before} == before
    assert not any(file.exists() for file in files)
    assert {run.id: run.points for run in runs if run.state == "finished"} == {
        run.id: 6 for run in runs if run.state == "finished"
    }


def safe_path(run: Run) -> tuple[str, str, str]:
    """Its folder below `runs`."""
    return run.entity, run.project, run.id
