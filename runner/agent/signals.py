"""Signals and other threads' news, all as bytes on one socket that the loop waits on."""

import contextlib
import select
import signal
import socket
from collections.abc import Sequence
from types import FrameType

from runner.agent.refusals import StopRequestedError

STOPPING = (signal.SIGTERM, signal.SIGINT)


class Inbox:
    """Wakes the loop. Until `open`, a signal to stop raises `StopRequestedError` instead."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._is_open = False
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for number in (*STOPPING, signal.SIGCHLD):
            signal.signal(number, self._on_signal)

    def open(self) -> None:
        """From now on signals are only reported."""
        self._is_open = True

    def wake(self) -> None:
        """End a `wait`, from any thread."""
        with contextlib.suppress(BlockingIOError):  # full: the loop wakes anyway
            self._write.send(b"\0")

    def wait(self, timeout_s: float, others: Sequence[int] = ()) -> int:
        """Sleep until something happens, also to `others`; how many requests to stop came."""
        select.select([self._read.fileno(), *others], [], [], max(timeout_s, 0.0))
        try:
            news = self._read.recv(4096)
        except BlockingIOError:
            return 0
        return sum(news.count(number) for number in STOPPING)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number in STOPPING and not self._is_open:
            raise StopRequestedError
