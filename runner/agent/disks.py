"""Is there room on the disks that runs write to? On a full one they all fail, whatever they do."""

import errno
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOW_BYTES, LOW_SHARE = 64 << 20, 0.01  # what is left of a full disk: the smaller of the two
MORE_BYTES = 64 << 20  # that must get free after a run failed; doubled each time in a row
LITTLE_BYTES = 2 << 30  # free: a program that then says "no space left" means this disk
LOOK_EVERY_S = 1.0
AGAIN_S = 60.0  # then the next run tells: a quota is seen in no number; doubled in a row, up to
AGAIN_MOST_S = 600.0
HINT = "delete old checkpoints or logs, or `runner prune`"
_OF_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)
_QUOTA = re.compile(r"Disk quota exceeded|\[Errno 122\]")
_FULL = re.compile(rf"No space left on device|\[Errno 28\]|{_QUOTA.pattern}")
_NAME = re.compile(r"""['"`<]([^'"`<>]+)['"`>]|(?<!\S)(/\S+)""")  # of a file


@dataclass(frozen=True)
class _Disk:
    what: str  # is on it
    folder: Path
    free: int  # bytes
    whole: int  # bytes
    is_full: bool

    def __str__(self) -> str:
        return f"no room for {self.what}: {self.free >> 20} MiB free on the disk of `{self.folder}`"


@dataclass(frozen=True)
class _Want:
    why: str
    folder: Path
    size: int  # bytes free
    until: float  # monotonic


class Disks:
    """Looks at the disks between two runs; `next_at` says when it wants to look again."""

    def __init__(self, folders: Mapping[str, Path], cwd: Path = Path("/")) -> None:
        """Get ready; `folders` of runs, by what is in them; they start in `cwd`."""
        self._folders, self._cwd = folders, cwd
        self._least: dict[Path, int] = {}  # bytes free in a folder while the run went on
        self._times = 0  # runs in a row that ended by a full disk
        self._want: _Want | None = None
        self.next_at = float("inf")
        self.lack: str | None = None  # why no run may start for now

    def begin(self) -> None:
        """A run has just started."""
        self._least = {}
        self.sample()

    def sample(self) -> None:
        """Note how little is free while a run goes on: what it wrote in vain is soon deleted."""
        for disk in self._look():
            self._least[disk.folder] = min(disk.free, self._least.get(disk.folder, disk.free))

    def explain(self, lines: Sequence[str]) -> "str | None":
        """Why a run ended that failed for no other reason: a disk is full; None: none is.

        Args:
            lines: the last of its log. One that says so is believed if it names a file of ours, or
                none while little was free.
        """
        self.sample()
        disks = self._look()
        guilty = [disk for disk in disks if disk.is_full]
        for line in () if guilty else lines:
            guilty += self._find_guilty(line, disks)
        return str(min(guilty, key=lambda disk: disk.free)) if guilty else None

    def _find_guilty(self, line: str, disks: "Sequence[_Disk]") -> "list[_Disk]":
        """The disks that a line of a log may mean."""
        if not _FULL.search(line):
            return []
        named = [self._cwd / (quoted or plain) for quoted, plain in _NAME.findall(line)]
        if named:
            return [disk for disk in disks if any(disk.folder in one.parents for one in named)]
        if _QUOTA.search(line):
            return list(disks)
        return [disk for disk in disks if self._least.get(disk.folder, 0) <= LITTLE_BYTES]

    def note(self, why: "str | None") -> None:
        """A run has ended by the disk, and why; None: by something else."""
        self._times = self._times + 1 if why else 0
        self._want = None
        disks = self._look()
        if why and disks:
            least = min(disks, key=lambda disk: disk.free)
            # of a small disk half of what is in use
            doubled = 1 << min(self._times - 1, 16)
            more = max(1, min(MORE_BYTES * doubled, (least.whole - least.free) // 2))
            again_s = min(AGAIN_S * doubled, AGAIN_MOST_S)
            self._want = _Want(why, least.folder, least.free + more, time.monotonic() + again_s)

    def look(self) -> None:
        """See whether a run may start."""
        now = time.monotonic()
        if now < self.next_at < float("inf"):
            return
        disks, want = self._look(), self._want
        if want and (now >= want.until or any(_is_met(want, disk) for disk in disks)):
            self._want = want = None
        why = next((str(disk) for disk in disks if disk.is_full), want.why if want else None)
        self.lack = why and f"{why}; {HINT}"
        self.next_at = now + LOOK_EVERY_S if why else float("inf")

    def _look(self) -> "list[_Disk]":
        return [disk for what, folder in self._folders.items() if (disk := _look_at(what, folder))]


def _is_met(want: _Want, disk: _Disk) -> bool:
    return disk.folder == want.folder and disk.free >= want.size


def _look_at(what: str, folder: Path) -> "_Disk | None":
    """The disk of a folder, which may not be there yet."""
    there = next((one for one in (folder, *folder.parents) if one.is_dir()), folder)
    try:
        found = os.statvfs(there)
    except OSError:
        return None
    blocks = found.f_bfree if os.geteuid() == 0 else found.f_bavail  # some are kept for root
    free, whole = blocks * found.f_frsize, found.f_blocks * found.f_frsize
    no_files = found.f_files > 0 and found.f_ffree == 0
    low = min(LOW_BYTES, int(whole * LOW_SHARE))
    return _Disk(what, folder, free, whole, whole > 0 and (free <= low or no_files))


def is_of_disk(error: OSError) -> bool:
    """Whether a file could not be written for no fault of the run."""
    return error.errno in _OF_DISK
