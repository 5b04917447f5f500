"""Read the output of containers as lines, across restarts, from several at the same time."""

import heapq
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from runner.engine.types import LogLine
from runner.errors import RunnerError

_Lines = queue.Queue[tuple[str, LogLine | RunnerError | None]]

POLL_S = 0.1
OVERLAP = 256  # number of lines that are read again after an exit


class LogSource(Protocol):
    """A function that reads a container's output once, to its present end or its exit."""

    def __call__(self, since: str | None, /) -> Iterator[bytes]: ...


def split_lines(frames: Iterator[bytes]) -> Iterator[LogLine]:
    """Frames of the log with time stamps → lines; a long line has several frames."""
    stamp, parts = "", list[bytes]()
    for frame in frames:
        head, _, rest = frame.partition(b" ")
        stamp = stamp or head.decode("ascii", "replace")
        parts.append(rest)
        if rest.endswith(b"\n"):
            yield _line(stamp, parts)
            stamp, parts = "", []
    if parts:
        yield _line(stamp, parts)


def follow_lines(read: LogSource, will_go_on: Callable[[], bool]) -> Iterator[LogLine]:
    """All lines of a container until it has ended for good.

    The engine's follow ends at each exit. After that, the log is read again from the earliest of
    the last `OVERLAP` lines, and known lines are skipped. One time stamp is not enough: stdout and
    stderr are two pipes, whose lines may be in the log in another order than their stamps.

    Args:
        will_go_on: False once the container is neither running nor about to be restarted.
    """
    given = deque[LogLine](maxlen=OVERLAP)
    while True:
        going_on = will_go_on()  # ask before reading, so that all output is read
        since = min((line.stamp for line in given), default="")
        known = Counter(given)
        for line in split_lines(read(since or None)):
            if line.stamp < since:
                continue
            if known[line]:
                known[line] -= 1
                continue
            given.append(line)
            yield line
        if not going_on:
            return
        time.sleep(POLL_S)


def merge_lines(sources: Mapping[str, Iterator[LogLine]]) -> Iterator[tuple[str, LogLine]]:
    """Merge ended logs by time."""
    yield from heapq.merge(
        *(_named(name, lines) for name, lines in sources.items()), key=lambda item: item[1].stamp
    )


def interleave_lines(sources: Mapping[str, Iterator[LogLine]]) -> Iterator[tuple[str, LogLine]]:
    """Merge growing logs, each line when it comes; one thread per log.

    Raises the error of a thread. If the caller stops early, daemon threads remain until the
    process ends.
    """
    lines: _Lines = queue.Queue(1000)
    for name, source in sources.items():
        threading.Thread(target=_pump, args=(name, source, lines), daemon=True).start()
    left = len(sources)
    while left:
        name, item = lines.get()
        match item:
            case LogLine():
                yield name, item
            case None:
                left -= 1
            case error:
                raise error


def _pump(name: str, source: Iterator[LogLine], lines: _Lines) -> None:
    try:
        for line in source:
            lines.put((name, line))
    except RunnerError as error:
        lines.put((name, error))  # the reader raises it
    finally:
        lines.put((name, None))


def _named(name: str, lines: Iterator[LogLine]) -> Iterator[tuple[str, LogLine]]:
    for line in lines:
        yield name, line


def _line(stamp: str, parts: list[bytes]) -> LogLine:
    return LogLine(stamp, b"".join(parts).decode("utf-8", "replace").rstrip("\r\n"))
