"""The control group of the agent and its runs: who was killed for memory, and how much they hold.

Version 1 was tried with Docker 26.1; version 2 is read by the format of its files and was not
tried.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_FORMATS = {  # the file that counts kills → what of `memory.stat` a program holds itself
    "memory.oom_control": ("total_rss", "total_shmem"),  # version 1
    "memory.events": ("anon", "shmem"),  # version 2
}


@dataclass(frozen=True)
class MemoryGroup:
    """The kernel's account of one control group."""

    folder: Path
    kills_file: str
    parts: tuple[str, ...]

    def count_kills(self) -> int:
        """How many of its processes were ever killed for memory."""
        return self._read(self.kills_file).get("oom_kill", 0)

    def read_used(self) -> int:
        """Bytes that its processes hold together; shared pages count once."""
        found = self._read("memory.stat")
        return sum(found.get(part, 0) for part in self.parts)

    def _read(self, name: str) -> dict[str, int]:
        try:
            lines = (self.folder / name).read_text("ascii").splitlines()
        except OSError:
            return {}
        pairs = (line.split() for line in lines)
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def find_memory_group(
    root: Path = ROOT, listed: Path = Path("/proc/self/cgroup")
) -> "MemoryGroup | None":
    """The memory group of this process; None where no such file system is there."""
    try:
        lines = listed.read_text("utf-8").splitlines()
    except OSError:
        return None
    for folder in _find_folders(root, lines):
        for kills_file, parts in _FORMATS.items():
            if os.access(folder / kills_file, os.R_OK):
                return MemoryGroup(folder, kills_file, parts)
    return None


def _find_folders(root: Path, lines: Sequence[str]) -> Iterator[Path]:
    """A container sees its own group at the mount, whatever `/proc` calls it."""
    listed = [line.split(":", 2) for line in lines]
    for _, controllers, path in listed:
        if "memory" in controllers.split(","):
            yield from (root / "memory" / path.lstrip("/"), root / "memory")
    for number, controllers, path in listed:
        if number == "0" and not controllers:
            yield from (root / path.lstrip("/"), root)
