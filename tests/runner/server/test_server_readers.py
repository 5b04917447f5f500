"""Connections that read are shared by threads, kept in small number, and let go of whole."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier, Thread

import psutil
import pytest

from runner.server.database import Database
from runner.server.readers import AT_A_TIME, KEPT

ROWS = 4 * AT_A_TIME
NUMBERS = "select id from number order by id"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(tmp_path / "server.db")
    with database.transaction():
        database.execute("create table number(id integer primary key)")
        database.execute_many("insert into number values(?)", [(n,) for n in range(ROWS)])
    return database


def connections(tmp_path: Path) -> int:
    """How many this process has.

    Counted by the log of changes, which each opens: the database's own file may stay open for the
    next connection (SQLite, "how to corrupt", 2.2).
    """
    return [one.path for one in psutil.Process().open_files()].count(f"{tmp_path}/server.db-wal")


def in_threads(count: int, work: Callable[[], object]) -> None:
    """Do it in so many threads at the same time, each of which ends."""
    together = Barrier(count)

    def at_once() -> None:
        together.wait()
        work()

    threads = [Thread(target=at_once) for _ in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


@pytest.mark.parametrize("rounds", [1, 20])
def test_threads_that_have_ended_leave_no_connection(
    database: Database, tmp_path: Path, rounds: int
) -> None:
    for _ in range(rounds):
        in_threads(3 * KEPT, lambda: database.execute("select 1"))

    assert connections(tmp_path) <= 1 + KEPT


def test_snapshots_at_the_same_time_have_connections_of_their_own(
    database: Database, tmp_path: Path
) -> None:
    inside, seen = Barrier(3 * KEPT + 1), []

    def look() -> None:
        with database.snapshot():
            first = database.execute("select count(*) from number")
            inside.wait()
            inside.wait()
            with database.snapshot():
                seen.append((first, database.execute("select count(*) from number")))

    with ThreadPoolExecutor(3 * KEPT) as pool:
        for _ in range(3 * KEPT):
            pool.submit(look)
        inside.wait()
        with database.transaction():
            database.execute("delete from number")
        inside.wait()

    assert seen == [([(ROWS,)], [(ROWS,)])] * (3 * KEPT)
    assert database.execute("select count(*) from number") == [(0,)]
    assert connections(tmp_path) <= 1 + KEPT


def test_rows_that_nobody_fetches_hold_nothing_up(database: Database, tmp_path: Path) -> None:
    rows = database.iterate(NUMBERS)
    assert next(rows) == (0,)
    rows.close()  # type: ignore[attr-defined] # of a generator

    with database.transaction():
        database.execute("delete from number")

    with closing(sqlite3.connect(tmp_path / "server.db")) as other:
        [[busy, _, _]] = other.execute("pragma wal_checkpoint(truncate)")
    assert not busy
    assert database.execute("select count(*) from number") == [(0,)]


def test_rows_go_on_while_others_read_and_change(database: Database) -> None:
    read = []
    for row in database.iterate(NUMBERS):
        read.append(row)
        assert database.execute("select count(*) from number where id >= 0") == [(ROWS,)]
        if row == (1,):
            with database.transaction():
                database.execute("update number set id = id - 1000 where id >= 2")
                database.execute("update number set id = id + 1000 where id < 0")

    assert read == [(n,) for n in range(ROWS)]


def test_a_query_that_fails_leaves_its_connection_as_it_was(
    database: Database, tmp_path: Path
) -> None:
    for _ in range(3 * KEPT):
        with pytest.raises(sqlite3.OperationalError), database.snapshot():
            database.execute("select nothing from nowhere")

    with database.transaction():
        database.execute("delete from number")
    assert database.execute("select count(*) from number") == [(0,)]
    assert connections(tmp_path) == 2


def test_a_closed_database_is_read_by_nobody(database: Database, tmp_path: Path) -> None:
    rows = database.iterate(NUMBERS)
    next(rows)

    database.close()

    with pytest.raises(sqlite3.ProgrammingError):
        list(rows)
    with pytest.raises(sqlite3.ProgrammingError):
        database.execute("select 1")
    assert connections(tmp_path) == 0
