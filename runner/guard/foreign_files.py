"""Read files that a stranger may have written: in a container, in a repository, on a damaged disk.

The agent's own reader reads files of containers; this module adds the host's errors.
"""

import errno
import json
import os
import select
import stat
import time
from pathlib import Path
from typing import Any, TextIO

from runner.agent.foreign import STATUS_BYTES, DamagedFile, read_foreign, read_up_to

__all__ = [
    "OWN_BYTES",
    "STATUS_BYTES",
    "DamagedFile",
    "open_lock",
    "parse_object",
    "read_foreign",
    "read_foreign_object",
    "read_given",
    "read_regular",
]

PROJECT_BYTES = 64 << 20  # limit of a settings, sweep or dependency file
OWN_BYTES = 256 << 20  # limit of runner's own files, such as the record of a large sweep


def read_regular(path: Path, *, max_bytes: int = PROJECT_BYTES) -> bytes:
    """The content of a project's file, or of the target of a link.

    Raises:
        OSError: it cannot be read, is larger, or is not a regular file (a pipe may never send
            data, a device may never end).
    """
    _check_regular(path.stat(), path)  # opening and closing a pipe would end its writer
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check_regular(os.fstat(handle), path)
        content = read_up_to(handle, max_bytes + 1)
    finally:
        os.close(handle)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content


def _check_regular(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_given(path: Path, *, patience_s: float = 5.0) -> bytes:
    """The content of a file that the user named, which may be a pipe: `<(make-sweep)`.

    Args:
        path: a regular file, a link to one, a named pipe, or below `/dev` (as `/dev/stdin`).
        patience_s: seconds that a named pipe may be silent.

    Raises:
        OSError: it cannot be read, has another type, is too large, or is silent.
    """
    if path.is_relative_to("/dev"):
        with path.open("rb") as file:
            return file.read(PROJECT_BYTES)
    if not path.is_fifo():
        return read_regular(path)
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return _read_pipe(handle, path, patience_s)
    finally:
        os.close(handle)


def _read_pipe(handle: int, path: Path, patience_s: float) -> bytes:
    content, deadline = b"", time.monotonic() + patience_s
    while time.monotonic() < deadline and len(content) <= PROJECT_BYTES:
        select.select([handle], [], [], 0.1)
        try:
            part = os.read(handle, 1 << 16)
        except BlockingIOError:
            continue
        if part:
            content, deadline = content + part, time.monotonic() + patience_s
        elif content:
            return content
        else:  # no writer yet
            time.sleep(0.05)
    raise OSError(errno.ETIMEDOUT, "this pipe gives no data", str(path))


def open_lock(path: Path) -> TextIO:
    """Open one of our files for locking; makes a missing one, refuses a link or a pipe.

    Raises:
        OSError: it has another type, or cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(path, flags, 0o644)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(handle, "r+", encoding="utf-8")


def read_foreign_object(
    path: Path, *, max_bytes: int = STATUS_BYTES, folder: int | None = None
) -> dict[str, Any]:
    """The JSON object in a regular file; arguments as in `read_foreign`.

    Raises:
        FileNotFoundError: the file does not exist.
        DamagedFile: it is not a regular file, or does not contain an object.
    """
    return parse_object(read_foreign(path, max_bytes=max_bytes, folder=folder), str(path))


def parse_object(content: bytes, name: str) -> dict[str, Any]:
    """The JSON object in the content of the file `name`.

    Raises:
        DamagedFile: the content is not an object, or is nested too deep.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"`{name}` is not JSON") from error
    if not isinstance(value, dict):
        raise DamagedFile(f"`{name}` holds no object")
    return value
