"""The database's schema: how it is opened, and brought to this version's format."""

import filecmp
import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from runner.disk.migrations import Migration, check_format, migrate, read_migrations
from runner.errors import RunnerError
from runner.server.disk import sync_folder

STATEMENTS = 512  # prepared ones that a connection keeps
READER_CACHE_KIB = 4096
VACUUM_BYTES = 64 << 20  # of an earlier version's database that is rewritten; takes under a second
NAME = "server.db"
BACKUP = "backup-format"  # and its number: what a database was before it went on to the next


def connect(path: Path, migrations: Sequence[Migration] | None = None) -> sqlite3.Connection:
    """Open or create the database in this version's format.

    Raises:
        RunnerError: it cannot be opened, a newer version made it, or a migration failed, which
            leaves the database as it was before that migration.
    """
    known = read_migrations("runner.server") if migrations is None else migrations
    try:
        database = sqlite3.connect(
            path, check_same_thread=False, isolation_level=None, cached_statements=STATEMENTS
        )
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    try:
        _prepare(database, path, known)
    except BaseException:
        database.close()
        raise
    return database


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, and does not wait for the one that does."""
    reader = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        check_same_thread=False,
        isolation_level=None,
        cached_statements=STATEMENTS,
    )
    reader.execute("pragma busy_timeout=5000")
    reader.execute(f"pragma cache_size=-{READER_CACHE_KIB}")
    return reader


def _prepare(database: sqlite3.Connection, path: Path, known: Sequence[Migration]) -> None:
    try:
        database.execute("pragma busy_timeout=5000")
        found = check_format(database, path, known)
        if found == 0:
            database.execute("pragma auto_vacuum=incremental")  # its free pages can be given back
        database.execute("pragma journal_mode=wal")
        database.execute("pragma synchronous=full")
        if 0 < found < known[-1].number:
            _keep_copy(database, path.parent, found)
    except (sqlite3.Error, OSError) as error:
        raise _unusable(path, error) from error
    migrate(database, path, known, found=found)
    _allow_to_shrink(database)


def _allow_to_shrink(database: sqlite3.Connection) -> None:
    """Rewrite a small database of an earlier version, whose file could only grow."""
    [mode], [size], [count] = (
        database.execute(f"pragma {name}").fetchone()
        for name in ("auto_vacuum", "page_size", "page_count")
    )
    if mode == 0 and size * count <= VACUUM_BYTES:
        with suppress(sqlite3.Error):  # no room for a second one: it stays as it is
            database.execute("pragma auto_vacuum=incremental")
            database.execute("vacuum")


def find_copies(root: Path, formats: Iterable[int]) -> list[Path]:
    """The folders with what a database of such a format was before a migration, oldest first."""
    names = (f"{BACKUP}{number}{more}" for number in formats for more in ("", "-*"))
    found = (folder for name in names for folder in root.glob(name))
    whole = (folder for folder in found if (folder / NAME).exists())
    return sorted(whole, key=lambda folder: (folder / NAME).stat().st_mtime_ns)


def _keep_copy(database: sqlite3.Connection, root: Path, number: int) -> None:
    """A copy of the database beside it, unless there is the same one; there is a whole one or none.

    Who restores an earlier copy, works with it and migrates again has a further one.
    """
    first = root / f"{BACKUP}{number}"
    first.mkdir(mode=0o700, exist_ok=True)
    aside = first / "server.part"
    aside.unlink(missing_ok=True)
    with closing(sqlite3.connect(aside)) as target:
        database.backup(target)
    if any(filecmp.cmp(aside, one / NAME, shallow=False) for one in find_copies(root, [number])):
        aside.unlink()
        return
    further = (root / f"{first.name}-{count}" for count in itertools.count(2))
    folder = next(one for one in itertools.chain([first], further) if not (one / NAME).exists())
    folder.mkdir(mode=0o700, exist_ok=True)
    aside.replace(folder / NAME)
    sync_folder(folder)
    sync_folder(root)


def _unusable(path: Path, error: Exception) -> RunnerError:
    hint = "is the folder writable, is its disk full, and the file a database of this server?"
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT:
        hint = "the file is damaged: take the last backup"
    return RunnerError(f"the database {path} cannot be opened: {error}", hint=hint)
