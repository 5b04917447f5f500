"""The data folder: one server at a time, a key, a known format, names that are harmless."""

import errno
import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.server.disk import Disk
from runner.server.folder import locked, read_key
from runner.server.names import LONGEST, safe_name
from runner.server.records import Sweep, Upload, blank_run
from runner.server.service import Service
from runner.server.store import Store
from tests.runner.server.servers import Clock, make_sweep, open_service


def test_a_second_server_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(RunnerError) as refused, locked(tmp_path):
        pass
    assert f"`kill {os.getpid()}` stops a `runner serve`" in str(refused.value.hint)
    with locked(tmp_path):
        pass


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "key"
    key = read_key(file)
    assert (len(key), file.stat().st_mode & 0o777) == (40, 0o600)
    assert read_key(file) == key


def test_of_two_that_make_the_key_the_first_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second has seen no key, and takes the one that came while it made its own."""
    file, first, link = tmp_path / "key", "f" * 40, os.link

    def link_late(source: str, target: Path) -> None:
        target.write_text(first)
        link(source, target)

    monkeypatch.setattr(os, "link", link_late)

    assert read_key(file) == first
    assert file.read_text() == first
    assert [one.name for one in tmp_path.iterdir()] == ["key"]  # nothing is left beside it


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_key_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(RunnerError, match="cannot be read or made"):
            read_key(tmp_path / "key")

    assert list(tmp_path.iterdir()) == []
    assert len(read_key(tmp_path / "key")) == 40


@pytest.mark.parametrize("text", ["", "short", "x" * 39, "é" * 40])
def test_a_file_without_a_key_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(RunnerError, match="holds no key"):
        read_key(file)


def test_what_was_put_is_there_after_a_restart(
    service: Service, tmp_path: Path, clock: Clock
) -> None:
    sweep = make_sweep(service)
    run = replace(blank_run("local", "demo", "r", 1.0), sweep="s1", best=0.5)
    service.store.put(run)
    service.store.put_upload("local", "demo", "r", Upload("a/b.txt", 3, 1.0))
    service.store.close()

    again = open_service(tmp_path, clock)

    assert again.store.sweeps() == [sweep]
    assert again.store.runs_of_sweep(sweep) == [run]
    assert again.store.uploads(run) == [Upload("a/b.txt", 3, 1.0)]
    again.store.close()


def test_a_transaction_is_all_or_nothing(service: Service) -> None:
    sweep = make_sweep(service)

    def half_done() -> None:
        with service.store.transaction():
            service.store.put(replace(sweep, state="PAUSED"))
            with service.store.transaction():  # nested: the outer one decides
                service.store.put(replace(sweep, id="s2"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_done()
    assert service.store.sweeps() == [sweep]


def test_what_waits_for_a_commit_happens_after_it_and_never_without(service: Service) -> None:
    sweep, heard = make_sweep(service), list[str]()

    def fail() -> None:
        with service.store.transaction():
            service.store.after_commit(lambda: heard.append("undone"))
            raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(sqlite3.OperationalError):
        fail()
    with service.store.transaction():
        service.store.put(replace(sweep, state="PAUSED"))
        with service.store.transaction():
            service.store.after_commit(lambda: heard.append("inner"))
        assert heard == []
    service.store.after_commit(lambda: heard.append("alone"))

    assert heard == ["inner", "alone"]


def test_threads_do_not_come_between_each_others_transactions(service: Service) -> None:
    sweep = make_sweep(service)

    def count_up() -> None:
        for _ in range(20):
            with service.store.transaction():
                found = service.store.sweep("local", "demo", "s1")
                assert found is not None
                service.store.put(replace(found, updated=found.updated + 1))

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    found = service.store.sweep("local", "demo", "s1")
    assert found is not None
    assert found.updated == sweep.updated + 80


def test_records_keep_their_order_when_they_change(service: Service) -> None:
    sweep = make_sweep(service)
    for name in ("b", "a", "c"):
        service.store.put(replace(blank_run("local", "demo", name, 1.0), sweep="s1"))
    first = service.store.runs_of_sweep(sweep)[0]

    service.store.put(replace(first, state="finished"))

    assert [run.id for run in service.store.runs_of_sweep(sweep)] == ["b", "a", "c"]


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../etc", "ü" * 90, "%2e%2e", "a\x00b", "x"])
def test_any_name_is_one_harmless_component_of_a_path(tmp_path: Path, name: str) -> None:
    safe = safe_name(name)
    assert len(safe.encode()) <= LONGEST
    assert (tmp_path / safe).resolve().parent == tmp_path.resolve()
    assert (tmp_path / safe) != tmp_path
    (tmp_path / safe).touch()


def test_each_new_name_is_put_on_the_disk_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder's own name as well, again where it failed, and not at every file in it."""
    synced: list[str] = []
    fails = {"run"}

    def note(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").readlink().name
        if name in fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        synced.append(name)

    monkeypatch.setattr(os, "fsync", note)
    root = tmp_path / "root"
    root.mkdir()
    disk, run = Disk(root), root / "runs" / "project" / "run"

    with pytest.raises(OSError, match="Input/output"):
        disk.replace(made(tmp_path), run / "a")
    fails.clear()
    disk.replace(made(tmp_path), run / "a")
    assert synced == ["run", "project", "runs", "root"]
    disk.replace(made(tmp_path), run / "b")
    disk.replace(made(tmp_path), run.parent / "other" / "a")

    assert synced[4:] == ["run", "other", "project"]


def made(folder: Path) -> Path:
    """A file that is to get its name."""
    file = folder / "made"
    file.write_text("a")
    return file


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_a_folder_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)

    Disk(tmp_path).replace(made(tmp_path), tmp_path / "folder" / "log")

    assert (tmp_path / "folder" / "log").read_text() == "a"


def test_a_transaction_does_not_see_what_it_has_deleted(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        run = blank_run("local", "hands", "r1", 1.0)
        sweep = Sweep("local", "hands", "s1", "", "RUNNING", None, "[]", None, 1.0, 1.0)
        with store.transaction():
            store.put(run)
            store.put(sweep)
            assert store.run("local", "hands", "r1") == run
            store.delete(run)
            store.delete(sweep)

            assert store.run("local", "hands", "r1") is None
            assert store.sweep("local", "hands", "s1") is None
