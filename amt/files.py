"""Files that are there whole or not at all, also when the disk is full or the process dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from amt.errors import DiskError


def reserve(file: IO[bytes], size_bytes: int) -> None:
    """Take the space on disk now: a write to it cannot fail later, and a mapping cannot fault.

    Raises:
        OSError: there is not so much space.
    """
    if size_bytes:
        os.posix_fallocate(file.fileno(), 0, size_bytes)


@contextmanager
def replace_file(path: Path, *, size_bytes: int, remedy: str) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when the block ends without an error.

    Args:
        path: what is there before stays until then.
        size_bytes: at least what will be written.
        remedy: ends the error's line.

    Raises:
        DiskError: it cannot be written; nothing is left of it.
    """
    draft = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            reserve(file, size_bytes)
            yield file
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise DiskError.of(path, size_bytes, error, remedy) from error
    finally:
        draft.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk: a rename is lost otherwise when the machine dies."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
