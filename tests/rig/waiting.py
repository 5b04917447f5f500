"""Wait for a condition: the one place where tests poll."""

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
    """The first true answer. A missing file is not an answer.

    Args:
        what: the question, asked every `pause_s` seconds.
        timeout_s: seconds until the wait fails.
        pause_s: seconds between questions; longer if the question is expensive.
        otherwise: gives more text for the failure.

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
