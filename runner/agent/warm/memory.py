"""How much memory is free for a warm parent and the child that waits."""

import time
from collections.abc import Callable
from pathlib import Path

from runner.agent.report import say

EVERY_S = 5.0

_V2 = ("memory.max", "memory.current")
_V1 = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")


class FreeMemory:
    """Whether there is enough; says it when that changes."""

    def __init__(self, free_bytes: Callable[[], int], least: int) -> None:
        self._free_bytes, self._least = free_bytes, least
        self.look_at = 0.0  # monotonic: the next time
        self.is_low = False

    def look(self, *, has_parent: bool) -> bool:
        """Look, if it is time; true when parent and child have to go."""
        now = time.monotonic()
        if now < self.look_at or not (has_parent or self.is_low):
            return False
        self.look_at = now + EVERY_S
        free = self._free_bytes()
        if free < self._least and not self.is_low:
            self.is_low = True
            say(f"{to_mib(free)} are free, less than {to_mib(self._least)}: runs start cold")
            return True
        if self.is_low and free > 2 * self._least:
            self.is_low = False
            say(f"{to_mib(free)} are free again: runs start warm")
        return False


def to_mib(size: int) -> str:
    """`251 MiB`."""
    return f"{size / (1 << 20):.0f} MiB"


def read_free_bytes(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that are free to us: the machine's, or what the container's limit leaves if less.

    Files of version 2 are read by their documented format; only version 1 was tried.
    """
    free = [_read_available(proc / "meminfo")]
    for limit, usage in (_V2, _V1):
        bound, used = _read_number(cgroup / limit), _read_number(cgroup / usage)
        if bound is not None and used is not None:
            free.append(bound - used + _read_cache((cgroup / usage).with_name("memory.stat")))
    return max(0, min(free))


def _read_available(file: Path) -> int:
    for line in _read(file).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 1 << 62  # not said: nothing to go by


def _read_cache(file: Path) -> int:
    """Files in the page cache that the kernel drops before it kills anybody."""
    for line in _read(file).splitlines():
        if line.startswith(("inactive_file ", "total_inactive_file ")):
            return int(line.split()[1])
    return 0


def _read_number(file: Path) -> int | None:
    text = _read(file).strip()
    return int(text) if text.isdecimal() else None


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""
