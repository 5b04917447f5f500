"""One sync at a time."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import RunnerError
from runner.guard.foreign_files import open_lock


@contextmanager
def exclusive(file: Path, *, patience_s: float = 5.0) -> Iterator[int]:
    """One sync at a time; also its processes hold the lock, which is the handle given.

    Raises:
        RunnerError: another one is at it, or the folder is not this user's.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = open_lock(file)
    except OSError as error:
        raise RunnerError(
            f"cannot write `{file}`: {error.strerror}",
            hint="see `df -h` and the folder's owner and mode",
        ) from error
    with lock:
        _take(lock.fileno(), until=time.monotonic() + patience_s)
        yield lock.fileno()


def _take(handle: int, until: float) -> None:
    while True:  # the processes of one that was killed take a moment to end
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise RunnerError("another sync-offline is running here") from error
            time.sleep(0.1)
