"""Connections that read: as many as there are queries at the same time, a few of them kept."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from runner.server import schema

Value = str | bytes | float | int | None
Row = tuple[Any, ...]  # of the columns that the statement names
AT_A_TIME = 16  # rows of a query that may be large
BYTES_AT_A_TIME = 1 << 20  # of such rows, about
KEPT = 4  # connections that nobody uses: each has two open files and some MiB of pages


class Readers:
    """Of one database; every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._here = threading.local()  # a snapshot's connection is its thread's
        self._guard = threading.Lock()
        self._idle: list[_Reader] = []  # the last one that was used comes first: its pages are warm
        self._used: set[_Reader] = set()
        self._is_closed = False

    def execute(self, sql: str, values: Sequence[Value]) -> list[Row]:
        """All rows of a query."""
        with self._borrowed() as reader:
            return reader.execute(sql, values)

    def iterate(self, sql: str, values: Sequence[Value]) -> Iterator[Row]:
        """The rows of a query, some at a time."""
        with self._borrowed() as reader:
            yield from reader.iterate(sql, values)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything that this thread reads in it is of one moment."""
        if self._snapshot is not None:
            yield
            return
        with self._borrowed() as reader:
            reader.execute("begin", ())
            self._here.reader = reader
            try:
                yield
            finally:
                self._here.reader = None
                reader.execute("rollback", ())

    def close(self) -> None:
        """Let go of the file, whoever reads: those queries fail."""
        with self._guard:
            self._is_closed = True
            readers, self._idle = [*self._idle, *self._used], []
        for reader in readers:
            reader.close()

    @property
    def _snapshot(self) -> "_Reader | None":
        reader: _Reader | None = getattr(self._here, "reader", None)
        return reader

    @contextmanager
    def _borrowed(self) -> Iterator["_Reader"]:
        if self._snapshot is not None:
            yield self._snapshot
            return
        reader = self._take()
        try:
            yield reader
        finally:
            self._give_back(reader)

    def _take(self) -> "_Reader":
        with self._guard:
            reader = self._idle.pop() if self._idle else None
        reader = reader or _Reader(schema.connect_reader(self._path))
        with self._guard:
            if not self._is_closed:
                self._used.add(reader)
                return reader
        reader.close()
        raise sqlite3.ProgrammingError("the database is closed")

    def _give_back(self, reader: "_Reader") -> None:
        with self._guard:
            self._used.discard(reader)
            if len(self._idle) < KEPT and not self._is_closed and not reader.is_inside:
                self._idle.append(reader)
                return
        reader.close()


class _Reader:
    """One connection; any thread may close it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._busy = threading.Lock()  # SQLite crashes where it is closed in the middle of a step

    @property
    def is_inside(self) -> bool:
        """Has a snapshot not ended? Then a rollback has failed."""
        return self._connection.in_transaction

    def execute(self, sql: str, values: Sequence[Value]) -> list[Row]:
        """All rows of a query."""
        with self._busy:
            return self._connection.execute(sql, values).fetchall()

    def iterate(self, sql: str, values: Sequence[Value]) -> Iterator[Row]:
        """The rows of a query, some at a time."""
        with self._busy:
            found = self._connection.execute(sql, values)
        count = 1
        try:
            while True:
                with self._busy:
                    rows = found.fetchmany(count)
                if not rows:
                    return
                size = sum(len(one) for one in rows[-1] if isinstance(one, (str, bytes)))
                count = max(1, min(AT_A_TIME, BYTES_AT_A_TIME // max(1, size)))
                yield from rows
        finally:  # else it holds on to its moment, and the log of changes grows
            with self._busy, suppress(sqlite3.ProgrammingError):  # the connection is closed
                found.close()

    def close(self) -> None:
        """Let go, whoever reads: that query fails."""
        self._connection.interrupt()
        with self._busy:
            self._connection.close()
