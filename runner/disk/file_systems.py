"""Find the file system of a folder: SQLite and flock need a local one.

The same list of network file systems decides where the server keeps its data, and whether another
machine may still write a log that no process here holds open.
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_NETWORK = re.compile(
    r"nfs4?|cifs|smb[23]?|smbfs|ncpfs|k?afs|coda|ceph|lustre(_lite)?|gpfs|beegfs|fhgfs|glusterfs|"
    r"panfs|orangefs|pvfs2|gfs2?|ocfs2|wekafs|mfs|moosefs|quobyte|juicefs|dvs|acfs|autofs|"
    r"9p|virtiofs|vboxsf|vmhgfs|prl_fs",  # the last ones are folders of a virtual machine's host
    re.IGNORECASE,
)
_OF_PROCESS = re.compile(r"fuse(\..*)?", re.IGNORECASE)
_LOCAL_OF_PROCESS = re.compile(
    r"fuse\.(fuse-overlayfs|overlayfs|unionfs(-fuse)?|mergerfs|bindfs|lxcfs|portal|"
    r"encfs|gocryptfs|cryfs|securefs|ntfs(-3g)?|exfat(-fuse)?|fuse2fs|fuse-ext2|zfs(-fuse)?|"
    r"apfs(-fuse)?|squashfuse(_ll)?|snapfuse)",
    re.IGNORECASE,
)


def find_file_system(folder: Path, mounts: Mapping[str, str] | None = None) -> str:
    """The type of the folder's file system: `ext4`, `nfs4`, `fuse.sshfs`, …

    Args:
        folder: may not exist yet.
        mounts: from `read_mounts`; read if not given.
    """
    path = folder.resolve()
    found = _find(path, read_mounts() if mounts is None else mounts)
    if found == "autofs" and mounts is None:
        for one in (path, *path.parents):
            with suppress(OSError):
                os.scandir(one).close()  # what is mounted on demand is there from now on
                break
        found = _find(path, read_mounts())
    return found


def is_network(kind: str) -> bool:
    """Whether other machines can share this type of file system.

    There are too many of processes (FUSE) to know them all: one that is not known can be shared.
    """
    if _OF_PROCESS.fullmatch(kind):
        return _LOCAL_OF_PROCESS.fullmatch(kind) is None
    return _NETWORK.fullmatch(kind) is not None


def read_mounts(mountinfo: str | None = None) -> dict[str, str]:
    """Mount point → type, the last one at each place (source: /proc/self/mountinfo, proc(5))."""
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    mounts: dict[str, str] = {}
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        mounts[_unescape(fields.split()[4])] = tail.split()[0]
    return mounts


def _find(path: Path, mounts: Mapping[str, str]) -> str:
    places = (str(one) for one in (path, *path.parents))
    return next((mounts[place] for place in places if place in mounts), "unknown")


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
