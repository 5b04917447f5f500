"""A backup while the server runs, and a check of what it keeps."""

import json
import os
import shutil
import sqlite3
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runner.backend.backup import fetch_backup
from runner.errors import ExitCode, RunnerError
from runner.server.check import check
from runner.server.seal import seal_all
from runner.server.store import Store
from tests.rig.warm import WarmRunner
from tests.runner.server.earlier import restore
from tests.runner.server.player import Player
from tests.runner.server.servers import CREATE, GRID, Server, history, row

MAKE = "mutation($i: X){upsertBucket(input:$i){inserted}}"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a sweep, runs, rows and files; tests leave it as it is."""
    server = Server(tmp_path_factory.mktemp("filled") / "data")
    server.start()
    sweep = server.ask(CREATE, i={"config": GRID, "projectName": "demo"})["upsertSweep"]["sweep"]
    with Player(server.url, server.key) as player:
        for name in ("r1", "r2"):
            player.begin(name, sweep=sweep["name"], config='{"lr":{"value":0.1}}')
            for at in range(0, 1100, 100):
                player.stream(name, history(at, *(row(at + n, loss=9 - n) for n in range(100))))
            player.upload(name, {"config.yaml": b"lr: 0.1\n", "a/ü b.bin": bytes(5000)})
    assert server.stop() == 0
    return server.data


@pytest.fixture(scope="module")
def sealed(filled: Path) -> Path:
    """The same, with its rows in columns."""
    data = filled.with_name("sealed")
    shutil.copytree(filled, data)
    seal_rows(data)
    return data


@pytest.fixture
def server(filled: Path, tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own that has all of it."""
    server = Server(tmp_path / "data")
    shutil.copytree(filled, server.data)
    server.start()
    yield server
    if server.is_alive:
        server.stop()


def seal_rows(data: Path) -> None:
    """Put the rows into columns, as the server does by and by."""
    with closing(Store(data)) as store:
        for run in store.runs("local", "demo"):
            seal_all(store, run)


def damage(data: Path, *statements: str) -> None:
    """Change the database by hand."""
    with closing(sqlite3.connect(data / "server.db")) as database:
        for sql in statements:
            database.execute(sql)
        database.commit()


@pytest.mark.slow
def test_a_backup_of_a_running_server_is_a_server(server: Server, tmp_path: Path) -> None:
    stop, sent = threading.Event(), 0

    def log() -> None:
        nonlocal sent
        with Player(server.url, server.key) as player:
            while not stop.is_set():
                player.stream("r2", history(1100 + sent, row(1100 + sent, loss=1)))
                sent += 1

    logging = threading.Thread(target=log)
    logging.start()
    try:
        file = fetch_backup(server.url, server.key, tmp_path / "backup.tar")
    finally:
        stop.set()
        logging.join()
    server.stop()
    assert file.stat().st_mode & 0o777 == 0o600

    restored = Server(tmp_path / "restored")
    restored.data.mkdir()
    with tarfile.open(file) as tar:
        names = tar.getnames()
        tar.extractall(restored.data, filter="data")
    assert not {"key", "lock"} & set(names)
    assert check(restored.data, repair=False) == []
    restored.start()
    fields = "name historyLineCount files{edges{node{name sizeBytes}}} bestMetric"
    found = restored.ask(f'{{project(name:"demo"){{runs{{edges{{node{{{fields}}}}}}}}}}}')
    restored.stop()

    first, second = (edge["node"] for edge in found["project"]["runs"]["edges"])
    assert (first["historyLineCount"], first["bestMetric"]) == (1100, -90)
    assert len(first["files"]["edges"]) == len(second["files"]["edges"]) == 2
    assert 1100 <= second["historyLineCount"] <= 1100 + sent
    assert not [*server.data.glob(".backup-*")]


@pytest.mark.slow
def test_a_backup_is_written_over_no_link(server: Server, tmp_path: Path) -> None:
    """A stranger's folder may have links where a backup is written, or a folder in its way."""
    kept = tmp_path / "kept"
    kept.write_text("mine")
    for name in ("a.tar", "b.tar.part"):
        (tmp_path / name).symlink_to(kept)
    (tmp_path / "c.tar.part").mkdir()

    with pytest.raises(RunnerError, match="exists already"):
        fetch_backup(server.url, server.key, tmp_path / "a.tar")
    file = fetch_backup(server.url, server.key, tmp_path / "b.tar")
    with pytest.raises(RunnerError, match=r"cannot write .*c\.tar\.part"):
        fetch_backup(server.url, server.key, tmp_path / "c.tar")

    assert kept.read_text() == "mine"
    assert tarfile.is_tarfile(file)
    assert not file.is_symlink()
    assert not (tmp_path / "b.tar.part").is_symlink()


