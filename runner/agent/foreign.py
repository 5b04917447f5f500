"""Files that a container's program may have left there: read as what a stranger put there.

The one reader for host and agent. A program may leave a link, a pipe, a device, endless content
under any name that is looked at. Whatever is not a plain file of bounded size is damaged, with the
reason in words; nobody waits for it and nobody follows it.
"""

import errno
import os
import stat
from pathlib import Path

STATUS_BYTES = 256 << 10  # of an agent's status and the like
MANIFEST_BYTES = 64 << 20  # of what an agent placed: 100 bytes a file
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class DamagedFile(ValueError):  # noqa: N818 - an answer, not a fault
    """What lies there is not what it should be; the text says what it is."""


def read_foreign(
    path: Path, *, max_bytes: int = STATUS_BYTES, folder: "int | None" = None
) -> bytes:
    """The content of a regular file.

    Args:
        path: its last part is not followed where it is a link; its folder must be ours.
        max_bytes: a larger file is damaged.
        folder: the handle of its folder, where the way to it is not ours.

    Raises:
        FileNotFoundError: nothing is there.
        DamagedFile: it is something else, too large, or cannot be read.
    """
    handle = _open(path, folder)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise DamagedFile(f"`{path}` is not a regular file")
        content = read_up_to(handle, max_bytes + 1)  # it may grow meanwhile
    except OSError as error:
        raise DamagedFile(f"`{path}` cannot be read: {error.strerror}") from error
    finally:
        os.close(handle)
    if len(content) > max_bytes:
        raise DamagedFile(f"`{path}` has more than {max_bytes} bytes")
    return content


def read_foreign_text(path: Path, *, max_bytes: int = STATUS_BYTES) -> str:
    """Likewise, as text of UTF-8.

    Raises:
        FileNotFoundError: nothing is there.
        DamagedFile: as above, or it is not UTF-8.
    """
    try:
        return read_foreign(path, max_bytes=max_bytes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedFile(f"`{path}` is not UTF-8") from error


def read_up_to(handle: int, limit: int) -> bytes:
    """Up to `limit` bytes; a regular file gives what there is."""
    parts, left = [], limit
    while left and (part := os.read(handle, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _open(path: Path, folder: "int | None") -> int:
    try:
        return os.open(path if folder is None else path.name, _FLAGS, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        why = "is a link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
        raise DamagedFile(f"`{path}` {why}") from error
