"""Who still writes a log: asked of the kernel, where it will not say guessed by the clock."""

import os
from collections.abc import Iterable
from pathlib import Path

QUIET_S = 60.0  # W&B's client writes system metrics every 15 s
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "lustre", "gpfs", "beegfs", "ceph", "9p")


def find_open(paths: Iterable[Path], *, now: float) -> set[Path]:
    """Those of the logs that a process holds open.

    Where that process may not be seen (another user's file, a network file system) a log that
    changed within the last minute counts as open.
    """
    wanted = {(stat.st_dev, stat.st_ino): path for path in paths if (stat := _stat(path))}
    found = {wanted[one] for one in _held() & wanted.keys()}
    remote = _network_mounts()
    for path in wanted.values():
        stat = path.stat()
        hidden = os.geteuid() not in (0, stat.st_uid) or _on(path, remote)
        if hidden and now - stat.st_mtime < QUIET_S:
            found.add(path)
    return found


def _held() -> set[tuple[int, int]]:
    held = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            handles = list((process / "fd").iterdir())
        except OSError:  # another user's, or it has just ended
            continue
        for handle in handles:
            try:
                if str(handle.readlink()).endswith(".wandb"):
                    stat = handle.stat()
                    held.add((stat.st_dev, stat.st_ino))
            except OSError:
                continue
    return held


def _network_mounts() -> tuple[str, ...]:
    try:
        lines = Path("/proc/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()
    fields = [line.split() for line in lines]
    return tuple(one[1] for one in fields if len(one) > 2 and one[2] in _NETWORK)


def _on(path: Path, mounts: Iterable[str]) -> bool:
    return any(path.is_relative_to(mount) for mount in mounts)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
