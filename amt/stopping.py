"""Who asked the run to end: SIGTERM, Ctrl-C, or the server of the sweep."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Literal

Reason = Literal["terminated", "interrupted", "early_stop"]
EXIT_CODES: dict[Reason, int] = {
    "terminated": 75,  # saved, please run me again
    "interrupted": 130,
    "early_stop": 0,  # a finished run, only shorter
}


class Stop:
    """A request to end, looked at after each step; the first one counts.

    Before the first step there is nothing to save: then a signal ends the process at once.
    """

    def __init__(self) -> None:
        self.reason: Reason | None = None
        self._training = False

    def listen(self) -> None:
        """Take SIGTERM and SIGINT."""
        signal.signal(signal.SIGTERM, self._handler("terminated"))
        signal.signal(signal.SIGINT, self._handler("interrupted"))

    def defer_signals(self) -> None:
        """From now on a signal waits for the step to end."""
        self._training = True

    def early(self) -> None:
        """The server wants no more of this run."""
        self.reason = self.reason or "early_stop"

    def _handler(self, reason: Reason) -> Callable[[int, FrameType | None], None]:
        def handle(_signal: int, _frame: FrameType | None) -> None:
            self.reason = self.reason or reason
            if not self._training:
                raise SystemExit(EXIT_CODES[reason])

        return handle
