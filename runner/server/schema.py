"""The database's schema: how it is opened, and brought to this version's format.

Each change is a file `migrations/NNNN_name.sql`, applied once, in order, in a transaction of its
own. `PRAGMA user_version` is the number of the last one. A file that was released never changes.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from runner.errors import RunnerError


@dataclass(frozen=True, slots=True)
class Migration:
    """One change of the schema."""

    number: int  # the database's format afterwards
    name: str
    sql: str


def read_migrations() -> list[Migration]:
    """All that this version knows, in order."""
    folder = resources.files("runner.server") / "migrations"
    files = (one for one in folder.iterdir() if one.name.endswith(".sql"))
    found = [Migration(int(one.name[:4]), one.name, one.read_text("utf-8")) for one in files]
    return sorted(found, key=lambda one: one.number)


def connect(path: Path, migrations: Sequence[Migration] | None = None) -> sqlite3.Connection:
    """Open or create the database in this version's format.

    Raises:
        RunnerError: it cannot be opened, a newer version made it, or a migration failed, which
            leaves the database as it was before that migration.
    """
    known = read_migrations() if migrations is None else migrations
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
    newest = known[-1].number
    try:
        database.execute("pragma busy_timeout=5000")
        found = int(database.execute("pragma user_version").fetchone()[0])
        if found > newest:
            raise RunnerError(
                f"a newer version of runner made the database {path}: it has format {found}, "
                f"this version knows {newest}",
                hint="run that version again, or choose another --data folder",
            )
        database.execute("pragma journal_mode=wal")
        database.execute("pragma synchronous=full")
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    for one in known:
        if one.number > found:
            _apply(database, path, one)


def _apply(database: sqlite3.Connection, path: Path, one: Migration) -> None:
    try:
        database.executescript(
            f"begin immediate;\n{one.sql}\n;pragma user_version={one.number};\ncommit;"
        )
    except sqlite3.Error as error:
        if database.in_transaction:
            database.execute("rollback")
        raise RunnerError(
            f"the database {path} cannot be brought to format {one.number} ({one.name}): {error}",
            hint="it is as it was; make room on the disk, or run the version that used it before",
        ) from error


def _unusable(path: Path, error: sqlite3.Error) -> RunnerError:
    return RunnerError(
        f"the database {path} cannot be opened: {error}",
        hint="is the folder writable, is its disk full, and the file a database of this server?",
    )
