"""Check a folder that a process of the host reads, replaces and deletes in by path.

The sweep server keeps its data by path: it removes folders of runs that its database does not
know, and sends files that it lists. A link in an archive's data folder would lead it to any file
of its user.
"""

import os
import stat
from pathlib import Path

from runner.guard.by_handle import find_kind
from runner.guard.ownership import check_mode, check_owner, find_trusted
from runner.guard.walk import InTheWay


def check_data_folder(root: Path) -> None:
    """Refuse a folder below which there is anything but the user's own files and folders.

    The cost grows with the number of files: 0.3 s for 10,000 runs with five files each.

    Args:
        root: an existing folder that the user named, or ours; itself it may be a link.

    Raises:
        RunnerError: a link, a pipe or the like is in it, or another user can change it (6).
        OSError: it cannot be read.
    """
    root = root.resolve()
    owners = find_trusted(root) | {0}
    waiting = [str(root)]
    while waiting:
        name = waiting.pop()
        status = os.lstat(name)
        if status.st_uid not in owners or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            check_owner(Path(name), owners)
            check_mode(Path(name), read_only=False)
        with os.scandir(name) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not entry.is_file(follow_symlinks=False):
                    kind = find_kind(entry.path, None)
                    raise InTheWay(Path(entry.path), kind, "a file or a folder of its own")
