"""Files that stay: what a function here has returned from survives a loss of power."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

INCOMING = ".incoming"  # below `runs` and `artifacts`: files of which only a part is here yet


def append(path: Path, size: int, lines: Iterable[str], *, root: Path) -> int:
    """Write `lines` after the first `size` bytes of a file below `root`; gives the new size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with os.fdopen(handle, "r+b") as file:
        file.truncate(size)
        file.seek(size)
        file.write(b"".join(line.encode(errors="replace") + b"\n" for line in lines))
        file.flush()
        os.fdatasync(file.fileno())
        grown = file.tell()
    if size == 0:  # nothing of it counted before: its name may be new
        sync_folders(path.parent, root)
    return grown


def replace(aside: Path, path: Path, *, root: Path) -> None:
    """Give a file whose content is on the disk its name below `root`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside.replace(path)
    sync_folders(path.parent, root)


def sync_folders(folder: Path, root: Path) -> None:
    """Put the names in `folder`, and in each folder above it up to `root`, on the disk."""
    for one in (folder, *folder.parents):
        handle = os.open(one, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        if one == root:
            return


def find_incoming(path: Path, root: Path) -> Path:
    """The folder for a file that will be `path`, of which only a part is here yet."""
    return root / path.relative_to(root).parts[0] / INCOMING


def remove_incoming(root: Path) -> None:
    """Remove what a killed server had begun to take in."""
    for name in ("runs", "artifacts"):
        shutil.rmtree(root / name / INCOMING, ignore_errors=True)
