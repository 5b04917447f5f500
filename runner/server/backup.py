"""A backup of everything as one tar file, made while the server runs.

The database is copied first, at one moment; then the files, which are put in place whole and never
change. So every file that the copy lists is there. The key is not in it.
"""

import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from runner.server import schema
from runner.server.disk import INCOMING, TRASH

PREFIX = ".backup-"  # of the database's copy, in the data folder
FOLDERS = ("runs", "artifacts")
PART = 1 << 20
BLOCK = tarfile.BLOCKSIZE


def copy_database(root: Path) -> Path:
    """A copy of the database at one moment; whoever asked for it removes it.

    Raises:
        OSError, sqlite3.Error: the disk does not take it; nothing is left of it.
    """
    handle, name = tempfile.mkstemp(dir=root, prefix=PREFIX)
    os.close(handle)
    try:
        with (
            closing(schema.connect_reader(root / "server.db")) as source,
            closing(sqlite3.connect(name)) as target,
        ):
            source.backup(target)  # in one step: who changes something does not make it begin anew
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def write_tar(root: Path, database: Path) -> Iterator[bytes]:
    """The tar file in parts; the copy of the database is removed in the end."""
    try:
        yield from _member(database, "server.db")
        for folder in FOLDERS:
            for path in _files(root / folder):
                with suppress(FileNotFoundError):  # deleted meanwhile
                    yield from _member(path, str(path.relative_to(root)))
        yield bytes(2 * BLOCK)
    finally:
        database.unlink(missing_ok=True)


def remove_copies(root: Path) -> None:
    """Remove what a killed server had begun to copy."""
    for path in root.glob(f"{PREFIX}*"):
        path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one not in (INCOMING, TRASH))
        yield from (path for name in sorted(names) if (path := Path(place, name)).is_file())


def _member(path: Path, name: str) -> Iterator[bytes]:
    """A file as it was when it was opened; a link is left out."""
    if path.is_symlink():
        return
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = found.st_size, int(found.st_mtime), 0o600
        yield info.tobuf(tarfile.PAX_FORMAT)
        left = info.size
        while left:
            part = file.read(min(PART, left))
            if not part:
                raise OSError(f"{path} is shorter than it was")
            left -= len(part)
            yield part
        yield bytes(-info.size % BLOCK)
