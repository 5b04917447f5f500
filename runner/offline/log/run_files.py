"""Copy a run's files for W&B's sync: only regular files below the run's folder."""

import errno
import os
import posixpath
import re
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from typing import Literal, NamedTuple

from runner.console import format_bytes
from runner.guard.foreign_files import DamagedFile
from runner.guard.foreign_folder import ForeignFolder
from runner.offline.log.contents import is_run_path

MAX_PATH_CHARS = 1024
_SPARSE = 64 << 20  # bytes; a file of this size with less than 1 % on disk counts as sparse
_WRITTEN_BY_SYNC = re.compile(
    r"config\.yaml|wandb-(summary|metadata)\.json|output(_.*)?\.log|logs/.*", re.DOTALL
)
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOENT, errno.EOPNOTSUPP)


class Left(NamedTuple):
    """A file or artifact of a run that is not sent, and the reason."""

    kind: Literal["file", "artifact"]
    name: str
    reason: str


def stage_files(folder: ForeignFolder, names: Sequence[str], to: Path) -> list[Left]:
    """Put the run files of these names into the new folder `to`; skips files that are gone.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    to.mkdir()
    folders = {to}

    def take(name: str, file: FileIO) -> None:
        if (parent := (to / name).parent) not in folders:
            parent.mkdir(parents=True, exist_ok=True)
            folders.add(parent)
        put(file, to / name, link=not _WRITTEN_BY_SYNC.fullmatch(name))

    return _for_each(folder, names, take)


def find_left(folder: ForeignFolder, names: Sequence[str]) -> list[Left]:
    """The run files of these names that must not be sent."""
    return _for_each(folder, names, lambda _name, _file: None)


def _for_each(
    folder: ForeignFolder, names: Sequence[str], take: Callable[[str, FileIO], None]
) -> list[Left]:
    left, owner = list[Left](), folder.owner
    for name in dict.fromkeys(map(posixpath.normpath, names)):
        try:
            with _open(folder, name) as file:
                check(file, owner)
                take(name, file)
        except FileNotFoundError:
            continue
        except DamagedFile as error:
            left.append(Left("file", name, str(error)))
    return left


def _open(folder: ForeignFolder, name: str) -> FileIO:
    if not is_run_path(name) or len(name) > MAX_PATH_CHARS:
        raise DamagedFile("its path leaves the run's folder, or is too long")
    return folder.open(f"files/{name}")


def check(file: FileIO, owner: int) -> None:
    """Check that a regular file in a folder of this owner may be sent.

    A hard link to a file of the same owner may be sent: its maker could have copied the file. The
    maker of a hard link to another user's file may not be able to read that file.

    Raises:
        DamagedFile: it must not be sent.
    """
    status = os.fstat(file.fileno())
    if status.st_nlink > 1 and status.st_uid != owner:
        raise DamagedFile("it is a hard link to a file of another user")
    if status.st_size > max(_SPARSE, 100 * 512 * status.st_blocks):
        raise DamagedFile(f"it is a sparse file of {format_bytes(status.st_size)}")


def put(file: FileIO, to: Path, *, link: bool) -> None:
    """Link the file as `to`; copy its present content if a link is not possible.

    Args:
        file: a regular file.
        to: a new name in a folder of ours.
        link: False if W&B's sync writes to the file.
    """
    if link:
        try:
            there = os.open(to.parent, os.O_PATH | os.O_DIRECTORY)
            try:  # by its handle: another file may have its name by now
                source = f"/proc/self/fd/{file.fileno()}"
                return os.link(source, to.name, dst_dir_fd=there, follow_symlinks=True)
            finally:
                os.close(there)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
    with to.open("xb") as out:
        at, end = 0, os.fstat(file.fileno()).st_size  # it may keep growing
        while at < end:
            if not (sent := os.sendfile(out.fileno(), file.fileno(), at, min(end - at, 1 << 30))):
                break
            at += sent
    return None
