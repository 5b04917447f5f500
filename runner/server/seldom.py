"""A log that nobody can flood: the same message at most once in a while."""

import logging
import time

EVERY_S = 10.0
MAX_MESSAGES = 256  # remembered ones


class Seldom(logging.Filter):
    """Lets a message of one place through, and counts the next ones for a while."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Is it the first one for a while? Then it says how many were left out before."""
        now, key = time.monotonic(), (record.pathname, record.lineno, str(record.msg)[:200])
        until, left_out = self._seen.get(key, (0.0, 0))
        if now < until:
            self._seen[key] = until, left_out + 1
            return False
        if len(self._seen) >= MAX_MESSAGES:
            self._seen.clear()
        self._seen[key] = now + EVERY_S, 0
        if left_out:
            record.msg = f"{record.msg} ({left_out} more before)"
        return True


def quieten() -> None:
    """What clients can cause by themselves is logged seldom."""
    for name in ("uvicorn.error", "asyncio", "runner.server.floor"):
        logging.getLogger(name).addFilter(Seldom())
