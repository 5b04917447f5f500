"""Unpack the tar stream of a container's files that the engine sends."""

import io
import tarfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any


def unpack(
    chunks: Iterable[bytes], folder: str, destination: Path, only: Collection[str]
) -> list[str]:
    """Write the files and links `only` below `destination`; return the paths of those left out.

    Args:
        chunks: the archive of `folder`, with paths relative to it.
        folder: absolute, in the container.
        destination: made if something is written.
        only: absolute paths as the engine lists them; folders come with their files.
    """
    left = []
    with tarfile.open(fileobj=io.BufferedReader(_Stream(iter(chunks))), mode="r|") as archive:
        for member in archive:
            path = str(PurePosixPath(folder, member.name.lstrip("/")))
            if member.isdir() or _as_listed(path) not in only:
                continue
            destination.mkdir(parents=True, exist_ok=True)
            try:
                archive.extract(member, destination, filter="data")
            except (tarfile.FilterError, KeyError):  # it leads out of the folder, or is a hard link
                left.append(path)  # to a file that is not among `only`
    return left


def _as_listed(path: str) -> str:
    """The path as the engine's JSON has it: bytes that are not UTF-8 are replaced, one by one."""
    return "".join("\ufffd" if "\udc80" <= one <= "\udcff" else one for one in path)


class _Stream(io.RawIOBase):
    """A file of chunks; holds one chunk at a time."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer or part of it; return the number of bytes, 0 at the end."""
        chunk = self._rest or next(self._chunks, b"")
        count = min(len(chunk), len(buffer))
        buffer[:count], self._rest = chunk[:count], chunk[count:]
        return count
