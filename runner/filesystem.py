"""What kind of file system a folder lies on: SQLite and flock need a local one."""

import re
from pathlib import Path

_NETWORK = re.compile(
    r"nfs4?|cifs|smb3?|smbfs|ncpfs|afs|ceph|lustre|gpfs|beegfs|glusterfs|panfs|orangefs|9p|"
    r"fuse\.(sshfs|glusterfs|ceph.*|s3fs|rclone|juicefs|gcsfuse|davfs)"
)


def find_file_system(folder: Path, mountinfo: str | None = None) -> str:
    """The type (`ext4`, `nfs4`, `fuse.sshfs`, …) of what `folder` lies on.

    Args:
        folder: need not exist yet.
        mountinfo: the text of /proc/self/mountinfo (proc(5)), read where it is not given.
    """
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    mounts: dict[str, str] = {}
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        mounts[_unescape(fields.split()[4])] = tail.split()[0]
    path = folder.resolve()
    return next(
        (mounts[str(one)] for one in (path, *path.parents) if str(one) in mounts), "unknown"
    )


def is_network(kind: str) -> bool:
    """Whether other machines share this type of file system."""
    return _NETWORK.fullmatch(kind) is not None


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
