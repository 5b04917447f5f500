"""A ledger that is only looked at: a copy, with what its last writer had not yet moved over."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from runner.disk.migrations import read_migrations
from runner.errors import RunnerError
from runner.offline.ledger import Ledger, Receipt, opened
from runner.offline.log.rewrite import Destination

RUN = Destination("acme", "vision", "r1", "")
DONE = Receipt("done", (("offline-run-1", 7),), rows=3, size=7)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_look_sees_all_receipts_and_changes_no_file(tmp_path: Path) -> None:
    """Also those in the log of a sync that was killed, whose files lie as it left them."""
    live, killed = tmp_path / "live", tmp_path / "killed"
    ledger = Ledger(live / "sync.db", "https://w")
    ledger.put([(RUN, DONE)])
    shutil.copytree(live, killed)
    ledger.close()
    assert (killed / "sync.db-wal").stat().st_size > 0
    before = files(killed)

    with opened(killed / "sync.db", "https://w", read_only=True) as seen:
        found = seen.receipt(RUN)

    assert found == DONE
    assert files(killed) == before


def test_a_look_where_nothing_was_sent_makes_no_file(tmp_path: Path) -> None:
    with opened(tmp_path / "none" / "sync.db", "https://w", read_only=True) as seen:
        assert seen.receipt(RUN) is None

    assert not list(tmp_path.iterdir())


def test_a_ledger_of_version_0_1_0_is_taken_over_and_a_newer_one_refused(tmp_path: Path) -> None:
    file = tmp_path / "sync.db"
    (first,) = read_migrations("runner.offline")[:1]
    with closing(sqlite3.connect(file)) as old:  # its tables, without a number
        old.executescript(first.sql)
        row = ("https://w", RUN.path, '[["offline-run-1", 7]]', "done", 3, 7, 0.0)
        old.execute("insert into receipts values (?, ?, ?, ?, ?, ?, ?)", row)
        old.commit()

    with opened(file, "https://w", read_only=False) as ledger:
        found = ledger.receipt(RUN)

    assert found == DONE
    with closing(sqlite3.connect(file)) as newer:
        assert newer.execute("pragma user_version").fetchone() == (first.number,)
        newer.execute("pragma user_version=99")
    with (
        pytest.raises(RunnerError, match=r"a newer version of runner made the database .*sync\.db"),
        opened(file, "https://w", read_only=True),
    ):
        raise AssertionError
