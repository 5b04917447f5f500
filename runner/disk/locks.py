"""Lock a file between commands while a block runs.

We do not use `filelock`: it takes 0.09 s to load in every command, and it does not give the handle
that the processes that send runs must inherit. The agent locks the lease of a GPU.
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
    """Hold the lock of one of our files; the file is made if missing.

    Args:
        on_wait: called once if another process holds it.
        patience_s: seconds to wait then; None: without limit.

    Yields:
        The locked handle; a process that inherits it also holds the lock.

    Raises:
        TimeoutError: another process still holds it.
        OSError: it cannot be opened, or is not a regular file.
    """
    with open_lock(file) as lock:
        handle = lock.fileno()
        if not _take(handle):
            on_wait()
            _wait(handle, patience_s)
        yield handle


def cannot_lock(folder: Path, error: OSError) -> RunnerError:
    """The error if the lock of a folder cannot be opened."""
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
