"""Files that a stranger may have written: of a container, of a repository, of a damaged disk.

What a container left is read by the agent's own reader; here is what the host makes of it.
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
    "read_regular_text",
]

PROJECT_BYTES = 64 << 20  # of a settings, sweep or dependency file
OWN_BYTES = 256 << 20  # of a file that runner wrote itself, as a large sweep's record


def read_regular(path: Path, *, max_bytes: int = PROJECT_BYTES) -> bytes:
    """The content of a file of the project, which may be a link to one.

    Raises:
        OSError: it cannot be read, is larger, or is no regular file (a pipe would be waited for,
            a device may never end).
    """
    _check_regular(path.stat(), path)  # to open a pipe and go away would end who writes into it
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


def read_regular_text(path: Path) -> str:
    """Likewise, as text of UTF-8.

    Raises:
        OSError: as above.
        UnicodeDecodeError: it is not UTF-8.
    """
    return read_regular(path).decode("utf-8")


def read_given(path: Path, *, patience_s: float = 5.0) -> bytes:
    """The content of a file that the user named, which may be a pipe: `<(make-sweep)`.

    Args:
        path: a regular file, a link to one, a named pipe, or below `/dev` (as `/dev/stdin`).
        patience_s: how long a named pipe may say nothing.

    Raises:
        OSError: it cannot be read, is something else, too large, or says nothing.
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
        else:  # nobody writes yet
            time.sleep(0.05)
    raise OSError(errno.ETIMEDOUT, "this pipe gives no data", str(path))


def open_lock(path: Path) -> TextIO:
    """A file of ours to lock, made where there is none; never a link or a pipe.

    Raises:
        OSError: it is something else, or cannot be opened.
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
    """The JSON object in a regular file; the arguments are those of `read_foreign`.

    Raises:
        FileNotFoundError: nothing is there.
        DamagedFile: there is no such file, or no object in it.
    """
    return parse_object(read_foreign(path, max_bytes=max_bytes, folder=folder), str(path))


def parse_object(content: bytes, name: str) -> dict[str, Any]:
    """The JSON object in the content of the file `name`.

    Raises:
        DamagedFile: there is none, or it is nested too deep to be read.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"`{name}` is not JSON") from error
    if not isinstance(value, dict):
        raise DamagedFile(f"`{name}` holds no object")
    return value
