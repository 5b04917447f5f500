"""The path of a log, and a snapshot of its bytes."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from runner.guard.foreign_folder import ForeignFolder
from runner.offline.log.leveldb import Readable


@dataclass(frozen=True, slots=True, order=True)
class LogFile:
    """One `.wandb` file.

    No part of its path below `root` may be a link. The paths in it may lead only into the run's
    folder and into W&B's staging folder of artifacts.
    """

    root: Path  # resolved: a path from the user, or the runs folder of a state folder
    inner: str  # its path below `root`
    foreign: bool = False  # a container may have written it
    size: int = 0  # in bytes, when it was found

    @classmethod
    def at(cls, path: Path) -> Self:
        """The log at a path from the user; follows links in the path."""
        real = path.resolve()
        return cls(real.parent, real.name, size=real.stat().st_size)

    @property
    def path(self) -> Path:
        """The full path."""
        return self.root / self.inner

    @contextmanager
    def folder(self) -> Iterator[ForeignFolder]:
        """Open the run's own folder.

        Raises:
            FileNotFoundError: it is gone.
            DamagedFile: its path contains a link.
        """
        with (
            ForeignFolder(self.root) as root,
            root.folder(str(PurePosixPath(self.inner).parent)) as folder,
        ):
            yield folder

    @contextmanager
    def open(self) -> Iterator["LogSnapshot"]:
        """Open the log; the snapshot ends at its present size.

        Raises:
            FileNotFoundError: it is gone.
            DamagedFile: it is not a regular file, or its path contains a link.
        """
        with (
            self.folder() as folder,
            folder.open(self.path.name, max_links=0) as file,
            io.BufferedReader(file) as buffered,
        ):
            yield LogSnapshot(buffered)


class LogSnapshot:
    """The bytes of a file up to its size when it was opened, and their digest."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file, self._hash = file, hashlib.blake2b()
        self.size = self._left = file.seek(0, io.SEEK_END)
        file.seek(0)

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes."""
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        self._hash.update(data)
        return data

    def digest(self) -> bytes:
        """The digest of the bytes read so far."""
        return self._hash.digest()


def copy(source: Readable, to: Path) -> None:
    """Copy the remaining bytes to a new file."""
    with to.open("xb") as out:
        while data := source.read(1 << 20):
            out.write(data)
