"""Find the file system of a folder: SQLite and flock need a local one.

The same list of network file systems decides where the server keeps its data, and whether another
machine may still write a log that no process here holds open.
"""

import re
from collections.abc import Mapping
from pathlib import Path

_NETWORK = re.compile(
    r"nfs4?|cifs|smb3?|smbfs|ncpfs|afs|ceph|lustre|gpfs|beegfs|glusterfs|panfs|orangefs|9p|"
    r"fuse\.(sshfs|glusterfs|ceph.*|s3fs|rclone|juicefs|gcsfuse|davfs|goofys|mount-s3|blobfuse2?)"
)


def find_file_system(folder: Path, mounts: Mapping[str, str] | None = None) -> str:
    """The type of the folder's file system: `ext4`, `nfs4`, `fuse.sshfs`, …

    Args:
        folder: may not exist yet.
        mounts: from `read_mounts`; read if not given.
    """
    mounts = read_mounts() if mounts is None else mounts
    path = folder.resolve()
    return next(
        (mounts[str(one)] for one in (path, *path.parents) if str(one) in mounts), "unknown"
    )


def is_network(kind: str) -> bool:
    """Whether other machines can share this type of file system."""
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


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
