"""One sync at a time."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import RunnerError


@contextmanager
def exclusive(file: Path, *, patience_s: float = 5.0) -> Iterator[int]:
    """One sync at a time; also its processes hold the lock, which is the handle given.

    Raises:
        RunnerError: another one is at it, or the folder is not this user's.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise RunnerError(
            f"cannot write `{file}`: {error.strerror}",
            hint="see `df -h` and the folder's owner and mode",
        ) from error
    try:
        _take(handle, until=time.monotonic() + patience_s)
        yield handle
    finally:
        os.close(handle)


def _take(handle: int, until: float) -> None:
    while True:  # the processes of one that was killed take a moment to end
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise RunnerError("another sync-offline is running here") from error
            time.sleep(0.1)
