"""One `up` of a state folder at a time."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from runner.disk.locks import cannot_lock, locked
from runner.state.folder import State


@contextmanager
def locked_fleet(state: State, waiting: str, report: Callable[[str], None]) -> Iterator[None]:
    """One `up` of a state folder at a time: what it observed still holds when it acts.

    A dry run does not act, so it locks nothing.
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
