"""Locks between commands: one file, locked while a block runs.

`filelock` would do it too; loading it takes 0.09 s of every command, and the processes that send
runs must inherit the locked handle, which it keeps to itself. A GPU's lease is the agent's matter.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import RunnerError
from runner.guard.foreign_files import open_lock

POLL_S = 0.1


@contextmanager
def locked(
    file: Path, *, on_wait: Callable[[], None] = lambda: None, patience_s: float | None = None
) -> Iterator[int]:
    """Hold the lock of a file of ours, which is made where it is missing.

    Args:
        on_wait: called once if somebody else holds it.
        patience_s: s to wait then; None: as long as it takes.

    Yields:
        The locked handle; a process that inherits it holds the lock as well.

    Raises:
        TimeoutError: somebody else still holds it.
        OSError: it cannot be opened, or is not a regular file.
    """
    with open_lock(file) as lock:
        handle = lock.fileno()
        if not _take(handle):
            on_wait()
            _wait(handle, patience_s)
        yield handle


def cannot_lock(folder: Path, error: OSError) -> RunnerError:
    """What is said where the lock of a folder cannot be opened."""
    return RunnerError(
        f"cannot write in `{folder}`: {error.strerror or os.strerror(error.errno or 0)}",
        hint="see `df -h` and the folder's owner and mode",
    )


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(handle: int, patience_s: float | None) -> None:
    if patience_s is None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return
    until = time.monotonic() + patience_s
    while not _take(handle):
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(POLL_S)
