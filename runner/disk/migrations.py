"""SQLite files whose schema is numbered: brought to this version's format when they are opened.

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


def read_migrations(package: str) -> list[Migration]:
    """All in the folder `migrations` of this package, in order."""
    folder = resources.files(package) / "migrations"
    files = (one for one in folder.iterdir() if one.name.endswith(".sql"))
    found = [Migration(int(one.name[:4]), one.name, one.read_text("utf-8")) for one in files]
    return sorted(found, key=lambda one: one.number)


def check_format(database: sqlite3.Connection, path: Path, known: Sequence[Migration]) -> int:
    """The number of the last change that the database has had.

    Raises:
        RunnerError: a newer version made it.
        sqlite3.Error: it cannot be read.
    """
    newest = known[-1].number
    found = int(database.execute("pragma user_version").fetchone()[0])
    if found > newest:
        raise RunnerError(
            f"a newer version of runner made the database {path}: it has format {found}, "
            f"this version knows {newest}",
            hint="upgrade: `pip install --upgrade sweep-runner`",
        )
    return found


def migrate(
    database: sqlite3.Connection, path: Path, known: Sequence[Migration], *, found: int
) -> None:
    """Apply the changes after number `found`.

    Raises:
        RunnerError: one failed, which leaves the database as it was before that one.
    """
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
            hint="it is unchanged; free some disk space, or run the version that used it before",
        ) from error
