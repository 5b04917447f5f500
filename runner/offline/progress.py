"""How far a sync is: a bar on a terminal, a line per finished run elsewhere."""

import sys
import threading
import time

from runner import console

_WIDTH = 24


class Progress:
    """Counts runs, rows and bytes; safe to call from several threads."""

    def __init__(self, runs: int, rows: int, size: int, *, quiet: bool = False) -> None:
        self._all, self._done = (runs, rows, size), [0, 0, 0]
        self._bar = sys.stderr.isatty() and not quiet
        self._lock, self._began = threading.Lock(), time.monotonic()

    def tell(self, text: str) -> None:
        """One line, above the bar."""
        with self._lock:
            self._clear()
            console.note(text)
            self._draw()

    def finished(self, text: str, rows: int, size: int) -> None:
        """A run reached its end."""
        with self._lock:
            for at, more in enumerate((1, rows, size)):
                self._done[at] += more
            self._clear()
            console.note(text)
            self._draw()

    def close(self) -> None:
        """Take the bar away."""
        with self._lock:
            self._clear()

    def _draw(self) -> None:
        if not self._bar:
            return
        runs, rows, size = self._done
        share = size / self._all[2] if self._all[2] else 1.0
        spent = time.monotonic() - self._began
        eta = console.format_duration(spent / share - spent) if share > 0 else "?"
        full = "#" * round(share * _WIDTH)
        sys.stderr.write(
            f"[{full:<{_WIDTH}}] {runs}/{self._all[0]} runs  {rows}/{self._all[1]} rows  "
            f"{console.format_bytes(size)}  {eta} left"
        )
        sys.stderr.flush()

    def _clear(self) -> None:
        if self._bar:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
