"""One `up` of a state folder at a time."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from runner.disk.locks import cannot_lock, locked
from runner.state.folder import State


@contextmanager
def locked_fleet(state: State, waiting: str, report: Callable[[str], None]) -> Iterator[None]:
    """Let one `up` of a state folder act at a time, so that what it observed still holds.

    A dry run does not act, so it does not lock.
    """
    if state.read_only:
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(state.root / "lock", on_wait=lambda: report(waiting)))
        except OSError as error:
            raise cannot_lock(state.root, error) from error
        yield
