"""The database's file gets shorter when runs are removed, beside what others write."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from runner.server import upkeep
from runner.server.database import Database
from runner.server.records import Project
from runner.server.service import Service
from runner.server.writer import Writer

pytestmark = pytest.mark.slow
ROWS = """insert into chunk (entity, project, run, kind, first, count, high, packed, data)
    with recursive n(at) as (select 0 union all select at + 1 from n where at < ?)
    select 'local', 'demo', 'r' || at, 'history', 0, 1, 0, 0, randomblob(3000) from n"""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "SHRINK_EVERY_S", 0.01)
    monkeypatch.setattr(upkeep, "KEPT_PAGES", 50)


def fill(service: Service, rows: int) -> int:
    """Its pages, filled with rows of which all but a few are removed again."""
    database = service.store.database
    with database.transaction():
        database.execute(ROWS, (rows,))
    pages = read(database, "page_count")
    with database.transaction():
        database.execute("delete from chunk where run not in ('r1', 'r7')")
    return pages


def read(database: Database, name: str) -> int:
    [(value,)] = database.execute(f"pragma {name}")
    return int(value)


def shrink(service: Service, until: Callable[[], bool], write: Callable[[], object]) -> None:
    """Let the server give back pages while `write` is done over and over."""

    async def work() -> None:
        writer = Writer(service.store.database)
        task = asyncio.create_task(upkeep.shrink_for_ever(service, writer))
        try:
            async with asyncio.timeout(60):
                while not until():
                    await writer.run(write)
                    await asyncio.sleep(0.005)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        finally:
            writer.close()

    asyncio.run(work())


def test_removed_rows_make_the_file_shorter_and_the_others_stay(service: Service) -> None:
    database, written = service.store.database, 0
    pages = fill(service, 3000)

    def write() -> None:
        nonlocal written
        written += 1
        service.store.put(Project("local", f"p{written}", 1.0))

    shrink(service, lambda: read(database, "freelist_count") <= 50, write)

    assert read(database, "page_count") < pages / 10
    assert len(service.store.projects()) >= written
    kept = database.execute("select run, length(data) from chunk order by run")
    assert kept == [("r1", 3000), ("r7", 3000)]
    root = service.store.root
    service.store.close()
    assert (root / "server.db").stat().st_size < pages * 4096 / 5
    with closing(sqlite3.connect(root / "server.db")) as file:
        assert file.execute("pragma integrity_check").fetchone() == ("ok",)


def test_a_disk_that_fails_for_a_moment_delays_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, failures = service.store.database, [3]
    fill(service, 500)
    give_back = database.give_back

    def fail_first(pages: int) -> None:
        if failures[0]:
            failures[0] -= 1
            raise sqlite3.OperationalError("disk I/O error")
        give_back(pages)

    monkeypatch.setattr(database, "give_back", fail_first)

    shrink(service, lambda: read(database, "freelist_count") <= 50, lambda: None)

    assert failures == [0]


def test_few_free_pages_are_kept_for_the_next_rows(service: Service) -> None:
    database, rounds = service.store.database, 0
    fill(service, 30)
    before = read(database, "freelist_count")

    def write() -> None:
        nonlocal rounds
        rounds += 1

    shrink(service, lambda: rounds > 20, write)

    assert 0 < before < 50
    assert read(database, "freelist_count") == before
