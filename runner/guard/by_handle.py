"""Open folders from the handle of their parent folder, without following links.

A program that can write in a folder could replace a name by a link between a check and a use.
`ForeignFolder` and `walk` open folders here.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

LINK, FILE, FOLDER, GONE = "a link", "a file", "a folder", "gone"
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_KINDS = {
    stat.S_IFLNK: LINK,
    stat.S_IFREG: FILE,
    stat.S_IFDIR: FOLDER,
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class NotAFolder(Exception):  # noqa: N818 - an answer, not a fault
    """The name is not a folder; `kind` says what it is."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def open_folder(name: str, folder: int | None) -> int:
    """Open a folder; return its handle.

    Args:
        name: in `folder`; a path if no folder is given.
        folder: the handle of the parent folder.

    Raises:
        FileNotFoundError: the name does not exist.
        NotAFolder: it is not a folder.
        OSError: it cannot be opened.
    """
    try:
        return os.open(name, _FLAGS, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise NotAFolder(find_kind(name, folder)) from error
        raise


def descend(
    handle: int, path: Path, names: Iterable[str], enter: Callable[[str, int, Path], int]
) -> int:
    """Open the folder at the end of `names`; return its handle.

    Args:
        handle: of the folder at `path`; always closed.
        path: for errors.
        names: single names, not paths.
        enter: opens a folder, given its name, its parent's handle and its path.
    """
    for name in names:
        path = path / name
        try:
            inner = enter(name, handle, path)
        finally:
            os.close(handle)
        handle = inner
    return handle


def find_kind(name: str, folder: int | None) -> str:
    """What has this name, in words; does not follow a link."""
    try:
        found = os.lstat(name, dir_fd=folder)
    except OSError:
        return GONE
    return _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
