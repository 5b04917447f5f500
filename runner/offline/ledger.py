"""The ledger of the sync: a receipt for each run and target, and the sweeps it created."""

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.disk.migrations import check_format, migrate, read_migrations
from runner.disk.temporary import temporary_folder
from runner.errors import RunnerError
from runner.offline.log.file import LogFile
from runner.offline.log.read import RunLog
from runner.offline.log.rewrite import Destination

Mark = tuple[str, int]  # a log's folder and size


@dataclass(frozen=True, slots=True)
class Receipt:
    """The progress of a run: `begun`, sending has started; `done`, it was read back complete."""

    state: Literal["begun", "done"]
    logs: tuple[Mark, ...]
    rows: int
    size: int  # bytes of the logs
    lacking: tuple[str, ...] = ()  # logged artifacts, and files as `files/…`, that did not arrive


def fingerprints(logs: Sequence[RunLog]) -> tuple[Mark, ...]:
    """(folder, bytes) of each log; changes when a log changes."""
    return tuple((log.path.parent.name, log.size) for log in logs)


class Ledger:
    """The database `sync.db`. Each entry is on disk when the method returns.

    Raises:
        RunnerError: the file is damaged, from a newer version, or cannot be written (1); every
            method can raise it.
    """

    def __init__(self, file: Path, target: str) -> None:
        self._target, self._lock, self._file = target, threading.Lock(), file
        file.parent.mkdir(parents=True, exist_ok=True)
        with translated(file):
            self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            try:
                known = read_migrations("runner.offline")
                found = check_format(self._db, file, known)
                self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
                migrate(self._db, file, known, found=found)
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def receipt(self, run: Destination) -> Receipt | None:
        """The receipt of a run on this target."""
        query = "SELECT state, logs, rows, bytes FROM receipts WHERE target=? AND path=?"
        with self._locked():
            found = self._db.execute(query, (self._target, run.path)).fetchone()
            query = "SELECT artifact FROM lacking WHERE target=? AND path=? ORDER BY artifact"
            lacking = self._db.execute(query, (self._target, run.path)).fetchall()
        if found is None:
            return None
        logs = tuple((str(name), int(size)) for name, size in json.loads(found[1]))
        return Receipt(found[0], logs, found[2], found[3], tuple(one for (one,) in lacking))

    def put(self, runs: Iterable[tuple[Destination, Receipt]]) -> None:
        """Replace the receipts of runs, all or none."""
        with self._locked(), self._transaction():
            for run, receipt in runs:
                values = (self._target, run.path, json.dumps(receipt.logs), receipt.state)
                self._db.execute(
                    "INSERT OR REPLACE INTO receipts VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*values, receipt.rows, receipt.size, time.time()),
                )
                known = (self._target, run.path)
                self._db.execute("DELETE FROM lacking WHERE target=? AND path=?", known)
                self._db.executemany(
                    "INSERT INTO lacking VALUES (?, ?, ?)",
                    [(*known, name) for name in receipt.lacking],
                )

    def sweep(self, local: str) -> tuple[bool, str | None]:
        """Whether its creation was begun, and the path on the target if it was completed."""
        query = "SELECT remote FROM sweeps WHERE target=? AND local=?"
        with self._locked():
            found = self._db.execute(query, (self._target, local)).fetchone()
        return (False, None) if found is None else (True, found[0])

    def put_sweep(self, local: str, remote: str | None) -> None:
        """Note that a sweep will be created there (`remote` is None), or was."""
        with self._locked():
            self._db.execute(
                "INSERT OR REPLACE INTO sweeps VALUES (?, ?, ?)", (self._target, local, remote)
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock, translated(self._file):
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # after a full disk SQLite has ended it already
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


@contextmanager
def opened(file: Path, target: str, *, read_only: bool) -> Iterator[Ledger]:
    """Open the ledger; with `read_only` a copy: SQLite writes files even when it reads."""
    with ExitStack() as stack:
        if read_only:
            folder = stack.enter_context(temporary_folder())
            for one in (file, file.with_name(f"{file.name}-wal")):
                with suppress(FileNotFoundError):
                    shutil.copyfile(one, folder / one.name)
            file = folder / file.name
        ledger = Ledger(file, target)
        stack.callback(ledger.close)
        yield ledger


@contextmanager
def translated(file: Path) -> Iterator[None]:
    """Turn SQLite's errors into RunnerErrors."""
    try:
        yield
    except sqlite3.Error as error:
        raise RunnerError(
            f"`{file}` cannot be used: {error}",
            hint="check `df -h` and its owner; if it is damaged, move it away: the next sync asks "
            "W&B what has arrived",
        ) from error


def has_receipts(file: Path, logs: Iterable[LogFile]) -> bool:
    """Whether each log was sent somewhere in its present size: then there may be nothing to do."""
    if not file.exists():
        return False
    with closing(sqlite3.connect(file)) as database:
        try:
            rows = database.execute("SELECT logs FROM receipts WHERE state='done'").fetchall()
        except sqlite3.Error:  # without tables its maker was killed; `Ledger` reports the rest
            return False
    known = {(str(name), int(size)) for (text,) in rows for name, size in json.loads(text)}
    return all((log.path.parent.name, log.size) in known for log in logs)
