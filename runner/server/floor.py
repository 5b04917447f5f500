"""A floor of free space: files are refused before the disk has no room for rows."""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from runner.server.logs import warn
from runner.server.wire import Refused

log = logging.getLogger(__name__)
MOST, SHARE = 1 << 30, 0.05  # of the disk: the smaller one, unless a setting says otherwise


@dataclass(frozen=True, slots=True)
class Floor:
    """What uploads leave free on the disk of the data folder."""

    root: Path
    wanted: int | None = None  # bytes; None: the default

    @property
    def size(self) -> int:
        """Bytes."""
        if self.wanted is not None:
            return self.wanted
        return min(MOST, int(shutil.disk_usage(self.root).total * SHARE))

    def check(self, coming: int) -> None:
        """Refuse with 503 a file of so many bytes that would leave less; clients try again."""
        free, size = shutil.disk_usage(self.root).free, self.size
        if size and free - coming < size:
            why = f"the disk is full: {free >> 20} MiB free, uploads leave {size >> 20} MiB"
            warn(log, "a file is not taken", error=why)
            raise Refused(503, f"{why}; `runner server prune` and `runner sweep delete` make room")
