"""Report the progress of a sync: a bar on a terminal, else a line for each finished run."""

import shutil
import sys
import threading
import time
from collections.abc import Sequence

from runner import console
from runner.offline.transfer import Outcome

_WIDTH = 24


class SyncProgress:
    """Counts runs, rows and bytes; safe to call from several threads."""

    def __init__(self, runs: int, size: int) -> None:
        self._all, self._done = (runs, size), [0, 0, 0]
        self._bar = False
        self._lock, self._began = threading.Lock(), time.monotonic()

    def begin(self) -> None:
        """Show the bar, on a terminal."""
        with self._lock:
            self._bar, self._began = sys.stderr.isatty(), time.monotonic()
            self._draw()

    def tell(self, text: str) -> None:
        """Print a line above the bar."""
        with self._lock:
            self._clear()
            console.note(text)
            self._draw()

    def passed(self, runs: Sequence[Outcome]) -> None:
        """Count runs that needed nothing, without a line."""
        with self._lock:
            self._count(runs)

    def finished(self, runs: Sequence[Outcome]) -> None:
        """Count sent runs and print a line for each, above the bar."""
        with self._lock:
            self._clear()
            for run in runs:
                more = f", {run.rows} rows" if run.status == "synced" else ""
                console.note(f"{run.run_id}: {run.status}{more}")
            self._count(runs)

    def close(self) -> None:
        """Remove the bar."""
        with self._lock:
            self._clear()
            self._bar = False

    def _count(self, runs: Sequence[Outcome]) -> None:
        for run in runs:
            for at, more in enumerate((1, run.rows, run.size)):
                self._done[at] += more
        self._clear()
        self._draw()

    def _draw(self) -> None:
        if not self._bar:
            return
        (all_runs, all_bytes), (runs, rows, size) = self._all, self._done
        share = min(1.0, size / all_bytes) if all_bytes else 1.0
        full = "#" * round(share * _WIDTH)
        line = f"[{full:<{_WIDTH}}] {runs} of {all_runs} runs, {rows} rows, "
        line += f"{console.format_bytes(size)} of {console.format_bytes(all_bytes)}"
        if 0 < share < 1:
            left_s = (time.monotonic() - self._began) * (1 / share - 1)
            line += f", {console.format_duration(round(left_s))} left"
        sys.stderr.write(line[: shutil.get_terminal_size().columns - 1])
        sys.stderr.flush()

    def _clear(self) -> None:
        if self._bar:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
