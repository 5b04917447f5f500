"""What a database was before a migration is kept, whatever was kept before."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from runner.disk.migrations import Migration, read_migrations
from runner.errors import RunnerError
from runner.server.check import check
from runner.server.schema import connect
from tests.runner.server.earlier import dump, restore


def work(file: Path, note: str) -> str:
    """An earlier version goes on with the database; what it is then."""
    with closing(sqlite3.connect(file)) as database:
        database.execute("update run set notes=?", (note,))
        database.commit()
    return dump(file)


def bring_back(data: Path, copy: Path) -> None:
    """Who wants the earlier version again restores what was kept."""
    for name in ("server.db-wal", "server.db-shm"):
        (data / name).unlink(missing_ok=True)
    shutil.copy(copy / "server.db", data / "server.db")


def copies(data: Path) -> dict[str, str]:
    """All that is kept."""
    return {one.parent.name: dump(one) for one in data.glob("backup-*/server.db")}


def test_each_state_of_a_database_that_is_migrated_is_kept_once(tmp_path: Path) -> None:
    data = tmp_path / "data"
    restore(data, "format3")
    file, states = data / "server.db", {}
    for number, name in enumerate(["backup-format3", "backup-format3-2", "backup-format3-3"]):
        states[name] = work(file, f"work {number}")
        for _ in range(2):
            connect(file).close()
            assert copies(data) == states
            bring_back(data, data / name)


def test_a_migration_that_fails_again_and_again_keeps_one_copy(tmp_path: Path) -> None:
    restore(tmp_path / "data", "format3")
    steps = [*read_migrations("runner.server")[:3], Migration(4, "0004_bad.sql", "select nothing")]
    for _ in range(3):
        with pytest.raises(RunnerError, match="cannot migrate"):
            connect(tmp_path / "data" / "server.db", steps)
    assert [*copies(tmp_path / "data")] == ["backup-format3"]


def test_a_kill_while_a_copy_is_made_costs_nothing(tmp_path: Path) -> None:
    restore(tmp_path / "data", "format3")
    (tmp_path / "data" / "backup-format3").mkdir()
    (tmp_path / "data" / "backup-format3" / "server.part").write_text("half")
    connect(tmp_path / "data" / "server.db").close()
    assert [*copies(tmp_path / "data")] == ["backup-format3"]
    assert not [*(tmp_path / "data").glob("backup-*/*.part")]


def test_rows_in_files_are_kept_beside_the_copy_of_their_own_database(tmp_path: Path) -> None:
    data = tmp_path / "data"
    restore(data, "format3")
    logs = {one.relative_to(data): one.read_text() for one in data.glob("runs/*/*/*/*.jsonl")}
    assert check(data, repair=False) == []
    bring_back(data, data / "backup-format3")
    for path, text in logs.items():
        (data / path).write_text(text)
    work(data / "server.db", "later")

    assert check(data, repair=False) == []

    for name in ("backup-format3", "backup-format3-2"):
        assert {path: (data / name / path).read_text() for path in logs} == logs
