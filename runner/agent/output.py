"""A run's output: passed on line by line with the run's ID before each, the last lines kept."""

import contextlib
import os
import re
import selectors
import threading
import time
from collections import deque
from collections.abc import Sequence

from runner.agent.redact import Redactor

KEPT_LINES = 200  # from which the reason of an end is read: a launcher may say much after it
_WANDBS = ("wandb: ", "wandb:\n")  # its summary at a run's end may be longer than what is kept
KEPT_CHARS = 500
MAX_LINE = 1 << 16  # a longer one is cut
_COLOURS = re.compile(rb"\x1b\[[0-9;]*m")
SHOW_AFTER_S = 5.0  # a line without an end, such as a progress bar, shows this often


class LineCutter:
    """Bytes as they come → lines as a terminal would show them.

    Of a text with carriage returns only what follows the last one is a line; what has no end
    yet shows after a while, then at most every `SHOW_AFTER_S`.
    """

    def __init__(self) -> None:
        self._open = bytearray()
        self._shown = False  # a part of the open line is out already
        self.since: float | None = None  # when the open part began

    def feed(self, data: bytes, now: float) -> list[bytes]:
        """The lines that `data` completes."""
        *done, rest = data.split(b"\n")
        lines = [line for part in done for line in self._close(part)]
        if rest:
            self._open += rest
            self.since = now if self.since is None else self.since
            if len(self._open) >= MAX_LINE:
                lines += self.flush()
        return lines

    def flush(self) -> list[bytes]:
        """Give out the open part as a line."""
        shown = _visible(self._open)
        self._open.clear()
        self._shown, self.since = True, None
        return [shown] if shown else []

    def _close(self, part: bytes) -> list[bytes]:
        self._open += part
        shown, was_shown = _visible(self._open), self._shown
        self._open.clear()
        self._shown, self.since = False, None
        return [] if was_shown and not shown else [shown]


def _visible(line: bytes | bytearray) -> bytes:
    """`10%\\r20%\\r` shows as `20%`."""
    return bytes(line).rstrip(b"\r").rpartition(b"\r")[2]


class Relay:
    """Reads a run's two pipes in a thread of its own, so that nothing the agent does blocks it."""

    def __init__(self, run: str, pipes: Sequence[tuple[int, int]], secret: str) -> None:
        """`pipes`: pairs of a pipe's read end, closed at its end, and where its lines go."""
        self._prefix = f"{run} | ".encode()
        self._selector = selectors.DefaultSelector()
        self._cutters: dict[int, tuple[LineCutter, Redactor, int]] = {}
        for source, target in pipes:
            self._selector.register(source, selectors.EVENT_READ)
            self._cutters[source] = (LineCutter(), Redactor(secret.encode()), target)
        self.read_bytes = 0  # so far
        self._tail: deque[str] = deque(maxlen=KEPT_LINES)
        self._thread = threading.Thread(target=self._copy, name="output", daemon=True)
        self._thread.start()

    def finish(self, timeout_s: float) -> tuple[str, ...]:
        """The last lines; waits for the pipes' ends, which come when all writers are gone."""
        self._thread.join(timeout_s)
        return tuple(self._tail)

    def _copy(self) -> None:
        while self._selector.get_map():
            for key, _ in self._selector.select(timeout=1.0):
                self._read(key.fd)
            self._show_open_lines()
        self._selector.close()

    def _read(self, source: int) -> None:
        cutter, redactor, target = self._cutters[source]
        data = os.read(source, 1 << 16)
        self.read_bytes += len(data)
        if data:
            self._emit(cutter.feed(redactor.feed(data), time.monotonic()), target)
            return
        self._emit(cutter.feed(redactor.flush(), time.monotonic()), target)
        self._emit(cutter.flush(), target)
        self._selector.unregister(source)
        os.close(source)

    def _show_open_lines(self) -> None:
        now = time.monotonic()
        for cutter, _, target in self._cutters.values():
            if cutter.since is not None and now - cutter.since >= SHOW_AFTER_S:
                self._emit(cutter.flush(), target)

    def _emit(self, lines: Sequence[bytes], target: int) -> None:
        if not lines:
            return
        plain = (_COLOURS.sub(b"", line).decode("utf-8", "replace") for line in lines)
        self._tail += [line[:KEPT_CHARS] for line in plain if not line.startswith(_WANDBS)]
        _write(target, b"".join(self._prefix + line + b"\n" for line in lines))


def _write(target: int, data: bytes) -> None:
    """All of it, unless the reader is gone: the run goes on without an audience."""
    view = memoryview(data)
    with contextlib.suppress(OSError):
        while view:
            view = view[os.write(target, view) :]
