"""The server that is measured: a process on loopback, and what it costs."""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.runner.server.servers import Server


@contextmanager
def serving(data: Path, *, code: Path | None = None) -> Iterator[Server]:
    """A server over the folder, of this checkout or another one."""
    server = Server(data) if code is None else Server(data, code=code)
    server.start()
    try:
        yield server
    finally:
        if server.is_alive:
            server.stop()


@dataclass(slots=True)
class Watch:
    """Memory and CPU of the server's process."""

    process: psutil.Process
    resident: list[int] = field(default_factory=list)  # bytes, one per look
    _cpu_s: float = 0.0
    _since: float = 0.0

    @classmethod
    def begin(cls, server: Server) -> "Watch":
        """Look at this server from now on."""
        assert server.process is not None
        watch = cls(psutil.Process(server.process.pid))
        watch._cpu_s, watch._since = watch._spent(), time.monotonic()
        watch.look()
        return watch

    def look(self) -> None:
        """Note how much memory it has."""
        self.resident.append(self.process.memory_info().rss)

    def cores(self) -> float:
        """How many cores it used since the beginning."""
        return (self._spent() - self._cpu_s) / max(1e-9, time.monotonic() - self._since)

    def _spent(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


def measure_fsync(folder: Path, count: int = 100) -> tuple[float, float]:
    """Median and p99, in seconds, of `fdatasync` after 8 KiB, on the disk of the folder."""
    taken = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(count):
            file.write(os.urandom(8192))
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return statistics.median(taken), percentile(taken, 99)


def percentile(values: list[float], percent: float) -> float:
    """The value below which so many per cent lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def machine() -> str:
    """Cores, and how much else they do."""
    one, five, _ = os.getloadavg()
    return f"{os.cpu_count()} cores, load {one:.1f} (1 min), {five:.1f} (5 min)"
