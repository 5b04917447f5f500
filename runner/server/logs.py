"""Append-only files of a run: history, system events and console output, one line each.

The store records how many bytes of a file count. Bytes beyond are the rest of a request that never
was acknowledged; the next `Disk.append` cuts them off. So a kill at any moment, and a write that
fails, loses nothing that was acknowledged and counts nothing twice.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

LONGEST = 200  # bytes of a file's name; file systems allow 255


def read(path: Path, size: int) -> Iterator[str]:
    """The lines within the first `size` bytes."""
    if size == 0:
        return
    with path.open("rb") as file:
        left = size
        while left > 0 and (line := file.readline(left)):
            left -= len(line)
            yield line.decode(errors="replace").removesuffix("\n")


def safe_name(name: str) -> str:
    """`name` as one component of a path: never a separator, never `.` or `..`, never too long."""
    encoded = quote(name, safe="")
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if len(encoded) > LONGEST:
        digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:32]
        encoded = f"{encoded[: LONGEST - 40]}-{digest}"
    return encoded
