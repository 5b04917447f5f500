"""A log's place on the disk, and its bytes as they were when it was judged."""

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

    Nothing on the way from `root` to it is a link, and nothing that it says leads out of its run's
    folder but into W&B's folder for artifacts' files.
    """

    root: Path  # real: what the user named, or the folder of runs of a state folder
    inner: str  # its path below `root`
    foreign: bool = False  # a container may have written it
    size: int = 0  # as it was found

    @classmethod
    def at(cls, path: Path) -> Self:
        """The one at this path, which the caller has named: links on the way are followed."""
        real = path.resolve()
        return cls(real.parent, real.name, size=real.stat().st_size)

    @property
    def path(self) -> Path:
        """All of its path."""
        return self.root / self.inner

    @contextmanager
    def folder(self) -> Iterator[ForeignFolder]:
        """The run's own folder.

        Raises:
            FileNotFoundError: it is gone.
            DamagedFile: a link is on the way to it.
        """
        with (
            ForeignFolder(self.root) as root,
            root.folder(str(PurePosixPath(self.inner).parent)) as folder,
        ):
            yield folder

    @contextmanager
    def open(self) -> Iterator["LogSnapshot"]:
        """Its bytes, so many as there are now.

        Raises:
            FileNotFoundError: it is gone.
            DamagedFile: it is no regular file, or a link is on the way to it.
        """
        with (
            self.folder() as folder,
            folder.open(self.path.name, max_links=0) as file,
            io.BufferedReader(file) as buffered,
        ):
            yield LogSnapshot(buffered)


class LogSnapshot:
    """Bytes of a file, up to where it ended when it was opened, and what tells them from others."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file, self._hash = file, hashlib.blake2b()
        self.size = self._left = file.seek(0, io.SEEK_END)
        file.seek(0)

    def read(self, size: int, /) -> bytes:
        """The next ones."""
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        self._hash.update(data)
        return data

    def digest(self) -> bytes:
        """Of those that were read."""
        return self._hash.digest()


def copy(source: Readable, to: Path) -> None:
    """Write what is left of it to a new file."""
    with to.open("xb") as out:
        while data := source.read(1 << 20):
            out.write(data)
