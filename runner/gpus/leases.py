"""Read leases of GPUs: files that agents of every user and engine lock."""

import os
from contextlib import suppress
from pathlib import Path

from runner.agent.contract import paths

LEASES = Path(paths.HOST_LEASES)  # contains a file for each UUID


def read_leases(folder: Path = LEASES, locks: Path = Path("/proc/locks")) -> dict[str, int]:
    """GPU UUID → pid of the process that holds its lease, without touching the locks."""
    held = {}
    for line in locks.read_text("ascii").splitlines() if locks.exists() else []:
        fields = line.split()  # 1: FLOCK ADVISORY WRITE 4242 fe:01:131 0 EOF
        if len(fields) >= 6 and fields[1] == "FLOCK":
            held[fields[5]] = int(fields[4])
    leases = {}
    for file in folder.iterdir() if folder.is_dir() else []:
        with suppress(OSError):
            status = file.lstat()
            device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
            if pid := held.get(f"{device}:{status.st_ino}"):
                leases[file.name] = pid
    return leases
