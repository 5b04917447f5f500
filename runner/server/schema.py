"""The database's schema: how it is opened, and brought to this version's format."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from runner.errors import RunnerError
from runner.migrations import Migration, check_format, migrate, read_migrations


def connect(path: Path, migrations: Sequence[Migration] | None = None) -> sqlite3.Connection:
    """Open or create the database in this version's format.

    Raises:
        RunnerError: it cannot be opened, a newer version made it, or a migration failed, which
            leaves the database as it was before that migration.
    """
    known = read_migrations("runner.server") if migrations is None else migrations
    try:
        database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    try:
        _prepare(database, path, known)
    except BaseException:
        database.close()
        raise
    database.row_factory = sqlite3.Row
    return database


def _prepare(database: sqlite3.Connection, path: Path, known: Sequence[Migration]) -> None:
    try:
        database.execute("pragma busy_timeout=5000")
        found = check_format(database, path, known)
        database.execute("pragma journal_mode=wal")
        database.execute("pragma synchronous=full")
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    migrate(database, path, known, found=found)


def _unusable(path: Path, error: sqlite3.Error) -> RunnerError:
    return RunnerError(
        f"the database {path} cannot be opened: {error}",
        hint="is the folder writable, is its disk full, and the file a database of this server?",
    )
