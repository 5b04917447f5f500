"""Let one sync run at a time."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runner.disk.locks import cannot_lock, locked
from runner.errors import RunnerError


@contextmanager
def exclusive(file: Path, *, patience_s: float = 5.0) -> Iterator[int]:
    """Lock the file for one sync; gives the handle, so that its processes hold the lock too.

    Waits `patience_s` seconds: the processes of a killed sync take a moment to end.

    Raises:
        RunnerError: another sync is running, or the folder belongs to another user.
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
