"""A folder that strangers write in: what is opened by way of it lies below it, or is refused.

Each part of a path is opened from the handle of the folder before it (`by_handle`), and links are
followed by hand: what `openat2` does under `RESOLVE_BENEATH`, which Python does not offer.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from runner.guard.by_handle import LINK, NotAFolder, descend, open_folder
from runner.guard.foreign_files import DamagedFile

MAX_DEPTH = 64  # folders below folders; the handle of each is open
MAX_LINKS = 40  # as the kernel's
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class OutsideError(DamagedFile):
    """A path leaves the folder."""


class ForeignFolder:
    """An open folder, `with`; opening files below it follows no path out of it.

    Args:
        path: of the folder, as messages show it; the folders above it are trusted.
        handle: of the folder, where it is open already.

    Raises:
        FileNotFoundError: it does not exist.
        DamagedFile: it is a link, or not a folder.
    """

    def __init__(self, path: Path, handle: int | None = None) -> None:
        self.path = path
        self._handle = _enter(str(path), None, path) if handle is None else handle

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the handle."""
        os.close(self._handle)

    @property
    def owner(self) -> int:
        """Whose it is."""
        return os.fstat(self._handle).st_uid

    def entries(self) -> Iterator[tuple[str, os.stat_result]]:
        """Names, and what lies there; a link is not followed."""
        for name in os.listdir(self._handle):  # noqa: PTH208 - of a handle
            with suppress(FileNotFoundError):
                yield name, os.stat(name, dir_fd=self._handle, follow_symlinks=False)

    def folder(self, path: str) -> "ForeignFolder":
        """A folder below this one; a link on the way to it is refused.

        Raises:
            FileNotFoundError: it does not exist.
            DamagedFile: it is a link, or no folder.
        """
        parts = _split(path)
        handle = descend(os.dup(self._handle), self.path, parts, _enter)
        return ForeignFolder(self.path.joinpath(*parts), handle)

    def open(self, path: str, *, max_links: int = MAX_LINKS) -> FileIO:
        """A regular file; links on the way to it are followed as long as they stay below.

        Raises:
            FileNotFoundError: there is none.
            OutsideError: the path, or a link on it, leaves this folder.
            DamagedFile: it is something else, or cannot be read.
        """
        folders, todo, links = [self._handle], _split(path)[::-1], 0
        try:
            while todo:
                part = todo.pop()
                if part == "..":
                    if len(folders) == 1:
                        raise OutsideError("it leaves its folder")
                    os.close(folders.pop())
                    continue
                handle, target = _open_part(part, folders[-1])
                if target is not None:
                    if (links := links + 1) > max_links:
                        raise DamagedFile(
                            "it is a chain of links without an end" if max_links else "it is a link"
                        )
                    if target.startswith("/"):
                        target = self._below(target)
                        _close(folders[1:])
                        del folders[1:]
                    todo += _split(target)[::-1]
                elif todo:
                    folders.append(handle)
                    if len(folders) > MAX_DEPTH:
                        raise DamagedFile(f"it is more than {MAX_DEPTH} folders deep")
                else:
                    return _regular(handle)
            raise DamagedFile("it is a folder")
        finally:
            _close(folders[1:])

    def _below(self, target: str) -> str:
        """An absolute link's target, from this folder on."""
        rest = target.removeprefix(f"{self.path}/")
        if rest == target:
            raise OutsideError("it is a link that leaves its folder")
        return rest


def _split(path: str) -> list[str]:
    if path.startswith("/"):
        raise OutsideError("its path is absolute")
    if "\0" in path:
        raise DamagedFile("its path holds a zero byte")
    return [part for part in path.split("/") if part not in ("", ".")]


def _open_part(name: str, folder: int) -> tuple[int, str | None]:
    """A handle; or where the link leads that lies there."""
    try:
        return os.open(name, _FLAGS, dir_fd=folder), None
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:
            with suppress(OSError):  # it has changed again
                return -1, os.readlink(name, dir_fd=folder)
        if error.errno == errno.ENOTDIR:
            raise FileNotFoundError(name) from error
        if error.errno == errno.ENXIO:
            raise DamagedFile("it is not a regular file") from error
        raise DamagedFile(f"it cannot be read: {error.strerror}") from error


def _regular(handle: int) -> FileIO:
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise DamagedFile("it is not a regular file")
    return FileIO(handle)


def _enter(name: str, folder: int | None, path: Path) -> int:
    """Open a folder; `..` is refused: nobody means it here."""
    if name == "..":
        raise OutsideError(f"`{path}` leaves its folder")
    try:
        return open_folder(name, folder)
    except FileNotFoundError:
        raise
    except NotAFolder as error:
        what = error.kind if error.kind == LINK else "not a folder"
        raise DamagedFile(f"`{path}` is {what}") from error
    except OSError as error:
        raise DamagedFile(f"`{path}` cannot be read: {error.strerror}") from error


def _close(handles: list[int]) -> None:
    for handle in handles:
        os.close(handle)
