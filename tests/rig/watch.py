"""Watch which files of a tree are opened, with inotify from the C library."""

import ctypes
import os
import select
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPEN, _MODIFY, _CREATE, _DELETE, _MOVED = 0x20, 0x2, 0x100, 0x200, 0xC0
_EVENT = struct.Struct("iIII")


class Watch:
    """The events below some folders since the watch began."""

    def __init__(self, handle: int, folders: dict[int, Path]) -> None:
        self._handle, self._folders = handle, folders

    def touched(self) -> set[Path]:
        """The files, without folders, that were opened, made, changed, moved or removed."""
        seen: set[Path] = set()
        while select.select([self._handle], [], [], 0)[0]:
            events = os.read(self._handle, 1 << 16)
            while events:
                watch, mask, _, length = _EVENT.unpack_from(events)
                name = events[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
                events = events[_EVENT.size + length :]
                if name and not mask & 0x40000000:  # events of folders: listing one reads no file
                    seen.add(self._folders[watch] / os.fsdecode(name))
        return seen


@contextmanager
def watched(*roots: Path) -> Iterator[Watch]:
    """Watch these folders and all folders below them."""
    library = ctypes.CDLL(None, use_errno=True)
    handle = library.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    assert handle >= 0, os.strerror(ctypes.get_errno())
    mask = _OPEN | _MODIFY | _CREATE | _DELETE | _MOVED
    try:
        folders = {}
        for root in roots:
            for folder in (root, *(one for one in root.rglob("*") if one.is_dir())):
                number = library.inotify_add_watch(handle, os.fsencode(folder), mask)
                assert number >= 0, os.strerror(ctypes.get_errno())
                folders[number] = folder
        yield Watch(handle, folders)
    finally:
        os.close(handle)
