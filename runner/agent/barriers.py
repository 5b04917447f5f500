"""Why a run could not use a file: what its container forbids, and `--relaxed` allows."""

import os
import re
from collections.abc import Callable, Sequence

from runner.agent.failures import find_error

_REFUSED = re.compile(r"\b(Permission denied|Read-only file system|Operation not permitted)\b")
_PATH = re.compile(r"'(/[^']*)'")


def find_barrier(
    lines: Sequence[str], is_mount: Callable[[str], bool] = os.path.ismount
) -> "str | None":
    """What the run's last error says of a file of its image; None if it is about something else.

    Args:
        lines: the last of its log.
        is_mount: whether a path is a mount point: there the host's rights count.
    """
    error = find_error(lines) or next((line for line in reversed(lines) if line.strip()), "")
    refused, path = _REFUSED.search(error), _PATH.search(error)
    if not refused or not path or _is_on_mount(path[1], is_mount):
        return None
    return f"its container cannot use `{path[1]}` (`--relaxed` allows it)"


def _is_on_mount(path: str, is_mount: Callable[[str], bool]) -> bool:
    while path not in ("", "/"):
        if is_mount(path):
            return True
        path = path.rpartition("/")[0]
    return False
