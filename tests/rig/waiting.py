"""Waits for what has to become true: the one place where tests look again and again."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_for(
    what: Callable[[], Found],
    timeout_s: float = 60,
    *,
    pause_s: float = 0.05,
    otherwise: Callable[[], object] = lambda: "",
) -> Found:
    """The first true answer. A file that is not there yet is no answer.

    Args:
        what: asked every `pause_s`.
        timeout_s: after which the wait fails.
        pause_s: long where the question itself costs something.
        otherwise: what else the failure says; asked only then.

    Raises:
        AssertionError: no answer was true in time.
    """
    end = time.monotonic() + timeout_s
    while True:
        try:
            if found := what():
                return found
        except FileNotFoundError:
            pass
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout_s} s in vain. {otherwise()}")
        time.sleep(pause_s)
