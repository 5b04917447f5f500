"""Children of the agent that belong to no run: they outlive it, and its end must spare them."""

import os
from contextlib import suppress

KEPT: set[int] = set()  # process IDs


def bury(pid: int) -> bool:
    """Whether a kept child is gone; takes its exit code if it is dead."""
    if pid not in KEPT:
        return True
    with suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == 0:
            return False
    KEPT.discard(pid)
    return True
