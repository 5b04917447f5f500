"""What commands make for a moment, and how the next one tells that its maker was killed.

Names of such files, folders and containers carry a mark: the maker's process, and where its number
means that process.
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

PREFIX = "runner-tmp-"  # then the mark
OLD_S = 600.0  # no command needs for longer what it makes for a moment


def make_name() -> str:
    """A new name with this process's mark, for what it removes before it ends."""
    return f"{PREFIX}{_place()}-{os.getpid()}-{_started(os.getpid())}-{secrets.token_hex(4)}"


def is_abandoned(name: str, age_s: float) -> bool:
    """Whether what has this name was left behind: its maker is gone.

    Args:
        name: as `make_name` gave it, whatever stands before it.
        age_s: seconds since it was made; they decide where its maker cannot be asked after, being
            another machine's, or of another namespace of process IDs.
    """
    _, _, mark = name.partition(PREFIX)
    place, pid, started = [*mark.split("-"), "", "", ""][:3]
    if place != _place() or not pid.isdecimal():
        return age_s > OLD_S
    return _started(int(pid)) != started


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """A folder for this user alone, in `parent` or the system's place for such; gone afterwards."""
    parent = parent or Path(tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / make_name()
    try:  # Ctrl-C may come at any moment, also while the folder is made
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(*parents: Path) -> None:
    """Remove what this user's killed commands left in these folders."""
    for parent in parents:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            for entry in list(os.scandir(parent)):
                if PREFIX in entry.name:
                    _remove(entry)


def _remove(entry: os.DirEntry[str]) -> None:
    with suppress(OSError):  # another command is doing the same
        status = entry.stat(follow_symlinks=False)
        mine = status.st_uid == os.geteuid()
        if not mine or not is_abandoned(entry.name, time.time() - status.st_mtime):
            return
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()


def _place() -> str:
    """Where process IDs mean the same: this boot of this machine, this namespace of them."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    space = Path("/proc/self/ns/pid").readlink()
    return hashlib.sha256(f"{boot} {space}".encode()).hexdigest()[:8]


def _started(pid: int) -> str | None:
    """When the process began, in the kernel's ticks since the boot; None where it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return stat.rpartition(b")")[2].split()[19].decode()
