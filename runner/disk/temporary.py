"""Temporary files, folders and containers, and how later commands find abandoned ones.

Their names contain a mark: the maker's process ID, and the machine's boot and namespace in which
the ID is valid.
"""

import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "runner-tmp-"  # followed by the mark
OLD_S = 600.0  # no command needs temporary files for longer


def make_name() -> str:
    """A new name with this process's mark, for something that it removes before it ends."""
    return f"{PREFIX}{_place()}-{os.getpid()}-{_started(os.getpid())}-{secrets.token_hex(4)}"


def is_abandoned(name: str, age_s: float) -> bool:
    """Whether the maker of this name is gone, so that it is abandoned.

    Args:
        name: ends with a result of `make_name`.
        age_s: seconds since it was made; decides if the maker's process is on another machine, or
            in another namespace of process IDs.
    """
    _, _, mark = name.partition(PREFIX)
    place, pid, started = [*mark.split("-"), "", "", ""][:3]
    if place != _place() or not pid.isdecimal():
        return age_s > OLD_S
    return _started(int(pid)) != started


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """A private folder in `parent` or the system's temporary folder; removed afterwards."""
    parent = parent or Path(tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / make_name()
    try:  # Ctrl-C may come while the folder is made
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(*parents: Path) -> None:
    """Remove the files that killed commands of this user left in these folders."""
    for parent in parents:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            for entry in list(os.scandir(parent)):
                if PREFIX in entry.name:
                    _remove(entry)


def _remove(entry: os.DirEntry[str]) -> None:
    with suppress(OSError):  # another command may remove it, too
        status = entry.stat(follow_symlinks=False)
        mine = status.st_uid == os.geteuid()
        if not mine or not is_abandoned(entry.name, time.time() - status.st_mtime):
            return
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()


def _place() -> str:
    """The scope of process IDs: this boot of this machine, this namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    space = Path("/proc/self/ns/pid").readlink()
    return hashlib.sha256(f"{boot} {space}".encode()).hexdigest()[:8]


def _started(pid: int) -> str | None:
    """The start of the process in the kernel's ticks since the boot; None if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return stat.rpartition(b")")[2].split()[19].decode()
