"""One `up` of a state folder at a time."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.errors import RunnerError
from runner.guard.foreign_files import open_lock
from runner.state.folder import State


@contextmanager
def locked_fleet(state: State, waiting: str, report: Callable[[str], None]) -> Iterator[None]:
    """One `up` of a state folder at a time: what it observed still holds when it acts.

    A dry run does not act, so it locks nothing.
    """
    if state.read_only:
        yield
        return
    try:
        lock = open_lock(state.root / "lock")
    except OSError as error:
        raise RunnerError(
            f"cannot write in `{state.root}`: {error.strerror}",
            hint="see `df -h` and the folder's owner and mode",
        ) from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
