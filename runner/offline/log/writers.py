"""Find logs that a process still writes: from the kernel, or else by their time of change."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from runner.disk.file_systems import find_file_system, is_network, read_mounts

QUIET_S = 60.0  # W&B's client writes system metrics every 15 s


def find_open(
    paths: Iterable[Path], *, now: float, mounts: Mapping[str, str] | None = None
) -> set[Path]:
    """The logs that a process holds open.

    If that process may be invisible (another user's file, a network file system), a log that
    changed within the last `QUIET_S` seconds counts as open.

    Args:
        paths: the logs.
        now: seconds since the epoch.
        mounts: from `read_mounts`; read if not given.
    """
    mounts = read_mounts() if mounts is None else mounts
    stats = {path: stat for path in paths if (stat := _stat(path))}
    held = _held()
    found = {path for path, stat in stats.items() if (stat.st_dev, stat.st_ino) in held}
    for path, stat in stats.items():
        there = find_file_system(path.parent, mounts)  # the path may be a link to itself
        hidden = os.geteuid() not in (0, stat.st_uid) or is_network(there)
        if hidden and now - stat.st_mtime < QUIET_S:
            found.add(path)
    return found


def _held() -> set[tuple[int, int]]:
    held = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            handles = list((process / "fd").iterdir())
        except OSError:  # a process of another user, or one that has just ended
            continue
        for handle in handles:
            try:
                if str(handle.readlink()).endswith(".wandb"):
                    stat = handle.stat()
                    held.add((stat.st_dev, stat.st_ino))
            except OSError:
                continue
    return held


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None
