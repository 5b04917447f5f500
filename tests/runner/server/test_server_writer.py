"""Changes that share a commit: each is whole or undone alone; a failing disk fails them all."""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace

import pytest

from runner.server import writer
from runner.server.records import Project
from runner.server.service import Service
from runner.server.wire import Refused
from runner.server.writer import Writer
from tests.runner.server.servers import make_sweep


def gather(service: Service, *changes: Callable[[], object]) -> list[object]:
    """The results of changes that come at once, or how they failed."""

    async def send() -> list[object]:
        writer = Writer(service.store.database)
        try:
            return await asyncio.gather(*map(writer.run, changes), return_exceptions=True)
        finally:
            writer.close()

    return asyncio.run(send())


def adding(service: Service, name: str, error: Exception | None = None) -> Callable[[], str]:
    """A change that adds a project, and then perhaps fails."""

    def change() -> str:
        service.store.put(Project("local", name, 1.0))
        if error is not None:
            raise error
        return name

    return change


def names(service: Service) -> list[str]:
    return [one.name for one in service.store.projects()]


def count_commits(service: Service, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each commit."""
    counted: list[str] = []
    commit = service.store.database.commit

    def count() -> None:
        counted.append("commit")
        commit()

    monkeypatch.setattr(service.store.database, "commit", count)
    return counted


def test_changes_that_come_together_share_a_commit(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_ROUND_S", 60.0)  # on a busy machine, too, they come together
    counted = count_commits(service, monkeypatch)

    results = gather(service, *(adding(service, f"p{number:02}") for number in range(20)))

    assert results == names(service) == [f"p{number:02}" for number in range(20)]
    assert len(counted) == 1


def test_one_that_fails_is_undone_alone(service: Service) -> None:
    refused, broken = Refused(404, "no"), ValueError("our fault")

    results = gather(
        service,
        adding(service, "a"),
        adding(service, "b", refused),
        adding(service, "c", broken),
        adding(service, "d"),
    )

    assert results == ["a", refused, broken, "d"]
    assert names(service) == ["a", "d"]


def test_what_is_told_after_a_commit_is_not_told_of_what_was_undone(service: Service) -> None:
    heard: list[str] = []

    def change(name: str, error: Exception | None = None) -> Callable[[], None]:
        def tell() -> None:
            service.store.after_commit(lambda: heard.append(name))
            if error is not None:
                raise error

        return tell

    gather(service, change("a"), change("b", Refused(400, "no")), change("c"))

    assert heard == ["a", "c"]


def test_a_commit_that_fails_is_said_to_all_and_the_next_one_works(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(service.store.database, "commit", fail)
        results = gather(service, adding(service, "a"), adding(service, "b"))
    assert [str(one) for one in results] == ["disk I/O error"] * 2
    assert names(service) == []

    assert gather(service, adding(service, "a")) == names(service) == ["a"]


def test_a_disk_that_cannot_begin_is_said_to_all_who_wait(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(service.store.database, "begin", fail)

    results = gather(service, adding(service, "a"), adding(service, "b"))

    assert [str(one) for one in results] == ["disk I/O error"] * 2


def test_a_change_apart_waits_for_its_turn_and_readers_wait_for_nobody(service: Service) -> None:
    sweep, seen = make_sweep(service), list[float]()

    async def send() -> None:
        writer = Writer(service.store.database)

        def count_up() -> None:
            found = service.store.sweep("local", "demo", "s1")
            assert found is not None
            service.store.put(replace(found, updated=found.updated + 1))

        async def look() -> None:
            found = service.store.sweep("local", "demo", "s1")
            assert found is not None
            seen.append(found.updated)

        await asyncio.gather(
            *(writer.run(count_up) for _ in range(20)),
            *(writer.run_apart(count_up) for _ in range(20)),
            *(look() for _ in range(5)),
        )
        writer.close()

    asyncio.run(send())
    found = service.store.sweep("local", "demo", "s1")
    assert found is not None
    assert found.updated == sweep.updated + 40
    assert len(seen) == 5
