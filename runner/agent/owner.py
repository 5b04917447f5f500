"""From root to the one whose folder is mounted: Compose has no way to name its caller."""

import os
from collections.abc import Iterable
from pathlib import Path


def become_owner(folder: Path, written: Iterable[Path] = ()) -> None:
    """Go on as who owns `folder`, if that is not root; what was made for us as root goes along."""
    owner = folder.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for path in written:
        if path.stat().st_uid == 0:  # the engine makes a folder that is missing
            os.chown(path, owner.st_uid, owner.st_gid)
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