@pytest.mark.slow
def test_a_backup_that_is_refused_or_breaks_off_leaves_nothing(
    server: Server, tmp_path: Path
) -> None:
    with pytest.raises(RunnerError) as refused:
        fetch_backup(server.url, "k" * 40, tmp_path / "a.tar")
    assert refused.value.code == ExitCode.AUTH
    (tmp_path / "b.tar").touch()
    with pytest.raises(RunnerError, match="exists already"):
        fetch_backup(server.url, server.key, tmp_path / "b.tar")
    server.stop()
    with pytest.raises(RunnerError, match="is incomplete"):
        fetch_backup(server.url, server.key, tmp_path / "c.tar")
    assert {one.name for one in tmp_path.iterdir()} == {"b.tar", "data", "data.log"}


DAMAGES = {
    "rows": ["update run set history_rows=7 where id='r1'"],
    "step": ["update run set last_step=7"],
    "best": ["update run set best=-1000 where id='r1'"],
    "points": ["update run set points=3 where id='r2'"],
    "cell": ["update run set cell=5 where id='r1'"],
    "count": ["update sweep set runs=9"],
    "columns": ["delete from points where first=0"],
    "orphans": [
        "insert into series values('local', 'demo', 'gone', x'61', '{}', '1')",
        "insert into upload values('local', 'demo', 'gone', 'x', 1, 1)",
    ],
    "size": ["update upload set size=1 where name='config.yaml'"],
    "unlisted": ["delete from upload where name='a/ü b.bin'"],
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_does_not_fit_is_found_and_repaired(sealed: Path, tmp_path: Path, kind: str) -> None:
    data = tmp_path / "data"
    shutil.copytree(sealed, data)
    assert check(data, repair=False) == []
    damage(data, *DAMAGES[kind])

    found = check(data, repair=False)
    assert found
    assert not any(mended for _, mended in found)
    assert all(fault.repair for fault, _ in found)
    assert all(mended for _, mended in check(data, repair=True))

    assert check(data, repair=False) == []


def test_what_is_lost_is_named(filled: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(filled, data)
    damage(data, "delete from chunk where run='r1' and first=0")
    (data / "runs" / "local" / "demo" / "r2" / "files" / "config.yaml").unlink()

    found = {fault.what: fault.repair is not None for fault, _ in check(data, repair=True)}

    assert any("lost" in what and not can for what, can in found.items())
    assert found["`config.yaml` is missing"]


def test_a_database_of_an_earlier_version_fits_after_it_was_brought_over(tmp_path: Path) -> None:
    restore(tmp_path / "data")
    assert check(tmp_path / "data", repair=False) == []


@pytest.mark.slow
def test_the_commands_say_what_they_found(warm: WarmRunner, server: Server, tmp_path: Path) -> None:
    (tmp_path / "runner.toml").touch()
    reach = {**os.environ, "WANDB_BASE_URL": server.url, "WANDB_API_KEY": server.key}
    made = warm.run("server", "backup", "b.tar", cwd=tmp_path, env=reach)
    assert (made.returncode, made.stdout) == (0, "b.tar\n"), made.stderr
    assert server.process is not None
    with pytest.raises(RunnerError, match="another server uses the folder") as held:
        check(server.data, repair=True)
    assert held.value.hint is not None
    assert held.value.hint.startswith("`runner down` stops this folder's own server; `kill ")
    assert f"`kill {server.process.pid}`" in held.value.hint
    (server.data / "lock").write_text("1\n")  # as a container has it: another process here
    with pytest.raises(RunnerError) as held:
        check(server.data, repair=True)
    assert held.value.hint == "`runner down` stops this folder's own server"
    server.stop()
    damage(server.data, "update sweep set runs=9")

    found = warm.run("server", "check", "--data", str(server.data), cwd=tmp_path)
    mended = warm.run("server", "check", "--data", str(server.data), "--repair", cwd=tmp_path)
    fine = warm.run("server", "check", "--data", str(server.data), "--json", cwd=tmp_path)
    nothing = warm.run("server", "check", "--data", str(tmp_path), cwd=tmp_path)

    assert (found.returncode, mended.returncode, fine.returncode) == (1, 0, 0), found.stderr
    assert "counts 9 runs, there are 2 (can be repaired: --repair)" in found.stdout
    assert "(repaired)" in mended.stdout
    assert json.loads(fine.stdout) == {"schema": 1, "fit": True, "faults": []}
    assert nothing.returncode == 3
    assert "is not the data folder of a sweep server" in nothing.stderr
