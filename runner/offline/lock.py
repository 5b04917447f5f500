"""One sync at a time."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runner.disk.locks import cannot_lock, locked
from runner.errors import RunnerError


@contextmanager
def exclusive(file: Path, *, patience_s: float = 5.0) -> Iterator[int]:
    """One sync at a time; also its processes hold the lock, which is the handle given.

    The processes of a sync that was killed take a moment to end, so it is waited for.

    Raises:
        RunnerError: another one is at it, or the folder is not this user's.
    """
    with ExitStack() as stack:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handle = stack.enter_context(locked(file, patience_s=patience_s))
        except TimeoutError as error:
            raise RunnerError("another sync-offline is running here") from error
        except OSError as error:
            raise cannot_lock(file.parent, error) from error
        yield handle
