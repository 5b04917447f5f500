"""Sets the wall clock of a real server: `clock.c`, preloaded, and the offset that steers it."""

import mmap
import struct
from pathlib import Path

from tests.chaos.faults import build_library

SOURCE = Path(__file__).with_name("clock.c")
OFFSET = struct.Struct("q")


class SetClock:
    """The wall clock of whichever process has `env`; outlives the process."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(bytes(OFFSET.size))
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), 0)
        self.env = {"LD_PRELOAD": str(build_library(SOURCE)), "CLOCK_OFFSET": str(file)}

    def add(self, seconds: int) -> None:
        """Let it be so much ahead of the machine's from now on; below 0: behind."""
        OFFSET.pack_into(self._memory, 0, seconds)
