"""Folders opened from the handle of the folder that they lie in: no link is followed.

Whoever can write in a folder may put a link in a name's place between a look and a use. What
`ForeignFolder` reads and `walk` writes is opened here.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

LINK, FILE, FOLDER = "a link", "a file", "a folder"
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
    """Something else has the folder's name; `kind` says what, in words."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def open_folder(name: str, folder: int | None) -> int:
    """The handle of a folder.

    Args:
        name: in the folder; a path where no folder is given.
        folder: the handle of the folder that it lies in.

    Raises:
        FileNotFoundError: nothing has this name.
        NotAFolder: something else has it.
        OSError: it cannot be entered.
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
    """The handle of the folder at the end of `names`.

    Args:
        handle: of the folder at `path`; it is closed, whatever happens.
        path: as errors name it.
        names: one name each.
        enter: gives the handle of a folder by its name, the folder it lies in and its path.
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
    """What has this name, in words; a link is not followed."""
    try:
        found = os.lstat(name, dir_fd=folder)
    except OSError:
        return "gone"
    return _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
