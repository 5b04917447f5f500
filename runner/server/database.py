"""SQLite behind the store: one connection that changes, and as many as read at the same time.

Whatever is read and written inside of a transaction is one unit. Changes may be gathered: several
share one commit, and one of them that fails is undone alone (`Writer`).
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from runner.server import schema
from runner.server.readers import Readers, Row, Value

_Result = TypeVar("_Result")


class Database:
    """The database in one file; every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._writer = schema.connect(path)
        self._turn = threading.Lock()  # held from the beginning of a transaction to its end
        self._here = threading.local()
        self._readers = Readers(path)
        self._committed: list[Callable[[], None]] = []
        self._changes = 0
        self.generation = 0  # changes whenever what was read in a transaction may no longer hold

    def close(self) -> None:
        """Let go of the file; its write-ahead log is folded in."""
        self._readers.close()
        with self._turn:
            self._writer.close()

    @property
    def is_inside(self) -> bool:
        """Is this thread inside of a transaction?"""
        return bool(getattr(self._here, "inside", False))

    def execute(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """The rows of a statement; one that changes something must lie in a transaction."""
        if self.is_inside:
            return self._writer.execute(sql, values).fetchall()
        return self._readers.execute(sql, values)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Carry out a statement that changes something, once for each row."""
        self._writer.executemany(sql, rows)

    def iterate(self, sql: str, values: Sequence[Value] = ()) -> Iterator[Row]:
        """The rows of a query one after the other, for what may be large."""
        if self.is_inside:
            yield from self._writer.execute(sql, values)
        else:
            yield from self._readers.iterate(sql, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; may be nested, then the outermost decides.

        Raises:
            sqlite3.OperationalError: the disk does not take it, at the latest when it is committed;
                nothing has changed then, and the next transaction begins anew.
        """
        if self.is_inside:
            yield
            return
        with self._turn:
            try:
                self.begin()
                with self._inside():
                    yield
                self.commit()
            except BaseException:
                self.undo()
                raise
            self.settle()

    def rehearse(self, change: Callable[[], _Result]) -> _Result:
        """What a change would give; it is undone in any case."""
        with self._turn:
            try:
                self.begin()
                with self._inside():
                    return change()
            finally:
                self.undo()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything that this thread reads in it is of one moment."""
        if self.is_inside:
            yield
            return
        with self._readers.snapshot():
            yield

    def after_commit(self, tell: Callable[[], None]) -> None:
        """Call `tell` once the present transaction is on the disk; never, if it is undone.

        What is remembered outside of the database is changed here and nowhere else.
        """
        with self.transaction():
            self._committed.append(tell)

    def give_back(self, pages: int) -> None:
        """Shorten the file by up to so many free pages; in a transaction."""
        for _ in range(pages):  # each call moves one page, whatever it asks for
            self._writer.execute("pragma incremental_vacuum(1)")

    def take_turn(self, *, wait: bool) -> bool:
        """Become who changes something; to be followed by `begin` and, in the end, `end_turn`."""
        return self._turn.acquire(blocking=wait)

    def end_turn(self) -> None:
        """Let others change something; any thread may call this."""
        self._turn.release()

    def begin(self) -> None:
        """Begin a transaction; whoever calls this has the turn."""
        if self._writer.in_transaction:  # a rollback has failed
            self._writer.execute("rollback")
        self._writer.execute("begin immediate")
        self._committed, self._changes = [], self._writer.total_changes
        self.generation += 1

    def attempt(self, change: Callable[[], _Result]) -> _Result:
        """Carry out a part of the transaction that is undone alone where it fails."""
        kept = len(self._committed)
        self._writer.execute("savepoint part")
        try:
            with self._inside():
                result = change()
        except BaseException:
            self.generation += 1
            del self._committed[kept:]
            if self._writer.in_transaction:  # SQLite has undone some failures itself, and all
                self._writer.execute("rollback to part")
                self._writer.execute("release part")
            raise
        self._writer.execute("release part")
        return result

    @property
    def is_open(self) -> bool:
        """Is there a transaction? SQLite itself undoes it after some failures."""
        return self._writer.in_transaction

    @property
    def has_changed(self) -> bool:
        """Would a commit write anything?"""
        return self._writer.total_changes != self._changes

    def commit(self) -> None:
        """Put the transaction on the disk."""
        self._writer.execute("commit")

    def settle(self) -> None:
        """Tell those who wait for the commit."""
        committed, self._committed = self._committed, []
        self.generation += 1
        for tell in committed:
            tell()

    def undo(self) -> None:
        """Forget the transaction."""
        self._committed = []
        self.generation += 1
        if self._writer.in_transaction:
            self._writer.execute("rollback")

    @contextmanager
    def _inside(self) -> Iterator[None]:
        self._here.inside = True
        try:
            yield
        finally:
            self._here.inside = False
